"""Sensors of one device that have times of their own, joined as the stream joins them.

They go through ``disc_stream.signal.joining`` as batches, so a file with an accelerometer and a gyroscope at
different rates, or two files, become what the same samples sent as separate messages become.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from disc_stream.data.importing.even import Even, Repair, Stretch
from disc_stream.data.types import LabelArray
from disc_stream.signal.joining import Joiner
from disc_stream.types import Channel, Float32Array, SampleBatch

_BATCH_S = 2.0
_ARRIVAL_US = 2_000_000_000_000_000  # any time of day: parts are joined by their own times


@dataclass(frozen=True, slots=True)
class Part:
    """One sensor.

    Args:
        channels: its columns.
        even: its samples.
    """

    channels: tuple[Channel, ...]
    even: Even


def join_parts(parts: Sequence[Part]) -> tuple[tuple[Channel, ...], Even]:
    """Join sensors by time: a fastest one gives the times, the others are interpolated between neighbours.

    Returns:
        The channels of all parts in their order, and the joined samples; without stretches where the parts
        never overlap in time.
    """
    channels = tuple(channel for part in parts for channel in part.channels)
    joiner = Joiner(channels)
    origin = min(s.start_us for part in parts for s in part.even.stretches)
    joined: list[SampleBatch] = []
    for batch in sorted(_batches(parts, origin), key=_end_us):
        joined += joiner.push(batch, _ARRIVAL_US + round(_end_us(batch)))
    if not joined:
        return channels, Even(parts[0].even.rate, [], parts[0].even.repair)
    base = min(parts, key=lambda part: abs(part.even.rate - joined[0].fs)).even
    return channels, Even(base.rate, _stretches(joined, base.rate, origin, _LabelLine(base)), base.repair)


def _end_us(batch: SampleBatch) -> float:
    return batch.t0_us + len(batch.samples) * 1e6 / batch.fs


def _batches(parts: Sequence[Part], origin: int) -> list[SampleBatch]:
    found = []
    for part in parts:
        fs = part.even.rate
        size = max(1, round(_BATCH_S * fs))
        seq = 0
        for stretch in part.even.stretches:
            for begin in range(0, len(stretch.values), size):
                t0_us = stretch.start_us - origin + round(begin * 1e6 / fs)
                samples = stretch.values[begin : begin + size]
                found.append(SampleBatch("import", 1, seq, t0_us, fs, part.channels, samples))
                seq += 1
    return found


def _stretches(joined: Sequence[SampleBatch], rate: float, origin: int, labels: _LabelLine) -> list[Stretch]:
    groups: list[list[SampleBatch]] = []
    expected = -np.inf
    for batch in joined:
        if abs(batch.t0_us - expected) > 0.75e6 / rate:
            groups.append([])
        groups[-1].append(batch)
        expected = _end_us(batch)
    found = []
    for group in groups:
        values: Float32Array = np.concatenate([b.samples for b in group]).astype(np.float32, copy=False)
        start = origin + group[0].t0_us
        times: npt.NDArray[np.float64] = start + np.arange(len(values), dtype=np.float64) * (1e6 / rate)
        found.append(Stretch(start, values, labels.at(times)))
    return found


class _LabelLine:
    """Labels of a series by time: that of the sample before."""

    def __init__(self, even: Even) -> None:
        self._times = np.concatenate([s.start_us + np.arange(len(s.values)) * 1e6 / even.rate
                                      for s in even.stretches])  # fmt: skip
        self._labels = np.concatenate([s.labels for s in even.stretches])

    def at(self, times: npt.NDArray[np.float64]) -> LabelArray:
        """Labels at times (n,)."""
        place = np.searchsorted(self._times, times + 1.0, side="right") - 1
        found: LabelArray = self._labels[np.clip(place, 0, len(self._labels) - 1)]
        return found


def merged_repair(parts: Sequence[Part]) -> Repair:
    """What was done to all parts together."""
    total = Repair()
    for part in parts:
        one = part.even.repair
        total.sorted += one.sorted
        total.steps_back = max(total.steps_back, one.steps_back)
        total.doubled += one.doubled
        total.per_stamp = max(total.per_stamp, one.per_stamp)
        total.lost += one.lost
        total.gaps += one.gaps
        total.jitter_ms = max(total.jitter_ms, one.jitter_ms)
        total.uneven = total.uneven or one.uneven
        total.missing += one.missing
        total.cut += one.cut
        total.short_s += one.short_s
    return total
