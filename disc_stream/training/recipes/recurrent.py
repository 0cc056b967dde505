"""DISC and DSC: recurrent encoders of the first half of a window."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from disc_stream.artifacts.manifest import ScalerInfo
from disc_stream.models.autoencoder import MultiTaskAutoencoder, half
from disc_stream.models.config import NetworkConfig
from disc_stream.models.inference import InferenceNet
from disc_stream.training.families import Family
from disc_stream.training.presets import PRESETS
from disc_stream.training.recipes.deep import DeepRecipe


def _disc(network: NetworkConfig, _n_samples: int, n_channels: int, generator: torch.Generator) -> nn.Module:
    return MultiTaskAutoencoder(network, n_channels, generator)


def _dsc(network: NetworkConfig, _n_samples: int, n_channels: int, generator: torch.Generator) -> nn.Module:
    return MultiTaskAutoencoder(network, n_channels, generator, conditional=False)


def _encoder(autoencoder: nn.Module, centroids: Tensor, scaler: ScalerInfo) -> nn.Module:
    return InferenceNet(cast("MultiTaskAutoencoder", autoencoder).encoder, centroids, scaler)


DISC_FAMILY = Family("disc", _disc, PRESETS, half, _encoder)
DSC_FAMILY = Family("dsc", _dsc, PRESETS, half, _encoder)

DISC = DeepRecipe("disc", "DISC", DISC_FAMILY, exportable=True)
DSC = DeepRecipe("dsc", "DSC", DSC_FAMILY, exportable=True)
