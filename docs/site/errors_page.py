"""The page of errors: every message of the code that says what to do, and the codes of devices' problems.

Messages are read from the source without running it. What is filled in at run time is shown as …
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tables import code, plain, prose, table

from disc_stream import errors
from disc_stream.wire.codecs import REASONS

ROOT = Path(__file__).resolve().parents[2]
_HEAD = """# Errors and what to do

Made of the code by `python docs/site/reference.py`; a test keeps it so. An error is one line: what is
wrong, where, and what to do. Search this page for words of yours; `…` stands for what differs from case to
case.

| Exit code | What it says |
| --- | --- |
| 0 | done |
| 1 | something failed |
| 2 | the command was wrong; nothing was started |
| 3 | of [`retrain`](cli.md#retrain): the candidate was rejected by the gate |

"""
_DEVICES = """
## A device without labels

Its reason is on its `problem` topic, on the dashboard, in `disc-stream watch`, and named by `disc-stream
doctor`. Beside those of refused messages, below, the codes are those of [the wire](wire.md#problem), which
also says whether there are labels meanwhile, and of [phones](../guides/phones.md#what-is-said-to-be-wrong).

"""
_PROBLEM_FILES = (
    "disc_stream/stream",
    "server/disc_stream_server/labeller/problems.py",
)
_REFUSED = """
## A message that is refused

Reasons of dead letters (`disc-stream deadletter list`), which never change. `disc-stream wire check FILE`
says the same of a message before it is sent.

"""
_DOCTOR = """
## What the doctor says

Findings of `disc-stream doctor` that are not good.

"""
AREAS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "Configuration and command line",
        ("disc_stream/config", "disc_stream/cli", "disc_stream/text", "disc_stream/errors"),
    ),
    (
        "Broker, addresses, certificates",
        ("disc_stream/wire", "disc_stream/localbroker", "server/disc_stream_server/brokerconfig"),
    ),
    ("Recordings and datasets", ("disc_stream/data", "disc_stream/zipfiles", "disc_stream/signal")),
    (
        "Training",
        (
            "disc_stream/training",
            "disc_stream/models",
            "disc_stream/clustering",
            "disc_stream/characteristics",
        ),
    ),
    ("Export", ("export/disc_stream_export",)),
    ("Bundles, and running them", ("disc_stream/artifacts", "disc_stream/stream")),
    (
        "Registry and retraining",
        (
            "disc_stream/registry",
            "disc_stream/retraining",
            "server/disc_stream_server/retraining",
            "server/disc_stream_server/following",
        ),
    ),
    ("Edge and phones", ("edge/disc_stream_edge", "disc_stream/phones")),
    (
        "Benchmarks, plots, demo",
        ("disc_stream/benchmarks", "disc_stream/plots", "disc_stream/demo", "disc_stream/load"),
    ),
    (
        "Episodes, mappings, client",
        ("disc_stream/episodes", "disc_stream/mappings", "disc_stream/client", "disc_stream/watching"),
    ),
    ("Server", ("server/disc_stream_server",)),
)
"""Titles, and the places of the code whose messages stand below them; the first that fits."""


@dataclass(frozen=True, order=True)
class Message:
    """One that a person may see, and what it says to do."""

    says: str
    remedy: str


def page() -> str:
    """The Markdown."""
    parts = [_HEAD.rstrip("\n"), "\n", _DEVICES]
    parts.append(table(("Code", "What", "What to do"), _problems()))
    parts += [_REFUSED, table(("Reason", "Meaning"), ((code(r), plain(m)) for r, m in REASONS.items()))]
    parts += [_DOCTOR, table(("Finding", "What to do"), _cells(_findings()))]
    found: dict[str, set[Message]] = {title: set() for title, _ in AREAS}
    for file, message in _messages():
        found[_area(file)].add(message)
    for title, messages in found.items():
        parts += [f"\n## {title}\n\n", table(("Message", "What to do"), _cells(messages))]
    return "".join(parts)


def _cells(messages: set[Message]) -> Iterator[tuple[str, str]]:
    for one in sorted(messages, key=lambda message: (message.says.strip("…'\" ").lower(), message)):
        yield prose(one.says), prose(one.remedy)


def _area(file: str) -> str:
    for title, places in AREAS:
        if file.startswith(places):
            return title
    raise LookupError(f"{file} has messages: name its place in AREAS of docs/site/errors_page.py")


def _messages() -> Iterator[tuple[str, Message]]:
    """Arguments of every error that carries a remedy."""
    kinds = {name for name, kind in vars(errors).items() if isinstance(kind, type)}
    for file, tree in _sources("disc_stream", "server", "edge", "export"):
        for call, words in _calls(tree):
            given = {keyword.arg: keyword.value for keyword in call.keywords}
            if call.args and "remedy" in given and (_name(call) in kinds or _name(call).endswith("Error")):
                says = [_text(one, words) for one in call.args]
                longest = max(says, key=len)
                remedy = _text(given["remedy"], words)
                if sum(letter.isalpha() for letter in longest) > 8 and remedy.strip("… "):
                    yield file, Message(longest, remedy)


def _findings() -> set[Message]:
    """What ``bad`` and ``skipped`` are called with in the doctor: group, name, detail, remedy."""
    found = set()
    for _, tree in _sources("server/disc_stream_server/doctor"):
        for call, words in _calls(tree):
            if _name(call) in ("bad", "skipped") and len(call.args) == 4:
                _, name, detail, remedy = (_text(one, words) for one in call.args)
                if detail.strip("… "):
                    found.add(Message(f"{name}: {detail}", remedy))
    return found


def _problems() -> Iterator[tuple[str, str, str]]:
    """What ``report`` is called with: device, code, words, time, remedy."""
    found = set()
    for _, tree in _sources(*_PROBLEM_FILES):
        for call, words in _calls(tree):
            if _name(call) == "report" and len(call.args) == 5:
                _, name, says, _, remedy = (_text(one, words) for one in call.args)
                if says.strip("… "):
                    found.add((name, says, remedy))
    for name, says, remedy in sorted(found):
        yield code(name), prose(says), prose(remedy)


def _sources(*places: str) -> Iterator[tuple[str, ast.Module]]:
    for place in places:
        path = ROOT / place
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            yield file.relative_to(ROOT).as_posix(), ast.parse(file.read_text(encoding="utf-8"))


def _calls(tree: ast.Module) -> Iterator[tuple[ast.Call, dict[str, ast.expr]]]:
    """Every call, with what the names around it were last set to in the module and in its function."""
    outer = _assigned(tree.body)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    for function in functions:
        words = {**outer, **_assigned([node for node in ast.walk(function) if isinstance(node, ast.stmt)])}
        for node in ast.walk(function):
            if isinstance(node, ast.Call):
                yield node, words


def _assigned(statements: list[ast.stmt]) -> dict[str, ast.expr]:
    found: dict[str, ast.expr] = {}
    for one in statements:
        match one:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                found[name] = value
            case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)):
                found |= {n.id: v for n, v in zip(names, values, strict=False) if isinstance(n, ast.Name)}
    return found


def _name(call: ast.Call) -> str:
    function = call.func
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")


def _text(node: ast.expr, words: dict[str, ast.expr]) -> str:  # noqa: PLR0911 - one for each form
    """An expression as text, with … for what is known at run time only."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(_text(value, words) for value in values)
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            return _text(left, words) + _text(right, words)
        case ast.IfExp(body=body, orelse=other):
            both = (_text(body, words), _text(other, words))
            return " / ".join(dict.fromkeys(one for one in both if one.strip("… "))) or "…"
        case ast.Name(id=name) if name in words:
            return _text(words[name], {key: value for key, value in words.items() if key != name})
        case ast.FormattedValue(value=ast.Name(id=name)) if name in words and name.isupper():
            return _text(words[name], words)
        case ast.Call(func=ast.Name(id="install_command"), args=[ast.Constant(value=str(extra))]):
            return errors.install_command(extra)
        case _:
            return "…"
