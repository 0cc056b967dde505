"""What known loggers write, each described by a small YAML file in this folder.

A description says how its files are recognised and what cannot be read off them. All that a file says of
itself, such as names and units in its header, needs no description. ``docs/reference/formats.md`` explains
the keys.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from disc_stream.data.importing.dialect import Dialect

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # reads no Python objects either
_Model = ConfigDict(frozen=True, extra="forbid")


class Match(BaseModel):
    """How a file is recognised; what is given must all fit, without regard to case."""

    model_config = _Model

    file: str | None = Field(None, description="regular expression that the file's name has")
    header: list[str] = Field([], description="regular expressions, each fits one of the columns' names")
    preamble: str | None = Field(None, description="regular expression that a line before the header has")
    fields: list[Literal["date", "number", "any"]] = Field([], description="of a row, if there is no header")


class ColumnRule(BaseModel):
    """What a column is; the first rule whose ``name`` fits counts."""

    model_config = _Model

    name: str = Field(description="regular expression of the column's name, or its position such as #2")
    role: Literal["time", "channel", "label", "ignored"] = "channel"
    to: str = Field("", description=r"name of the channel; \1 stands for a group of the expression")
    unit: str = Field("", description="where the file does not say it")
    scale: float = Field(1.0, description="physical value of one count")
    why: str = Field("", description="for the plan")


class FileRule(BaseModel):
    """What a file is among those of one recording."""

    model_config = _Model

    file: str = Field(description="regular expression of the file's stem")
    sensor: str = Field("", description="acc, gyro, mag, gravity, useracc or ignored")
    unit: str = Field("", description="of its channels, where the file does not say it")
    scale: float = 1.0


class Format(BaseModel):
    """What a logger writes."""

    model_config = _Model

    name: str
    title: str
    source: str = Field(description="where the logger's maker describes it")
    match: Match
    columns: list[ColumnRule] = []
    files: list[FileRule] = []
    together: bool = Field(False, description="whether the files of a folder are one recording")
    layout: Literal["table", "start-rate", "json"] = "table"
    rate: str = Field("", description="regular expression of the preamble; group 1 is the rate in Hz")
    month_first: str = Field("", description="regular expression of the preamble, of dates like 5/23/2020")
    gravity: Literal["in", "apart"] = Field("in", description="whether acc contains gravity")
    mind: list[str] = Field([], description="what a user should know")


def fits(format_: Format, stem: str, dialect: Dialect) -> bool:
    """Whether a file is of a format."""
    match = format_.match
    if match.file is not None and not re.search(match.file, stem, re.IGNORECASE):
        return False
    if match.preamble is not None and not any(
        re.search(match.preamble, line, re.IGNORECASE) for line in dialect.preamble
    ):
        return False
    if match.fields and (dialect.names or not _fields_fit(match.fields, dialect)):
        return False
    return all(
        any(re.fullmatch(pattern, name, re.IGNORECASE) for name in dialect.names) for pattern in match.header
    )


def _fields_fit(kinds: Sequence[str], dialect: Dialect) -> bool:
    from disc_stream.data.importing.dialect import is_number

    if not dialect.rows or len(dialect.rows[0]) != len(kinds):
        return False
    for kind, field in zip(kinds, dialect.rows[0], strict=True):
        if kind == "number" and not is_number(field, dialect.decimal):
            return False
        if kind == "date" and not re.match(r"\d{4}-\d{2}-\d{2}[ T]", field):
            return False
    return True


@lru_cache(maxsize=1)
def all_formats() -> tuple[Format, ...]:
    """Every description, the most particular ones first."""
    folder = files(__name__)
    found = [
        Format.model_validate(yaml.load(item.read_text(encoding="utf-8"), _LOADER))  # noqa: S506 - a safe one
        for item in sorted(folder.iterdir(), key=lambda item: item.name)
        if item.name.endswith(".yaml")
    ]
    return tuple(sorted(found, key=lambda one: (-_particular(one.match), one.name)))


def _particular(match: Match) -> int:
    return (
        len(match.header) + 20 * (match.preamble is not None) + (match.file is not None) + len(match.fields)
    )


def format_of(stem: str, dialect: Dialect) -> Format | None:
    """The format of a file, if it is a known one."""
    return next((one for one in all_formats() if fits(one, stem, dialect)), None)
