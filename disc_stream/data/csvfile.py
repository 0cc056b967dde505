"""Recordings in plain CSV files.

The first line names the columns. A channel may carry its unit in brackets; without one it has the unit
``1``. Two names are special: ``t`` (also ``time``, ``timestamp``), in seconds unless its unit says ``ms``,
``us`` or ``ns``, and ``label`` (also ``activity``), a name per sample, empty where unlabelled::

    t,acc_x[g],acc_y[g],acc_z[g],gyro_x[rad/s],gyro_y[rad/s],gyro_z[rad/s],label
    0.00,0.02,-0.01,0.99,0.001,0.002,-0.001,standing
    0.02,0.02,-0.01,1.00,0.001,0.001,-0.001,standing
"""

from __future__ import annotations

import csv
import math
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from sys import intern

import numpy as np
import numpy.typing as npt

from disc_stream.data.parquet import is_export
from disc_stream.data.types import UNLABELLED, LabelArray, Recording
from disc_stream.errors import ConfigError, DataError, InputNotFoundError
from disc_stream.signal.units import KNOWN_UNITS
from disc_stream.types import Channel
from disc_stream.wire.limits import MAX_NAME

_TIME, _LABEL = ("t", "time", "timestamp"), ("label", "activity")
_TIME_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_SPELLINGS = {"m/s^2": "m/s2", "m/s²": "m/s2", "dps": "deg/s", "°/s": "deg/s", "µT": "uT", "": "1"}
_COLUMN = re.compile(r"\s*([^\[\]]+?)\s*(?:\[\s*([^\[\]]*?)\s*\])?\s*")
_PERSON = re.compile(r"(?:user|subject|sub|person)[-_]?0*(\d{1,18})(?!\d)", re.IGNORECASE)
_MOST_LABELS = int(np.iinfo(np.int16).max)
_LONGEST_GAP = 5.0  # sampling periods; jitter and a few lost samples are tolerated, a pause is not
_SLOWEST, _FASTEST = 1.0, 10_000.0  # Hz; outside, the times are probably not in the stated unit
_SNAP = 0.002  # a rate this close to a whole number is taken as that number


@dataclass(frozen=True, slots=True)
class _Columns:
    channels: tuple[Channel, ...]
    positions: tuple[int, ...]
    time: int | None
    time_factor: float
    label: int | None
    width: int


def read_csv(path: Path, *, fs: float | None = None) -> Recording:
    """Read one recording; its name is the file's, its person the number after ``user`` or ``subject`` in it.

    Args:
        path: the file.
        fs: sampling rate in Hz; by default it follows from the time column.

    Raises:
        InputNotFoundError: if there is no such file.
        ConfigError: if it has no time column and no ``fs`` is given.
        DataError: naming the line that is cut short, not a number, or where time goes back or pauses.
    """
    if not path.is_file():
        raise InputNotFoundError(f"recording {str(path)!r} does not exist", remedy="Check the path")
    try:
        with path.open(encoding="utf-8-sig") as file:
            rows = _rows(file, str(path))
            columns = _read_header(next(rows)[1], str(path))
            lines, times, samples, labels = _read_rows(rows, columns, str(path))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{str(path)!r} is not a CSV in UTF-8: {error}") from error
    if columns.time is None and fs is None:
        raise ConfigError(
            f"{str(path)!r} has no column 't', so its sampling rate is unknown",
            remedy="Add a column t with seconds",
        )
    rate = fs if fs is not None else _rate(times * columns.time_factor, lines, str(path))
    names = _label_names(labels, str(path))
    index = {name: i for i, name in enumerate(names)} | {"": UNLABELLED}
    person = _PERSON.search(path.stem)
    return Recording(
        name=re.sub(r"[^A-Za-z0-9_.:-]+", "-", path.stem).lstrip("_.:-")[:64] or "recording",
        subject=int(person[1]) if person else 0,
        fs=rate,
        channels=columns.channels,
        samples=samples.astype(np.float32),
        labels=np.array([index[label] for label in labels], dtype=np.int16),
        label_names=names,
    )


def read_csv_folder(path: Path, progress: Callable[[int, int], None] | None = None) -> list[Recording]:
    """All ``*.csv`` of a folder (or one file), with common label names; files without a person get one each.

    Args:
        path: the folder or file.
        progress: called with (files read, files in all).

    Raises:
        InputNotFoundError: if there is no such file or folder, or no CSV in it.
        DataError: as ``read_csv``.
    """
    found = [f for f in path.iterdir() if f.suffix.lower() == ".csv"] if path.is_dir() else [path]
    files = sorted(found)
    if not files:
        ours = is_export(path)
        raise InputNotFoundError(
            f"{str(path)!r} has no .csv files{' but those of data export' * ours}",
            remedy="Use: disc-stream data import parquet" if ours else "Check the path",
        )
    recordings: list[Recording] = []
    file_of: dict[str, Path] = {}
    for file in files:
        recording = read_csv(file)
        if recording.name in file_of:
            raise DataError(
                f"{str(file)!r} and {file_of[recording.name].name!r} would both be {recording.name!r}",
                remedy="Rename one of them: names differ in letters, digits and _ . : -",
            )
        file_of[recording.name] = file
        recordings.append(recording)
        if progress is not None:
            progress(len(recordings), len(files))
    names = tuple(sorted(_label_names((n for r in recordings for n in r.label_names), str(path))))
    taken = {r.subject for r in recordings}
    free = (n for n in range(1, 2 * len(files) + 1) if n not in taken)
    return [
        replace(
            r,
            labels=_relabel(r.labels, r.label_names, names),
            label_names=names,
            subject=r.subject or next(free),
        )
        for r in recordings
    ]


def _relabel(labels: LabelArray, old: Sequence[str], new: Sequence[str]) -> LabelArray:
    table = np.array([*(new.index(name) for name in old), UNLABELLED], dtype=np.int16)
    return table[labels]  # -1 takes the last entry


def _label_names(labels: Iterable[str], where: str) -> tuple[str, ...]:
    """The names that occur, in the order of their first samples."""
    names = tuple(dict.fromkeys(label for label in labels if label))
    if len(names) > _MOST_LABELS:
        raise DataError(
            f"{where!r} has {len(names):,} different labels, more than {_MOST_LABELS:,}",
            remedy="If the column is no activity, give it another name than label or activity",
        )
    return names


def _rows(file: Iterable[str], where: str) -> Iterator[tuple[int, list[str]]]:
    """Line numbers and fields of all lines that are not blank."""
    lines = iter(file)
    first = next(lines, "")
    delimiter = next((d for d in ",;\t" if d in first), ",")
    reader = csv.reader(chain([first], lines), delimiter=delimiter)
    rows = ((reader.line_num, row) for row in reader if any(field.strip() for field in row))
    head = next(rows, None)
    if head is None:
        raise DataError(f"{where!r} is empty")
    yield head
    yield from rows


def _read_header(fields: list[str], where: str) -> _Columns:
    channels, positions = [], []
    time = label = None
    factor = 1.0
    for position, field in enumerate(fields):
        match = _COLUMN.fullmatch(field)
        if match is None:
            raise DataError(
                f"{where!r}, line 1: column {position + 1} is named {field!r}",
                remedy="Name columns like acc_x[g]",
            )
        name, unit = match[1], match[2] or ""
        if name.lower() in _TIME:
            time, factor = position, _time_factor(unit, where)
        elif name.lower() in _LABEL:
            label = position
        elif not name.isprintable() or len(name) > MAX_NAME:
            raise DataError(
                f"{where!r}, line 1: {name!r:.80} cannot be the name of a channel",
                remedy=f"Use 1 to {MAX_NAME} printable characters",
            )
        else:
            channels.append(Channel(name, _unit(name, unit, where)))
            positions.append(position)
    names = [channel.name for channel in channels]
    if not names or len(set(names)) != len(names):
        what = "names no channels" if not names else "names a channel twice"
        raise DataError(f"{where!r}, line 1 {what}", remedy="Name columns like acc_x[g]")
    if all(_is_number(field) for field in fields):
        raise DataError(f"{where!r} has no header", remedy="Name the columns in line 1, like acc_x[g]")
    return _Columns(tuple(channels), tuple(positions), time, factor, label, len(fields))


def _time_factor(unit: str, where: str) -> float:
    if (unit or "s") not in _TIME_UNITS:
        raise DataError(f"{where!r}, line 1: time unit {unit!r} is not one of {', '.join(_TIME_UNITS)}")
    return _TIME_UNITS[unit or "s"]


def _unit(channel: str, unit: str, where: str) -> str:
    unit = _SPELLINGS.get(unit, unit)
    if unit not in KNOWN_UNITS:
        raise DataError(
            f"{where!r}, line 1: unit {unit!r} of {channel!r} is not known",
            remedy=f"Use one of: {', '.join(sorted(KNOWN_UNITS))}",
        )
    return unit


def _read_rows(
    rows: Iterator[tuple[int, list[str]]], columns: _Columns, where: str
) -> tuple[Sequence[int], npt.NDArray[np.float64], npt.NDArray[np.float64], list[str]]:
    """Line numbers, times, samples (n, n_channels) and labels of all rows."""
    wanted = [*columns.positions, *([] if columns.time is None else [columns.time])]
    # Arrays of machine numbers: a long recording has millions of fields.
    lines, values, labels = array("q"), array("d"), []
    for line, row in rows:
        if len(row) != columns.width:
            raise DataError(
                f"{where!r}, line {line}: expected {columns.width} fields as in the header, got {len(row)}",
                remedy="The file may be cut short: remove the line or write the file again",
            )
        try:
            values.extend([float(row[position]) for position in wanted])
        except ValueError:
            raise _not_a_number([row[position] for position in wanted], line, where) from None
        labels.append("" if columns.label is None else intern(row[columns.label].strip()))
        lines.append(line)
    if not lines:
        raise DataError(f"{where!r} has a header but no samples")
    table = np.frombuffer(values).reshape(len(lines), len(wanted))
    wrong = np.flatnonzero(~np.isfinite(table).all(axis=1))
    if len(wrong):
        raise _not_a_number([str(v) for v in table[wrong[0]]], lines[wrong[0]], where)
    n_channels = len(columns.channels)
    return lines, table[:, n_channels:].ravel(), table[:, :n_channels], labels


def _not_a_number(fields: Sequence[str], line: int, where: str) -> DataError:
    wrong = next(field for field in fields if not _is_number(field))
    return DataError(f"{where!r}, line {line}: expected a finite number, got {wrong.strip()[:20]!r}")


def _is_number(field: str) -> bool:
    try:
        return math.isfinite(float(field))
    except ValueError:
        return False


def _rate(times: npt.NDArray[np.float64], lines: Sequence[int], where: str) -> float:
    """Mean sampling rate, after checking that time neither goes back nor pauses."""
    if len(times) < 2:
        raise DataError(f"{where!r} has one sample, too few for a sampling rate")
    steps = np.diff(times)
    back = np.flatnonzero(steps < 0)
    if len(back):
        raise DataError(
            f"{where!r}, line {lines[back[0] + 1]}: time goes back", remedy="Sort the file by time"
        )
    period = float(np.median(steps))
    if not 1 / _FASTEST <= period <= 1 / _SLOWEST:
        raise DataError(
            f"{where!r}: samples are {period:g} s apart, which is no plausible rate",
            remedy="If the times are not seconds, name the column t[ms], t[us] or t[ns]",
        )
    gap = np.flatnonzero(steps > _LONGEST_GAP * period)
    if len(gap):
        raise DataError(
            f"{where!r}, line {lines[gap[0] + 1]}: a pause of {steps[gap[0]]:.3g} s",
            remedy="Cut the file there: a recording has no gaps",
        )
    rate = (len(times) - 1) / float(times[-1] - times[0])
    return float(round(rate)) if abs(rate - round(rate)) <= _SNAP * rate else round(rate, 3)
