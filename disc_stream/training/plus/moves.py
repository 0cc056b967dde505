"""Which split-and-merge moves are worth a try."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import numpy.typing as npt

from disc_stream.types import IntArray

Array = npt.NDArray[np.float64]

_REG = 1e-3
_DIGITS = 9  # two moves whose gains agree so far are told apart by their clusters, not by the last bits


def ranked_moves(x: Array, labels: IntArray, n_clusters: int, most: int) -> list[IntArray]:
    """Labellings (n,) with one cluster cut in two, the label for it freed by joining two others; best first.

    Ueda et al. 2000 (doi:10.1162/089976600300015088) leave the local optima of mixtures this way. Moves are
    ranked by what they change in the sum of squared distances to the means, in the metric in which the
    clusters have unit covariance on average; a cluster is cut across its longest axis there.

    Args:
        x: (n, d).
        labels: (n,).
        n_clusters: K.
        most: number of moves wanted; there may be fewer.
    """
    means, inside, sizes = _whitened(x, labels, n_clusters)
    halves = {}
    for cluster in range(n_clusters):
        rows = np.flatnonzero(labels == cluster)
        _, axes = np.linalg.eigh(inside[rows].T @ inside[rows])
        cut = inside[rows] @ axes[:, -1] > 0.0
        if 0 < cut.sum() < len(rows):
            halves[cluster] = (rows[cut], _between(inside[rows][cut], inside[rows][~cut]))
    gains = []
    for a, b in combinations(range(n_clusters), 2):
        lost = sizes[a] * sizes[b] / (sizes[a] + sizes[b]) * np.square(means[a] - means[b]).sum()
        gains += [
            (-round((gained - lost) / len(x), _DIGITS), a, b, cluster)
            for cluster, (_, gained) in halves.items()
            if cluster not in (a, b)
        ]
    return [_moved(labels, (a, b), halves[cluster][0]) for _, a, b, cluster in sorted(gains)[:most]]


def _whitened(x: Array, labels: IntArray, n_clusters: int) -> tuple[Array, Array, Array]:
    """Means (K, d), rows less their means (n, d), sizes (K,); the rows have a covariance of about 1."""
    one_hot = np.zeros((len(x), n_clusters))
    one_hot[np.arange(len(x)), labels] = 1.0
    sizes = one_hot.sum(0)
    means = one_hot.T @ x / sizes[:, None]
    inside = x - means[labels]
    root = np.linalg.cholesky(inside.T @ inside / len(x) + _REG * np.eye(x.shape[1]))
    whiten = np.linalg.inv(root).T
    return means @ whiten, inside @ whiten, sizes


def _between(one: Array, other: Array) -> float:
    """What telling two groups of rows apart takes off the sum of squares."""
    n = len(one) * len(other) / (len(one) + len(other))
    return float(n * np.square(one.mean(0) - other.mean(0)).sum())


def _moved(labels: IntArray, merge: tuple[int, int], cut: IntArray) -> IntArray:
    moved = labels.copy()
    moved[labels == merge[1]] = merge[0]
    moved[cut] = merge[1]
    return moved
