"""Families of methods: those of one family share their autoencoder, and so its training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from disc_stream.artifacts.manifest import ScalerInfo
from disc_stream.errors import ConfigError
from disc_stream.models.autoencoder import MultiTaskAutoencoder, half
from disc_stream.models.cluster import soft_assignment, squared_distances
from disc_stream.models.config import NetworkConfig
from disc_stream.models.convolutional import ConvAutoencoder, ConvConfig
from disc_stream.models.dense import StackedAutoencoder, StackedConfig
from disc_stream.models.inference import InferenceNet
from disc_stream.training.presets import PRESETS, TrainingConfig

Build = Callable[[Any, int, int, torch.Generator], nn.Module]


@dataclass(frozen=True, slots=True)
class Family:
    """One kind of autoencoder.

    Args:
        name: as ``Method.family`` names it.
        build: (network, T, C, generator) -> a new autoencoder.
        presets: named sets of hyper-parameters.
        recurrent: whether ``RecurrentEncoder`` encodes the first half of a window; only then it is exported.
    """

    name: str
    build: Build
    presets: Mapping[str, TrainingConfig]
    recurrent: bool

    def input_samples(self, n_samples: int) -> int:
        """Samples of a window of ``n_samples`` that are encoded."""
        return half(n_samples) if self.recurrent else n_samples

    def network_for_use(self, autoencoder: nn.Module, centroids: Tensor, scaler: ScalerInfo) -> nn.Module:
        """The trained network as it is used: raw inputs -> embedding, q, distances."""
        if self.recurrent:
            return InferenceNet(cast("MultiTaskAutoencoder", autoencoder).encoder, centroids, scaler)
        return WholeWindowNet(autoencoder, centroids, scaler)


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


def _disc(network: NetworkConfig, _n_samples: int, n_channels: int, generator: torch.Generator) -> nn.Module:
    return MultiTaskAutoencoder(network, n_channels, generator)


def _dsc(network: NetworkConfig, _n_samples: int, n_channels: int, generator: torch.Generator) -> nn.Module:
    return MultiTaskAutoencoder(network, n_channels, generator, conditional=False)


def _on_whole_windows(
    network: StackedConfig | ConvConfig, small: StackedConfig | ConvConfig
) -> dict[str, TrainingConfig]:
    """The public implementations of DEC, IDEC and DCEC train for 200 to 300 epochs with Adam at 1e-3.

    DEC scales its input so that a value is about 1 in the mean square, which z-scores are. It matters: with
    min-max scaling, embeddings are so much smaller than the unit of Student's t that q is flat, and IDEC's
    refinement drew them all into one point.
    """
    full = TrainingConfig(
        network=network, scaler="zscore", epochs=300, decay_after=1.0, refine_epochs=200, refresh_steps=140
    )
    return {
        "paper": full,
        "released": full,
        "small": full.but(network=small, epochs=60, refine_epochs=40),
    }


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family("disc", _disc, PRESETS, recurrent=True),
        Family("dsc", _dsc, PRESETS, recurrent=True),
        Family(
            "sae", StackedAutoencoder, recurrent=False,
            presets=_on_whole_windows(StackedConfig(), StackedConfig(widths=(250, 250, 1000))),
        ),
        Family(
            "cae", ConvAutoencoder, recurrent=False,
            presets=_on_whole_windows(ConvConfig(), ConvConfig(filters=(16, 32, 64))),
        ),
    )
}  # fmt: skip


def get_family(name: str) -> Family:
    """The family of that name.

    Raises:
        ConfigError: naming the families there are.
    """
    if name not in FAMILIES:
        raise ConfigError(f"there is no family {name!r}", remedy=f"Use one of: {', '.join(FAMILIES)}")
    return FAMILIES[name]


def build_for(family: Family, config: TrainingConfig, shape: tuple[int, int], seed: int) -> nn.Module:
    """A new autoencoder for windows of ``shape`` (T, C), its initial weights from ``seed``."""
    return family.build(config.network, *shape, torch.Generator().manual_seed(seed))
