"""Configuration files with comments, from the settings' own descriptions."""

from __future__ import annotations

import re
import textwrap
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, Literal

import yaml
from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from disc_stream.config import NESTED, ServeConfig, load_serve_config

_HEAD = """\
# Settings of the server: disc-stream serve --config FILE
# Written by disc-stream serve --print-config.
# A line such as #stay: 0.8 shows a default; take its # away to set it.
"""
_WIDTH = 100
_PASSWORD = re.compile(r"(://[^:@/]*):[^@]*@")
_SIGNS = {Ge: "at least", Gt: "above", Le: "at most", Lt: "below"}


def print_settings(file: Path | None, options: Mapping[str, Any]) -> str:
    """A configuration file with what a file and a command line set, and the defaults of everything else.

    Args:
        file: YAML, or None.
        options: of the command line, as for ``load_serve_config``. A model may be missing.

    Raises:
        InputNotFoundError: if there is no such file.
        ConfigError: naming what is wrong.
    """
    given = dict(options)
    has_model = file is not None or any(name in given for name in ("bundle", "models", "collect"))
    config = load_serve_config(file, given if has_model else {**given, "collect": True})
    return commented_config(config, leave_out=frozenset() if has_model else frozenset({"collect"}))


def commented_config(config: ServeConfig, *, leave_out: frozenset[str] = frozenset()) -> str:
    """A configuration file that ``--config`` reads as these settings; a password is left out of it.

    Args:
        config: settings; those that were given are set in the file, the others shown as defaults.
        leave_out: of those that were given.
    """
    lines = [*_HEAD.splitlines(), *_section(config, ServeConfig, leave_out)]
    return "\n".join(lines)


def _section(config: BaseModel | None, model: type[BaseModel], leave_out: frozenset[str]) -> Iterator[str]:
    given = set() if config is None else config.model_fields_set - leave_out
    values = {} if config is None else config.model_dump(mode="json")
    for name, field in model.model_fields.items():
        yield ""
        yield from (f"# {line}" for line in textwrap.wrap(_explained(field), _WIDTH))
        if name in NESTED:
            inner = getattr(config, name)
            if inner is not None and not inner.model_fields_set:
                yield f"{name}: {{}}"
                continue
            nested = _section(inner, NESTED[name], frozenset())
            yield f"#{name}:" if inner is None else f"{name}:"
            yield from (_indented(line, commented=inner is None) for line in nested)
        elif name in given:
            yield _setting(name, values[name])
        else:
            yield f"#{_setting(name, _plain(field.get_default(call_default_factory=True)))}"


def _indented(line: str, *, commented: bool) -> str:
    if not line:
        return line
    if line.startswith("# "):
        return f"#   {line[2:]}"
    text = line.removeprefix("#")
    return f"#  {text}" if commented or line.startswith("#") else f"  {text}"


def _setting(name: str, value: Any) -> str:
    if name == "broker" and isinstance(value, str):
        value = _PASSWORD.sub(r"\1@", value)
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True).strip()
    return f"{name}: {text.removesuffix('...').strip()}"


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _explained(field: FieldInfo) -> str:
    text = field.title or ""
    if field.description:
        text = f"{text}: {field.description}"
    facts = facts_of(field)
    return f"{text} ({', '.join(facts)})" if facts else text


def facts_of(field: FieldInfo) -> list[str]:
    """The words that a setting may be, and the bounds of its value."""
    return [*_choices(field.annotation), *_bounds(field)]


def _choices(annotation: Any) -> Iterator[str]:
    """The words that a setting may be."""
    if typing.get_origin(annotation) is Literal:
        yield " | ".join(map(str, typing.get_args(annotation)))
    elif isinstance(annotation, UnionType):
        for one in typing.get_args(annotation):
            yield from _choices(one)


def _bounds(field: FieldInfo) -> Iterator[str]:
    for one in field.metadata:
        for kind, words in _SIGNS.items():
            if isinstance(one, kind):
                yield f"{words} {getattr(one, kind.__name__.lower())}"
