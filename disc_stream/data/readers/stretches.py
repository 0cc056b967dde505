"""Recordings of datasets that have gaps and missing values: cut and bridged as imports are."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from disc_stream.data.importing.even import Even
from disc_stream.data.importing.repair import make_even
from disc_stream.data.importing.settings import BRIDGE_S
from disc_stream.data.readers.base import Selection
from disc_stream.data.readers.source import Source
from disc_stream.data.readers.tables import read_text
from disc_stream.data.types import LabelArray, Recording
from disc_stream.errors import DataError
from disc_stream.types import Channel

_PART = re.compile(r"-?part[\d*?\[\]-]*$", re.IGNORECASE)
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Kind:
    """What all recordings of a dataset share."""

    fs: float
    channels: tuple[Channel, ...]
    label_names: tuple[str, ...]


def may_hold(selection: Selection, name: str, subject: int) -> bool:
    """Whether a recording, or one of its stretches, may be wanted."""
    whole = tuple(_PART.sub("", pattern) or "*" for pattern in selection.patterns)
    return replace(selection, patterns=whole).wants(name, subject)


def wanted_parts(selection: Selection, recordings: Sequence[Recording]) -> list[Recording]:
    """The stretches that are wanted, by their own names or by that of the recording."""
    return [
        one
        for one in recordings
        if selection.wants(one.name, one.subject) or selection.wants(one.part_of or one.name, one.subject)
    ]


def read_holed_table(source: Source, name: str, columns: int) -> Floats:
    """A table of numbers between spaces, some of them NaN, (rows, columns).

    Raises:
        DataError: naming the file if a line is short, long or not numeric.
    """
    try:
        table: Floats = np.loadtxt(io.StringIO(read_text(source, name)), np.float64, ndmin=2)
    except ValueError as error:
        raise DataError(f"{source.where(name)}: {error}") from error
    if table.shape[1] != columns:
        raise DataError(f"{source.where(name)}: expected {columns} numbers a line, got {table.shape[1]}")
    return table


def even_rows(times_us: Floats, values: Floats, labels: LabelArray, where: str) -> Even:
    """Rows with times at an even rate, cut where they have gaps.

    Raises:
        DataError: if the times have no rate.
    """
    known = np.isfinite(times_us)
    times = np.rint(times_us[known]).astype(np.int64)
    even = make_even(times, values[known].astype(np.float32), labels[known], BRIDGE_S) if len(times) else None
    if even is None or not even.stretches:
        raise DataError(f"{where} has no stretch of samples with times")
    return even


def cut_recordings(name: str, subject: int, even: Even, kind: Kind) -> list[Recording]:
    """The stretches of one recording."""
    several = len(even.stretches) > 1
    return [
        Recording(
            name=f"{name}-part{number:02d}" if several else name,
            subject=subject,
            fs=kind.fs,
            channels=kind.channels,
            samples=stretch.values,
            labels=stretch.labels,
            label_names=kind.label_names,
            start_us=stretch.start_us,
            clock_fs=0.0 if even.rate == kind.fs else even.rate,
            part_of=name if several else "",
        )
        for number, stretch in enumerate(even.stretches, start=1)
    ]
