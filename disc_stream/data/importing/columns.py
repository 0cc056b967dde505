"""Which column is what: time, channels with units, labels, persons; the rest is left out, with a reason."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

from disc_stream.data.importing.dialect import MISSING, Dialect, is_number
from disc_stream.data.importing.formats import ColumnRule, FileRule, Format
from disc_stream.data.importing.settings import Settings
from disc_stream.data.importing.unitnames import QUANTITY, time_unit_of, unit_of
from disc_stream.wire.limits import MAX_NAME

Role = Literal["time", "channel", "label", "person", "ignored", "asked"]

_BRACKETS = re.compile(r"\s*(.*?)\s*[\[(]\s*([^\[\]()]*(?:\([^()]*\)[^\[\]()]*)?)\s*[\])]\s*")
_TIME = re.compile(
    r"t|time ?stamp|time|date ?time|date|.*(?<![a-z])(time ?stamp|epoch?)\b.*|elapsed.*|seconds_elapsed"
    r"|unix_?time.*|logging ?time.*|time[ _-]?(stamp)?[ _-]?(unix|utc|ms|us|ns|s|sec|seconds)?|millis|micros"
)
_LABELS = ("label", "labels", "activity", "activity_label", "class")
_PERSONS = (
    "person",
    "user",
    "subject",
    "participant",
    "user_id",
    "subject_id",
    "participant_id",
    "person_id",
)
_AXIS = re.compile(r"(.*?)[\s_.\-]*\(?([xyz])\)?(?:[\s_\-]*axis)?")
_SENSORS = (
    ("useracc", r"user[\s_.]?acc\w*|linear[\s_.]?acc\w*|lin[\s_.]?acc\w*"),
    ("gravity", r"grav\w*"),
    ("gyro", r"gyr\w*|rotation[\s_.]?rate|ang(ular)?[\s_.]?(vel\w*|rate)|omega|rot"),
    ("mag", r"mag\w*"),
    ("acc", r"acc\w*|linacc|body[\s_.]?acc\w*"),
)
SENSOR_ORDER = ("acc", "useracc", "gravity", "gyro", "mag")


@dataclass(frozen=True, slots=True)
class Column:
    """What a column is.

    Args:
        position: in the file.
        title: in the file; its position such as #2 where it has no name.
        role: what it is; ``asked`` where a person must say.
        name: of the channel.
        unit: of the channel, or of the time; "" where that is found from the values.
        scale: physical value of one count.
        why: why it has this role, or what is asked.
    """

    position: int
    title: str
    role: Role
    name: str = ""
    unit: str = ""
    scale: float = 1.0
    why: str = ""

    @property
    def sensor(self) -> str:
        """Placement and sensor of a channel: its name without the axis."""
        return self.name[:-2] if re.fullmatch(r".*_[xyz]", self.name) else self.name


def find_columns(
    file: str, dialect: Dialect, format_: Format | None, rule: FileRule | None, settings: Settings
) -> list[Column]:
    """What each column of a file is.

    Args:
        file: its name, for the settings.
        dialect: how it is written.
        format_: its format, if it is a known one.
        rule: what the format says of files named so.
        settings: what a person has decided.
    """
    return [
        _usable(_column(position, file, dialect, format_, rule, settings))
        for position in range(max(dialect.width, len(dialect.names)))
    ]


def _usable(column: Column) -> Column:
    """The column; asked about where its name could not be published."""
    name = column.name
    if column.role != "channel" or (name.isprintable() and len(name) <= MAX_NAME):
        return column
    why = f"{name!r:.80} cannot be the name of a channel"
    return Column(column.position, column.title, "asked", why=why)


def _column(
    position: int,
    file: str,
    dialect: Dialect,
    format_: Format | None,
    rule: FileRule | None,
    settings: Settings,
) -> Column:
    name = dialect.names[position] if position < len(dialect.names) else ""
    title = name or f"#{position + 1}"
    bare, unit_text = _take_unit(name, dialect.units[position] if position < len(dialect.units) else "")
    decided = (
        settings.target(file, title)
        or settings.target(file, bare)
        or settings.target(file, f"#{position + 1}")
    )
    if decided is not None:
        unit = decided.unit or (unit_of(unit_text or "") or "" if decided.role == "channel" else "")
        return Column(position, title, decided.role, decided.name, unit, why="as you say")
    values = [row[position] for row in dialect.rows if position < len(row)]
    described = _described(format_, title, position, dialect)
    if described is not None:
        return _by_rule(position, title, unit_text, described, rule)
    if not name and not any(v.strip() for v in values):
        return Column(position, title, "ignored", why="empty")
    return _by_name(_Heading(position, title, bare, unit_text), values, dialect, rule)


def _take_unit(name: str, below: str) -> tuple[str, str | None]:
    """Name and unit of a column, the unit in brackets, in parentheses or in the line below."""
    match = _BRACKETS.fullmatch(name)
    if match and match[1] and not re.fullmatch(r"[xyz]", match[2]):
        return match[1], match[2]
    return name, (below if unit_of(below) else below.strip("[]() ")) or None


def _described(
    format_: Format | None, title: str, position: int, dialect: Dialect
) -> tuple[ColumnRule, str] | None:
    for rule in format_.columns if format_ else ():
        by_place = rule.name.startswith("#")
        if by_place and dialect.names and any(dialect.names):
            continue
        match = re.fullmatch(rule.name, f"#{position + 1}" if by_place else title, re.IGNORECASE)
        if match:
            return rule, match.expand(rule.to).lower() if rule.to else ""
    return None


def _by_rule(
    position: int, title: str, unit_text: str | None, found: tuple[ColumnRule, str], rule: FileRule | None
) -> Column:
    described, name = found
    said = unit_of(unit_text) if unit_text else None
    if described.role == "time":
        unit = described.unit or time_unit_of(unit_text or "") or ""
        return Column(position, title, "time", "t", unit)
    if described.role != "channel":
        return Column(position, title, described.role, name, why=described.why)
    unit = (rule.unit if rule else "") or described.unit or said or ""
    scale = described.scale * (rule.scale if rule else 1.0)
    if re.fullmatch("[xyz]", name):
        sensor = (rule.sensor if rule else "") or QUANTITY.get(unit, "acc")
        if sensor == "ignored":
            return Column(position, title, "ignored", why="no motion")
        name = f"{sensor}_{name}"
    return _channel(position, title, name, unit, unit_text, scale)


class _Heading(NamedTuple):
    """A column as it is named; ``bare`` is the title without its unit."""

    position: int
    title: str
    bare: str
    unit_text: str | None


def _by_name(heading: _Heading, values: Sequence[str], dialect: Dialect, rule: FileRule | None) -> Column:
    position, title, bare, unit_text = heading
    low = bare.strip().lower()
    if low in _LABELS:
        return Column(position, title, "label", "label")
    if low in _PERSONS:
        return Column(position, title, "person", "person", why="names the person")
    if _TIME.fullmatch(low) and (unit_of(unit_text or "") in (None, "1", "T") or unit_text == "s"):
        return _time(position, title, unit_text)
    numbers = [v for v in values if v.strip().lower() not in MISSING]
    if numbers and sum(is_number(v, dialect.decimal) for v in numbers) * 2 < len(numbers):
        return _text(position, title, numbers)
    return _numbers(position, title, bare, unit_text, rule, rises=_only_rises(values, dialect))


def _time(position: int, title: str, unit_text: str | None) -> Column:
    known = time_unit_of(unit_text or "") or ""
    if unit_text and not known and not re.fullmatch(r"[+\-\d:]+|txt", unit_text):
        return Column(position, title, "asked", why=f"time unit {unit_text!r} is not known")
    return Column(position, title, "time", "t", known)


def _text(position: int, title: str, values: Sequence[str]) -> Column:
    if any("-" in v or "/" in v for v in values) and any(":" in v for v in values):
        return Column(position, title, "time", "t", why="dates")
    return Column(position, title, "ignored", why="text")


def _numbers(
    position: int, title: str, bare: str, unit_text: str | None, rule: FileRule | None, *, rises: bool
) -> Column:
    unit = unit_of(unit_text) if unit_text is not None else None
    sensor_name = _sensor_name(bare.strip().lower(), unit, rule)
    if sensor_name is not None:
        chosen = unit or (rule.unit if rule else "") or ""
        return _channel(position, title, sensor_name, chosen, unit_text, rule.scale if rule else 1.0)
    if rises:
        return Column(position, title, "ignored", why="it only rises: a clock or a counter, no motion")
    if unit_text is not None and unit is None:
        return Column(position, title, "asked", bare, why=f"unit {unit_text!r} is not known")
    return Column(position, title, "channel", bare or title, unit or "1", why="" if unit else "no unit")


def _channel(position: int, title: str, name: str, unit: str, unit_text: str | None, scale: float) -> Column:
    if not unit:
        what = f"unit {unit_text!r} is not known" if unit_text else "its unit is not said"
        return Column(position, title, "asked", name, scale=scale, why=what)
    return Column(position, title, "channel", name, unit, scale)


def _sensor_name(low: str, unit: str | None, rule: FileRule | None) -> str | None:
    """A channel's name in our form, such as ``left_wrist_acc_x``; None if it names no axis of a sensor."""
    match = _AXIS.fullmatch(low)
    if match is None:
        return None
    rest, axis = match[1], match[2]
    words = [word for word in re.split(r"[\s_.\-]+", rest) if word]
    by_unit = QUANTITY.get(unit or "")
    if not words or words == ["axis"]:
        sensor = (rule.sensor if rule else "") or by_unit
        return None if not sensor or sensor == "ignored" else f"{sensor}_{axis}"
    if words in (["a"], ["g"]) and by_unit in (None, "acc" if words == ["a"] else "gyro"):
        return f"{'acc' if words == ['a'] else 'gyro'}_{axis}"
    joined = "_".join(words)
    for sensor, pattern in _SENSORS:
        found = re.search(rf"(?:^|_)({pattern})(?:_|$)", joined)
        if found:
            place = [w for w in (joined[: found.start(1)].strip("_"), joined[found.end(1) :].strip("_")) if w]
            if by_unit and sensor in ("acc", "gyro", "mag") and by_unit != sensor:
                return None
            return "_".join([*place, sensor, axis])
    return None


def _only_rises(values: Sequence[str], dialect: Dialect) -> bool:
    """Whether a column's first values never fall and rise often: no sensor of motion does."""
    numbers = [
        float(v.replace(",", ".") if dialect.decimal == "," else v)
        for v in values
        if is_number(v, dialect.decimal)
    ]
    if len(numbers) < 20:
        return False
    steps = [b - a for a, b in pairwise(numbers)]
    return min(steps) >= 0 and sum(step > 0 for step in steps) > 0.02 * len(steps)


def column_of_sensor(position: int, name: str, units: str) -> Column:
    """What a sensor of a file is that says name and unit apart."""
    unit = unit_of(units)
    known = _sensor_name(name.strip().lower(), unit, None)
    if known is not None:
        return _channel(position, name, known, unit or "", units, 1.0)
    if unit is None:
        return Column(position, name, "asked", name, why=f"unit {units!r} is not known")
    return Column(position, name, "channel", name, unit)


def channel_order(column: Column) -> tuple[str, int, str]:
    """Sorts channels: by place, sensor and axis; others stay behind, by name."""
    for number, sensor in enumerate(SENSOR_ORDER):
        match = re.fullmatch(rf"(?:(.*)_)?{sensor}(?:_(\w+))?_([xyz])", column.name)
        if match:
            return f"0{match[1] or ''}", number, (match[2] or "") + match[3]
    return "1", 0, ""
