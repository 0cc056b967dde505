"""Centroids that follow each device: a causal, bounded adaptation without labels.

A person who was never trained on moves a little differently, or wears the sensor a little differently, and
the embeddings of an activity then lie beside its centroid. For every device, sufficient statistics of each
cluster are kept: how many windows, softly counted, were assigned to it, and by how much they lay beside the
fleet's centroid. The device's own centroid is the posterior mean of a normal distribution whose prior is the
fleet's centroid, worth ``prior_windows`` windows: MAP adaptation of means as speaker verification does it
(Reynolds, Quatieri and Dunn 2000, doi:10.1006/dspr.1999.0361, equations 11 to 14), online and with forgetting
(Cappé and Moulines 2009, doi:10.1111/j.1467-9868.2009.00698.x).

Four things keep it from going wrong. A centroid never leaves a ball around the fleet's. Windows that are
unknown change nothing. While the device's centroids explain its windows worse than the fleet's do, the
statistics fade. They also fade with time. Nothing of one device has any influence on another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from disc_stream.errors import ConfigError
from disc_stream.types import Float32Array

Float16Array = npt.NDArray[np.float16]

_LEAST = 0.05  # windows; a smaller share of a window, or a smaller rest of the statistics, counts as none
_GAIN_WINDOWS = 20.0  # memory of the running gain
_FADE = 0.9  # per window, while the fleet's centroids are the better ones
_MOST = 1000.0  # of a single coordinate, in nearest distances: no window weighs more
_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class AdaptationRule:
    """How far and how fast centroids follow a device.

    Args:
        prior_windows: weight of the fleet's centroid, in windows.
        memory_windows: how many windows of a cluster its statistics remember at most.
        bound: farthest that a centroid moves, as a share of the distance between the fleet's centroid and
            the nearest other one; below a half, so that no two can meet.
        sharpness: a window counts for the clusters in proportion to 1 / distance^(2 * sharpness). With 1
            these are the memberships of fuzzy c-means (Bezdek 1981, fuzzifier 2). Unlike the Student-t
            assignment, they do not depend on the scale of the embeddings: where all distances are small,
            that is the same for all clusters, and every window would draw every centroid.
        half_life_s: seconds after which half of what is known is left.

    Raises:
        ConfigError: naming what is not possible.
    """

    prior_windows: float = 10.0
    memory_windows: float = 200.0
    bound: float = 0.49
    sharpness: float = 1.0
    half_life_s: float = 86_400.0

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ("prior_windows", "memory_windows", "sharpness", "half_life_s"):
            value = getattr(self, name)
            if not 0.0 < value < float("inf"):
                raise ConfigError(f"{name} of the adaptation must be above 0, got {value}")
        if not 0.0 <= self.bound < 0.5:
            raise ConfigError(
                f"bound of the adaptation must be at least 0 and below a half, got {self.bound}",
                remedy="From a half on, centroids of two clusters could meet",
            )


class Adapted(NamedTuple):
    """Windows under the centroids of their devices.

    Args:
        q: (n, K) float32, Student-t soft assignment; rows sum to 1.
        distance: (n, K) float32, squared distance to each centroid.
        learned: (n,) whether the window has changed what is known of its device.
    """

    q: Float32Array
    distance: Float32Array
    learned: npt.NDArray[np.bool_]


@dataclass(slots=True)
class DeviceMeans:
    """What is known of one device; changed in place.

    Args:
        counts: (K,) float32, windows assigned to each cluster, softly counted and partly forgotten.
        means: (K, d) float16, their mean place beside the fleet's centroid, in units of the distance from
            that centroid to the nearest other one.
        gain: running mean of how much nearer windows are to the device's centroids than to the fleet's,
            before they change anything: -1 to 1, 0 for no difference.
        last_us: time of the last window that counted, in microseconds; 0 for none.
    """

    counts: Float32Array
    means: Float16Array
    gain: float = 0.0
    last_us: int = 0

    @property
    def moved(self) -> npt.NDArray[np.intp]:
        """Rows of the clusters of which anything is known."""
        return np.flatnonzero(self.counts)

    def reset(self) -> None:
        """Back to the fleet's centroids."""
        self.counts[:] = 0.0
        self.means[:] = 0.0
        self.gain, self.last_us = 0.0, 0


class Adapter:
    """Adapts the centroids of one model to devices; holds no state of any device.

    Args:
        centroids: (K, d), the fleet's.
        unknown_above: K squared distances from which on a window is unknown; None for none.
        rule: how far and how fast.
    """

    def __init__(
        self,
        centroids: npt.NDArray[np.floating],
        unknown_above: Sequence[float | None],
        rule: AdaptationRule = AdaptationRule(),
    ) -> None:
        self._fleet = np.ascontiguousarray(centroids, dtype=np.float32)
        self._limits = np.array([np.inf if one is None else one for one in unknown_above], dtype=np.float64)
        if self._fleet.ndim != 2 or len(self._limits) != len(self._fleet):
            raise ValueError(
                f"centroids must be (K, d), with K thresholds; got {self._fleet.shape}, {len(self._limits)}"
            )
        self._rule = rule
        self._unit = _nearest_distance(self._fleet)[:, None]  # (K, 1); 0 where nothing may move

    @property
    def radius(self) -> Float32Array:
        """(K,), how far each centroid moves at most."""
        out: Float32Array = (self._rule.bound * self._unit[:, 0]).astype(np.float32)
        return out

    def new(self) -> DeviceMeans:
        """A device of which nothing is known."""
        return DeviceMeans(
            np.zeros(len(self._fleet), dtype=np.float32), np.zeros(self._fleet.shape, dtype=np.float16)
        )

    def centroids_of(self, device: DeviceMeans) -> Float32Array:
        """(K, d), the centroids of a device."""
        out: Float32Array = self._centroids(device.counts[None], _stacked_means([device]))[0]
        return out

    def step(
        self,
        devices: Sequence[DeviceMeans],
        z: Float32Array,
        when_us: Sequence[int],
        counts: Sequence[bool] | None = None,
    ) -> Adapted:
        """Assign the next window of each of n devices, then let it count for what is known of the device.

        A window is assigned before it counts, so its label depends on earlier windows alone.

        Args:
            devices: n different ones; changed in place.
            z: (n, d) embeddings.
            when_us: n times of the windows, in microseconds; one that goes back counts as no time.
            counts: n, whether the window may change anything; default: all may. Unknown ones never do.
        """
        left = self._left(devices, when_us)
        count = np.stack([one.counts for one in devices]) * left[:, None]
        distance: Float32Array = np.square(
            z[:, None, :] - self._centroids(count, _stacked_means(devices))
        ).sum(2)
        similarity = 1.0 / (1.0 + distance)
        best = distance.argmin(1)
        known = distance[np.arange(len(z)), best] <= self._limits[best]
        if counts is not None:
            known &= np.asarray(counts, dtype=np.bool_)
        changing = np.flatnonzero(known).tolist()
        if changing:
            self._learn(
                [devices[row] for row in changing],
                [when_us[row] for row in changing],
                count[changing],
                z[changing],
                distance[changing],
            )
        return Adapted(similarity / similarity.sum(1, keepdims=True), distance, known)

    def _learn(
        self,
        devices: Sequence[DeviceMeans],
        when_us: Sequence[int],
        count: npt.NDArray[np.float64],
        z: Float32Array,
        distance: Float32Array,
    ) -> None:
        """Let windows count; ``count`` (n, K) is what time has left of the statistics."""
        beside: Float32Array = z[:, None, :] - self._fleet
        mean: npt.NDArray[np.floating] = _stacked_means(devices)
        gain = self._gains(devices, np.square(beside).sum(2).min(1), distance.min(1))
        fade = np.where(gain < 0.0, _FADE, 1.0)[:, None]
        weight = _shares(distance, self._rule.sharpness)
        # What is remembered makes room for what comes, so the count never grows beyond the memory.
        room = 1.0 - np.minimum(weight / self._rule.memory_windows, 1.0)
        total = count * fade * room + weight
        kept = total >= _LEAST
        place = np.clip(beside / np.maximum(self._unit, _TINY), -_MOST, _MOST)
        step = np.where(kept, weight / np.maximum(total, _TINY), 0.0)
        mean = (mean + step[:, :, None] * (place - mean)) * kept[:, :, None]
        for row, device in enumerate(devices):
            device.counts[:] = np.where(kept[row], total[row], 0.0)
            device.means[:] = mean[row]
            device.gain, device.last_us = float(gain[row]), max(device.last_us, when_us[row])

    def _gains(
        self, devices: Sequence[DeviceMeans], fleets: Float32Array, own: Float32Array
    ) -> npt.NDArray[np.float64]:
        """The running gains after windows with these squared distances to the nearest centroids."""
        before = np.array([one.gain for one in devices], dtype=np.float64)
        now = (fleets.astype(np.float64) - own) / np.maximum(fleets.astype(np.float64) + own, _TINY)
        out: npt.NDArray[np.float64] = before + (now - before) / _GAIN_WINDOWS
        return out

    def _left(self, devices: Sequence[DeviceMeans], when_us: Sequence[int]) -> npt.NDArray[np.float64]:
        """The share of each device's statistics that time has left."""
        passed = [
            max(0, now - one.last_us) * 1e-6 if one.last_us else 0.0
            for one, now in zip(devices, when_us, strict=True)
        ]
        out: npt.NDArray[np.float64] = np.exp2(-np.array(passed) / self._rule.half_life_s)
        return out

    def _centroids(self, count: npt.NDArray[np.floating], mean: npt.NDArray[np.floating]) -> Float32Array:
        """(n, K) counts and (n, K, d) means -> (n, K, d)."""
        shift = mean * (count / (self._rule.prior_windows + count))[:, :, None]
        length = np.sqrt(np.square(shift).sum(2, keepdims=True))
        shift *= np.minimum(1.0, self._rule.bound / np.maximum(length, _TINY))
        out: Float32Array = (self._fleet + shift * self._unit).astype(np.float32, copy=False)
        return out


def adapt_sequences(
    adapter: Adapter, z: Float32Array, device: npt.NDArray[np.integer], when_us: npt.NDArray[np.integer]
) -> Adapted:
    """Stream the windows of many devices, each from its first window on.

    Args:
        adapter: of the model.
        z: (n, d) embeddings; those of a device in order.
        device: (n,) whose each is.
        when_us: (n,) times, in microseconds.

    Returns:
        (n, K) each, in the order given; every window under what was known before it.
    """
    if not len(z):
        nothing = np.zeros((0, len(adapter.radius)), dtype=np.float32)
        return Adapted(nothing, nothing, np.zeros(0, dtype=np.bool_))
    numbers, of = np.unique(device, return_inverse=True)
    states = [adapter.new() for _ in numbers]
    rows = [np.flatnonzero(of == one) for one in range(len(numbers))]
    parts, order = [], []
    for turn in range(max(map(len, rows))):
        there = [one for one, mine in enumerate(rows) if turn < len(mine)]
        now = np.array([rows[one][turn] for one in there])
        parts.append(adapter.step([states[one] for one in there], z[now], when_us[now].tolist()))
        order.append(now)
    back = np.argsort(np.concatenate(order))
    q, distance, learned = (np.concatenate(part)[back] for part in zip(*parts, strict=True))
    return Adapted(q, distance, learned)


def _shares(distance: Float32Array, sharpness: float) -> npt.NDArray[np.float64]:
    """(n, K): how much each window counts for each cluster; small shares count for nothing."""
    far = np.maximum(distance.astype(np.float64), _TINY)
    share = np.power(far.min(1, keepdims=True) / far, sharpness)
    share /= share.sum(1, keepdims=True)
    out: npt.NDArray[np.float64] = np.where(share >= _LEAST, share, 0.0)
    return out


def _stacked_means(devices: Sequence[DeviceMeans]) -> Float32Array:
    return np.stack([one.means for one in devices]).astype(np.float32)


def _nearest_distance(centroids: Float32Array) -> Float32Array:
    """(K,), from each centroid to the nearest other one; 0 for a single one."""
    if len(centroids) < 2:
        return np.zeros(len(centroids), dtype=np.float32)
    distance = np.sqrt(np.square(centroids[:, None, :] - centroids[None, :, :]).sum(2))
    np.fill_diagonal(distance, np.inf)
    out: Float32Array = distance.min(1).astype(np.float32)
    return out
