"""The page of all commands, from the command line itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import typer
from tables import code, prose, table

from disc_stream.cli.app import app

_HEAD = """# Commands

Made of the commands themselves by `python docs/site/reference.py`; a test keeps it so. Each says the same
with `--help`, prints JSON for programs with `--json`, and ends with exit code 0 if it did what it was asked
for, 1 if something failed and 2 if the command was wrong (nothing was started then).

"""
_COMMON = {"--log-format", "--json", "--verbose", "--help"}
_COMMON_WORDS = """## Options of most commands

"""


def page() -> str:
    """The Markdown."""
    commands = dict(_walk(typer.main.get_command(app)))
    rows = (
        (f"[{' '.join(path)}](#{'-'.join(path)})", _first_sentence(one)) for path, one in commands.items()
    )
    parts = [_HEAD, table(("Command", "What it does"), rows), "\n", _COMMON_WORDS]
    shared = {param.opts[0]: param for one in commands.values() for param in one.params if _is_common(param)}
    parts.append(_options([shared[name] for name in sorted(shared)], defaults=False))
    parts += [_section(path, one) for path, one in commands.items()]
    return "".join(parts)


def _walk(group: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _walk(command, *path, name)
        else:
            yield (*path, name), command


def _first_sentence(command: Any) -> str:
    first = " ".join(command.help.split("\n\n")[0].split())
    return prose(re.split(r"(?<=[.:]) ", first)[0].rstrip(".:"))


def _section(path: tuple[str, ...], command: Any) -> str:
    texts, examples = [], []
    for paragraph in command.help.split("\n\n"):
        found = re.match(r"(?:[\w ]*Example|Or|Examples)[\w ]*: (.*)", paragraph, re.DOTALL)
        if found:
            examples.append(found[1].replace("\\\n", "").replace("\n", " "))
        else:
            texts.append("\n".join(prose(line) for line in paragraph.strip().splitlines()))
    parts = [f"\n## {' '.join(path)}\n\n", "\n\n".join(texts), "\n"]
    if examples:
        parts.append("\n```sh\n" + "\n".join(" ".join(one.split()) for one in examples) + "\n```\n")
    arguments = [p for p in command.params if p.param_type_name == "argument" and not p.hidden]
    if arguments:
        rows = ((code(p.opts[0].upper()), _meaning(p)) for p in arguments)
        parts += ["\n", table(("Argument", "Meaning"), rows)]
    own = [p for p in command.params if p.param_type_name == "option" and not _is_common(p) and not p.hidden]
    if own:
        parts += ["\n", _options(own)]
    return "".join(parts)


def _is_common(param: Any) -> bool:
    return param.param_type_name == "option" and param.opts[0] in _COMMON


def _options(params: list[Any], *, defaults: bool = True) -> str:
    panels: dict[str, list[Any]] = {}
    for param in params:
        panels.setdefault(param.rich_help_panel or "", []).append(param)
    rows: list[tuple[str, ...]] = []
    for panel in sorted(panels, key=bool):
        if panel:
            rows.append((f"**{panel}**", ""))
        rows += [(_names(param), _meaning(param, defaults=defaults)) for param in panels[panel]]
    return table(("Option", "Meaning"), rows)


def _names(param: Any) -> str:
    names = ", ".join(code(name) for name in (*param.opts, *param.secondary_opts))
    return names if param.is_flag else f"{names} {_kind(param)}"


def _kind(param: Any) -> str:
    shown = str(param.display_type_rich(ctx=_context())).replace("\\[", "[")
    kind = re.sub(r" range.*", "", re.sub(r"^<(?:list\[)?([^\[\]]*)\]?>.*$", r"\1", shown).strip("<>[]"))
    return ", ".join(map(code, kind.split("|"))) if "|" in kind else kind


@cache
def _context() -> Any:
    return typer.main.get_command(app).make_context("disc-stream", ["--help"], resilient_parsing=True)


def _meaning(param: Any, *, defaults: bool = True) -> str:
    said = prose((param.help or "").replace("\\[", "["))
    facts = []
    if param.multiple and "repeatable" not in said:
        facts.append("repeatable")
    if param.envvar:
        facts.append(f"environment variable {code(param.envvar)}")
    default = _default(param) if defaults else None
    if default:
        facts.append(f"default: {default}")
    if param.min is not None or param.max is not None:
        facts.append(_range(param))
    if param.required and param.param_type_name == "option":
        facts.append("must be given")
    return f"{said} ({'; '.join(facts)})".strip() if facts else said


def _range(param: Any) -> str:
    if param.max is None:
        return f"at least {param.min:,g}"
    if param.min is None:
        return f"at most {param.max:,g}"
    return f"{param.min:,.12g} to {param.max:,.12g}"


def _default(param: Any) -> str | None:
    if isinstance(param.show_default, str):
        return param.show_default
    if param.default is None or param.is_flag or callable(param.default) or not param.show_default:
        return None
    value = getattr(param.default, "value", param.default)
    if isinstance(value, list | tuple):
        value = " ".join(str(getattr(one, "value", one)) for one in value)
    return code(str(value)) if str(value) else None
