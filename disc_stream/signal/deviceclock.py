"""A device's clock: mapped to the server's by a robust line, and its faults by name.

A batch should begin where the one before ended: at its ``t0`` plus ``n_samples / fs``. Where it does not by
more than the larger of 4 samples and 250 ms, and 2 % of the batch before for rates that are not what they
are said to be, the clock says that samples are missing. Many devices stamp a batch when it arrives over
Bluetooth, so their times jitter about the right ones. That is no fault: times are also compared with
their running mean, and what they usually jitter by (ten times the mean deviation, at most 2 s) is no gap.

Whether a step is of the clock or of the world is seen from the arrival: a batch that came before its samples
could have been taken is of a clock that was put forward. Units are seen from how far the clock comes while
the samples last, or at once where its time is the server's in another unit, or can only be nanoseconds. After
a jump the unit is found again: a device that learns the time of day may go on in another unit.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec
from msgspec.structs import replace

from disc_stream.signal.clockline import ClockLine

TOLERANCE_US = 250_000
"""What is no gap, whatever the rate. Four samples are none either."""

_RATE_SLACK = 0.02  # of a batch
_MAX_JITTER_US = 2_000_000
_JITTERS = 10.0  # times the mean deviation: delays have long tails
_STEP_US = 1_000_000  # a smaller one is not called a jump
_FUTURE_US = 300_000_000
_UNIX_US = 1_400_000_000_000_000  # 2014: what is larger is a time of day, not a time since the boot
_SAME_TIME_US = 3_600_000_000
_WRAP = 2**32
_NANO, _MICRO, _MILLI, _SECOND = 1, 1_000, 1_000_000, 1_000_000_000  # nanoseconds in the clock's unit
_UNITS = (_MICRO, _MILLI, _SECOND, _NANO)
_ONLY_NANO = 4_102_444_800_000_000  # microseconds until the year 2100, or 130 years after a boot
_UNIT_AFTER_US, _UNIT_AFTER_BATCHES = 2_000_000, 3  # of samples, before a unit is believed
_MIN_SECONDS = 4  # counted, before they are believed to be seconds
_FROZEN_AFTER_US = 2_500_000  # longer than a clock of whole seconds stands still
_CRAWLS_AFTER_US = 60_000_000
_MAX_DURATION_US = 2.0**63  # of a batch: keeps hostile rates finite


class ClockFault(StrEnum):
    """What a clock does that it should not."""

    NONE = "none"
    FROZEN = "frozen"  # it does not advance, or by far too little; samples are counted instead
    JUMP_FORWARD = "jump-forward"
    JUMP_BACK = "jump-back"
    WRAP32 = "wrap32"  # it began again after 2^32 microseconds or 2^32 of its units; that is mended
    SECONDS = "seconds"  # it counts seconds where microseconds are meant; that is mended
    MILLISECONDS = "milliseconds"
    NANOSECONDS = "nanoseconds"
    FUTURE = "future"  # it is ahead of the server by minutes


FAULT_WORDS: dict[ClockFault, tuple[str, str]] = {
    ClockFault.FROZEN: (
        "its clock stands still or hardly advances (t0); samples are counted instead, and gaps are not seen",
        "Stamp each batch with the time of its first sample",
    ),
    ClockFault.JUMP_FORWARD: (
        "its clock was put forward; windows begin anew there",
        "Set the clock before the first batch, and let it run from then on",
    ),
    ClockFault.JUMP_BACK: (
        "its clock was put back; windows begin anew there",
        "Set the clock before the first batch, and let it run from then on",
    ),
    ClockFault.WRAP32: ("its clock began again after 2^32; that is mended", "Send t0 as a number of 64 bits"),
    ClockFault.SECONDS: (
        "its clock counts seconds; that is mended, but times are known to a second only",
        "Send t0 in microseconds",
    ),
    ClockFault.MILLISECONDS: ("its clock counts milliseconds; that is mended", "Send t0 in microseconds"),
    ClockFault.NANOSECONDS: ("its clock counts nanoseconds; that is mended", "Send t0 in microseconds"),
    ClockFault.FUTURE: (
        "its clock is minutes ahead of the server's",
        "Set the device's clock, or the server's",
    ),
}
"""What each fault means for a person, and what to do about it."""

_UNIT_FAULTS = {
    _NANO: ClockFault.NANOSECONDS,
    _MICRO: ClockFault.NONE,
    _MILLI: ClockFault.MILLISECONDS,
    _SECOND: ClockFault.SECONDS,
}


_JUMPS = frozenset({ClockFault.JUMP_FORWARD, ClockFault.JUMP_BACK})


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What the clock says of one batch.

    Args:
        t0_us: time of its first sample on the device's clock in microseconds, units and wraps mended.
        continuous: whether it follows the batch before it without missing samples.
        missing_samples: how many are missing before it, about; 0 where none are or that cannot be said.
        fault: what is wrong with the clock. Jumps and wraps are told once, at the batch that shows them; the
            others as long as they last.
    """

    t0_us: int
    continuous: bool
    missing_samples: int
    fault: ClockFault


def _is_about(advance_us: float, duration_us: float) -> bool:
    """Whether a clock may have come so far while samples of this duration were taken."""
    return 0.4 * duration_us < advance_us < 2.5 * duration_us


class DeviceClock:
    """The clock of a device in one boot. It has no time source of its own."""

    __slots__ = (
        "_base_raw", "_batches", "_deviation_us", "_elapsed_us", "_end_us", "_fault", "_grid_us",
        "_last_duration_us", "_last_raw", "_last_received_us", "_line", "_mean_us", "_shift_us", "_still",
        "_still_us", "_unit_known", "_unit_ns",
    )  # fmt: skip

    def __init__(self) -> None:
        self._unit_ns = _MICRO  # what the clock counts,
        self._unit_known = False  # or what it is taken to count
        self._shift_us = 0  # all wraps so far
        self._base_raw = 0  # where the search for the unit began,
        self._elapsed_us = 0.0  # the samples' duration
        self._batches = 0  # and number of batches since
        self._last_raw = self._last_received_us = 0
        self._last_duration_us = 0.0
        self._end_us = 0  # end of the last batch by its own time,
        self._grid_us = 0.0  # and by the running mean
        self._mean_us = self._deviation_us = 0.0  # of times about the running mean
        self._still, self._still_us = 0, 0.0  # batches in a row with the time of the one before them
        self._fault = ClockFault.NONE
        self._line = ClockLine()

    @property
    def unit_us(self) -> float:
        """Microseconds in the clock's unit; 1 until it is known to be another."""
        return self._unit_ns / 1_000

    @property
    def skew_ppm(self) -> float:
        """Rate of the server's clock over the device's, minus 1, in parts per million."""
        return self._line.skew * 1e6

    @property
    def offset_us(self) -> int | None:
        """Server time minus device time at the end of the last batch; None before any."""
        return self._line.offset_at(self._end_us) if self._line.known else None

    @property
    def uncertainty_us(self) -> int | None:
        """How far apart the points of the fit lie; None while they are too few for a slope."""
        return self._line.spread_us

    @property
    def fault(self) -> ClockFault:
        """That of the last batch."""
        return self._fault

    def to_server_us(self, device_us: int) -> int | None:
        """Server time of a moment on the device's clock (mended), Unix microseconds; None before any batch.

        The shortest delay of the network is in it: it cannot be told from a clock that is late.
        """
        return device_us + self._line.offset_at(device_us) if self._line.known else None

    def observe(self, t0_us: int, n_samples: int, fs: float, received_us: int) -> Verdict:
        """Take the next batch of the boot, in order.

        Args:
            t0_us: as the device sent it.
            n_samples: of the batch.
            fs: its rate in Hz, above 0.
            received_us: server time of its arrival, Unix microseconds; the clock's steps cannot be told from
                gaps where it is not a time of day.
        """
        duration_us = min(n_samples * 1e6 / fs, _MAX_DURATION_US)
        if self._batches:
            verdict = self._follow(t0_us, duration_us, fs, received_us)
        else:
            verdict = self._begin(t0_us, received_us)
        if verdict.t0_us - received_us > _FUTURE_US and received_us > _UNIX_US:
            verdict = self._look_ahead(verdict)
        end_us = verdict.t0_us + round(duration_us)
        self._end_us = end_us
        self._grid_us += duration_us
        self._elapsed_us += duration_us
        self._batches += 1
        self._last_raw, self._last_received_us, self._last_duration_us = t0_us, received_us, duration_us
        self._fault = verdict.fault
        self._line.observe(end_us, received_us)
        return verdict

    # -- one batch ------------------------------------------------------------------------------------

    def _begin(self, raw: int, received_us: int) -> Verdict:
        self._recognise(raw, received_us)
        self._base_raw = raw
        t0_us = self._to_us(raw)
        self._grid_us = float(t0_us)
        return Verdict(t0_us, True, 0, _UNIT_FAULTS[self._unit_ns])

    def _follow(self, raw: int, duration_us: float, fs: float, received_us: int) -> Verdict:
        step = raw - self._last_raw
        if step == 0:
            return self._stand_still()
        self._still, self._still_us = 0, 0.0
        if not self._unit_known:
            if self._find_unit(raw, received_us):
                return self._change_unit(raw, fs)
            if self._unit_may_differ(step, received_us):  # count samples until it is known
                crawls = self._elapsed_us > _CRAWLS_AFTER_US
                return self._count_on(ClockFault.FROZEN if crawls else _UNIT_FAULTS[self._unit_ns])
        if raw >= _WRAP:  # a counter that goes further, whatever it was before
            self._shift_us = 0
        t0_us = self._to_us(raw)
        fault = _UNIT_FAULTS[self._unit_ns]
        off_us = self._off(t0_us)
        tolerance_us = self._tolerance(fs)
        if off_us < -tolerance_us and step < 0 and self._unwrap(off_us, tolerance_us, received_us):
            t0_us = self._to_us(raw)
            off_us = self._off(t0_us)
            fault = ClockFault.WRAP32
        if -tolerance_us <= off_us <= tolerance_us:
            self._learn(t0_us - self._grid_us)
            return Verdict(t0_us, True, 0, fault)
        verdict = self._judge_step(Verdict(t0_us, True, 0, fault), off_us, duration_us, fs, received_us)
        return self._begin_again(verdict, raw, received_us) if verdict.fault in _JUMPS else verdict

    def _to_us(self, raw: int) -> int:
        """Whole numbers throughout: as a float, a time of day in nanoseconds has lost its microseconds."""
        return raw * self._unit_ns // 1_000 + self._shift_us

    def _off(self, t0_us: int) -> float:
        """How much later than expected: after the last batch, or on the running mean, whichever fits."""
        by_last, by_mean = t0_us - self._end_us, t0_us - self._grid_us
        return by_last if abs(by_last) <= abs(by_mean) else by_mean

    def _tolerance(self, fs: float) -> float:
        """Largest difference that is no gap."""
        least = max(TOLERANCE_US, 4e6 / fs) + _RATE_SLACK * self._last_duration_us
        if self._unit_ns == _SECOND:  # in whole seconds
            return least + 1e6
        return max(least, min(_JITTERS * self._deviation_us, _MAX_JITTER_US))

    def _learn(self, off_grid_us: float) -> None:
        """Move the running mean, and what times jitter by about it."""
        self._grid_us += off_grid_us / 4
        if self._unit_ns != _SECOND:
            weight = max(1 / 16, 1 / self._batches)
            self._mean_us += (off_grid_us - self._mean_us) * weight
            self._deviation_us += (abs(off_grid_us - self._mean_us) - self._deviation_us) * weight

    def _judge_step(
        self, verdict: Verdict, off_us: float, duration_us: float, fs: float, received_us: int
    ) -> Verdict:
        """The batch does not begin where the one before ended."""
        if abs(off_us) < _MAX_JITTER_US:  # it may be the first large jitter of many
            self._learn(verdict.t0_us - self._grid_us)
        self._grid_us = float(verdict.t0_us)
        if off_us < 0:
            if off_us > -_STEP_US:  # nothing is missing, and nothing has happened but a late stamp
                return verdict
            return replace(verdict, continuous=False, fault=ClockFault.JUMP_BACK)
        end_us = verdict.t0_us + round(duration_us)
        early_us = end_us + self._line.offset_at(end_us) - received_us
        if early_us > _STEP_US + _RATE_SLACK * off_us and received_us > _UNIX_US:
            return replace(verdict, continuous=False, fault=ClockFault.JUMP_FORWARD)
        return replace(verdict, continuous=False, missing_samples=max(1, round(off_us * fs / 1e6)))

    def _begin_again(self, verdict: Verdict, raw: int, received_us: int) -> Verdict:
        """The clock was set; how long has passed since the batch before cannot be said."""
        self._line.restart()
        self._base_raw, self._batches, self._elapsed_us = raw, 0, 0.0
        before_ns, self._unit_known = self._unit_ns, False  # it may have been set to a time in another unit
        self._recognise(raw, received_us)
        if self._unit_ns != before_ns:
            self._shift_us = 0
            verdict = replace(verdict, t0_us=self._to_us(raw))
            self._grid_us = float(verdict.t0_us)
        return verdict

    def _unwrap(self, off_us: float, tolerance_us: float, received_us: int) -> bool:
        """Add 2^32 if that explains a step back: to where it should be, or as far on as has been waited."""
        if self._last_raw >= _WRAP:  # a counter that goes further
            return False
        waited_us = max(0, received_us - self._last_received_us)
        for wrap_us in (_WRAP * self._unit_ns // 1_000, _WRAP):
            off_around_us = off_us + wrap_us
            slack_us = _MAX_JITTER_US + tolerance_us
            if -slack_us <= off_around_us <= slack_us + 1.25 * waited_us:
                self._shift_us += wrap_us
                self._base_raw -= wrap_us * 1_000 // self._unit_ns
                return True
        return False

    def _look_ahead(self, verdict: Verdict) -> Verdict:
        """It is ahead of the server; what happened at this batch is told first."""
        if verdict.t0_us > _UNIX_US and verdict.fault in _UNIT_FAULTS.values():
            return replace(verdict, fault=ClockFault.FUTURE)
        return verdict

    # -- clocks that count something else ---------------------------------------------------------------

    def _stand_still(self) -> Verdict:
        self._still += 1
        self._still_us += self._last_duration_us
        frozen = self._fault is ClockFault.FROZEN or (self._still >= 2 and self._still_us > _FROZEN_AFTER_US)
        return self._count_on(ClockFault.FROZEN if frozen else _UNIT_FAULTS[self._unit_ns])

    def _count_on(self, fault: ClockFault) -> Verdict:
        """The clock does not say when this batch began: it follows the last one."""
        self._grid_us = float(self._end_us)
        return Verdict(self._end_us, True, 0, fault)

    def _recognise(self, raw: int, received_us: int) -> None:
        """A time of day in some unit is known at once, and so is what only nanoseconds can be."""
        for unit_ns in _UNITS:
            if received_us > _UNIX_US and abs(raw * unit_ns // 1_000 - received_us) < _SAME_TIME_US:
                self._unit_ns, self._unit_known = unit_ns, True
                return
        if raw > _ONLY_NANO:
            self._unit_ns, self._unit_known = _NANO, True

    def _unit_may_differ(self, step: int, received_us: int) -> bool:
        """Whether a step is too short for the samples before it, or is theirs in a smaller unit."""
        if 0 < step * self._unit_ns < 400 * self._last_duration_us:
            return True
        return any(self._is_smaller(unit_ns, step, received_us) for unit_ns in _UNITS)

    def _is_smaller(self, unit_ns: int, step: int, received_us: int) -> bool:
        """Whether a step that is a thousand times too long is the samples' in a smaller unit.

        It may be a gap as well. Then as long has been waited, too, unless the samples were stored; where
        nobody knows when they came, it is taken for a gap.
        """
        waited_us = received_us - self._last_received_us
        return (
            unit_ns < self._unit_ns
            and received_us > _UNIX_US
            and waited_us < 0.0004 * step * self._unit_ns
            and _is_about(step * unit_ns / 1_000, self._last_duration_us)
        )

    def _find_unit(self, raw: int, received_us: int) -> bool:
        """From how far the clock has come: what does it count? True if not what it was taken for."""
        if self._elapsed_us < _UNIT_AFTER_US or self._batches < _UNIT_AFTER_BATCHES:
            return False
        advance, step = raw - self._base_raw, raw - self._last_raw
        for unit_ns in _UNITS:
            if not _is_about(advance * unit_ns / 1_000, self._elapsed_us):
                continue
            if unit_ns == _SECOND and advance < _MIN_SECONDS:
                return False
            if unit_ns < self._unit_ns and not (  # a single gap is no other unit: all steps must be of it
                self._is_smaller(unit_ns, step, received_us)
                and _is_about((advance - step) * unit_ns / 1_000, self._elapsed_us - self._last_duration_us)
            ):
                return False
            before_ns, self._unit_ns, self._unit_known = self._unit_ns, unit_ns, True
            self._shift_us = self._shift_us * unit_ns // before_ns  # wraps were of the unit it was taken for
            return unit_ns != before_ns
        return False

    def _change_unit(self, raw: int, fs: float) -> Verdict:
        """The times so far were in the wrong unit; from here on they are right, so they jump."""
        self._line.restart()
        t0_us = self._to_us(raw)
        continuous = abs(t0_us - self._end_us) <= self._tolerance(fs)
        self._grid_us, self._mean_us, self._deviation_us = float(t0_us), 0.0, 0.0
        return Verdict(t0_us, continuous, 0, _UNIT_FAULTS[self._unit_ns])

    # -- saved state ----------------------------------------------------------------------------------

    def state(self) -> tuple[Any, ...]:
        """Everything as plain values, for ``restore``."""
        return (
            self._unit_ns, self._unit_known, self._shift_us, self._base_raw, self._elapsed_us, self._batches,
            self._last_raw, self._last_received_us, self._last_duration_us, self._end_us, self._grid_us,
            self._mean_us,
            self._deviation_us, self._still, self._still_us, str(self._fault), self._line.state(),
        )  # fmt: skip

    def restore(self, state: tuple[Any, ...]) -> None:
        """Continue where ``state`` was taken."""
        (
            self._unit_ns, self._unit_known, self._shift_us, self._base_raw, self._elapsed_us, self._batches,
            self._last_raw, self._last_received_us, self._last_duration_us, self._end_us, self._grid_us,
            self._mean_us,
            self._deviation_us, self._still, self._still_us, fault, line,
        ) = state  # fmt: skip
        self._fault = ClockFault(fault)
        self._line.restore(line)
