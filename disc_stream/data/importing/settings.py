"""What a person decides about an import: ``--map`` and a small YAML, saved beside the result."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from disc_stream.data.importing.unitnames import time_unit_of, unit_of
from disc_stream.errors import ConfigError, InputNotFoundError

_TARGET = re.compile(r"\s*([^\[\]]+?)\s*(?:\[\s*([^\[\]]*?)\s*\])?\s*")
BRIDGE_S = 0.2
"""Longest stretch of lost samples that is filled by straight lines, in seconds."""


class Target(BaseModel):
    """What a column is to be."""

    model_config = ConfigDict(frozen=True)

    role: Literal["time", "channel", "label", "person", "ignored"]
    name: str = ""
    unit: str = ""


class Settings(BaseModel):
    """What is decided; what is not given follows from the files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: dict[str, str] = Field(
        {}, description="column (or FILE:column) to acc_x[g], t[ms], label, person or -"
    )
    people: dict[str, int] = Field({}, description="pattern of file names to the number of the person")
    leave_out: list[str] = Field([], description="patterns of file names that are no recordings")
    rate: float | None = Field(None, gt=0, allow_inf_nan=False, description="Hz of the result")
    source_rate: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Hz of files without times"
    )
    bridge_s: float = Field(BRIDGE_S, ge=0, le=10, description="longest gap that is filled, in seconds")
    dates: Literal["day-first", "month-first", ""] = Field("", description="of dates like 03/04/2024")

    def target(self, file: str, column: str) -> Target | None:
        """What is decided of a column of a file; None if nothing is.

        Raises:
            ConfigError: if it is decided to be something unheard of.
        """
        for key, text in self.columns.items():
            pattern, colon, name = key.rpartition(":")
            here = not colon or fnmatchcase(file.lower(), f"*{pattern.lower()}")
            if here and name.strip().lower() == column.strip().lower():
                return parse_target(text, key)
            if key.strip().lower() == column.strip().lower():
                return parse_target(text, key)
        return None

    def is_left_out(self, file: str) -> bool:
        """Whether a file is no recording."""
        return any(_names(pattern, file) for pattern in self.leave_out)

    def person(self, file: str) -> int | None:
        """The person that is decided for a file."""
        return next((n for pattern, n in self.people.items() if _names(pattern, file)), None)


def _names(pattern: str, file: str) -> bool:
    return fnmatchcase(file.lower(), pattern.lower()) or fnmatchcase(file.lower(), f"*/{pattern.lower()}")


def parse_target(text: str, key: str) -> Target:
    """What ``acc_x[g]``, ``t[ms]``, ``label``, ``person`` or ``-`` means.

    Raises:
        ConfigError: naming it.
    """
    match = _TARGET.fullmatch(text)
    if text.strip() in ("-", ""):
        return Target(role="ignored")
    if match is None:
        raise ConfigError(
            f"{key!r} is mapped to {text!r}", remedy="Write it like acc_x[g], t[ms], label, person or -"
        )
    name, unit = match[1], match[2]
    if name.lower() in ("t", "time"):
        if unit is not None and time_unit_of(unit) is None:
            raise ConfigError(f"time unit {unit!r} of {key!r} is not one of s, ms, us, ns")
        return Target(role="time", name="t", unit=time_unit_of(unit or "") or "")
    if name.lower() in ("label", "activity") and unit is None:
        return Target(role="label", name="label")
    if name.lower() == "person" and unit is None:
        return Target(role="person", name="person")
    known = unit_of(unit) if unit is not None else ""
    if known is None:
        raise ConfigError(
            f"unit {unit!r} of {key!r} is not known",
            remedy="Use one of g, mg, m/s2, deg/s, mdps, rad/s, uT, 1",
        )
    return Target(role="channel", name=name, unit=known)


def read_settings(words: Sequence[str]) -> Settings:
    """The settings that ``--map`` gives: YAML files, and ``COLUMN=WHAT`` on top of them.

    Args:
        words: each a ``.yaml`` file, ``COLUMN=acc_x[g]``, ``FILE=-`` to leave a file out, or
            ``FILE=person7``.

    Raises:
        InputNotFoundError: if a file does not exist.
        ConfigError: if one is not understood.
    """
    merged: dict[str, object] = {}
    columns: dict[str, str] = {}
    people: dict[str, int] = {}
    left: list[str] = []
    for word in words:
        if word.lower().endswith((".yaml", ".yml")) and "=" not in word:
            merged |= _read_yaml(Path(word))
            continue
        key, equals, value = word.rpartition("=")
        if not equals or not key:
            raise ConfigError(f"--map {word!r} is no COLUMN=WHAT", remedy="Write it like --map 'ax=acc_x[g]'")
        person = re.fullmatch(r"person[-_]?(\d{1,18})", value.strip(), re.IGNORECASE)
        if person:
            people[key] = int(person[1])
        elif value.strip() == "-" and ("." in key or "/" in key or "*" in key) and ":" not in key:
            left.append(key)
        else:
            parse_target(value, key)
            columns[key] = value
    try:
        base = Settings.model_validate(merged)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise ConfigError(f"the settings are not usable: {field}: {first['msg']}") from None
    return base.model_copy(
        update={
            "columns": base.columns | columns,
            "people": base.people | people,
            "leave_out": [*base.leave_out, *left],
        }
    )


def _read_yaml(path: Path) -> dict[str, object]:
    if not path.is_file():
        raise InputNotFoundError(f"{str(path)!r} does not exist", remedy="Check the path")
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{str(path)!r} is no YAML: {error}") from None
    if not isinstance(found, dict):
        raise ConfigError(
            f"{str(path)!r} holds no settings", remedy="Write it like columns: {ax: 'acc_x[g]'}"
        )
    return {str(key): value for key, value in found.items()}


def write_settings(path: Path, settings: Settings) -> None:
    """Save what was decided, so that the same import can be made again.

    Raises:
        ConfigError: if the file cannot be written.
    """
    text = yaml.safe_dump(settings.model_dump(exclude_none=True), sort_keys=False, allow_unicode=True)
    try:
        path.write_text(f"# Settings of an import, for --map\n{text}", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write {str(path)!r}: {error.strerror or error}") from error
