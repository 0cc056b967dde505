"""One file looked at: its format, its columns, its times; and which files are one recording."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import PurePosixPath

import numpy as np

from disc_stream.data.importing import binary, jsonfile
from disc_stream.data.importing.columns import Column, find_columns
from disc_stream.data.importing.dialect import HEAD, MISSING, Dialect, is_number, read_dialect
from disc_stream.data.importing.files import BINARIES, Entry
from disc_stream.data.importing.formats import FileRule, Format, all_formats, format_of
from disc_stream.data.importing.settings import Settings
from disc_stream.data.importing.table import Table, TimeColumn, sample_numbers
from disc_stream.data.importing.times import guess_unit, parse_texts, text_form
from disc_stream.errors import DataError

_SENSOR_WORDS = (
    ("useracc", r"useracceleration|user_?accelerometer|linear ?acc\w*|linearacc\w*"),
    ("acc", r"acc|accel|accelerometer|acceleration|totalacceleration|accelerometeruncalibrated"),
    ("gyro", r"gyr|gyro|gyroscope|gyroscopeuncalibrated|rotationrate"),
    ("gravity", r"gravity"),
    ("mag", r"mag|magn|magnetometer|magnetometeruncalibrated"),
)
_HZ = re.compile(r"\d+(\.\d+)?hz", re.IGNORECASE)
_START = re.compile(r"start time\W*(\d{1,2}:\d{2}:\d{2})", re.IGNORECASE)
_START_DATE = re.compile(r"start date\W*(\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Sheet:
    """One file that holds samples.

    Args:
        entry: the file.
        dialect: how it is written; None for files that are no text.
        format: the format, if it is a known one.
        columns: what each column is.
        time: where the times come from.
        sensor: that the file's name says; "" if it says none.
        rest: the file's name without it.
        load: reads it, where it is no text table.
    """

    entry: Entry
    dialect: Dialect | None
    format: Format | None
    columns: tuple[Column, ...]
    time: TimeColumn
    sensor: str = ""
    rest: str = ""
    load: Callable[[], Table] | None = None

    @property
    def channels(self) -> list[Column]:
        """The columns that are samples."""
        return [c for c in self.columns if c.role == "channel"]

    @property
    def label(self) -> Column | None:
        """The column of activities."""
        return next((c for c in self.columns if c.role == "label"), None)

    @property
    def person(self) -> Column | None:
        """The column that names whose a row is."""
        return next((c for c in self.columns if c.role == "person"), None)


def sensor_of(stem: str) -> tuple[str, str]:
    """The sensor that a file's name says, and the rest of the name; ("", name) if it says none."""
    words = [w for w in re.split(r"([-_ .]+)", stem) if w]
    for place, word in enumerate(words):
        for sensor, pattern in _SENSOR_WORDS:
            if re.fullmatch(pattern, word, re.IGNORECASE):
                left = [w for w in (*words[:place], *words[place + 1 :]) if not _HZ.fullmatch(w)]
                return sensor, re.sub(r"[-_ .]{2,}", "_", "".join(left)).strip("-_ .")
    joined = stem.lower()
    if re.fullmatch(r"linear ?accelerometer|linear ?acceleration", joined):
        return "useracc", ""
    return "", stem


def look_at(entry: Entry, settings: Settings) -> Sheet | str:
    """Find out what a file holds; why it is passed over, where it holds no samples.

    Raises:
        DataError: naming what is unclear, and how to say it.
    """
    if entry.suffix == ".json":
        return _look_at_json(entry)
    if entry.suffix in BINARIES:
        return Sheet(
            entry, None, None, tuple(binary.columns_of_binary()), TimeColumn(-1),
            load=lambda: binary.read_binary(entry),
        )  # fmt: skip
    head = entry.head(HEAD + 1)
    dialect = read_dialect(head[:HEAD], entry.where, complete=len(head) <= HEAD)
    format_ = format_of(entry.stem, dialect)
    sensor, rest = sensor_of(entry.stem)
    rule = _file_rule(format_, entry.stem) or (FileRule(file="", sensor=sensor) if sensor else None)
    if rule is not None and rule.sensor == "ignored":
        return "no motion"
    columns = find_columns(entry.name, dialect, format_, rule, settings)
    asked = next((c for c in columns if c.role == "asked"), None)
    if asked is not None:
        raise _question(entry, asked, columns)
    if format_ is not None and format_.layout == "start-rate":
        dialect, time = _start_and_rate(entry, dialect)
    else:
        columns, time = _choose_time(entry, dialect, format_, columns, settings)
    sheet = Sheet(entry, dialect, format_, tuple(columns), time, sensor, rest)
    _check_channels(sheet)
    return sheet


def _look_at_json(entry: Entry) -> Sheet | str:
    payload = jsonfile.sample_of(jsonfile.read_json(entry))
    if payload is None:
        return "no sample of Edge Impulse"
    columns = jsonfile.columns_of(entry, payload)
    asked = next((c for c in columns if c.role == "asked"), None)
    if asked is not None:
        raise DataError(
            f"{entry.where!r}: {asked.why} (sensor {asked.title!r})",
            remedy="Write the unit into the file, such as m/s2 or deg/s",
        )
    sheet = Sheet(
        entry, None, None, tuple(columns), jsonfile.time_of(payload),
        load=lambda: jsonfile.table_of(entry, payload, columns),
    )  # fmt: skip
    _check_channels(sheet)
    return sheet


def is_beside(entry: Entry, sheets: Sequence[Sheet]) -> bool:
    """Whether a file lies among those of a format that says that it holds no motion."""
    names = {s.format.name for s in sheets if s.format is not None and s.entry.folders == entry.folders}
    for format_ in all_formats():
        rule = _file_rule(format_, entry.stem)
        if format_.name in names and rule is not None and rule.sensor == "ignored":
            return True
    return False


def _file_rule(format_: Format | None, stem: str) -> FileRule | None:
    rules = format_.files if format_ else []
    return next((rule for rule in rules if re.search(rule.file, stem, re.IGNORECASE)), None)


def _question(entry: Entry, asked: Column, columns: Sequence[Column]) -> DataError:
    alike = [c for c in columns if c.role == "asked"]
    which = ", ".join(repr(c.title) for c in alike[:3]) + (" …" if len(alike) > 3 else "")
    if asked.why.startswith("time unit"):
        return DataError(f"{entry.where!r}: {asked.why}", remedy=f"Say it: --map '{asked.title}=t[ms]'")
    name = asked.name or "acc_x"
    unit = "g" if "acc" in name else "deg/s" if "gyro" in name else "uT" if "mag" in name else "1"
    return DataError(
        f"{entry.where!r}: {asked.why} (column{'s' * (len(alike) > 1)} {which})",
        remedy=f"Say it for each: --map '{asked.title}={name}[{unit}]', or leave it out: "
        f"--map '{asked.title}=-'",
    )


def _check_channels(sheet: Sheet) -> None:
    names = [c.name for c in sheet.channels]
    where = sheet.entry.where
    if not names:
        left = "; ".join(f"{c.title!r}: {c.why or c.role}" for c in sheet.columns[:6])
        raise DataError(
            f"{where!r} has no channels ({left})", remedy="Say which: --map 'COLUMN=acc_x[g]' for each"
        )
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        columns = [c.title for c in sheet.channels if c.name == twice]
        raise DataError(
            f"{where!r} has channel {twice!r} twice: columns {columns[0]!r} and {columns[1]!r}",
            remedy=f"Leave one out or rename it: --map '{columns[1]}=-'",
        )


# -- times ------------------------------------------------------------------------------------------------


def _choose_time(
    entry: Entry, dialect: Dialect, format_: Format | None, columns: list[Column], settings: Settings
) -> tuple[list[Column], TimeColumn]:
    """The column of times that tells most, and the others as what they are."""
    best: tuple[tuple[float, ...], Column] | None = None
    for column in columns:
        if column.role != "time":
            continue
        texts = [row[column.position].strip() for row in dialect.rows if column.position < len(row)]
        filled = [t for t in texts if t.lower() not in MISSING]
        changes = sum(a != b for a, b in pairwise(filled))
        decided = column.why == "as you say"
        rank = (float(decided), float(changes), float(bool(column.unit)), -float(column.position))
        if filled and (best is None or rank > best[0]):
            best = rank, column
    if best is None:
        return columns, _rate_alone(entry, dialect, format_, settings)
    chosen = best[1]
    others = [
        replace(c, role="ignored", why="the time once more") if c.role == "time" and c is not chosen else c
        for c in columns
    ]
    return others, _time_column(entry, dialect, format_, chosen, settings)


def _time_column(
    entry: Entry, dialect: Dialect, format_: Format | None, column: Column, settings: Settings
) -> TimeColumn:
    texts = [row[column.position] for row in dialect.rows if column.position < len(row)]
    filled = [t for t in texts if t.strip().lower() not in MISSING]
    if sum(is_number(t, dialect.decimal) for t in filled) * 2 < len(filled):
        dates = "month-first" if _month_first(format_, dialect) else settings.dates
        form = text_form(filled, dates)
        if form is None:
            raise DataError(
                f"{entry.where!r}: times like {filled[0][:30]!r} are not understood",
                remedy="Write them as 2024-05-20 10:13:20.123, or as seconds",
            )
        if form.kind == "date" and not form.order:
            raise DataError(
                f"{entry.where!r}: whether {filled[0][:30]!r} begins with the day or the month is not said",
                remedy="Say it: --dates day-first, or --dates month-first",
            )
        return TimeColumn(column.position, form=form)
    if column.unit:
        return TimeColumn(column.position, column.unit)
    values = sample_numbers(dialect.rows, column.position, dialect.decimal)
    unit = guess_unit(values)
    if unit is None:
        step = float(np.median(np.diff(values))) if len(values) > 1 else 0.0
        if len(values) < 2:
            raise DataError(f"{entry.where!r} has one sample, too few for a sampling rate")
        raise DataError(
            f"{entry.where!r}: samples are {step:g} apart in {column.title!r}, and whether those are "
            f"seconds is not said",
            remedy=f"Say it: --map '{column.title}=t[s]' (or ms, us, ns)",
        )
    return TimeColumn(column.position, unit)


def _month_first(format_: Format | None, dialect: Dialect) -> bool:
    pattern = format_.month_first if format_ else ""
    return bool(pattern) and any(re.search(pattern, line, re.IGNORECASE) for line in dialect.preamble)


def _rate_alone(entry: Entry, dialect: Dialect, format_: Format | None, settings: Settings) -> TimeColumn:
    """Without a column of times: the rate that the preamble or a person says."""
    text = "\n".join(dialect.preamble)
    found = re.search(format_.rate, text, re.IGNORECASE) if format_ and format_.rate else None
    rate = settings.source_rate or (float(found[1]) if found else 0.0)
    if not rate:
        raise DataError(
            f"{entry.where!r} has no column of times, so its sampling rate is unknown",
            remedy="Add a column t with seconds, say which it is (--map 'COLUMN=t[s]'), or give "
            "--source-rate HZ",
        )
    date, clock = _START_DATE.search(text), _START.search(text)
    start = 0
    if date and clock:
        form = text_form([f"{date[1]} {clock[1]}"], "month-first" if _month_first(format_, dialect) else "")
        if form is not None and (form.kind != "date" or form.order):
            start = int(parse_texts([f"{date[1]} {clock[1]}"], form)[0])
    return TimeColumn(-1, start_us=max(start, 0), rate=rate)


def _start_and_rate(entry: Entry, dialect: Dialect) -> tuple[Dialect, TimeColumn]:
    """Empatica's layout: a row with the start (seconds since 1970), a row with the rate, then samples."""
    try:
        start, rate = (float(dialect.rows[n][0]) for n in (0, 1))
    except (IndexError, ValueError):
        raise DataError(f"{entry.where!r} does not begin with its start and its rate") from None
    if not 1.0 <= rate <= 10_000.0:
        raise DataError(f"{entry.where!r}: a rate of {rate:g} Hz in its second line is none")
    later = replace(dialect, data_line=dialect.data_line + 2, rows=dialect.rows[2:])
    return later, TimeColumn(-1, start_us=round(start * 1e6), rate=rate)


# -- recordings -------------------------------------------------------------------------------------------


def group_sheets(sheets: Sequence[Sheet], title: str) -> dict[str, list[Sheet]]:
    """Which files are one recording: those of one folder whose names differ in the sensor alone.

    Args:
        sheets: all files.
        title: name of what was given, for files that have none of their own.
    """
    groups: dict[tuple[tuple[str, ...], str], list[Sheet]] = {}
    for sheet in sheets:
        if sheet.sensor:
            groups.setdefault((sheet.entry.folders, sheet.rest), []).append(sheet)
    found: dict[str, list[Sheet]] = {}
    grouped: set[int] = set()
    for (folders, rest), members in groups.items():
        sensors = [m.sensor for m in members]
        if len(members) > 1 and len(set(sensors)) == len(sensors):
            name = "/".join([*folders, rest] if rest else folders) or title
            found[name] = members
            grouped |= {id(m) for m in members}
    for sheet in sheets:
        if id(sheet) not in grouped:
            name = str(PurePosixPath(*sheet.entry.folders, sheet.entry.stem))
            found[name if name not in found else sheet.entry.name] = [sheet]
    return dict(sorted(found.items()))
