"""The stacked autoencoder of DEC and IDEC."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from disc_stream.errors import ConfigError
from disc_stream.models.layers import seeded_linear


@dataclass(frozen=True, slots=True)
class StackedConfig:
    """Hyper-parameters of the stacked autoencoder.

    Args:
        widths: of the hidden layers of the encoder; the decoder mirrors them.
        embedding: size d of the embedding.
    """

    widths: tuple[int, ...] = (500, 500, 2000)
    embedding: int = 10

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: naming the field, its value and what is possible.
        """
        if not self.widths or min(self.widths) < 1:
            raise ConfigError(f"widths must be whole numbers of at least 1, got {self.widths}")
        if self.embedding < 1:
            raise ConfigError(f"embedding must be at least 1, got {self.embedding}")


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
