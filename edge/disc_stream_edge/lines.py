"""Samples from lines of text, such as a sensor's own program piped into ours.

CSV: a header that names the channels with their units, then one sample a line::

    acc_x[g],acc_y[g],acc_z[g]
    0.02,-0.01,0.99

JSON lines: a header object, then one list a line::

    {"channels": ["acc_x", "acc_y", "acc_z"], "units": "g"}
    [0.02, -0.01, 0.99]

A line carries no time: samples are placed by counting lines at the declared rate. Two things break that
count, and neither may end up inside a window:

- A line that cannot be read is a lost sample. It is counted, time goes on, and a batch number is left out.
- A pause of the program ends the batch, and the next one takes its time from the wall clock. A pause is a
  wait that the lines after it do not explain: a program that writes its output in blocks also waits, but then
  writes as many lines as the wait was long.
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
from dataclasses import dataclass
from itertools import chain

import numpy as np

from disc_stream.clock import Clock
from disc_stream.errors import DataError, PayloadError
from disc_stream.signal.units import KNOWN_UNITS
from disc_stream.types import Channel, DeviceMeta, SampleBatch
from disc_stream.wire.codecs import check_channels, read_channels
from disc_stream.wire.topics import check_device
from disc_stream_edge.sources import BatchSize, size_of

log = logging.getLogger(__name__)

_COLUMN = re.compile(r"\s*([^\[\]]+?)\s*\[\s*([^\[\]]+?)\s*\]\s*")
_MAX_LINE = 65_536
_MAX_REPORTS = 5  # malformed lines that are described; the others are only counted
_FLOAT32_MAX = float(np.finfo(np.float32).max)
_EXAMPLE = "Begin with a line such as: acc_x[g],acc_y[g],acc_z[g]"
_PAUSE_S, _PAUSE_SAMPLES = 1.0, 5  # a longer wait than both is a pause
_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Chunk:
    """Lines that were read at once.

    Args:
        lines: without line ends; empty if there was nothing to read for a while.
        idle_s: seconds since the last lines were read, if the reader had to wait for these; else 0.
        read_us: wall-clock time of reading, Unix microseconds.
    """

    lines: tuple[str, ...]
    idle_s: float = 0.0
    read_us: int = 0


class LineSource:
    """A device whose samples arrive as lines.

    Args:
        chunks: header first; ``read_chunks`` makes them.
        device: device id.
        fs: sampling rate in Hz: one line is 1/fs.
        boot: id of the boot.

    Raises:
        DataError: if the header is missing or wrong.
        TopicError: if the device id is not valid.
    """

    paced = False
    total_samples = None

    def __init__(self, chunks: Iterator[Chunk], *, device: str, fs: float, boot: int) -> None:
        self.device, self.boot = check_device(device), boot
        first = next((chunk for chunk in chunks if chunk.lines), Chunk(("",)))
        header, *rest = first.lines
        self._chunks = chain([Chunk(tuple(rest), 0.0, first.read_us)], chunks)
        self._is_json = header.lstrip().startswith("{")
        self.meta = DeviceMeta(fs, _read_header(header, self._is_json), model="stdin")
        self.malformed = self.pauses = 0
        self._pause_s = max(_PAUSE_S, _PAUSE_SAMPLES / fs)
        self._anchor_us: int | None = None  # time of a sample, Unix microseconds
        self._since_anchor = 0  # samples counted since
        self._line = 1

    def batches(self, n_samples: BatchSize) -> Iterator[SampleBatch]:
        """The samples as they arrive.

        A malformed line ends a batch early and leaves out one number; a pause ends it, and the next one takes
        its time from the wall clock.
        """
        rows: list[list[float]] = []
        seq = t0_us = 0
        broken = False  # lines were lost just before this one
        size = 0
        for chunk in self._chunks:
            if rows and chunk.idle_s > self._pause_s:
                yield self._batch(seq, t0_us, rows)
                seq, rows = seq + 1, []
            self._place(chunk)
            for row in self._rows(chunk):
                if row is not None:
                    seq += broken
                    if not rows:
                        t0_us, size = self._now_us(), size_of(n_samples)
                    rows.append(row)
                if rows and (row is None or len(rows) >= size):
                    yield self._batch(seq, t0_us, rows)
                    seq, rows = seq + 1, []
                broken = row is None
                self._since_anchor += 1
        if rows:
            yield self._batch(seq, t0_us, rows)

    def _now_us(self) -> int:
        """Device clock at the next sample, by counting."""
        return (self._anchor_us or 0) + round(self._since_anchor * 1e6 / self.meta.fs)

    def _place(self, chunk: Chunk) -> None:
        """Set the clock at the first sample, and again after a pause.

        What was read at once ended at that moment: the chunk's last sample is as old as its reading.
        """
        n = sum(bool(line.strip()) for line in chunk.lines)
        if not n:
            return
        first_us = max(0, chunk.read_us - round((n - 1) * 1e6 / self.meta.fs))
        if self._anchor_us is None:
            self._anchor_us = first_us
        elif chunk.idle_s - n / self.meta.fs > self._pause_s and first_us > self._now_us():
            self.pauses += 1
            log.info("nothing came from stdin for %.1f s; the time goes on by the wall clock", chunk.idle_s)
            self._anchor_us, self._since_anchor = first_us, 0

    def _batch(self, seq: int, t0_us: int, rows: list[list[float]]) -> SampleBatch:
        samples = np.array(rows, dtype=np.float32)
        return SampleBatch(self.device, self.boot, seq, t0_us, self.meta.fs, self.meta.channels, samples)

    def _rows(self, chunk: Chunk) -> Iterator[list[float] | None]:
        """The values of each line that is not blank; None for one that cannot be read."""
        for line in chunk.lines:
            self._line += 1
            if line.strip():
                yield self._read_row(line)

    def _read_row(self, line: str) -> list[float] | None:
        try:
            return _parse_row(line, self._is_json, len(self.meta.channels))
        except ValueError as error:
            self.malformed += 1
            if self.malformed <= _MAX_REPORTS:
                log.warning("stdin line %d is skipped: %s", self._line, error)
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


def read_chunks(fd: int, stop: threading.Event, clock: Clock) -> Iterator[Chunk]:
    """Lines of a file descriptor until its end, or until ``stop`` is set even if nothing arrives.

    Bytes that are not UTF-8 are replaced, so that their line is malformed rather than fatal; a line longer
    than any sample is cut. Where nothing comes for a second, an empty chunk says so.
    """
    rest = b""
    last = told = clock.monotonic()
    waited = False
    while not stop.is_set():
        if not select.select([fd], [], [], 0.0)[0]:
            waited = True
            if not select.select([fd], [], [], _POLL_S)[0]:
                now = clock.monotonic()
                if now - told >= _PAUSE_S:
                    told = now
                    yield Chunk((), now - last, clock.unix_us())
                continue
        try:
            data = os.read(fd, 65_536)
        except OSError as error:  # a serial port that was unplugged
            log.warning("no more lines can be read: %s", error.strerror)
            data = b""
        if not data:
            break
        *complete, rest = (rest + data).split(b"\n")
        rest = rest[: _MAX_LINE + 1]
        if complete:
            now = clock.monotonic()
            yield Chunk(tuple(map(_text, complete)), now - last if waited else 0.0, clock.unix_us())
            last = told = now
            waited = False
    if rest and not stop.is_set():
        yield Chunk((_text(rest),), clock.monotonic() - last if waited else 0.0, clock.unix_us())


def _text(line: bytes) -> str:
    return line[:_MAX_LINE].decode("utf-8", "replace").rstrip("\r")
