"""The clustering network: Student-t assignment, target distribution, hardening loss (equations 13–15)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def squared_distances(z: Tensor, centroids: Tensor) -> Tensor:
    """‖z_i - μ_j‖², (B, d) and (K, d) -> (B, K); from differences, which stay exact for close points."""
    return (z.unsqueeze(1) - centroids).square().sum(2)


def soft_assignment(z: Tensor, centroids: Tensor) -> Tensor:
    """q_ij of equation 13: Student's t with one degree of freedom, (B, d) and (K, d) -> (B, K)."""
    return soft_labels(z, centroids)[0]


def soft_labels(z: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Soft assignment q of equation 13 and ‖z_i - μ_j‖², both (B, K)."""
    distance = squared_distances(z, centroids)
    similarity = 1.0 / (1.0 + distance)
    return similarity / similarity.sum(1, keepdim=True), distance


def target_distribution(q: Tensor, frequency: Tensor | None = None) -> Tensor:
    """p_ij of equation 14, over the m rows of ``q`` (m, K): squared, weighted by 1 / cluster frequency.

    Where ``q`` is a part of the rows, ``frequency`` (K,) is the column sum of all of them.
    """
    weight = q.square() / (q.sum(0) if frequency is None else frequency)
    return weight / weight.sum(1, keepdim=True)


def hardening_loss(q: Tensor, p: Tensor) -> Tensor:
    """KL(P‖Q) of equation 15 as a mean over the rows, so that it does not grow with the batch."""
    tiny = torch.finfo(q.dtype).tiny
    return (p * (p.clamp_min(tiny).log() - q.clamp_min(tiny).log())).sum(1).mean()


class ClusterHead(nn.Module):
    """Centroids μ as trainable weights.

    Args:
        centroids: (K, d) to start from.
    """

    def __init__(self, centroids: Tensor) -> None:
        super().__init__()
        self.centroids = nn.Parameter(centroids.detach().clone())

    def forward(self, z: Tensor) -> Tensor:
        """Embeddings (B, d) -> q (B, K)."""
        return soft_assignment(z, self.centroids)
