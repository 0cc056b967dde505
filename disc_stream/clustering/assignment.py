"""Soft assignment and target distribution in numpy: the twins of the torch ones, for code without torch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]


def soft_assignment(z: FloatArray, centroids: FloatArray) -> FloatArray:
    """Student-t soft labels, equation 13: q_ij ∝ 1 / (1 + ‖z_i - μ_j‖²).

    Args:
        z: (n, d) embeddings.
        centroids: (K, d).

    Returns:
        (n, K), rows sum to 1.

    Example:
        >>> soft_assignment(np.array([[0.0]]), np.array([[0.0], [1.0]])).round(3)
        array([[0.667, 0.333]])
    """
    distance = np.square(z[:, None, :] - centroids[None, :, :]).sum(2)
    similarity = 1.0 / (1.0 + distance)
    return np.asarray(similarity / similarity.sum(1, keepdims=True))


def target_distribution(q: FloatArray) -> FloatArray:
    """Sharpened labels, equation 14: p_ij ∝ q_ij² / Σ_i q_ij.

    Args:
        q: (m, K) soft labels of all m points that are looked at together.

    Returns:
        (m, K), rows sum to 1.
    """
    weight = np.square(q) / q.sum(0)
    return np.asarray(weight / weight.sum(1, keepdims=True))
