"""Families of methods: those of one family share their autoencoder, and so its training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from disc_stream.artifacts.manifest import ScalerInfo
from disc_stream.models.cluster import soft_assignment, squared_distances
from disc_stream.training.presets import TrainingConfig

Build = Callable[[Any, int, int, torch.Generator], nn.Module]
NetworkForUse = Callable[[nn.Module, Tensor, ScalerInfo], nn.Module]


@dataclass(frozen=True, slots=True)
class Family:
    """One kind of autoencoder.

    Args:
        name: of the family.
        build: (network, T, C, generator) -> a new autoencoder.
        presets: named sets of hyper-parameters.
        input_samples: T -> samples of a window that are encoded, from its start.
        network_for_use: (autoencoder, centroids, scaler) -> the trained network as it is used: raw inputs ->
            embedding, q, distances.
    """

    name: str
    build: Build
    presets: Mapping[str, TrainingConfig]
    input_samples: Callable[[int], int]
    network_for_use: NetworkForUse


class WholeWindowNet(nn.Module):
    """Normalisation, an autoencoder's encoder and Student-t assignment, for whole windows.

    Args:
        autoencoder: trained; not copied.
        centroids: (K, d).
        scaler: x' = (x - offset) * scale per channel.
    """

    offset: Tensor
    scale: Tensor
    centroids: Tensor

    def __init__(self, autoencoder: nn.Module, centroids: Tensor, scaler: ScalerInfo) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.register_buffer("offset", torch.tensor(scaler.offset))
        self.register_buffer("scale", torch.tensor(scaler.scale))
        self.register_buffer("centroids", centroids.detach().cpu().clone())
        self.eval()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, T, C) -> embedding (B, d), q (B, K) of equation 13, squared distances (B, K)."""
        z = cast("Any", self.autoencoder).encode((x - self.offset) * self.scale)
        return z, soft_assignment(z, self.centroids), squared_distances(z, self.centroids)


def whole_window(n_samples: int) -> int:
    """All samples of a window of ``n_samples``."""
    return n_samples


def presets_of_whole_windows(network: Any, small: Any) -> dict[str, TrainingConfig]:
    """Hyper-parameters of autoencoders of whole windows.

    The public implementations of DEC, IDEC and DCEC train for 200 to 300 epochs with Adam at 1e-3. DEC scales
    its input so that a value is about 1 in the mean square, which z-scores are. It matters: with min-max
    scaling, embeddings are so much smaller than the unit of Student's t that q is flat, and IDEC's refinement
    drew them all into one point.

    Args:
        network: of the presets ``paper`` and ``released``.
        small: of the preset ``small``.
    """
    full = TrainingConfig(
        network=network, scaler="zscore", epochs=300, decay_after=1.0, refine_epochs=200, refresh_steps=140
    )
    return {
        "paper": full,
        "released": full,
        "small": full.but(network=small, epochs=60, refine_epochs=40),
    }


def build_for(family: Family, config: TrainingConfig, shape: tuple[int, int], seed: int) -> nn.Module:
    """A new autoencoder for windows of ``shape`` (T, C), its initial weights from ``seed``."""
    return family.build(config.network, *shape, torch.Generator().manual_seed(seed))
