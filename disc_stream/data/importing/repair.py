"""From rows with times to even stretches: order, stamps, lost samples, gaps; by the times of the samples.

::

    rows      . . . . .   . . .         .:. . : .        a lost row, a gap, late stamps and one stamp for two
    stretches [. . . . . o . . .]       [. . . . . .]    o is on the line between its neighbours

What is lost for longer than ``bridge_s`` is a gap: the recording is cut there, and no window spans it. Stamps
that jitter about even times are no fault of the samples, which stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from disc_stream.data.importing.even import Even, Repair, Stretch, nominal_rate, usual_rate
from disc_stream.data.importing.stamps import in_order, spread
from disc_stream.data.importing.times import Times
from disc_stream.data.types import LabelArray
from disc_stream.types import Float32Array

Floats = npt.NDArray[np.float64]
_LOOK = 8  # samples on either side of a step, to tell a lost sample from a late stamp
_STRAY = 0.35  # of a period, beyond which a step may have lost samples in it
_WANDER_US, _WANDER = 20_000, 1.5  # by how much times may leave the line of one rate, also in periods
_STEADY = 0.1  # of a period: steps so near to one another need no repair
_NEAR_USUAL = 0.05  # relative: how far even times may be from the mean rate of uneven ones
_NOISY = 0.15  # of a period: stamps so far off tell the rate by many of them only
_OFTEN = 0.01  # of the steps: long ones that are no whole number of periods are of an uneven sensor
_SHORTEST_S = 0.5
_EXACT_US = 1_000.0


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
    times, values, labels, cuts = in_order(times, values, labels, repair)
    pieces = [slice(int(a), int(b)) for a, b in zip([0, *cuts], [*cuts, len(times)], strict=True) if b > a]
    found: list[tuple[slice, Floats]] = []
    for piece in pieces:
        own = spread((times[piece] - times[piece.start]).astype(np.float64), repair)
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
