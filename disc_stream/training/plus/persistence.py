"""Labels that last: what a discriminant says of a window, and of those before and after it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from disc_stream.training.plus.config import PlusConfig
from disc_stream.training.plus.discriminant import DiscriminantFitter
from disc_stream.types import IntArray

Array = npt.NDArray[np.float64]

_SETTLED = 1e-3  # share of windows that change; fewer do not move the discriminant


class Persistence:
    """Lets a labelling settle under a hidden Markov model whose states are its clusters.

    Clusters are normal with one covariance, and last: a discriminant is fitted to the labels, its
    probabilities are smoothed forwards and backwards over each device's windows, the most probable clusters
    are the next labels, and so on. That is the algorithm of Baum et al. (1970, doi:10.1214/aoms/1177697196)
    with hard labels, and a chain that is given. Successive windows overlap and resemble each other, so each
    counts less than an independent one would: its log-likelihood is multiplied by ``evidence``.

    Args:
        x: (n, F) standardised descriptors of single windows, rows of one device in time order.
        devices: (n,).
        fitter: of discriminants of ``x``.
        config: hyper-parameters.
    """

    def __init__(self, x: Array, devices: IntArray, fitter: DiscriminantFitter, config: PlusConfig) -> None:
        self._x, self._fitter = x, fitter
        self._rounds, self._stay, self._evidence = config.settling, config.settling_stay, config.evidence
        self._chains = _Chains(devices)

    def settle(self, labels: IntArray, n_clusters: int) -> IntArray | None:
        """From a labelling (n,) to the one it settles at; None if that leaves a cluster without windows."""
        for _ in range(self._rounds):
            discriminant = self._fitter.fit(labels, n_clusters)
            z = self._x @ discriminant.project + discriminant.shift
            far = np.square(discriminant.centroids).sum(1) - 2.0 * z @ discriminant.centroids.T
            evidence = np.exp(-0.5 * self._evidence * (far - far.min(1, keepdims=True)))
            before, labels = labels, self._chains.smooth(evidence, self._stay).argmax(1).astype(np.int64)
            if len(np.unique(labels)) < n_clusters:
                return None
            if (labels != before).mean() < _SETTLED:
                break
        return labels


class _Chains:
    """The windows of all devices side by side, so that one step of time is one operation.

    Args:
        devices: (n,), rows of one device in time order.
    """

    def __init__(self, devices: IntArray) -> None:
        _, chain = np.unique(devices, return_inverse=True)
        order = np.argsort(chain, kind="stable")
        counts = np.bincount(chain)
        at = np.arange(len(chain)) - np.repeat(np.cumsum(counts) - counts, counts)
        self._chain, self._at = chain, np.empty_like(at)
        self._at[order] = at
        self._shape = (int(counts.max()), len(counts))

    def smooth(self, evidence: Array, stay: float) -> Array:
        """Forward-backward of each device, (n, K) likelihoods up to a factor -> (n, K) probabilities.

        Equal to ``clustering.smoothing.forward_backward`` device by device. Where a device has no more
        windows, nothing is known, which changes none of its others.
        """
        n_clusters = evidence.shape[1]
        if n_clusters == 1:
            return np.ones_like(evidence)
        move = (1.0 - stay) / (n_clusters - 1)
        likelihood = np.ones((*self._shape, n_clusters))
        likelihood[self._at, self._chain] = evidence
        forward = np.empty_like(likelihood)
        belief = np.full(likelihood.shape[1:], 1.0 / n_clusters)
        for t, now in enumerate(likelihood):
            belief = now * (move + (stay - move) * belief)
            belief /= belief.sum(1, keepdims=True)
            forward[t] = belief
        backward = np.ones_like(belief)
        for t in range(len(likelihood) - 2, -1, -1):
            ahead = likelihood[t + 1] * backward
            backward = move * ahead.sum(1, keepdims=True) + (stay - move) * ahead
            backward /= backward.sum(1, keepdims=True)
            forward[t] *= backward
        smoothed: Array = forward[self._at, self._chain]
        smoothed /= smoothed.sum(1, keepdims=True)
        return smoothed
