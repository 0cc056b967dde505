"""Smoothing of soft assignments over time: causal for streams, both ways for recordings."""

# ruff: noqa: SLF001 - update_each reads the attributes of its own class

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def likelihood_exponent(embedding_dim: int) -> float:
    """Power of q that is the likelihood of an embedding under each cluster.

    The soft assignment of equation 13 falls with (1 + d²)^-1, whatever the dimension D of the embedding. The
    multivariate Student-t density with one degree of freedom, which it is named after, falls with
    (1 + d²)^-(1 + D)/2. Up to a factor that all clusters share, the density is therefore q^((1 + D)/2). Taken
    as it is, q is far too flat to be a likelihood: a filter would then follow a change windows too late.
    """
    return (1 + embedding_dim) / 2


class StickyFilter:
    """Forward filter of a hidden Markov model whose states are the clusters.

    p_t(j) ∝ q_t(j)^s · Σ_i A(j|i) p_{t-1}(i), with A = stay on the diagonal and (1 - stay)/(K - 1) beside it
    (Rabiner 1989, doi:10.1109/5.18626, the scaled forward recursion). It looks only at the past, so the label
    of a window never changes afterwards.

    Args:
        n_clusters: K.
        stay: probability of staying in the same activity from one window to the next.
        exponent: s, see ``likelihood_exponent``.
    """

    def __init__(self, n_clusters: int, stay: float = 0.8, exponent: float = 1.0) -> None:
        if not 0.0 < stay < 1.0:
            raise ValueError(f"stay must be between 0 and 1, got {stay}")
        if not exponent > 0.0:
            raise ValueError(f"exponent must be above 0, got {exponent}")
        self._stay = stay if n_clusters > 1 else 1.0
        self._move = (1.0 - stay) / (n_clusters - 1) if n_clusters > 1 else 0.0
        self._exponent = exponent
        self._p: npt.NDArray[np.float64] | None = None

    def reset(self) -> None:
        """Forget the past, as after a gap in the stream."""
        self._p = None

    def state(self) -> tuple[npt.NDArray[np.float64] | None]:
        """What the next update depends on, to continue from elsewhere."""
        return (self._p,)

    def restore(self, state: tuple[npt.NDArray[np.float64] | None]) -> None:
        """Continue where ``state`` was taken."""
        (self._p,) = state

    def update(self, q: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Take the soft assignment of the next window, (K,), and return the filtered one, (K,)."""
        p: npt.NDArray[np.float64] = q.astype(np.float64)
        p = (p / p.max()) ** self._exponent  # the best is 1, so that no sum can be 0
        if self._p is not None:
            p = p * (self._move + (self._stay - self._move) * self._p)
        p /= p.sum()
        self._p = p
        return p

    @staticmethod
    def update_each(filters: Sequence[StickyFilter], q: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """``update`` of many filters of the same kind at once, each with a row of its own.

        Args:
            filters: n different ones with the same parameters.
            q: (n, K), the soft assignment of the next window of each.

        Returns:
            (n, K), the filtered ones.
        """
        p: npt.NDArray[np.float64] = q.astype(np.float64)
        first = filters[0]
        p = (p / p.max(axis=1, keepdims=True)) ** first._exponent
        going_on = [row for row, one in enumerate(filters) if one._p is not None]
        if going_on:
            past = np.array([filters[row]._p for row in going_on])
            p[going_on] *= first._move + (first._stay - first._move) * past
        p /= p.sum(axis=1, keepdims=True)
        for one, row in zip(filters, p, strict=True):
            one._p = row.copy()  # a view would keep all the others' rows in memory
        return p


def filter_sequence(
    q: npt.NDArray[np.floating], *, stay: float = 0.8, exponent: float = 1.0
) -> npt.NDArray[np.float64]:
    """``StickyFilter`` over a whole sequence, (n, K) -> (n, K)."""
    sticky = StickyFilter(q.shape[1], stay, exponent)
    return np.array([sticky.update(row) for row in q]).reshape(q.shape)


def forward_backward(
    q: npt.NDArray[np.floating], *, stay: float = 0.8, exponent: float = 1.0
) -> npt.NDArray[np.float64]:
    """Smoothing by what came before and after: the forward-backward algorithm of the same model.

    Not causal: for recordings, not for streams (Rabiner 1989, the scaled recursions).

    Args:
        q: (n, K) soft assignments of successive windows.
        stay: as in ``StickyFilter``.
        exponent: as in ``StickyFilter``.

    Returns:
        (n, K), rows sum to 1.
    """
    forward = filter_sequence(q, stay=stay, exponent=exponent)
    n, n_clusters = q.shape
    if n_clusters == 1:
        return forward
    likelihood = np.power(q / q.max(1, keepdims=True), exponent, dtype=np.float64)
    move = (1.0 - stay) / (n_clusters - 1)
    backward = np.ones(n_clusters)
    out = forward.copy()
    for t in range(n - 2, -1, -1):
        ahead = likelihood[t + 1] * backward
        backward = move * ahead.sum() + (stay - move) * ahead
        backward /= backward.sum()
        out[t] = forward[t] * backward
        out[t] /= out[t].sum()
    return out


def smooth_stretches(
    q: npt.NDArray[np.floating],
    begins: npt.NDArray[np.bool_],
    *,
    stay: float = 0.8,
    exponent: float = 1.0,
) -> npt.NDArray[np.float64]:
    """``forward_backward`` of each uninterrupted stretch by itself.

    Args:
        q: (n, K) soft assignments of successive windows.
        begins: (n,) whether a window is the first of a stretch; the first of all always is.
        stay: as in ``StickyFilter``.
        exponent: as in ``StickyFilter``.

    Returns:
        (n, K), rows sum to 1.
    """
    parts = np.split(q, np.flatnonzero(begins[1:]) + 1)
    return np.concatenate([forward_backward(part, stay=stay, exponent=exponent) for part in parts])
