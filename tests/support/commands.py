"""The command line as a table, and what texts say of it."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import typer

from disc_stream.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
CODE_ROOTS = (
    "disc_stream",
    "server/disc_stream_server",
    "edge/disc_stream_edge",
    "export/disc_stream_export",
)
_OPTION = re.compile(r"(?<![\w\-/.])--[a-z][a-z0-9-]*")
_COMMAND = re.compile(r"(?<![\w./-])disc-stream((?: [a-z][a-z0-9-]*)*)(?![\w-])")


@cache
def commands() -> dict[tuple[str, ...], Any]:
    """Every command by its words, such as ``("edge", "publish")``."""

    def walk(group: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                yield from walk(command, *path, name)
            else:
                yield (*path, name), command

    return dict(walk(typer.main.get_command(app)))


def options(*path: str) -> set[str]:
    """All options of a command."""
    named = {name for param in commands()[path].params for name in (*param.opts, *param.secondary_opts)}
    return {name for name in named if name.startswith("-")} | {"--help", "-h"}


def module_options(module: str) -> set[str]:
    """All options of the commands that a module of ``disc_stream.cli`` defines."""
    return {
        option
        for path, command in commands().items()
        if command.callback.__module__ == module
        for option in options(*path)
    }


def resolve(words: list[str]) -> tuple[str, ...]:
    """The command that these words begin with.

    Raises:
        AssertionError: if there is none.
    """
    for length in (1, 2):
        if tuple(words[:length]) in commands():
            return tuple(words[:length])
    raise AssertionError(f"there is no command 'disc-stream {' '.join(words[:2])}'")


@dataclass(frozen=True)
class Mention:
    """A text that speaks of commands or options, and where it is."""

    place: str
    text: str


def source_texts() -> Iterator[Mention]:
    """Every string of the code that is not a docstring; expressions inside f-strings read ``{}``."""
    for root in CODE_ROOTS:
        for path in sorted((ROOT / root).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            skipped = {id(node) for node in _docstrings(tree)}
            for node in ast.walk(tree):
                if isinstance(node, ast.JoinedStr):
                    skipped.update(map(id, node.values))
                    text = "".join(
                        str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values
                    )
                elif (
                    isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped
                ):
                    text = node.value
                else:
                    continue
                yield Mention(f"{path.relative_to(ROOT)}:{node.lineno}", text)


def _docstrings(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr):
                yield first.value


def mentioned_commands(text: str) -> Iterator[tuple[list[str], str]]:
    """The words after each ``disc-stream``, and the rest of its sentence."""
    for match in _COMMAND.finditer(text):
        words = match[1].split()
        if words:
            yield words, re.split(r"[;|]|\. |\n", text[match.end() :])[0]


def mentioned_options(text: str) -> list[str]:
    """Options in a text."""
    return _OPTION.findall(text)


def without_commands(text: str) -> str:
    """The text without each ``disc-stream …`` and the rest of its sentence."""
    for words, rest in mentioned_commands(text):
        text = text.replace(f"disc-stream {' '.join(words)}{rest}", "")
    return text


def shell_commands(block: str) -> Iterator[list[str]]:
    """Arguments of each ``disc-stream`` in lines of a shell, without the program's name."""
    for line in block.replace("\\\n", " ").splitlines():
        for part in re.split(r";|&&|\|", line):
            if "disc-stream" not in part and "disc_stream" not in part:
                continue
            words = shlex.split(part, comments=True)
            words = words[: next((n for n, word in enumerate(words) if word.startswith(">")), len(words))]
            if "torchrun" in words and "disc_stream" in words:
                yield words[words.index("disc_stream") + 1 :]
            elif len(words) > 1 and Path(words[0]).name == "disc-stream":
                yield words[1:]


def check_arguments(words: list[str]) -> None:
    """Check that a command line can be parsed; with an ellipsis in it, that its options exist.

    Raises:
        AssertionError: if it cannot.
    """
    if words == ["--version"]:
        return
    path = resolve(words)
    rest = words[len(path) :]
    if any("…" in word or word in ("BUNDLE", "URL") for word in rest):
        unknown = {word for word in rest if word.startswith("--")} - options(*path)
        assert not unknown, f"disc-stream {' '.join(path)} has no {unknown}"
        return
    try:
        commands()[path].make_context(" ".join(path), list(rest))
    except typer.Exit:  # as --help does
        return
    except Exception as error:
        raise AssertionError(f"disc-stream {' '.join(words)}: {error}") from error
