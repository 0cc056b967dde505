"""Fisher's linear discriminant, kept as a whitening map and centroids."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from disc_stream.types import IntArray

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Discriminant:
    """x -> x @ project + shift, in which the nearest centroid is the most probable class.

    The classes are normal with one covariance (Fisher 1936, doi:10.1111/j.1469-1809.1936.tb02137.x), which
    the map makes the identity. A class k of share π_k has -2 log π_k added to its squared distances: all
    points have 0 in the last coordinate, and its centroid the root of that.

    Args:
        project: (F, d), d = min(K - 1, F) + 1.
        shift: (d,).
        centroids: (K, d).
    """

    project: Array
    shift: Array
    centroids: Array

    def predict(self, x: Array) -> IntArray:
        """The most probable class of every row, (n, F) -> (n,)."""
        z = x @ self.project + self.shift
        score = np.square(self.centroids).sum(1) - 2.0 * z @ self.centroids.T
        return np.asarray(score.argmin(1), dtype=np.int64)


class DiscriminantFitter:
    """Fits discriminants of many labellings to the same rows; what they share is computed once.

    Args:
        x: (n, F), columns of about unit variance.
        shrinkage: share of the within-class covariance that is replaced by a multiple of the identity.
    """

    def __init__(self, x: Array, shrinkage: float) -> None:
        self._x = x
        self._moment = x.T @ x / len(x)
        self._shrinkage = shrinkage

    def fit(self, labels: IntArray, n_classes: int) -> Discriminant:
        """The discriminant of one labelling; a class without rows is never predicted."""
        present, counts = np.unique(labels, return_counts=True)
        one_hot = np.zeros((len(labels), len(present)))
        one_hot[np.arange(len(labels)), np.searchsorted(present, labels)] = 1.0
        share = counts / len(labels)
        means = one_hot.T @ self._x / counts[:, None]
        within = self._moment - (means * share[:, None]).T @ means
        n_features = len(within)
        size = max(float(np.trace(within)) / n_features, 1e-12)
        within = (1.0 - self._shrinkage) * within + self._shrinkage * size * np.eye(n_features)

        # y = inv(L) x has unit within-class covariance; the class means span the only directions that matter.
        root = np.linalg.cholesky(within)
        grand = share @ means
        white = np.linalg.solve(root, (means - grand).T).T
        _, _, axes = np.linalg.svd(white * np.sqrt(share)[:, None], full_matrices=False)
        axes = axes[: max(1, min(len(present) - 1, n_features))]
        project = np.linalg.solve(root.T, axes.T)
        shift = -grand @ project

        offset = np.sqrt(np.maximum(2.0 * (np.log(share.max()) - np.log(share)), 0.0))
        centroids = np.full((n_classes, len(axes) + 1), _FAR)
        centroids[present] = np.column_stack([white @ axes.T, offset])
        return Discriminant(np.pad(project, ((0, 0), (0, 1))), np.pad(shift, (0, 1)), centroids)


_FAR = 1e3  # coordinate of the centroid of a class that has no rows
