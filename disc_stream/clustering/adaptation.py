"""Centroids that follow each device: a causal, bounded adaptation without labels.

A person who was never trained on moves a little differently, or wears the sensor a little differently, and
the embeddings of an activity then lie beside its centroid. For every device, sufficient statistics of each
cluster are kept: how many windows, softly counted, were assigned to it, and by how much they lay beside the
fleet's centroid. The device's own centroid is the posterior mean of a normal distribution whose prior is the
fleet's centroid, worth ``prior_windows`` windows: MAP adaptation of means as speaker verification does it
(Reynolds, Quatieri and Dunn 2000, doi:10.1006/dspr.1999.0361, equations 11 to 14), online and with forgetting
(Cappé and Moulines 2009, doi:10.1111/j.1467-9868.2009.00698.x).

What a window counts for each cluster is its *smoothed* posterior: the filtered distribution of a hidden
Markov model whose emissions are the Student-t likelihoods of the embedding. A window that by itself could be
of two clusters then counts for the one that its neighbours in time are of. Without that, the windows between
two clusters pull each towards the other.

Four things keep it from going wrong. A centroid never leaves a ball around the fleet's. Windows that are
unknown to the fleet's model change nothing, nor do any where the model cannot say what is unknown. While the
device's centroids explain its windows worse than the fleet's do, the statistics fade. They also fade with
time. Nothing of one device has any influence on another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from disc_stream.clustering.assignment import soft_assignment
from disc_stream.clustering.smoothing import likelihood_exponent, smooth_stretches
from disc_stream.errors import ConfigError
from disc_stream.types import Float32Array

Float16Array = npt.NDArray[np.float16]

_LEAST = 0.01  # windows; a smaller share of a window, or a smaller rest of the statistics, counts as none
_GAIN_WINDOWS = 20.0  # memory of the running gain
_FADE = 0.9  # per window, while the fleet's centroids are the better ones
_SILENCE_S = 60.0  # shorter pauses are none, so that labels do not depend on when messages arrived
_MOST = 1000.0  # of a single coordinate, in nearest distances: no window weighs more
_ROUNDS = 5  # of expectation and maximisation; later ones change next to nothing
_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class AdaptationRule:
    """How far and how fast centroids follow a device.

    Args:
        prior_windows: weight of the fleet's centroid, in windows.
        memory_windows: how many windows of a cluster its statistics remember at most.
        bound: farthest that a centroid moves, as a share of the distance between the fleet's centroid and
            the nearest other one; below a half, so that no two can meet.
        stay: probability of staying in a cluster from one window to the next, for what windows count.
        half_life_s: seconds of silence after which half of what is known is left; less than a minute is none.

    Raises:
        ConfigError: naming what is not possible.
    """

    prior_windows: float = 30.0
    memory_windows: float = 500.0
    bound: float = 0.49
    stay: float = 0.95
    half_life_s: float = 86_400.0

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ("prior_windows", "memory_windows", "half_life_s"):
            value = getattr(self, name)
            if not 0.0 < value < float("inf"):
                raise ConfigError(f"{name} of the adaptation must be above 0, got {value}")
        if not 0.0 < self.stay < 1.0:
            raise ConfigError(f"stay of the adaptation must be between 0 and 1, got {self.stay}")
        if not 0.0 <= self.bound < 0.5:
            raise ConfigError(
                f"bound of the adaptation must be at least 0 and below a half, got {self.bound}",
                remedy="From a half on, centroids of two clusters could meet",
            )


class Adapted(NamedTuple):
    """Windows under the centroids of their devices.

    Args:
        q: (n, K) float32, Student-t soft assignment; rows sum to 1.
        shift: (n,) float32, how far the device's centroids lay from the fleet's; see ``Adapter.shift_of``.
        learned: (n,) whether the window has changed what is known of its device.
    """

    q: Float32Array
    shift: Float32Array
    learned: npt.NDArray[np.bool_]


class Occurrence(NamedTuple):
    """What is known of a window beside its embedding.

    Args:
        when_us: its time, in microseconds; one that goes back counts as no time.
        begins: whether it is the first of an uninterrupted stretch.
        counts: whether it may change anything; unknown ones never do.
    """

    when_us: int
    begins: bool = False
    counts: bool = True


@dataclass(slots=True)
class DeviceMeans:
    """What is known of one device; changed in place.

    Args:
        counts: (K,) float32, windows assigned to each cluster, softly counted and partly forgotten.
        means: (K, d) float16, their mean place beside the fleet's centroid, in units of the distance from
            that centroid to the nearest other one.
        now: (K,) float32, smoothed posterior of the last window that counted; all 0 for none.
        gain: running mean of how much nearer windows are to the device's centroids than to the fleet's,
            before they change anything: -1 to 1, 0 for no difference.
        last_us: time of the last window that counted, in microseconds; 0 for none.
    """

    counts: Float32Array
    means: Float16Array
    now: Float32Array
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
        self.now[:] = 0.0
        self.gain, self.last_us = 0.0, 0


class Adapter:
    """Adapts the centroids of one model to devices; holds no state of any device.

    Args:
        centroids: (K, d), the fleet's.
        unknown_above: K squared distances from which on a window is unknown; None where that is not known:
            windows of such a cluster change nothing, as new motion could not be told from it.
        rule: how far and how fast.
        spread: K standard deviations of clusters along one direction, which shifts are told in; default 1.
        exponent: power of q that is the likelihood of a window; default ``likelihood_exponent``.
    """

    def __init__(
        self,
        centroids: npt.NDArray[np.floating],
        unknown_above: Sequence[float | None],
        rule: AdaptationRule = AdaptationRule(),
        spread: Sequence[float] | None = None,
        exponent: float | None = None,
    ) -> None:
        self._fleet = np.ascontiguousarray(centroids, dtype=np.float32)
        self._limits = np.array([-1.0 if one is None else one for one in unknown_above], dtype=np.float64)
        if self._fleet.ndim != 2 or len(self._limits) != len(self._fleet):
            raise ValueError(
                f"centroids must be (K, d), with K thresholds; got {self._fleet.shape}, {len(self._limits)}"
            )
        self.rule = rule
        self._unit = _nearest_distance(self._fleet)[:, None]  # (K, 1); 0 where nothing may move
        self._spread = np.ones(len(self._fleet)) if spread is None else np.asarray(spread, dtype=np.float64)
        self._exponent = likelihood_exponent(self._fleet.shape[1]) if exponent is None else exponent

    @property
    def radius(self) -> Float32Array:
        """(K,), how far each centroid moves at most."""
        out: Float32Array = (self.rule.bound * self._unit[:, 0]).astype(np.float32)
        return out

    def new(self) -> DeviceMeans:
        """A device of which nothing is known."""
        k = len(self._fleet)
        return DeviceMeans(
            np.zeros(k, dtype=np.float32),
            np.zeros(self._fleet.shape, dtype=np.float16),
            np.zeros(k, dtype=np.float32),
        )

    def centroids_of(self, device: DeviceMeans) -> Float32Array:
        """(K, d), the centroids of a device."""
        out: Float32Array = self._centroids(device.counts[None], _stacked_means([device]))[0]
        return out

    def shift_of(self, device: DeviceMeans) -> float:
        """How far the device's centroids lie from the fleet's, in standard deviations of their clusters.

        The mean over the clusters, each with the weight of the device's windows in it.
        """
        return float(self._shifts(device.counts[None], self.centroids_of(device)[None])[0])

    def step(
        self, devices: Sequence[DeviceMeans], z: Float32Array, occurrences: Sequence[Occurrence]
    ) -> Adapted:
        """Assign the next window of each of n devices, then let it count for what is known of the device.

        A window is assigned before it counts, so its label depends on earlier windows alone.

        Args:
            devices: n different ones; changed in place.
            z: (n, d) embeddings.
            occurrences: n, of the windows.
        """
        left = self._left(devices, occurrences)
        count = np.stack([one.counts for one in devices]) * left[:, None]
        own = self._centroids(count, _stacked_means(devices))
        distance: Float32Array = np.square(z[:, None, :] - own).sum(2)
        similarity = 1.0 / (1.0 + distance)
        shift = self._shifts(count, own)
        known = self.known(z) & np.array([one.counts for one in occurrences], dtype=np.bool_)
        changing = np.flatnonzero(known).tolist()
        if changing:
            self._learn(
                [devices[row] for row in changing],
                [occurrences[row] for row in changing],
                count[changing],
                z[changing],
                distance[changing],
            )
        return Adapted(similarity / similarity.sum(1, keepdims=True), shift, known)

    def known(self, z: Float32Array) -> npt.NDArray[np.bool_]:
        """(n,), whether windows are within the fleet's threshold of their best cluster.

        Args:
            z: (n, d) embeddings.
        """
        distance = np.square(z[:, None, :] - self._fleet).sum(2)
        best = distance.argmin(1)
        out: npt.NDArray[np.bool_] = distance[np.arange(len(z)), best] <= self._limits[best]
        return out

    def over_recording(self, z: Float32Array, occurrences: Sequence[Occurrence]) -> Adapted:
        """Assign all windows of one device under centroids that all of them have been counted for.

        Expectation and maximisation in turn, from the fleet's centroids: posteriors that are smoothed both
        ways, then the means under the same prior and bound as in ``step``. Not causal; nothing is forgotten.

        Args:
            z: (n, d) embeddings, in order.
            occurrences: n, of the windows.
        """
        begins = np.array([one.begins for one in occurrences], dtype=np.bool_)
        known = self.known(z) & np.array([one.counts for one in occurrences], dtype=np.bool_)
        chosen = np.flatnonzero(known)
        # A stretch whose first window does not count begins with the next one that does.
        starts = np.diff(np.cumsum(begins)[chosen], prepend=-1) != 0
        own, count = self._fleet, np.zeros(len(self._fleet))
        for _ in range(_ROUNDS if len(chosen) else 0):
            weight = smooth_stretches(
                self._q(z[chosen], own), starts, stay=self.rule.stay, exponent=self._exponent
            )
            count = weight.sum(0)
            mean = (weight.T @ z[chosen].astype(np.float64)) / np.maximum(count, _TINY)[:, None] - self._fleet
            place = (mean / np.maximum(self._unit, _TINY)).astype(np.float32)
            own = self._centroids(count[None], place[None])[0]
        shift = self._shifts(count[None], own[None])
        return Adapted(self._q(z, own), np.repeat(shift, len(z)), known)

    @staticmethod
    def _q(z: Float32Array, centroids: Float32Array) -> Float32Array:
        return soft_assignment(z, centroids).astype(np.float32)

    def _learn(
        self,
        devices: Sequence[DeviceMeans],
        occurrences: Sequence[Occurrence],
        count: npt.NDArray[np.float64],
        z: Float32Array,
        distance: Float32Array,
    ) -> None:
        """Let windows count; ``count`` (n, K) is what time has left of the statistics."""
        beside: Float32Array = z[:, None, :] - self._fleet
        mean: npt.NDArray[np.floating] = _stacked_means(devices)
        gain = self._gains(devices, np.square(beside).sum(2).min(1), distance.min(1))
        fade = np.where(gain < 0.0, _FADE, 1.0)[:, None]
        weight = self._posteriors(devices, occurrences, distance)
        for row, device in enumerate(devices):
            device.now[:] = weight[row]
        weight = np.where(weight >= _LEAST, weight, 0.0)
        # What is remembered makes room for what comes, so the count never grows beyond the memory.
        room = 1.0 - np.minimum(weight / self.rule.memory_windows, 1.0)
        total = count * fade * room + weight
        kept = total >= _LEAST
        place = np.clip(beside / np.maximum(self._unit, _TINY), -_MOST, _MOST)
        step = np.where(kept, weight / np.maximum(total, _TINY), 0.0)
        mean = (mean + step[:, :, None] * (place - mean)) * kept[:, :, None]
        for row, device in enumerate(devices):
            device.counts[:] = np.where(kept[row], total[row], 0.0)
            device.means[:] = mean[row]
            device.gain = float(gain[row])
            device.last_us = max(device.last_us, occurrences[row].when_us)

    def _posteriors(
        self, devices: Sequence[DeviceMeans], occurrences: Sequence[Occurrence], distance: Float32Array
    ) -> npt.NDArray[np.float64]:
        """(n, K): the posterior of each window after those before it; see ``StickyFilter``."""
        near = 1.0 + distance.astype(np.float64)
        p: npt.NDArray[np.float64] = np.power(near.min(1, keepdims=True) / near, self._exponent)
        before = np.stack([one.now for one in devices]).astype(np.float64)
        before[[one.begins for one in occurrences]] = 0.0
        known = before.sum(1, keepdims=True) > 0.0
        k = len(self._fleet)
        move = (1.0 - self.rule.stay) / (k - 1) if k > 1 else 1.0
        p *= np.where(known, move + (self.rule.stay - move) * before, 1.0)
        p /= p.sum(1, keepdims=True)
        return p

    def _gains(
        self, devices: Sequence[DeviceMeans], fleets: Float32Array, own: Float32Array
    ) -> npt.NDArray[np.float64]:
        """The running gains after windows with these squared distances to the nearest centroids."""
        before = np.array([one.gain for one in devices], dtype=np.float64)
        now = (fleets.astype(np.float64) - own) / np.maximum(fleets.astype(np.float64) + own, _TINY)
        out: npt.NDArray[np.float64] = before + (now - before) / _GAIN_WINDOWS
        return out

    def _left(
        self, devices: Sequence[DeviceMeans], occurrences: Sequence[Occurrence]
    ) -> npt.NDArray[np.float64]:
        """The share of each device's statistics that time has left."""
        passed = np.array(
            [
                (now.when_us - one.last_us) * 1e-6 if one.last_us else 0.0
                for one, now in zip(devices, occurrences, strict=True)
            ]
        )
        silent = np.where(passed >= _SILENCE_S, passed, 0.0)
        out: npt.NDArray[np.float64] = np.exp2(-silent / self.rule.half_life_s)
        return out

    def _centroids(self, count: npt.NDArray[np.floating], mean: npt.NDArray[np.floating]) -> Float32Array:
        """(n, K) counts and (n, K, d) means -> (n, K, d)."""
        shift = mean * (count / (self.rule.prior_windows + count))[:, :, None]
        length = np.sqrt(np.square(shift).sum(2, keepdims=True))
        shift *= np.minimum(1.0, self.rule.bound / np.maximum(length, _TINY))
        out: Float32Array = (self._fleet + shift * self._unit).astype(np.float32, copy=False)
        return out

    def _shifts(self, count: npt.NDArray[np.floating], own: Float32Array) -> Float32Array:
        """(n, K) counts and (n, K, d) centroids -> (n,); see ``shift_of``."""
        length = np.sqrt(np.square(own - self._fleet, dtype=np.float64).sum(2)) / self._spread
        out: Float32Array = ((count * length).sum(1) / np.maximum(count.sum(1), _TINY)).astype(np.float32)
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
