"""DISC's embedding, with what a linear discriminant reads from half a window's descriptors beside it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from disc_stream.models.autoencoder import MultiTaskAutoencoder, half
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
    """DISC's autoencoder, which carries the affine map of descriptors that labels are made with.

    Args:
        config: shape of the network.
        shape: T and C of a window.
        generator: source of the initial weights.
        bands: see ``Descriptors``.
        axes: likewise.
    """

    def __init__(
        self,
        config: NetworkConfig,
        shape: tuple[int, int],
        generator: torch.Generator,
        *,
        bands: int,
        axes: int,
    ) -> None:
        super().__init__(config, shape[1], generator)
        self.described = Described(*shape, config.embedding, bands=bands, axes=axes)
