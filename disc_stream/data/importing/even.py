"""Samples at an even rate, and what was done to make them so."""

from __future__ import annotations

from dataclasses import dataclass, field

from disc_stream.data.types import LabelArray
from disc_stream.types import Float32Array

_SNAP = 0.002  # a rate this close to a whole number is taken as that number
_USUAL = (
    10.0, 12.5, 20.0, 25.0, 30.0, 31.25, 32.0, 40.0, 50.0, 51.2, 52.0, 60.0, 62.5, 64.0, 80.0, 100.0, 102.4,
    104.0, 125.0, 128.0, 200.0, 204.8, 208.0, 250.0, 256.0, 400.0, 500.0, 512.0, 800.0, 1000.0,
)  # fmt: skip


@dataclass(slots=True)
class Stretch:
    """Samples at an even rate, without a gap.

    Args:
        start_us: time of the first one.
        values: (n, C) float32, finite.
        labels: (n,) int16.
    """

    start_us: int
    values: Float32Array
    labels: LabelArray


@dataclass(slots=True)
class Repair:
    """What was done, for the plan.

    Args:
        sorted: rows that were out of order.
        steps_back: places where the clock was put back; the recording is cut there.
        doubled: rows that came twice.
        per_stamp: samples under one stamp, on average; 1 where each has its own.
        lost: samples that were missing and are bridged.
        gaps: (row, seconds) of what is longer: the recording is cut there.
        jitter_ms: 95 % of the stamps are within so much of even times.
        uneven: whether the rate wandered, so that samples were put on even times.
        missing: rows without a value that are bridged.
        cut: rows without a value for too long: the recording is cut there.
        short_s: seconds in stretches that were too short to keep.
    """

    sorted: int = 0
    steps_back: int = 0
    doubled: int = 0
    per_stamp: float = 1.0
    lost: int = 0
    gaps: list[tuple[int, float]] = field(default_factory=list)
    jitter_ms: float = 0.0
    uneven: bool = False
    missing: int = 0
    cut: int = 0
    short_s: float = 0.0


@dataclass(slots=True)
class Even:
    """A series of samples at an even rate.

    Args:
        rate: samples a second by its clock, in Hz.
        stretches: in the order of the file.
        repair: what was done.
    """

    rate: float
    stretches: list[Stretch]
    repair: Repair

    @property
    def nominal(self) -> float:
        """The rate as its maker would say it: whole where it nearly is."""
        return nominal_rate(self.rate)


def nominal_rate(rate: float) -> float:
    """A rate near a whole number as that number, others to a thousandth of a hertz."""
    whole = round(rate)
    return float(whole) if whole and abs(rate - whole) <= _SNAP * rate else round(rate, 3)


def usual_rate(rate: float, within: float) -> float:
    """The rate that sensors are asked for, if one is as near as that (relative); else the rate itself."""
    near = min(_USUAL, key=lambda usual: abs(rate - usual) / usual)
    return near if abs(rate - near) <= within * near else nominal_rate(rate)
