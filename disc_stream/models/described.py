"""DISC's network with a linear discriminant of half a window's descriptors beside it."""

from __future__ import annotations

import math
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn

from disc_stream.models.autoencoder import MultiTaskAutoencoder, half
from disc_stream.models.bounds import unless_nan
from disc_stream.models.cluster import soft_labels
from disc_stream.models.config import NetworkConfig
from disc_stream.models.descriptors import FARTHEST_EMBEDDING, Descriptors


class Described(nn.Module):
    """An affine map of the descriptors of half a window; a whole window has the mean of its halves'.

    One map and one set of centroids therefore serve inputs of either length.

    Args:
        n_samples: T of a whole window.
        n_channels: C.
        size: d', of the map's result.
        bands: see ``Descriptors``.
        axes: likewise.
    """

    project: Tensor
    shift: Tensor

    def __init__(self, n_samples: int, n_channels: int, size: int, *, bands: int = 10, axes: int = 3) -> None:
        super().__init__()
        self.n = half(n_samples)
        self.descriptors = Descriptors(self.n, torch.ones(n_channels), bands=bands, axes=axes)
        self.register_buffer("project", torch.zeros(self.descriptors.n_descriptors, size))
        self.register_buffer("shift", torch.zeros(size))

    def forward(self, x: Tensor) -> Tensor:
        """Windows or their first halves (B, T or T // 2, C), in physical units -> (B, d')."""
        if x.shape[1] == self.n:
            return self._mapped(x)
        if x.shape[1] > 2 * self.n:
            x = torch.cat([x[:, : self.n], x[:, x.shape[1] - self.n :]], dim=1)
        # Both halves as windows of their own: a graph that computes descriptors twice would be twice as long.
        z = self._mapped(x.reshape(-1, self.n, x.shape[2]))
        return z.reshape(-1, 2, z.shape[1]).mean(1)

    def _mapped(self, x: Tensor) -> Tensor:
        z: Tensor = self.descriptors(x) @ self.project + self.shift
        return z.clamp(-FARTHEST_EMBEDDING, FARTHEST_EMBEDDING)

    def set_map(self, descriptors: Descriptors, project: np.ndarray, shift: np.ndarray) -> None:
        """Take the scaling of ``descriptors``, ``project`` (F, d') and ``shift`` (d',)."""
        self.descriptors.scale.copy_(descriptors.scale)
        self.descriptors.offset.copy_(descriptors.offset)
        self.project.copy_(torch.from_numpy(project))
        self.shift.copy_(torch.from_numpy(shift))


class DescribedAutoencoder(MultiTaskAutoencoder):
    """DISC's autoencoder with what else its labels are made of.

    Args:
        config: shape of the network.
        shape: T and C of a window, and K.
        generator: source of the initial weights.
        bands: see ``Descriptors``.
        axes: likewise.
        doubt: share of a target that is spread evenly over all clusters.
    """

    own: Tensor

    def __init__(
        self,
        config: NetworkConfig,
        shape: tuple[int, int, int],
        generator: torch.Generator,
        *,
        bands: int,
        axes: int,
        doubt: float,
    ) -> None:
        super().__init__(config, shape[1], generator)
        self.described = Described(*shape[:2], config.embedding, bands=bands, axes=axes)
        self.doubt = doubt
        self.register_buffer("own", torch.zeros(shape[2], config.embedding))


class DescribedNet(nn.Module):
    """Labels by the network's own assignment and by the discriminant of descriptors, in one embedding.

    Its first K coordinates are log(1 + q / ε), where q is the network's own and ε what the targets leave to
    each wrong cluster: there, differences of squared distances to centroids are about those of log q, and a
    network that is surer than it was taught has no more to say than that. The other coordinates are the
    discriminant's, so that both add up as independent evidence does.

    Args:
        network: (B, n, C) -> embedding, q and distances by its own centroids.
        described: the discriminant; copied.
        centroids: (K, K + d').
        doubt: ε times K.
    """

    centroids: Tensor

    def __init__(self, network: nn.Module, described: Described, centroids: Tensor, doubt: float) -> None:
        super().__init__()
        self.network = network
        self.described = deepcopy(described).cpu()
        self.per_doubt = len(centroids) / max(doubt, LEAST_DOUBT)
        self.register_buffer("centroids", centroids.detach().cpu().clone())
        self.requires_grad_(False)
        self.eval()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Windows or their first halves (B, n, C), in physical units -> embedding, q, squared distances."""
        _, q, _ = self.network(x)
        z = torch.cat([torch.log(q * self.per_doubt + 1.0), self.described(x)], dim=1)
        z = unless_nan(z, x)
        return (z, *soft_labels(z, self.centroids))


_PROMPTNESS = 2.0
LEAST_DOUBT = 0.01
"""Targets without doubt are taken to have this much."""


def evidence_of_targets(n_clusters: int, doubt: float) -> tuple[Tensor, float]:
    """Where windows lie that the network is as sure of as it was taught, in the first K coordinates.

    Args:
        n_clusters: K.
        doubt: share of a target that is spread evenly over all clusters.

    Returns:
        (K, K) those of each cluster, and how far apart its coordinate is from the others'.
    """
    doubt = max(doubt, LEAST_DOUBT)
    own = math.log((1.0 - doubt) * n_clusters / doubt + 2.0)
    other = math.log(2.0)
    return torch.full((n_clusters, n_clusters), other).fill_diagonal_(own), own - other


def exponent_of_targets(n_clusters: int, doubt: float) -> float:
    """Power of q for smoothing: a window that the network is as sure of as it was taught has its odds twice.

    Such a window lies on its own centroid's coordinate, 2·apart² from each other centroid: q falls by
    1 + 2·apart² there, the targets by (1 - doubt)·K/doubt + 1, so the logarithms' ratio gives the window the
    odds of its targets. Twice that smooths as well and follows a change sooner (ADR 0023). The power
    (1 + D)/2 of a density in all of the embedding's dimensions would be sure beyond any doubt of whatever
    the network says.

    Args:
        n_clusters: K.
        doubt: share of a target that is spread evenly over all clusters.
    """
    apart = evidence_of_targets(n_clusters, doubt)[1]
    odds = (1.0 - max(doubt, LEAST_DOUBT)) * n_clusters / max(doubt, LEAST_DOUBT) + 1.0
    return _PROMPTNESS * math.log(odds) / math.log(1.0 + 2.0 * apart**2)
