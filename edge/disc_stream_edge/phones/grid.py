"""One sensor's readings, at the times the phone took them, as batches of equally spaced samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from disc_stream_edge.phones.readings import Readings

_Floats = npt.NDArray[np.float64]
_Times = npt.NDArray[np.int64]

MIN_RATE, MAX_RATE = 0.5, 1_000.0
_GAP_S, _GAP_SAMPLES = 0.25, 4  # a longer pause than both is a gap, as on the wire
_FIRST, _FIRST_S = 16, 0.3  # readings and seconds that the rate is first measured on
_RECENT = 128  # intervals that it is measured on from then on
_CHANGED = 1.25  # a rate that differs by this factor begins a new grid
_BACK_NS = 5_000_000_000  # a clock that goes back further was set, or belongs to a new recording
_BATCH_S = 0.2


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive samples of one sensor.

    Args:
        t0_ns: time of the first.
        fs: in Hz.
        values: (n, 3) float32.
    """

    t0_ns: int
    fs: float
    values: npt.NDArray[np.float32]


class Grid:
    """Interpolates a sensor's readings linearly at equal distances, never across a gap.

    The rate is the measured one, rounded; so batches say exactly when their samples were taken, however much
    the phone's times jitter. Readings that come twice or late are left out and counted.
    """

    def __init__(self) -> None:
        self.late = 0
        self.fs: float | None = None
        self._times: _Times = np.empty(0, np.int64)
        self._values: _Floats = np.empty((0, 3))
        self._steps: _Floats = np.empty(0)  # the latest intervals without gaps, seconds
        self._next_ns = 0  # time of the next sample, if fs is known
        self._rows: list[_Floats] = []
        self._rows_ns = 0

    def push(self, readings: Readings) -> Iterator[Piece]:
        """Take readings and yield the pieces that they complete."""
        order = np.argsort(readings.times_ns, kind="stable")
        times, values = readings.times_ns[order], readings.values[order]
        if not len(times):
            return
        if len(self._times) and times[-1] < self._times[-1] - _BACK_NS:
            yield from self._flush()
            self._begin()
        last = self._times[-1] if len(self._times) else -1
        fresh = (times > last) & (np.diff(times, prepend=-1) > 0)
        self.late += int(len(fresh) - fresh.sum())
        times, values = times[fresh], values[fresh]
        if not len(times):
            return
        before = self._times[-1:]
        self._times = np.concatenate([self._times, times])
        self._values = np.concatenate([self._values, values])
        self._measure(np.diff(np.concatenate([before, times])) / 1e9)
        if self.fs is None and not self._begin_rate():
            return
        if self._rate_has_changed():
            yield from self._flush()
            self.fs, self._next_ns = self._rate(), int(self._times[0])
        yield from self._emit()

    def _begin(self) -> None:
        self.fs, self._times, self._values = None, np.empty(0, np.int64), np.empty((0, 3))
        self._steps = np.empty(0)

    # -- rate -----------------------------------------------------------------------------------------

    def _measure(self, steps: _Floats) -> None:
        steps = np.concatenate([self._steps, steps])
        if len(steps):
            steps = steps[steps <= max(_GAP_S, _GAP_SAMPLES * float(np.median(steps)))]
        self._steps = steps[-_RECENT:]

    @property
    def measured(self) -> float | None:
        """Readings per second without gaps, lately; None while there are too few."""
        return None if len(self._steps) < 4 else 1.0 / float(self._steps.mean())

    def _rate(self) -> float:
        rate = min(MAX_RATE, max(MIN_RATE, self.measured or MIN_RATE))
        return float(round(rate)) if rate >= 10 else round(rate, 1)

    def _begin_rate(self) -> bool:
        n, span_s = len(self._steps), float(self._steps.sum())
        if (n < _FIRST or span_s < _FIRST_S) and (n < 4 or span_s < 1.0):
            self._times, self._values = self._times[-10_000:], self._values[-10_000:]
            return False
        self.fs, self._next_ns = self._rate(), int(self._times[0])
        return True

    def _rate_has_changed(self) -> bool:
        if self.fs is None or self.measured is None or len(self._steps) < _FIRST:
            return False
        ratio = self._rate() / self.fs
        return not 1 / _CHANGED < ratio < _CHANGED

    # -- samples --------------------------------------------------------------------------------------

    def _emit(self) -> Iterator[Piece]:
        fs = self.fs or 1.0
        gap_ns = round(max(_GAP_S, _GAP_SAMPLES / fs) * 1e9)
        gaps = np.flatnonzero(np.diff(self._times) > gap_ns)
        start = 0
        for end in [*gaps.tolist(), len(self._times) - 1]:
            self._interpolate(self._times[start : end + 1], self._values[start : end + 1], fs)
            if end < len(self._times) - 1:
                yield from self._flush()
                self._next_ns = int(self._times[end + 1])
            elif len(self._rows) >= max(1, round(fs * _BATCH_S)):
                yield from self._flush()
            start = end + 1
        self._times, self._values = self._times[-1:], self._values[-1:]

    def _interpolate(self, times: _Times, values: _Floats, fs: float) -> None:
        n = int((int(times[-1]) - self._next_ns) * fs / 1e9 + 1e-6) + 1
        if times[-1] < self._next_ns or n < 1:
            return
        if not self._rows:
            self._rows_ns = self._next_ns
        at = (self._next_ns - int(times[0])) / 1e9 + np.arange(n) / fs
        known = (times - times[0]) / 1e9
        self._rows.extend(np.stack([np.interp(at, known, values[:, axis]) for axis in range(3)], axis=1))
        self._next_ns = self._rows_ns + round(len(self._rows) * 1e9 / fs)

    def _flush(self) -> Iterator[Piece]:
        if self._rows and self.fs is not None:
            yield Piece(self._rows_ns, self.fs, np.array(self._rows, dtype=np.float32))
            self._next_ns = self._rows_ns + round(len(self._rows) * 1e9 / self.fs)
        self._rows = []
