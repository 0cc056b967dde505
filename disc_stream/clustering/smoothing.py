"""Causal smoothing of soft assignments over time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


class StickyFilter:
    """Forward filter of a hidden Markov model whose states are the clusters.

    p_t(j) ∝ q_t(j) · Σ_i A(j|i) p_{t-1}(i), with A = stay on the diagonal and (1 - stay)/(K - 1) beside
    it (Rabiner 1989, doi:10.1109/5.18626, the scaled forward recursion, with q as the observation's
    likelihood). It looks only at the past, so the label of a window never changes afterwards.

    Args:
        n_clusters: K.
        stay: probability of staying in the same activity from one window to the next.
    """

    def __init__(self, n_clusters: int, stay: float = 0.8) -> None:
        if not 0.0 < stay < 1.0:
            raise ValueError(f"stay must be between 0 and 1, got {stay}")
        self._stay = stay if n_clusters > 1 else 1.0
        self._move = (1.0 - stay) / (n_clusters - 1) if n_clusters > 1 else 0.0
        self._p: npt.NDArray[np.float64] | None = None

    def reset(self) -> None:
        """Forget the past, as after a gap in the stream."""
        self._p = None

    def update(self, q: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Take the soft assignment of the next window, (K,), and return the filtered one, (K,)."""
        p = q.astype(np.float64)
        if self._p is not None:
            prior = self._move + (self._stay - self._move) * self._p
            p = p * prior
        p /= p.sum()
        self._p = p
        return p
