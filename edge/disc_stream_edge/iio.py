"""Samples from a sensor that Linux knows as an Industrial I/O device, such as an IMU on an I²C bus.

Read by polling the files in ``/sys/bus/iio/devices/iio:deviceN``, whose names and units are those of the
kernel's ABI (Documentation/ABI/testing/sysfs-bus-iio): acceleration in m/s², angular rate in rad/s, magnetic
field in Gauss, each ``(raw + offset) * scale``. That is good for a few hundred samples a second.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from disc_stream.clock import Clock, SystemClock
from disc_stream.errors import DataError, InputNotFoundError
from disc_stream.sparselog import SparseLog
from disc_stream.types import Channel, DeviceMeta, SampleBatch
from disc_stream.wire.topics import check_device
from disc_stream_edge.sources import BatchSize, size_of

log = logging.getLogger(__name__)

DEVICES = Path("/sys/bus/iio/devices")

# Type in the kernel's names, channel here, unit, and what a value of the kernel is in that unit.
_KINDS = (("accel", "acc", "m/s2", 1.0), ("anglvel", "gyro", "rad/s", 1.0), ("magn", "mag", "uT", 100.0))
_AXES = "xyz"
_MOST_LATE = 1.0  # of a sample: one that is read later than that stands for another


@dataclass(frozen=True, slots=True)
class _File:
    """Where a channel's counts are, and what they mean."""

    path: Path
    channel: Channel
    scale: float
    offset: float

    def read(self) -> float:
        return (float(self.path.read_text()) + self.offset) * self.scale


class IioSource:
    """An Industrial I/O device as a source of samples.

    Args:
        folder: of the device in sysfs.
        device: device id.
        boot: id of the boot.
        fs: samples per second; None for the sensor's own rate.
        stop: ends the stream.
        clock: time.

    Raises:
        InputNotFoundError: if there is no such folder.
        DataError: if it has no motion channels, or does not say its rate, or cannot be read.
        TopicError: if the device id is not valid.
    """

    paced = False
    total_samples = None

    def __init__(
        self,
        folder: Path,
        *,
        device: str,
        boot: int,
        fs: float | None,
        stop: threading.Event,
        clock: Clock | None = None,
    ) -> None:
        if not folder.is_dir():
            raise InputNotFoundError(
                f"there is no IIO device at {str(folder)!r}", remedy=f"Look into {DEVICES!s}"
            )
        self.device, self.boot = check_device(device), boot
        self._files = _files_of(folder)
        self._stop, self._clock = stop, clock or SystemClock()
        rate = fs if fs is not None else _rate_of(folder)
        name = _text(folder / "name") or "iio"
        self.meta = DeviceMeta(rate, tuple(file.channel for file in self._files), model=name[:200])
        self._log = SparseLog(log)
        self.missed = 0
        """Samples that were not read in time."""
        self.malformed = 0
        """Samples that could not be read."""
        self._read()  # what cannot be read at all is an error now, not a stream of nothing

    def batches(self, n_samples: BatchSize) -> Iterator[SampleBatch]:
        """The samples at their times; one that is missed ends the batch and leaves out a number."""
        fs = self.meta.fs
        start, begin_us = self._clock.monotonic(), self._clock.unix_us()
        rows: list[list[float]] = []
        index = seq = size = first = 0
        while not self._wait(start + index / fs):
            late = (self._clock.monotonic() - start) * fs - index
            row = self._row() if late <= _MOST_LATE else None
            if row is not None:
                if not rows:
                    first, size = index, size_of(n_samples)
                rows.append(row)
            if rows and (row is None or len(rows) >= size):
                yield self._batch(seq, begin_us + round(first * 1e6 / fs), rows)
                seq, rows = seq + 1, []
            if row is None:
                skipped = max(1, int(late))
                self.missed += skipped if late > _MOST_LATE else 0
                seq += 1
                index += skipped
            else:
                index += 1
        if rows:
            yield self._batch(seq, begin_us + round(first * 1e6 / fs), rows)

    def _wait(self, due: float) -> bool:
        """Until a sample is due; whether the stream is to end instead."""
        left = due - self._clock.monotonic()
        return self._stop.wait(left) if left > 0 else self._stop.is_set()

    def _row(self) -> list[float] | None:
        try:
            return self._read()
        except DataError as error:
            self.malformed += 1
            self._log.warning(self.device, "iio", "%s; the sample is left out", error.message)
            return None

    def _read(self) -> list[float]:
        try:
            return [file.read() for file in self._files]
        except (OSError, ValueError) as error:
            raise DataError(f"the sensor {self.device!r} cannot be read: {error}") from error

    def _batch(self, seq: int, t0_us: int, rows: list[list[float]]) -> SampleBatch:
        samples = np.array(rows, dtype=np.float32)
        return SampleBatch(self.device, self.boot, seq, t0_us, self.meta.fs, self.meta.channels, samples)


def _files_of(folder: Path) -> list[_File]:
    """The motion channels of a device; a kind counts if it has all three axes."""
    found = []
    for kind, name, unit, factor in _KINDS:
        paths = [folder / f"in_{kind}_{axis}_raw" for axis in _AXES]
        if not all(path.exists() for path in paths):
            continue
        for axis, path in zip(_AXES, paths, strict=True):
            scale = _number(folder, (f"in_{kind}_{axis}_scale", f"in_{kind}_scale"))
            offset = _number(folder, (f"in_{kind}_{axis}_offset", f"in_{kind}_offset"))
            if scale is None:
                raise DataError(f"the IIO device {str(folder)!r} does not say the scale of {kind}")
            found.append(_File(path, Channel(f"{name}_{axis}", unit), scale * factor, offset or 0.0))
    if not found:
        raise DataError(
            f"the IIO device {str(folder)!r} has neither accelerometer nor gyroscope with three axes",
            remedy=f"Look into {DEVICES!s} for another",
        )
    return found


def _rate_of(folder: Path) -> float:
    names = ("in_accel_sampling_frequency", "in_anglvel_sampling_frequency", "sampling_frequency")
    rate = _number(folder, names)
    if rate is None or not 0.1 <= rate <= 10_000:
        raise DataError(
            f"the IIO device {str(folder)!r} does not say its rate", remedy="Add --fs, such as --fs 50"
        )
    return rate


def _number(folder: Path, names: tuple[str, ...]) -> float | None:
    """The first of some files that holds a number."""
    for name in names:
        try:
            return float(_text(folder / name))
        except ValueError:
            continue
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
