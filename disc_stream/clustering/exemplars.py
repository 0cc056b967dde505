"""Windows that stand for a cluster, and a flat picture of the space that they lie in.

Chosen are windows near each cluster's centroid, and others at its border: those about which the model
is least decided between two clusters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from disc_stream.types import Float32Array, IntArray

CENTRE = 16
BORDER = 8
_RIDGE = 1e-3  # of the mean variance, so that a direction without any is no division by zero


@dataclass(frozen=True, slots=True)
class Exemplars:
    """Which windows were chosen, cluster by cluster, the best first.

    Args:
        chosen: (N,) their numbers among those that were given.
        rows: (N,) the cluster of each, as a row of the model.
        border: (N,) whether it stands for the border.
    """

    chosen: IntArray
    rows: IntArray
    border: npt.NDArray[np.bool_]


def choose_exemplars(q: Float32Array, distance: Float32Array, share: float = 1.0) -> Exemplars:
    """Choose windows for each cluster; one with few windows has few.

    Args:
        q: (n, K) soft assignments.
        distance: (n, K) squared distances to the centroids.
        share: of the usual number, above 0 and at most 1, where there is little room.
    """
    own = q.argmax(1)
    ordered = np.sort(q, axis=1)
    margin = ordered[:, -1] - (ordered[:, -2] if q.shape[1] > 1 else 0.0)
    most = (max(1, int(CENTRE * share)), max(1, int(BORDER * share)))
    chosen, rows, border = list[int](), list[int](), list[bool]()
    for row in range(q.shape[1]):
        members = np.flatnonzero(own == row)
        inner = members[np.argsort(distance[members, row], kind="stable")][: most[0]]
        rest = np.setdiff1d(members, inner)
        outer = rest[np.argsort(margin[rest], kind="stable")][: most[1]]
        chosen += [*inner.tolist(), *outer.tolist()]
        rows += [row] * (len(inner) + len(outer))
        border += [False] * len(inner) + [True] * len(outer)
    return Exemplars(
        np.array(chosen, dtype=np.int64), np.array(rows, dtype=np.int64), np.array(border, dtype=np.bool_)
    )


@dataclass(frozen=True, slots=True)
class Projection:
    """A linear map from an embedding onto a plane, the same for all windows of a model.

    Args:
        mean: (d,) what lies at the origin.
        axes: (2, d).
    """

    mean: Float32Array
    axes: Float32Array

    def place(self, embedding: Float32Array) -> Float32Array:
        """Where embeddings (n, d) lie, (n, 2)."""
        placed: Float32Array = ((embedding - self.mean) @ self.axes.T).astype(np.float32)
        return placed


def fit_projection(embedding: Float32Array, rows: npt.ArrayLike) -> Projection:
    """The plane on which the clusters lie apart best: Fisher's linear discriminant, with a small ridge.

    Where there are fewer than three clusters, the direction of largest variance that is left is the second
    axis. The same windows give the same plane, signs included.

    Args:
        embedding: (n, d), n of at least 1.
        rows: (n,) the cluster of each.

    See R. A. Fisher, "The use of multiple measurements in taxonomic problems", Annals of Eugenics 7 (1936).
    """
    z, labels = embedding.astype(np.float64), np.asarray(rows)
    mean, d = z.mean(0), z.shape[1]
    within, between = np.zeros((d, d)), np.zeros((d, d))
    found = np.unique(labels)
    for label in found:
        members = z[labels == label]
        off = members - members.mean(0)
        within += off.T @ off
        gap = (members.mean(0) - mean)[:, None]
        between += len(members) * (gap @ gap.T)
    within, between = within / len(z), between / len(z)
    scale = (np.trace(within) + np.trace(between)) / d or 1.0
    values, vectors = np.linalg.eigh(within + _RIDGE * scale * np.eye(d))
    whiten = vectors / np.sqrt(values)
    whole = whiten.T @ (within + between) @ whiten
    apart = _axes_of(whiten.T @ between @ whiten, min(2, d, len(found) - 1))
    if (left := min(2, d) - len(apart)) > 0:
        rest = np.eye(d) - apart.T @ apart
        apart = np.concatenate([apart, _axes_of(rest @ whole @ rest, left)])
    axes = np.zeros((2, d))
    axes[: len(apart)] = apart @ whiten.T
    spread = np.abs((z - mean) @ axes.T).max() or 1.0
    return Projection(mean.astype(np.float32), (axes / spread).astype(np.float32))


def _axes_of(matrix: npt.NDArray[np.float64], n: int) -> npt.NDArray[np.float64]:
    """The n main axes (n, d) of a symmetric matrix; the largest component of each is positive."""
    axes = np.linalg.eigh(matrix)[1][:, ::-1].T[:n]
    largest = np.abs(axes).argmax(1) if len(axes) else np.zeros(0, dtype=np.int64)
    signed: npt.NDArray[np.float64] = axes * np.sign(axes[np.arange(len(axes)), largest])[:, None]
    return signed
