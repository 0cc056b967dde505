"""Calibration of what is unknown, at the end of a training."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from disc_stream.clustering.novelty import calibrate, optimism
from disc_stream.training.centroids import nearest
from disc_stream.types import Float32Array, IntArray

UNKNOWN_RATE = 0.02
"""Share of known motion of people never trained on that is called unknown, as aimed at."""

_FOLDS = 4
_FEWEST_DEVICES = 6  # with fewer, nobody can say how far new people are
_MAX_WINDOWS = 20_000


def unknown_above(
    z: Float32Array,
    labels: IntArray,
    distance: Float32Array,
    devices: npt.NDArray[np.integer],
    *,
    seed: int = 0,
) -> list[float | None]:
    """For each cluster, the squared distance to its centroid from which on a window is unknown.

    Thresholds from the training windows are widened by how much farther windows of devices that were left
    out are: folds of devices are left out of the cluster means, not of the network's training.

    Args:
        z: (n, d) embeddings of the training windows.
        labels: (n,) the cluster of each.
        distance: (n, K) squared distances to the centroids.
        devices: (n,) the device, or person, that each came from.
        seed: of the sample where there are many windows.

    Returns:
        K thresholds; None where a cluster has no window, and for all with fewer than six devices.
    """
    n, k = distance.shape
    if len(np.unique(devices)) < _FEWEST_DEVICES:
        return [None] * k
    if n > _MAX_WINDOWS:
        chosen = np.sort(np.random.default_rng(seed).permutation(n)[:_MAX_WINDOWS])
        z, labels, distance, devices = z[chosen], labels[chosen], distance[chosen], devices[chosen]
    own = distance[np.arange(len(labels)), labels]
    thresholds = calibrate(own, labels, devices, k, UNKNOWN_RATE)
    thresholds = thresholds.widened(_widening(z, labels, devices, k))
    return [float(limit) if np.isfinite(limit) else None for limit in thresholds.distance]


def _widening(z: Float32Array, labels: IntArray, devices: npt.NDArray[np.integer], k: int) -> float:
    """Mean over the folds of devices."""
    people = np.unique(devices)
    factors = []
    for fold in range(min(_FOLDS, len(people))):
        out = np.isin(devices, people[fold::_FOLDS])
        if out.all() or not out.any():
            continue
        means = _means(z[~out], labels[~out], k)
        parts = [_assign(z[part], means) for part in (~out, out)]
        factors.append(optimism(parts[0], parts[1], (devices[~out], devices[out]), UNKNOWN_RATE))
    return float(np.mean(factors)) if factors else 1.0


def _means(z: Float32Array, labels: IntArray, k: int) -> Float32Array:
    """(K', d): of the clusters that have windows."""
    there = [row for row in range(k) if (labels == row).any()]
    return np.array([z[labels == row].mean(0, dtype=np.float64) for row in there], dtype=np.float32)


def _assign(z: Float32Array, means: Float32Array) -> tuple[npt.NDArray[np.float64], IntArray]:
    rows = nearest(z, means)
    return np.square(z - means[rows], dtype=np.float64).sum(1), rows


def distance_q95(labels: IntArray, distance: Float32Array) -> list[float]:
    """Per cluster, of its own windows; over all windows where a cluster has none."""
    own = distance[np.arange(len(labels)), labels]
    clusters = range(distance.shape[1])
    return [float(np.quantile(own[labels == k] if (labels == k).any() else own, 0.95)) for k in clusters]
