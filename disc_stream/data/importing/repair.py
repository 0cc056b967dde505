"""From rows with times to even stretches: order, stamps, lost samples, gaps; by the times of the samples.

::

    rows      . . . . .   . . .         .:. . : .        a lost row, a gap, late stamps and one stamp for two
    stretches [. . . . . o . . .]       [. . . . . .]    o is on the line between its neighbours

What is lost for longer than ``bridge_s`` is a gap: the recording is cut there, and no window spans it. Stamps
that jitter about even times are no fault of the samples, which stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from disc_stream.data.importing.times import Times
from disc_stream.data.types import LabelArray
from disc_stream.types import Float32Array

Floats = npt.NDArray[np.float64]
_REORDER_US = 5_000_000  # rows further out of order are of a clock that was put back
_NEAR = 0.3  # of a period: steps below it are none of the sensor
_MANY_EQUAL = 0.2  # of the steps: then a stamp stands for several samples
_LOOK = 8  # samples on either side of a step, to tell a lost sample from a late stamp
_STRAY = 0.35  # of a period, beyond which a step may have lost samples in it
_SNAP = 0.002  # a rate this close to a whole number is taken as that number
_WANDER_US, _WANDER = 20_000, 1.5  # by how much times may leave the line of one rate, also in periods
_STEADY = 0.1  # of a period: steps so near to one another need no repair
_USUAL = (
    10.0, 12.5, 20.0, 25.0, 30.0, 31.25, 32.0, 40.0, 50.0, 51.2, 52.0, 60.0, 62.5, 64.0, 80.0, 100.0, 102.4,
    104.0, 125.0, 128.0, 200.0, 204.8, 208.0, 250.0, 256.0, 400.0, 500.0, 512.0, 800.0, 1000.0,
)  # fmt: skip
_NEAR_USUAL = 0.05  # relative: how far even times may be from the mean rate of uneven ones
_NOISY = 0.15  # of a period: stamps so far off tell the rate by many of them only
_OFTEN = 0.01  # of the steps: long ones that are no whole number of periods are of an uneven sensor
_SHORTEST_S = 0.5
_EXACT_US = 1_000.0
MOST_CUTS = 200
"""Steps back of a clock in one file, beyond which its times mean nothing."""


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


def make_even(times: Times, values: Float32Array, labels: LabelArray, bridge_s: float) -> Even | None:
    """Bring samples to an even rate.

    Args:
        times: (n,) microseconds, as in the file.
        values: (n, C) float32, NaN where there is no value.
        labels: (n,) int16.
        bridge_s: longest gap that is filled, in seconds.

    Returns:
        None where the times have no rate: one sample, or all at one time.
    """
    repair = Repair()
    clean = _clean(times)
    if clean is not None:
        repair.missing = int(np.isnan(values).any(axis=1).sum())
        whole = _bridge(values, labels, int(times[0]), clean, bridge_s, repair)
        return Even(1e6 / clean, _long_enough(whole, clean, repair), repair)
    times, values, labels, cuts = _in_order(times, values, labels, repair)
    pieces = [slice(int(a), int(b)) for a, b in zip([0, *cuts], [*cuts, len(times)], strict=True) if b > a]
    found: list[tuple[slice, Floats]] = []
    for piece in pieces:
        own = _spread((times[piece] - times[piece.start]).astype(np.float64), repair)
        found.append((piece, own))
    period = _period([own for _, own in found])
    if period is None:
        return None
    steps = [_steps(own, period, bridge_s) for _, own in found]
    uneven = _is_uneven([own for _, own in found], period, steps)
    if not uneven:
        period = _long_period(found, steps) or period
        uneven = _leaves_line(found, steps, period)
    if uneven:
        every = np.concatenate([np.diff(own) for _, own in found])
        middle = float(np.median(every))
        period = middle if 0 < _noise(every, middle) <= _NOISY * middle else period
        period = 1e6 / usual_rate(1e6 / period, _NEAR_USUAL)
    stretches: list[Stretch] = []
    for (piece, own), (k, gap) in zip(found, steps, strict=True):
        starts = np.concatenate([[0], np.flatnonzero(gap) + 1])
        ends = np.concatenate([starts[1:], [len(own)]])
        jumps = np.diff(own)[gap]
        repair.gaps += [
            (piece.start + int(a), float(us - period) / 1e6) for a, us in zip(starts[1:], jumps, strict=True)
        ]
        for a, b in zip(starts, ends, strict=True):
            part = slice(piece.start + int(a), piece.start + int(b))
            origin = int(times[piece.start]) + round(float(own[a]))
            rows = _Rows(own[a:b] - own[a], values[part], labels[part], origin)
            if uneven:
                stretches += _interpolated(rows, period, bridge_s, repair)
            else:
                stretches += _stretch(rows, k[a : b - 1], period, bridge_s, repair)
    period = _whole(period, stretches)
    return Even(1e6 / period, _long_enough(stretches, period, repair), repair)


def _long_enough(stretches: list[Stretch], period: float, repair: Repair) -> list[Stretch]:
    """Without what is too short for anything, unless there is nothing else."""
    least = _SHORTEST_S * 1e6 / period
    long = [one for one in stretches if len(one.values) >= least]
    if not long:
        return stretches
    repair.short_s += sum(len(one.values) for one in stretches if len(one.values) < least) * period / 1e6
    return long


def _clean(times: Times) -> float | None:
    """The period of times that are even throughout, so that nothing is to be done; else None."""
    if len(times) < 2:
        return None
    steps = np.diff(times)
    period = float(times[-1] - times[0]) / len(steps)
    if steps.min() <= (1 - _STEADY) * period or steps.max() >= (1 + _STEADY) * period:
        return None
    nominal = nominal_rate(1e6 / period)
    if nominal and abs(1e6 / nominal - period) * len(times) < _EXACT_US:
        period = 1e6 / nominal
    line = np.arange(0, len(times), max(1, len(times) // 4_096))
    if float(np.abs(times[line] - times[0] - line * period).max()) > _STEADY * period + _EXACT_US:
        return None
    return period


# -- order and stamps -------------------------------------------------------------------------------------


def _in_order(
    times: Times, values: Float32Array, labels: LabelArray, repair: Repair
) -> tuple[Times, Float32Array, LabelArray, list[int]]:
    """The rows in order of time, and where a clock was put back."""
    steps = np.diff(times)
    back = np.flatnonzero(steps < 0)
    if len(back):
        order = np.argsort(times, kind="stable")
        forward = steps[steps > 0]
        typical = float(np.median(forward)) if len(forward) else 0.0
        again = np.diff(times[order])
        mixed = np.count_nonzero((again < _NEAR * typical) & (again >= 0))
        before = np.count_nonzero((steps < _NEAR * typical) & (steps >= 0))
        reach = int(-steps[back].min())
        if reach <= _REORDER_US and mixed <= before + 0.01 * len(times):
            repair.sorted = int(np.count_nonzero(order != np.arange(len(order))))
            times, values, labels = times[order], values[order], labels[order]
            steps, back = np.diff(times), back[:0]
    equal = steps == 0
    if equal.any() and equal.mean() <= _MANY_EQUAL:
        twice = np.zeros(len(times), dtype=np.bool_)
        at = np.flatnonzero(equal)
        a, b = values[at + 1], values[at]
        twice[at + 1] = ((a == b) | (np.isnan(a) & np.isnan(b))).all(axis=1)
        if twice.any():
            repair.doubled = int(twice.sum())
            back = back - np.cumsum(twice)[back]
            times, values, labels = times[~twice], values[~twice], labels[~twice]
    repair.steps_back += len(back)
    return times, values, labels, [int(b) + 1 for b in back]


def _spread(times: Floats, repair: Repair) -> Floats:
    """Times of samples that share a stamp, or that came in bursts, spread over the time they stand for."""
    if len(times) < 3:
        return times
    steps = np.diff(times)
    inner = steps[steps <= max(2e6, 50 * float(np.median(steps)))]
    mean = float(inner.mean()) if len(inner) else 0.0
    same = steps <= (_NEAR * mean if float(np.median(steps)) < _NEAR * mean else 0.0)
    if not same.any():
        return times
    first = np.concatenate([[True], ~same])
    group = np.cumsum(first) - 1
    stamps = times[first]
    counts = np.bincount(group)
    if len(stamps) < 2:
        return times
    if same.mean() > _MANY_EQUAL:
        repair.per_stamp = max(repair.per_stamp, len(times) / len(stamps))
    spans = np.diff(stamps)
    typical = float(np.median(spans / counts[:-1]))
    each = np.append(np.minimum(spans / counts[:-1], 1.25 * typical), typical)
    each = np.where(np.append(spans, 0) / counts > 1.25 * typical, typical, each)
    within = np.arange(len(times)) - np.flatnonzero(first)[group]
    begin = stamps.copy()
    if counts[0] * typical < 0.9 * spans[0] < 1.5 * counts.max() * typical:  # it began amid a stamp
        begin[0] = stamps[1] - counts[0] * typical
    out: Floats = begin[group] + within * each[group]
    return out - out[0] if out[0] > 0 else out


# -- rate, lost samples, gaps -----------------------------------------------------------------------------


def _period(pieces: list[Floats]) -> float | None:
    """Microseconds between two samples; None if that cannot be said."""
    steps = np.concatenate([np.diff(t) for t in pieces])
    steps = steps[steps > 0]
    if not len(steps):
        return None
    middle = float(np.median(steps))
    noisy = _noise(steps, middle) > _NOISY * middle
    look = 8 * _LOOK if noisy else _LOOK
    longer = [(t[look:] - t[:-look]) / look for t in pieces if len(t) > look]
    if longer:
        smooth = float(np.median(np.concatenate(longer)))
        if noisy or 0.9 < smooth / middle < 1.1:
            return smooth
    return middle


def _noise(steps: Floats, period: float) -> float:
    """Standard deviation of steps about a period, whatever a few of them are."""
    return 1.48 * float(np.median(np.abs(steps - period)))


def _long_period(
    found: list[tuple[slice, Floats]], steps: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]]
) -> float:
    """Samples' distance over long pieces without a gap: the middle of many, which no odd stamp moves."""
    slopes: list[Floats] = []
    for (_, own), (k, gap) in zip(found, steps, strict=True):
        index = np.concatenate([[0], np.cumsum(k)])
        edges = [0, *(np.flatnonzero(gap) + 1).tolist(), len(own)]
        for a, b in pairwise(edges):
            far = min(max((b - a) // 4, _LOOK), 4_096)
            if b - a > far:
                step = max(1, (b - a) // 100_000)
                low = np.arange(a, b - far, step)
                slopes.append((own[low + far] - own[low]) / (index[low + far] - index[low]))
    robust = float(np.median(np.concatenate(slopes))) if slopes else 0.0
    return _refined(robust, found, steps)


def _refined(
    period: float,
    found: list[tuple[slice, Floats]],
    steps: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]],
) -> float:
    """The slope of a straight line through the longest piece without a gap, where it agrees: more exact."""
    best: tuple[int, Floats, Floats] | None = None
    for (_, own), (k, gap) in zip(found, steps, strict=True):
        edges = [0, *(np.flatnonzero(gap) + 1).tolist(), len(own)]
        a, b = max(pairwise(edges), key=lambda edge: edge[1] - edge[0])
        if best is None or b - a > best[0]:
            best = b - a, np.concatenate([[0.0], np.cumsum(k[a : b - 1])]), own[a:b]
    if best is None or best[0] < _LOOK:
        return period
    index, times = best[1] - best[1].mean(), best[2] - best[2].mean()
    slope = float((index * times).sum() / np.square(index).sum())
    return slope if abs(slope - period) <= 1e-3 * period else period


def _whole(period: float, stretches: list[Stretch]) -> float:
    """The period of a whole rate, if no stretch would end a millisecond earlier or later by it."""
    nominal = nominal_rate(1e6 / period)
    longest = max((len(one.values) for one in stretches), default=0)
    return 1e6 / nominal if nominal and abs(1e6 / nominal - period) * longest < _EXACT_US else period


def _steps(
    times: Floats, period: float, bridge_s: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """(n - 1,) samples from each row to the next, and whether a gap lies between."""
    steps = np.diff(times)
    k = np.ones(len(steps), dtype=np.int64)
    gap = steps > bridge_s * 1e6 + 1.5 * period
    at = np.flatnonzero(steps > max((1 + _STRAY) * period, period + 4 * _noise(steps, period)))
    if not len(at):
        return k, gap
    line = times - period * np.arange(len(times))
    total = np.concatenate([[0.0], np.cumsum(line)])
    low = np.maximum(at + 1 - _LOOK, np.concatenate([[0], at[:-1] + 1]))
    high = np.minimum(at + 1 + _LOOK, np.concatenate([at[1:] + 1, [len(times)]]))
    before = (total[at + 1] - total[low]) / (at + 1 - low)
    after = (total[high] - total[at + 1]) / (high - at - 1)
    lost_us = np.where(np.minimum(at + 1 - low, high - at - 1) < 3, steps[at] - period, after - before)
    lost = np.rint(lost_us / period).astype(np.int64)
    k[at] = np.clip(lost, 0, None) + 1
    # A stamp that is late by more than a gap's length, and the next ones are not: no gap.
    gap[at] &= lost_us > bridge_s * 1e6
    gap |= (k - 1) * period > bridge_s * 1e6
    return k, gap


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of one piece without a gap in its times, which are counted from ``start_us``."""

    times: Floats
    values: Float32Array
    labels: LabelArray
    start_us: int


def _stretch(
    rows: _Rows, k: npt.NDArray[np.int64], period: float, bridge_s: float, repair: Repair
) -> list[Stretch]:
    """One piece with its lost and missing samples bridged."""
    values, labels = rows.values, rows.labels
    index = np.arange(len(values))
    if k.size and k.max() > 1:
        index = np.concatenate([[0], np.cumsum(k)])
    off = rows.times - period * index
    repair.missing += int(np.isnan(values).any(axis=1).sum())
    if len(index) and index[-1] + 1 > len(index):
        repair.lost += int(index[-1] + 1 - len(index))
        full = np.full((int(index[-1]) + 1, values.shape[1]), np.nan, dtype=np.float32)
        full[index] = values
        values, labels = full, np.repeat(labels, np.append(k, 1))
    jitter = float(np.quantile(np.abs(off - np.median(off)), 0.95)) / 1e3
    repair.jitter_ms = max(repair.jitter_ms, jitter)
    origin = rows.start_us + round(float(np.median(off[: 2 * _LOOK])))
    return _bridge(values, labels, origin, period, bridge_s, repair)


def _is_uneven(
    pieces: list[Floats], period: float, steps: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]]
) -> bool:
    """Whether a sensor itself samples unevenly: long steps that are no multiples, and none catches up."""
    own = np.concatenate([np.diff(t)[~gap] for t, (_, gap) in zip(pieces, steps, strict=True)])
    long = own[own > max((1 + _STRAY) * period, period + 3 * _noise(own, period))]
    if len(long) <= _OFTEN * len(own) or np.count_nonzero(own < (1 - _STRAY) * period) > 0.3 * len(long):
        return False
    near = own[own <= (1 + _STRAY) * period]
    noise = float(np.abs(near / period - 1).mean()) if len(near) else 0.0
    return float(np.abs(long / period - np.rint(long / period)).mean()) > 0.05 + 2 * noise


def _leaves_line(
    found: list[tuple[slice, Floats]],
    steps: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]],
    period: float,
) -> bool:
    """Whether times of any piece without a gap leave the line of one rate."""
    for (_, own), (k, gap) in zip(found, steps, strict=True):
        index = np.concatenate([[0], np.cumsum(k)])
        for a, b in pairwise([0, *(np.flatnonzero(gap) + 1).tolist(), len(own)]):
            if _wanders(own[a:b] - own[a] - period * (index[a:b] - index[a]), period):
                return True
    return False


def _wanders(off: Floats, period: float) -> bool:
    """Whether times leave the line of one rate for longer than stamps jitter."""
    size = max(_LOOK, round(1e6 / period))
    n = len(off) // size
    if n < 3:
        return False
    mean = off[: n * size].reshape(n, size).mean(axis=1)
    return float(np.abs(mean - np.median(mean)).max()) > max(_WANDER_US, _WANDER * period)


def _interpolated(rows: _Rows, period: float, bridge_s: float, repair: Repair) -> list[Stretch]:
    """Samples at even times, on the lines between those that there are."""
    repair.uneven = True
    times, values = _smooth(rows.times, period), rows.values
    if len(times) < 2:
        return _kept(values, rows.labels, rows.start_us)
    repair.missing += int(np.isnan(values).any(axis=1).sum())
    wanted = np.arange(0.0, times[-1] + 1e-3, period)
    after = np.clip(np.searchsorted(times, wanted, side="left"), 1, len(times) - 1)
    before = after - 1
    weight = ((wanted - times[before]) / (times[after] - times[before]))[:, None]
    out = (values[before] + (values[after] - values[before]) * weight).astype(np.float32)
    labels = rows.labels[np.where(weight[:, 0] < 1, before, after)]
    return _bridge(out, labels, rows.start_us, period, bridge_s, repair)


def _smooth(times: Floats, period: float) -> Floats:
    """Times that increase; where stamps jitter to both sides, along the line through means of a second."""
    steps = np.diff(times)
    if np.count_nonzero(steps < (1 - _STRAY) * period) > 0.02 * len(steps):
        size = max(_LOOK, round(1e6 / period))
        n = len(times) // size
        index = np.arange(len(times), dtype=np.float64)
        at = index[: n * size].reshape(n, size).mean(axis=1)
        mean = times[: n * size].reshape(n, size).mean(axis=1)
        left = mean[0] - at[0] * (mean[1] - mean[0]) / (at[1] - at[0])
        right = mean[-1] + (index[-1] - at[-1]) * (mean[-1] - mean[-2]) / (at[-1] - at[-2])
        times = np.interp(index, [0.0, *at, index[-1]], [left, *mean, right])
    kept: Floats = np.maximum.accumulate(times + 1e-3 * np.arange(len(times)))
    kept -= kept[0]
    return kept


def _bridge(
    values: Float32Array, labels: LabelArray, start_us: int, period: float, bridge_s: float, repair: Repair
) -> list[Stretch]:
    """Missing values on the line between their neighbours; cut where they are missing for too long."""
    gone = np.isnan(values)
    rows: npt.NDArray[np.bool_] = np.asarray(gone.any(axis=1))
    if not rows.any():
        return _kept(values, labels, start_us)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], rows, [False]]).astype(np.int8)))
    begins, ends = edges[::2], edges[1::2]
    long = ((ends - begins) * period > bridge_s * 1e6) | (begins == 0) | (ends == len(rows))
    values = values.copy()
    index = np.arange(len(values))
    for column in np.flatnonzero(gone.any(axis=0)):
        there = ~gone[:, column]
        if there.any():
            values[~there, column] = np.interp(index[~there], index[there], values[there, column])
    stretches: list[Stretch] = []
    position = 0
    for begin, end in zip(begins[long], ends[long], strict=True):
        repair.cut += int(end - begin)
        repair.missing = max(0, repair.missing - int(end - begin))
        at = start_us + round(position * period)
        stretches += _kept(values[position:begin], labels[position:begin], at)
        position = int(end)
    at = start_us + round(position * period)
    return stretches + _kept(values[position:], labels[position:], at)


def _kept(values: Float32Array, labels: LabelArray, start_us: int) -> list[Stretch]:
    return [Stretch(start_us, values, labels)] if len(values) else []
