"""A device's clock: mapped to the server's by a robust line, and its faults called by name.

The fit uses one pair of times per twenty seconds, the one that was on its way for the shortest time: delays
only ever make a message late, so late ones say nothing about the clock. The slope is the median of the
slopes between all pairs (Theil 1950, Sen 1968), which a few bad ones do not move.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

_BUCKET_US = 20_000_000
_BUCKETS = 16
_MOST_SKEW = 2e-3  # crystals are within 1e-4; what is beyond this is no skew
_JITTER_US = 250_000  # many stacks stamp a batch when it arrives: that much is no gap
_MOST_JITTER_US = 2_000_000
_WRAP = 2**32
_FUTURE_US = 300_000_000
_UNIX_US = 1_400_000_000_000_000  # 2014: what is larger is a time of day, not a time since the boot
_STEP_US = 1_000_000
_UNITS = ((1_000, "milliseconds", 1_000_000), (1_000_000, "seconds", 8_000_000))


class ClockFault(StrEnum):
    """What a clock does that it should not."""

    NONE = "none"
    FROZEN = "frozen"  # it does not advance
    JUMP_FORWARD = "jump-forward"
    JUMP_BACK = "jump-back"
    WRAP32 = "wrap32"  # it starts again after 2^32 of its units; that is mended
    SECONDS = "seconds"  # it counts seconds where microseconds are meant; that is mended
    MILLISECONDS = "milliseconds"
    FUTURE = "future"  # it is ahead of the server by minutes


class Verdict(NamedTuple):
    """What the clock says of one batch.

    Args:
        t0_us: time of its first sample on the device's clock in microseconds, units and wraps mended.
        continuous: whether it follows the batch before without missing samples.
        missing_samples: how many are missing before it, about; 0 where that cannot be said.
        fault: what the clock did.
    """

    t0_us: int
    continuous: bool
    missing_samples: int
    fault: ClockFault


class DeviceClock:
    """The clock of a device in one boot."""

    __slots__ = (
        "_anchors", "_bucket", "_count", "_end_us", "_expected_us", "_fault", "_first_raw", "_jitter_us",
        "_last_raw", "_last_received_us", "_offset_us", "_reference_us", "_scale", "_still", "_wraps",
        "skew",
    )  # fmt: skip

    def __init__(self) -> None:
        self._count = 0
        self._scale = 1
        self._wraps = 0
        self._first_raw = self._last_raw = 0
        self._expected_us = 0.0  # duration of all batches since the first
        self._end_us = 0  # where the next batch should begin
        self._last_received_us = 0
        self._jitter_us = 0.0
        self._still = 0  # batches in a row whose time was that of the one before
        self._fault = ClockFault.NONE
        self._bucket: tuple[int, int, int] | None = None  # (number, device time, shortest delay)
        self._anchors: deque[tuple[int, int]] = deque(maxlen=_BUCKETS)
        self._reference_us = self._offset_us = 0
        self.skew = 0.0
        """Rate of the server's clock against the device's, minus 1."""

    @property
    def skew_ppm(self) -> float:
        """The same in parts per million."""
        return self.skew * 1e6

    @property
    def fault(self) -> ClockFault:
        """The last one that has not been outgrown."""
        return self._fault

    def observe(self, t0_us: int, n_samples: int, fs: float, received_us: int) -> Verdict:
        """Take the next batch of the boot, in order.

        Args:
            t0_us: as the device sent it.
            n_samples: of the batch.
            fs: its rate in Hz.
            received_us: server time of its arrival, Unix microseconds.
        """
        duration_us = n_samples * 1e6 / fs
        if self._count:
            verdict = self._follow(t0_us, fs, received_us)
        else:
            self._first_raw = t0_us
            verdict = Verdict(t0_us, True, 0, ClockFault.NONE)
        self._count += 1
        self._expected_us += duration_us
        self._last_raw, self._last_received_us = t0_us, received_us
        self._end_us = verdict.t0_us + round(duration_us)
        ahead = verdict.t0_us - received_us
        if verdict.t0_us > _UNIX_US and ahead > _FUTURE_US and received_us > _UNIX_US:
            verdict = verdict._replace(fault=ClockFault.FUTURE)
        self._fault = verdict.fault
        self._fit(self._end_us, received_us)
        return verdict

    def to_server_us(self, device_us: int) -> int | None:
        """Server time of a moment on the device's clock (mended), Unix microseconds; None before any batch.

        The shortest delay of the network is in it: it cannot be told from a clock that is late.
        """
        if not self._count:
            return None
        return device_us + self._offset_us + round(self.skew * (device_us - self._reference_us))

    # -- one batch ------------------------------------------------------------------------------------

    def _follow(self, raw: int, fs: float, received_us: int) -> Verdict:
        step = raw - self._last_raw
        if step == 0:  # it stands still: count samples instead
            self._still += 1
            fault = ClockFault.FROZEN if self._still >= 2 or self._fault is ClockFault.FROZEN else self._fault
            return Verdict(self._end_us, True, 0, self._lasting(fault))
        self._still = 0
        self._judge_unit(raw)
        fault = self._lasting(ClockFault.NONE)
        if step < 0 and self._is_wrap(raw):
            self._wraps += 1
            self._first_raw -= _WRAP
            fault = ClockFault.WRAP32
        t0_us = self._scale * (raw + self._wraps * _WRAP)
        return self._judge_step(t0_us, fs, received_us, fault)

    def _lasting(self, fault: ClockFault) -> ClockFault:
        """A wrong unit stays wrong, whatever else happens."""
        return {1: fault, 1_000: ClockFault.MILLISECONDS, 1_000_000: ClockFault.SECONDS}[self._scale]

    def _judge_unit(self, raw: int) -> None:
        """From how far the clock has come since the first batch: is it in microseconds at all?"""
        if self._scale != 1 or self._count < 3:
            return
        advance = raw - self._first_raw
        for scale, _name, least_us in _UNITS:
            if self._expected_us >= least_us and 0.4 < advance * scale / self._expected_us < 2.5:
                self._scale = scale
                self._end_us = scale * (self._last_raw + self._wraps * _WRAP) + (
                    self._end_us - self._last_raw
                )
                self._restart_fit()
                return

    def _is_wrap(self, raw: int) -> bool:
        around = self._scale * (raw + (self._wraps + 1) * _WRAP)
        return abs(around - self._end_us) <= max(_MOST_JITTER_US, 2 * self._scale)

    def _judge_step(self, t0_us: int, fs: float, received_us: int, fault: ClockFault) -> Verdict:
        """Does this batch begin where the last one ended?"""
        off_us = t0_us - self._end_us
        coarse = self._scale if self._scale > 1_000 else 0
        tolerance = max(4e6 / fs, _JITTER_US, min(6 * self._jitter_us, _MOST_JITTER_US)) + coarse
        if abs(off_us) <= tolerance:
            self._jitter_us += (abs(off_us) - self._jitter_us) / 16
            return Verdict(t0_us, True, 0, fault)
        if off_us < 0:
            if self._scale == 1 and t0_us > self._scale * (self._last_raw + self._wraps * _WRAP):
                # It has advanced, but by too little: a unit that is not known yet, or a slow clock.
                return Verdict(t0_us, True, 0, fault)
            self._restart_fit()
            return Verdict(t0_us, False, 0, self._lasting(ClockFault.JUMP_BACK))
        waited_us = received_us - self._last_received_us
        if off_us > _STEP_US and waited_us < off_us / 4:  # nobody waited for the time that it claims
            self._restart_fit()
            fault = self._lasting(ClockFault.JUMP_FORWARD)
        return Verdict(t0_us, False, max(1, round(off_us * fs / 1e6)), fault)

    # -- the line -------------------------------------------------------------------------------------

    def _fit(self, device_us: int, received_us: int) -> None:
        delay = received_us - device_us
        number = device_us // _BUCKET_US
        if self._bucket is None:
            self._bucket = number, device_us, delay
            self._reference_us, self._offset_us = device_us, delay
        elif number != self._bucket[0]:
            self._anchors.append(self._bucket[1:])
            self._bucket = number, device_us, delay
            self._refit()
        elif delay < self._bucket[2]:
            self._bucket = number, device_us, delay
            if len(self._anchors) < 2:
                self._offset_us = min(self._offset_us, delay)

    def _refit(self) -> None:
        """Median slope, and the offset that no anchor undercuts by much."""
        if len(self._anchors) < 3:
            self._offset_us = min(delay for _, delay in self._anchors)
            return
        x, y = np.array(self._anchors, dtype=np.float64).T
        reference = x[-1]
        x = x - reference
        first, second = _pairs(len(x))
        slopes = np.sort((y[second] - y[first]) / np.maximum(np.abs(x[second] - x[first]), 1.0))
        self.skew = min(max(float(slopes[len(slopes) // 2]), -_MOST_SKEW), _MOST_SKEW)
        self._reference_us = int(reference)
        self._offset_us = round(float(np.sort(y - self.skew * x)[len(x) // 4]))

    def _restart_fit(self) -> None:
        self._anchors.clear()
        self._bucket = None
        self.skew = 0.0

    # -- elsewhere ------------------------------------------------------------------------------------

    def state(self) -> tuple[Any, ...]:
        """Everything as plain values, to continue from elsewhere."""
        return (
            self._count, self._scale, self._wraps, self._first_raw, self._last_raw, self._expected_us,
            self._end_us, self._last_received_us, self._jitter_us, self._still, str(self._fault),
            self._bucket, tuple(self._anchors), self._reference_us, self._offset_us, self.skew,
        )  # fmt: skip

    def restore(self, state: tuple[Any, ...]) -> None:
        """Go on where ``state`` was taken."""
        (
            self._count, self._scale, self._wraps, self._first_raw, self._last_raw, self._expected_us,
            self._end_us, self._last_received_us, self._jitter_us, self._still, fault, bucket, anchors,
            self._reference_us, self._offset_us, self.skew,
        ) = state  # fmt: skip
        self._fault = ClockFault(fault)
        self._bucket = None if bucket is None else (bucket[0], bucket[1], bucket[2])
        self._anchors = deque(((x, y) for x, y in anchors), maxlen=_BUCKETS)


@lru_cache(maxsize=_BUCKETS + 1)
def _pairs(n: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """All pairs of n anchors."""
    first, second = np.triu_indices(n, 1)
    return first, second
