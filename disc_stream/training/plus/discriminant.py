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

    The within-class covariance is the second moment less that of the class means, which has a rank of K at
    most. In the axes of the second moment, its inverse thus takes an inverse of size K (Woodbury's identity)
    instead of F, so a hundred channels with thousands of descriptors can be fitted a thousand times.

    Args:
        x: (n, F), columns of about unit variance.
        shrinkage: share of the within-class covariance that is replaced by a multiple of the identity.
    """

    def __init__(self, x: Array, shrinkage: float) -> None:
        self._powers, self._axes = np.linalg.eigh(x.T @ x / len(x))
        self._x = x @ self._axes
        self._shrinkage = shrinkage

    def fit(self, labels: IntArray, n_classes: int) -> Discriminant:
        """The discriminant of one labelling; a class without rows is never predicted."""
        present, counts = np.unique(labels, return_counts=True)
        one_hot = np.zeros((len(labels), len(present)))
        one_hot[np.arange(len(labels)), np.searchsorted(present, labels)] = 1.0
        share = counts / len(labels)
        means = one_hot.T @ self._x / counts[:, None]
        grand = share @ means
        apart = means - grand
        # The class means span the only directions that matter; inv(W) of them, and their products in it.
        solved = self._solve_within(apart, means, share)
        products = apart @ solved.T
        root = np.sqrt(share)[:, None]
        powers, weights = np.linalg.eigh(root * products * root.T)
        most = max(1, min(len(present) - 1, self._x.shape[1]))
        powers, weights = powers[::-1][:most], weights[:, ::-1][:, :most]
        weights = root * weights / np.sqrt(np.maximum(powers, _TINY))

        project = solved.T @ weights
        shift = -grand @ project
        offset = np.sqrt(np.maximum(2.0 * (np.log(share.max()) - np.log(share)), 0.0))
        centroids = np.full((n_classes, most + 1), _FAR)
        centroids[present] = np.column_stack([products @ weights, offset])
        return Discriminant(np.pad(self._axes @ project, ((0, 0), (0, 1))), np.pad(shift, (0, 1)), centroids)

    def _solve_within(self, rows: Array, means: Array, share: Array) -> Array:
        """Rows (m, F) times the inverse of the shrunk within-class covariance W.

        W = D - UᵀU, D diagonal: inv(W) = inv(D) + inv(D) Uᵀ inv(I - U inv(D) Uᵀ) U inv(D).
        """
        spread = self._powers.sum() - (share @ np.square(means)).sum()
        floor = self._shrinkage * max(spread / len(self._powers), _TINY)
        diagonal = (1.0 - self._shrinkage) * np.maximum(self._powers, 0.0) + floor
        u = np.sqrt((1.0 - self._shrinkage) * share)[:, None] * means
        scaled = u / diagonal
        inner = np.eye(len(u)) - scaled @ u.T
        solved: Array = rows / diagonal + (rows @ scaled.T) @ np.linalg.solve(inner, scaled)
        return solved


_TINY = 1e-12
_FAR = 1e3  # coordinate of the centroid of a class that has no rows
