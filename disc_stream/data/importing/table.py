"""One file as arrays: times in microseconds, samples in physical units, labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from disc_stream.data.importing.columns import Column
from disc_stream.data.importing.dialect import MISSING, Dialect, is_number
from disc_stream.data.importing.files import Entry
from disc_stream.data.importing.rows import Faults, read_blocks
from disc_stream.data.importing.times import LOST, TextForm, Times, parse_texts, scale_times
from disc_stream.data.types import UNLABELLED
from disc_stream.errors import DataError
from disc_stream.types import Float32Array

Codes = npt.NDArray[np.int16]
_MOST_LABELS = int(np.iinfo(np.int16).max)
_MOST_FAULTY = 0.05  # of the rows


@dataclass(frozen=True, slots=True)
class TimeColumn:
    """Where the times come from.

    Args:
        position: of the column; -1 where there is none.
        unit: of numbers; "" for text.
        form: of text.
        start_us: time of the first row, where there is no column.
        rate: Hz, where there is no column.
    """

    position: int
    unit: str = ""
    form: TextForm | None = None
    start_us: int = 0
    rate: float = 0.0


@dataclass(slots=True)
class Table:
    """The rows of a file.

    Args:
        times: (n,) int64 microseconds.
        values: (n, C) float32, NaN where there is no value.
        labels: (n,) int16, index into ``names`` or -1.
        names: of the labels.
        columns: the channels.
        faults: what could not be used.
        rising: titles of columns that only rise, so that they are no channels.
        people: (n,) int16, index into ``persons`` or -1; None where no column names them.
        persons: their names, as they are written.
    """

    times: Times
    values: Float32Array
    labels: Codes
    names: tuple[str, ...]
    columns: tuple[Column, ...]
    faults: Faults
    rising: tuple[str, ...] = ()
    people: Codes | None = None
    persons: tuple[str, ...] = ()

    def of(self, person: str) -> Table:
        """The rows of one person."""
        assert self.people is not None  # noqa: S101 - whoever asks has seen their names
        rows = self.people == (self.persons.index(person) if person in self.persons else LOST)
        own = replace(self, people=None, persons=())
        own.times, own.values, own.labels = self.times[rows], self.values[rows], self.labels[rows]
        return own


class _Growing:
    """An array that grows at its end without being copied into another."""

    def __init__(self, dtype: npt.DTypeLike, width: int = 0) -> None:
        self._array = np.empty((0, width) if width else 0, dtype=dtype)
        self.n = 0

    def add(self, rows: npt.NDArray[np.generic]) -> None:
        need = self.n + len(rows)
        if need > len(self._array):
            room = max(need, int(1.3 * len(self._array)), 1024)
            self._array.resize((room, *self._array.shape[1:]), refcheck=False)
        self._array[self.n : need] = rows
        self.n = need

    def done(self) -> npt.NDArray[Any]:
        self._array.resize((self.n, *self._array.shape[1:]), refcheck=False)
        return self._array


def read_rows(
    entry: Entry,
    dialect: Dialect,
    channels: Sequence[Column],
    time: TimeColumn,
    label: Column | None,
    person: Column | None = None,
) -> Table:
    """Read one file.

    Args:
        entry: the file.
        dialect: how it is written.
        channels: columns that are samples.
        time: where the times come from.
        label: the column of activities, if there is one.
        person: the column that names whose a row is, if there is one.

    Raises:
        DataError: if it has no rows, too many of them cannot be used, or there are too many labels.
    """
    by_number = time.position >= 0 and time.form is None
    by_text = time.position >= 0 and time.form is not None
    numbers = [c.position for c in channels] + [time.position] * by_number
    texts = [time.position] * by_text + [one.position for one in (label, person) if one is not None]
    faults = Faults()
    values, times = _Growing(np.float32, max(1, len(channels))), _Growing(np.int64)
    labels, codes = _Growing(np.int16), dict[str, int]()
    people, persons = _Growing(np.int16), dict[str, int]()
    scale = np.array([c.scale for c in channels])
    plain = bool((scale == 1).all())
    watch = _Rising(channels)
    for block in read_blocks(entry, dialect, numbers, texts, faults):
        samples = block.numbers[:, : len(channels)]
        watch.take(samples)
        with np.errstate(over="ignore"):
            values.add(samples if plain else samples * scale)
        if by_number:
            times.add(scale_times(block.numbers[:, -1], time.unit))
        elif by_text and time.form is not None:
            at, words = block.texts[0]
            times.add(parse_texts(words, time.form)[at])
        if label is not None:
            labels.add(_codes(*block.texts[by_text], codes, entry.where))
        if person is not None:
            people.add(_codes(*block.texts[-1], persons, entry.where))
    n = values.n
    _check(entry, dialect, faults, n)
    if time.position < 0:
        times.add(time.start_us + np.rint(np.arange(n) * (1e6 / time.rate)).astype(np.int64))
    if label is None:
        labels.add(np.full(n, UNLABELLED, dtype=np.int16))
    return Table(
        times.done(), values.done(), labels.done(), tuple(codes), tuple(channels), faults, watch.names(),
        None if person is None else people.done(), tuple(persons),
    )  # fmt: skip


class _Rising:
    """Watches for columns that only rise: clocks and counters, which no sensor of motion is."""

    def __init__(self, channels: Sequence[Column]) -> None:
        self._channels = channels
        self._rises = np.array([c.sensor == c.name and c.unit == "1" for c in channels], dtype=np.bool_)
        self._last: npt.NDArray[np.float64] | None = None
        self._steps = np.zeros(len(channels), dtype=np.int64)
        self._n = 0

    def take(self, samples: npt.NDArray[np.float64]) -> None:
        if not self._rises.any() or not len(samples):
            return
        rows = samples if self._last is None else np.vstack([self._last, samples])
        steps = np.diff(rows, axis=0)
        self._rises &= ~(steps < 0).any(axis=0)
        self._steps += (steps > 0).sum(axis=0)
        self._last, self._n = samples[-1], self._n + len(samples)

    def names(self) -> tuple[str, ...]:
        rising = self._rises & (self._steps > 0.02 * self._n) & (self._n >= 20)
        return tuple(c.title for c, one in zip(self._channels, rising, strict=True) if one)


def _codes(at: npt.NDArray[np.int64], words: Sequence[str], codes: dict[str, int], where: str) -> Codes:
    """Labels of rows as numbers, in the order of their first rows."""
    table = np.full(len(words), UNLABELLED, dtype=np.int16)
    used, first = np.unique(at, return_index=True)
    for place in used[np.argsort(first)]:
        name = words[place].strip()
        if name.lower() in MISSING:
            continue
        table[place] = codes.setdefault(name, len(codes))
        if len(codes) > _MOST_LABELS:
            raise DataError(
                f"{where!r} has more than {_MOST_LABELS:,} different labels",
                remedy="If the column is no activity, leave it out: --map 'label=-'",
            )
    found: Codes = table[at]
    return found


def _check(entry: Entry, dialect: Dialect, faults: Faults, n: int) -> None:
    if not n:
        raise DataError(f"{entry.where!r} has a header but no samples")
    if faults.rows > _MOST_FAULTY * (n + faults.rows) + 1:
        raise DataError(
            f"{entry.where!r}, line {faults.first}: expected {dialect.width} fields as in the header, and "
            f"{faults.rows:,} lines have others",
            remedy="The file may be damaged: write it again, or remove those lines",
        )
    if faults.cells > _MOST_FAULTY * n + 1:
        raise DataError(
            f"{entry.where!r}: expected numbers, got {', '.join(faults.examples)}",
            remedy="Leave the column out: --map 'NAME=-'",
        )


def sample_numbers(rows: Sequence[Sequence[str]], position: int, decimal: str) -> npt.NDArray[np.float64]:
    """The first values of a column, those that are numbers."""
    found = [row[position] for row in rows if position < len(row) and is_number(row[position], decimal)]
    return np.array([float(v.replace(",", ".") if decimal == "," else v) for v in found], dtype=np.float64)


def lost_times(table: Table) -> int:
    """Rows whose time cannot be read; they are taken out of the table."""
    bad = table.times == LOST
    n = int(bad.sum())
    if n:
        keep = ~bad
        table.times, table.values, table.labels = table.times[keep], table.values[keep], table.labels[keep]
        table.people = None if table.people is None else table.people[keep]
    return n
