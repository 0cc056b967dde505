"""The stacked autoencoder of DEC and IDEC."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from disc_stream.models.layers import seeded_linear
from disc_stream.models.settings import Settings


class StackedConfig(Settings):
    """Hyper-parameters of the stacked autoencoder.

    Raises:
        ConfigError: naming the field, its value and what is possible.
    """

    widths: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (500, 500, 2000),
        min_length=1,
        strict=False,
        title="Widths of the hidden layers",
        description="of the encoder; the decoder mirrors them",
    )
    embedding: int = Field(10, ge=1, title="Size of the embedding", description="d of the embedding z")


class StackedAutoencoder(nn.Module):
    """Fully connected layers d-500-500-2000-10 and back, on flattened windows (Xie et al. 2016, DEC).

    ReLU after every layer but the embedding and the output. It is trained as a whole from the start, as
    IDEC's public implementation does (Guo et al. 2017), not layer by layer as DEC's first one.

    Args:
        config: its shape.
        n_samples: T.
        n_channels: C.
        generator: source of the initial weights.
    """

    def __init__(
        self, config: StackedConfig, n_samples: int, n_channels: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        sizes = [n_samples * n_channels, *config.widths, config.embedding]
        self.encoder = _layers(sizes, generator)
        self.decoder = _layers(sizes[::-1], generator)

    def encode(self, windows: Tensor) -> Tensor:
        """Windows (B, T, C) -> embeddings (B, d)."""
        z: Tensor = self.encoder(windows.flatten(1))
        return z

    def encode_with_losses(self, windows: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Embeddings (B, d) and ``rec``, the mean squared error of the reconstruction."""
        z = self.encode(windows)
        return z, {"rec": nn.functional.mse_loss(self.decoder(z), windows.flatten(1))}


def _layers(sizes: list[int], generator: torch.Generator) -> nn.Sequential:
    parts: list[nn.Module] = []
    for number, (inputs, outputs) in enumerate(pairwise(sizes), start=1):
        parts.append(seeded_linear(inputs, outputs, generator))
        if number < len(sizes) - 1:
            parts.append(nn.ReLU())
    return nn.Sequential(*parts)
