"""Samples from lines of text, such as a sensor's own program piped into ours.

CSV: a header that names the channels with their units, then one sample a line::

    acc_x[g],acc_y[g],acc_z[g]
    0.02,-0.01,0.99

JSON lines: a header object, then one list a line::

    {"channels": ["acc_x", "acc_y", "acc_z"], "units": "g"}
    [0.02, -0.01, 0.99]

A line that cannot be read is a lost sample: it is counted, the time goes on, and a batch number is left out,
so that no window spans the gap.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import select
import threading
from collections.abc import Iterator

import numpy as np

from disc_stream.errors import DataError, PayloadError
from disc_stream.signal.units import KNOWN_UNITS
from disc_stream.types import Channel, DeviceMeta, SampleBatch
from disc_stream.wire.codecs import check_channels, read_channels
from disc_stream.wire.topics import check_device

log = logging.getLogger(__name__)

_COLUMN = re.compile(r"\s*([^\[\]]+?)\s*\[\s*([^\[\]]+?)\s*\]\s*")
_MAX_LINE = 65_536
_MAX_REPORTS = 5  # malformed lines that are described; the others are only counted
_FLOAT32_MAX = float(np.finfo(np.float32).max)
_EXAMPLE = "Begin with a line such as: acc_x[g],acc_y[g],acc_z[g]"


class LineSource:
    """A device whose samples arrive as lines.

    Args:
        lines: header first; without line ends.
        device: device id.
        fs: sampling rate in Hz: one line is 1/fs.
        boot: id of the boot.
        start_us: device clock at the first sample, Unix microseconds.

    Raises:
        DataError: if the header is missing or wrong.
        TopicError: if the device id is not valid.
    """

    paced = False
    total_samples = None

    def __init__(self, lines: Iterator[str], *, device: str, fs: float, boot: int, start_us: int) -> None:
        self.device, self.boot = check_device(device), boot
        self._lines, self._start_us = lines, start_us
        header = next(lines, "")
        self._is_json = header.lstrip().startswith("{")
        self.meta = DeviceMeta(fs, _read_header(header, self._is_json), model="stdin")
        self.malformed = 0

    def batches(self, n_samples: int) -> Iterator[SampleBatch]:
        """The samples as they arrive; malformed lines end a batch early and leave out one number."""
        rows: list[list[float]] = []
        seq = first = index = 0
        broken = False  # lines were lost just before this one
        for number, line in enumerate(self._lines, start=2):
            if not line.strip():
                continue
            row = self._read_row(number, line)
            if row is not None:
                seq += broken
                rows.append(row)
            if rows and (row is None or len(rows) == n_samples):
                yield self._batch(seq, first, rows)
                seq += 1
                rows = []
            broken = row is None
            index += 1
            if not rows:
                first = index
        if rows:
            yield self._batch(seq, first, rows)

    def _batch(self, seq: int, first: int, rows: list[list[float]]) -> SampleBatch:
        t0_us = self._start_us + round(first * 1e6 / self.meta.fs)
        samples = np.array(rows, dtype=np.float32)
        return SampleBatch(self.device, self.boot, seq, t0_us, self.meta.fs, self.meta.channels, samples)

    def _read_row(self, number: int, line: str) -> list[float] | None:
        try:
            return _parse_row(line, self._is_json, len(self.meta.channels))
        except ValueError as error:
            self.malformed += 1
            if self.malformed <= _MAX_REPORTS:
                log.warning("stdin line %d is skipped: %s", number, error)
            if self.malformed == _MAX_REPORTS:
                log.warning("further malformed lines are only counted")
            return None


def _parse_row(line: str, is_json: bool, n_channels: int) -> list[float]:
    """The numbers of one line.

    Raises:
        ValueError: saying what is wrong with it.
    """
    if is_json:
        try:
            fields = json.loads(line)
        except RecursionError:
            raise ValueError("nested too deeply") from None
        if not isinstance(fields, list) or not all(type(v) in (int, float) for v in fields):
            raise ValueError("not a list of numbers")
    else:
        fields = line.split(",")
    if len(fields) != n_channels:
        raise ValueError(f"{len(fields)} values for {n_channels} channels")
    try:
        row = [float(field) for field in fields]
    except (ValueError, OverflowError):
        raise ValueError(f"not all values are numbers: {line.strip()[:60]!r}") from None
    if not all(math.isfinite(value) and abs(value) <= _FLOAT32_MAX for value in row):
        raise ValueError("a value is NaN, infinite or too large")
    return row


def _read_header(header: str, is_json: bool) -> tuple[Channel, ...]:
    if not header.strip():
        raise DataError("stdin is empty", remedy=_EXAMPLE)
    try:
        channels = _json_header(header) if is_json else _csv_header(header)
        check_channels(channels)
    except (ValueError, RecursionError, PayloadError) as error:
        raise DataError(f"stdin line 1 does not name channels and units: {error}", remedy=_EXAMPLE) from None
    for channel in channels:
        if channel.unit not in KNOWN_UNITS:
            known = ", ".join(sorted(KNOWN_UNITS))
            raise DataError(
                f"stdin line 1: unit {channel.unit!r} of {channel.name!r} is not known",
                remedy=f"Use one of: {known}",
            )
    return channels


def _csv_header(header: str) -> tuple[Channel, ...]:
    channels = []
    for column in header.split(","):
        match = _COLUMN.fullmatch(column)
        if match is None:
            raise ValueError(f"column {column.strip()[:60]!r} is not name[unit]")
        channels.append(Channel(match[1], match[2]))
    return tuple(channels)


def _json_header(header: str) -> tuple[Channel, ...]:
    value = json.loads(header)
    channels = read_channels(value)
    if channels is None:
        raise ValueError("'channels' is missing")
    if any(channel.scale != 1.0 for channel in channels):
        raise ValueError("samples on stdin are physical; 'scale' must be 1")
    return channels


def read_lines(fd: int, stop: threading.Event) -> Iterator[str]:
    """Lines of a file descriptor until its end, or until ``stop`` is set even if nothing arrives.

    Bytes that are not UTF-8 are replaced, so that their line is malformed rather than fatal; a line longer
    than any sample is cut.
    """
    rest = b""
    while not stop.is_set():
        readable, _, _ = select.select([fd], [], [], 0.1)
        if not readable:
            continue
        chunk = os.read(fd, 65_536)
        if not chunk:
            break
        *complete, rest = (rest + chunk).split(b"\n")
        for line in complete:
            yield line[:_MAX_LINE].decode("utf-8", "replace").rstrip("\r")
        rest = rest[: _MAX_LINE + 1]
    if rest and not stop.is_set():
        yield rest.decode("utf-8", "replace").rstrip("\r")
