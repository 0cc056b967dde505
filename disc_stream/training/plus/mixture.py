"""A mixture of normal distributions with one covariance, learned by expectation maximisation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from disc_stream.types import IntArray

Array = npt.NDArray[np.float64]

_REG = 1e-3
_MAX_ITER = 100
_TOLERANCE = 1e-3  # nats per row
_TINY = 1e-12


class TiedMixture:
    """Fits mixtures to the same rows from many starts; what they share is computed once.

    p(x) = Σ_k π_k N(x; μ_k, Σ) (Dempster, Laird and Rubin 1977). The one Σ is a metric that is learned: in it
    every cluster is round, as k-means takes for granted.

    Args:
        x: (n, d).
    """

    def __init__(self, x: Array) -> None:
        self._x = x
        self._moment = x.T @ x / len(x)

    def likelihood(self, labels: IntArray, n_clusters: int) -> float:
        """Mean log-likelihood of a row in nats, of the mixture whose clusters the labels (n,) are."""
        return self._run(labels, n_clusters, 1)[1]

    def fit(self, labels: IntArray, n_clusters: int) -> tuple[IntArray, float]:
        """From a first labelling (n,) to the one that the mixture settles at.

        Returns:
            labels (n,), and the mean log-likelihood of a row in nats.
        """
        return self._run(labels, n_clusters, _MAX_ITER)

    def _run(self, labels: IntArray, n_clusters: int, most: int) -> tuple[IntArray, float]:
        n, d = self._x.shape
        belief = np.zeros((n, n_clusters))
        belief[np.arange(n), labels] = 1.0
        likelihood = -np.inf
        for _ in range(most):
            before = likelihood
            counts = belief.sum(0) + _TINY
            share = counts / counts.sum()
            means = belief.T @ self._x / counts[:, None]
            covariance = self._moment - (means * share[:, None]).T @ means + _REG * np.eye(d)
            root = np.linalg.cholesky(covariance)
            solved = np.linalg.solve(covariance, means.T)  # inv(Σ) μ, (d, K)
            # log π_k + log N(x; μ_k, Σ), without what all clusters share
            score = self._x @ solved + (np.log(share) - 0.5 * (means.T * solved).sum(0))
            top = score.max(1, keepdims=True)
            belief = np.exp(score - top)
            total = belief.sum(1, keepdims=True)
            belief /= total
            # The quadratic part in x averages to tr(inv(Σ) M) / 2, M being the second moment.
            quadratic = np.trace(np.linalg.solve(covariance, self._moment))
            volume = d * np.log(2.0 * np.pi) + 2.0 * np.log(np.diag(root)).sum()
            likelihood = float((top + np.log(total)).mean() - 0.5 * (quadratic + volume))
            if likelihood - before < _TOLERANCE:
                break
        return score.argmax(1).astype(np.int64), likelihood


def nearest_mean_start(x: Array, n_clusters: int, seed: int) -> IntArray:
    """Labels (n,) of k-means from one start."""
    import warnings

    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        # Fewer distinct rows than clusters: the candidate is skipped later, for its empty clusters.
        warnings.simplefilter("ignore", ConvergenceWarning)
        labels: IntArray = KMeans(n_clusters, n_init=1, random_state=seed).fit(x).labels_.astype(np.int64)
    return labels
