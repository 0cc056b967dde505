"""Rows in the order of time, and stamps that stand for several samples."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from disc_stream.data.importing.even import Repair
from disc_stream.data.importing.times import Times
from disc_stream.data.types import LabelArray
from disc_stream.types import Float32Array

Floats = npt.NDArray[np.float64]
_REORDER_US = 5_000_000  # rows further out of order are of a clock that was put back
_NEAR = 0.3  # of a period: steps below it are none of the sensor
_MANY_EQUAL = 0.2  # of the steps: then a stamp stands for several samples


def in_order(
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


def spread(times: Floats, repair: Repair) -> Floats:
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
