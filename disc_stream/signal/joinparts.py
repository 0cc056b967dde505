"""One part of a device that sends its sensors in separate messages: clock, rate, sample times and buffer."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from disc_stream.signal.deviceclock import ClockFault, DeviceClock
from disc_stream.signal.rate import RateEstimator
from disc_stream.types import Float32Array, SampleBatch

MAX_WAIT_US = 10_000_000
"""Longest wait for a counterpart."""

SNAP_US = 2.0
"""Sample times this near to each other are the same."""

_GAP_US = 250_000  # beyond half a sample: a gap, unless the clock is known to jitter by as much
_OVERLAP_US = -500_000  # earlier than expected by more: the stamps are set anew
_PULL = 1 / 8  # by how much of its jitter a stamp moves the grid
_LATE_IN_A_ROW = 3  # batches from before the last one: then the clock was set back
_MAX_US = 2**62
_SILENT_BATCHES, _MAX_SILENT_US = 2.5, 150_000_000
_JUMPS = (ClockFault.JUMP_BACK, ClockFault.JUMP_FORWARD)

Times = npt.NDArray[np.float64]


class PartState(msgspec.Struct, array_like=True):
    """A part as plain values; arrays as bytes."""

    names: list[str]
    units: list[str]
    clock: Any
    rate: Any
    heard_us: int
    contested: bool
    differs: tuple[float, float] | None
    grid: tuple[float, int, float, int]
    stamps: tuple[int, int, int, int, float]
    times: bytes
    values: bytes
    runs: bytes
    came: bytes


class Part:
    """Samples of one part that wait for their counterparts, with their device times.

    Args:
        names: of the wanted channels that it has.
    """

    __slots__ = (
        "_behind", "_came", "_clock", "_count", "_duration_us", "_expected_us", "_last_raw", "_last_seq",
        "_last_t0_us", "_origin_us", "_rate", "_run", "contested", "differs", "fs", "heard_us", "names",
        "runs", "times", "units", "values",
    )  # fmt: skip

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.units: tuple[str, ...] = ()
        self.fs = 0.0  # rate in use, Hz; 0 before the first batch
        self.heard_us = 0
        self.contested = False  # whether its rate is not known at the moment
        self.differs: tuple[float, float] | None = None  # its declared and its measured rate, Hz
        self._clock, self._rate = DeviceClock(), RateEstimator()
        # Sample times are counted from an origin, so that they do not depend on how a stream is cut.
        self._origin_us, self._count = 0.0, 0
        self._expected_us = -np.inf  # time of the next sample
        self._run = 0  # number of the stretch without gaps
        self._last_raw, self._last_seq, self._last_t0_us = 0, -1, 0
        self._duration_us = 0.0  # of the last batch
        self._behind = 0  # batches in a row that were from before the last one
        self.times: Times  # (n,) device times in µs, increasing
        self.values: Float32Array  # (n, C) in physical units
        self.runs: npt.NDArray[np.int64]  # (n,) number of the stretch
        self._came: npt.NDArray[np.int64]  # (n,) arrival, Unix µs
        self._clear()

    @property
    def last_us(self) -> float:
        """Device time of the last sample; -inf before any."""
        return float(self.times[-1]) if len(self.times) else -np.inf

    def is_silent(self, now_us: int) -> bool:
        """Whether nothing has come for 10 s, or for 2.5 of its batches if they are longer."""
        longest_us = max(MAX_WAIT_US, min(_SILENT_BATCHES * self._duration_us, _MAX_SILENT_US))
        return now_us - self.heard_us > longest_us

    def push(self, batch: SampleBatch, now_us: int) -> bool:
        """Take the next batch; whether it was taken, for one that came again or late is not."""
        self.heard_us = max(self.heard_us, now_us)
        if self._is_late(batch):
            return False
        units = self._units_of(batch)
        if units != self.units:
            self.units = units
            self._clear()
        n, before = len(batch.samples), self.fs
        verdict = self._clock.observe(batch.t0_us, n, before or batch.fs, now_us)
        t0_us = verdict.t0_us
        if abs(t0_us) > _MAX_US:
            self._clock = DeviceClock()
            return False
        step_us = t0_us - self._last_t0_us if before and verdict.fault not in _JUMPS else None
        rate = self._rate.observe(batch.fs, n, step_us)
        self.fs, self.contested = rate.fs, rate.contested
        self.differs = (batch.fs, rate.fs) if rate.differs else None
        if rate.changed or verdict.fault in _JUMPS:
            self._clear()
        times = self._place(t0_us, n, verdict.continuous)
        self._last_raw, self._last_seq, self._last_t0_us = batch.t0_us, batch.seq, t0_us
        self._duration_us = n * 1e6 / self.fs
        self._append(times, self._wanted(batch), now_us)
        return True

    def at(self, times: Times) -> tuple[Float32Array, npt.NDArray[np.int64]]:
        """Values at other times (n,), and the stretch that each lies in, -1 where it lies in none.

        Returns:
            (n, C) float32, interpolated between neighbours, and (n,).
        """
        out = np.zeros((len(times), len(self.names)), dtype=np.float32)
        run = np.full(len(times), -1, dtype=np.int64)
        if not len(self.times):
            return out, run
        last = len(self.times) - 1
        after = np.searchsorted(self.times, times - SNAP_US, side="left")  # first that is not before
        same = (after <= last) & (np.abs(self.times[np.minimum(after, last)] - times) <= SNAP_US)
        out[same], run[same] = self.values[after[same]], self.runs[after[same]]
        inner = ~same & (after > 0) & (after <= last)
        inner[inner] = self.runs[after[inner] - 1] == self.runs[after[inner]]
        b = after[inner]
        a = b - 1
        weight = ((times[inner] - self.times[a]) / (self.times[b] - self.times[a]))[:, None]
        low = self.values[a].astype(np.float64)
        out[inner] = low + (self.values[b] - low) * weight
        run[inner] = self.runs[b]
        return out, run

    def release(self, until_us: float) -> None:
        """Forget what is not needed beyond a time: all before the last sample at or before it."""
        self._keep_from(int(np.searchsorted(self.times, until_us + SNAP_US, side="right")) - 1)

    def drop_before(self, came_us: int, until_us: float) -> int:
        """Drop samples that came before a time; how many of them were not joined yet."""
        if not len(self._came) or self._came[0] >= came_us:
            return 0
        return self._drop(int(np.searchsorted(self._came, came_us, side="left")), until_us)

    def drop_overflow(self, until_us: float) -> int:
        """Drop what is more than 10 s and the last batch; how many samples were not joined yet."""
        allowed_us = self._expected_us - MAX_WAIT_US - self._duration_us
        return self._drop(int(np.searchsorted(self.times, allowed_us - SNAP_US, side="left")), until_us)

    def state(self) -> PartState:
        """Everything, to be restored from."""
        return PartState(
            list(self.names), list(self.units), self._clock.state(), self._rate.state(), self.heard_us,
            self.contested, self.differs, (self._origin_us, self._count, self._expected_us, self._run),
            (self._last_raw, self._last_seq, self._last_t0_us, self._behind, self._duration_us),
            self.times.tobytes(), self.values.tobytes(), self.runs.tobytes(), self._came.tobytes(),
        )  # fmt: skip

    @classmethod
    def restored(cls, state: PartState) -> Part:
        """The part that ``state`` was taken of."""
        part = cls(tuple(state.names))
        part.units = tuple(state.units)
        part._clock.restore(state.clock)
        part._rate.restore(state.rate)
        part.heard_us, part.contested, part.differs = state.heard_us, state.contested, state.differs
        part.fs = part._rate.fs
        part._origin_us, part._count, part._expected_us, part._run = state.grid
        (part._last_raw, part._last_seq, part._last_t0_us, part._behind, part._duration_us) = state.stamps
        part.times = np.frombuffer(state.times, dtype=np.float64)
        part.values = np.frombuffer(state.values, dtype=np.float32).reshape(-1, len(part.names))
        part.runs = np.frombuffer(state.runs, dtype=np.int64)
        part._came = np.frombuffer(state.came, dtype=np.int64)
        return part

    # -- one batch --------------------------------------------------------------------------------------

    def _is_late(self, batch: SampleBatch) -> bool:
        """A repetition, or from before the last one; several of those in a row are of a clock set back."""
        step = batch.t0_us - self._last_raw
        if not self.fs or step > 0 or (step == 0 and batch.seq != self._last_seq) or step < -(2**31):
            self._behind = 0
            return False
        self._behind += step < 0
        if self._behind < _LATE_IN_A_ROW:
            return True
        self._behind = 0
        self._clear()
        return False

    def _place(self, t0_us: int, n: int, continuous: bool) -> Times:
        """Times of a batch's samples: even unless there is a gap; jitter of stamps is smoothed."""
        period_us = 1e6 / self.fs
        off_us = t0_us - self._expected_us
        by_stamp_us = t0_us - self._last_t0_us - self._duration_us
        is_gap = min(off_us, by_stamp_us, key=abs) > _GAP_US + period_us / 2 and not continuous
        if is_gap or not _OVERLAP_US <= off_us < np.inf:
            self._run += 1
            self._origin_us, self._count = float(t0_us), 0
        elif abs(off_us) > 1.0:
            if abs(off_us) > period_us / 2:
                t0 = self._expected_us + max(off_us * _PULL, -period_us / 2)
            else:
                t0 = float(t0_us)
            self._origin_us, self._count = t0, 0
        steps = np.arange(self._count, self._count + n, dtype=np.float64)
        times: Times = self._origin_us + steps * period_us
        self._count += n
        self._expected_us = self._origin_us + self._count * period_us
        return times

    def _append(self, times: Times, values: Float32Array, now_us: int) -> None:
        new = times > self.last_us + SNAP_US
        if not new.all():
            times, values = times[new], values[new]
        self.times = np.concatenate([self.times, times])
        self.values = np.concatenate([self.values, values])
        self.runs = np.concatenate([self.runs, np.full(len(times), self._run, dtype=np.int64)])
        came_us = max(now_us, int(self._came[-1])) if len(self._came) else now_us
        self._came = np.concatenate([self._came, np.full(len(times), came_us, dtype=np.int64)])

    def _wanted(self, batch: SampleBatch) -> Float32Array:
        """(n, C) float32 of the wanted channels, in physical units."""
        names = [channel.name for channel in batch.channels]
        return batch.physical()[:, [names.index(name) for name in self.names]]

    def _units_of(self, batch: SampleBatch) -> tuple[str, ...]:
        units = {channel.name: channel.unit for channel in reversed(batch.channels)}
        return tuple(units[name] for name in self.names)

    # -- the buffer -------------------------------------------------------------------------------------

    def _clear(self) -> None:
        """Forget all samples: what comes next is a new stretch."""
        self.times = np.empty(0, dtype=np.float64)
        self.values = np.empty((0, len(self.names)), dtype=np.float32)
        self.runs = np.empty(0, dtype=np.int64)
        self._came = np.empty(0, dtype=np.int64)
        self._expected_us = -np.inf

    def _drop(self, n: int, until_us: float) -> int:
        if n <= 0:
            return 0
        lost = int(np.count_nonzero(self.times[:n] > until_us + SNAP_US))
        self._keep_from(n)
        return lost

    def _keep_from(self, n: int) -> None:
        if n > 0:
            self.times, self.values = self.times[n:].copy(), self.values[n:].copy()
            self.runs, self._came = self.runs[n:].copy(), self._came[n:].copy()
