"""The convolutional autoencoder of DCEC, for windows of any shape."""

from __future__ import annotations

import math
from typing import Annotated, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from disc_stream.errors import ConfigError
from disc_stream.models.layers import seeded_linear
from disc_stream.models.settings import Settings

_STRIDE = 2


class ConvConfig(Settings):
    """Hyper-parameters of the convolutional autoencoder.

    Raises:
        ConfigError: naming the field, its value and what is possible.
    """

    filters: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (32, 64, 128), min_length=1, strict=False, title="Filters", description="of the strided convolutions"
    )
    kernels: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (5, 5, 3), min_length=1, strict=False, title="Kernels", description="their lengths in samples, odd"
    )
    embedding: int = Field(10, ge=1, title="Size of the embedding", description="d of the embedding z")

    @model_validator(mode="after")
    def _odd_and_as_many(self) -> Self:
        if len(self.filters) != len(self.kernels):
            raise ConfigError(
                f"filters and kernels must be as many, got {list(self.filters)} and {list(self.kernels)}"
            )
        if any(kernel % 2 == 0 for kernel in self.kernels):
            raise ConfigError(f"kernels must be odd, got {list(self.kernels)}")
        return self


class ConvAutoencoder(nn.Module):
    """DCEC's (Guo et al. 2017): three convolutions of stride 2, a dense layer, and the way back.

    DCEC convolves over images and asks for sides that its strides divide. A window is a series over time with
    C channels: the convolutions run along time, and a window whose length 2³ does not divide is continued
    with its last sample, which the loss then leaves out.

    Args:
        config: its shape.
        n_samples: T.
        n_channels: C.
        generator: source of the initial weights.
    """

    def __init__(
        self, config: ConvConfig, n_samples: int, n_channels: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        step = _STRIDE ** len(config.filters)
        self.n_samples = n_samples
        self.missing = -n_samples % step
        maps = (n_channels, *config.filters)
        down, up = [], []
        for inputs, outputs, kernel in zip(maps[:-1], maps[1:], config.kernels, strict=True):
            down += [_seeded(nn.Conv1d, inputs, outputs, kernel, generator), nn.ReLU()]
            up += [nn.ReLU(), _seeded(nn.ConvTranspose1d, outputs, inputs, kernel, generator)]
        flat = maps[-1] * (n_samples + self.missing) // step
        self.down = nn.Sequential(*down)
        self.to_embedding = seeded_linear(flat, config.embedding, generator)
        self.from_embedding = seeded_linear(config.embedding, flat, generator)
        # [conv, relu] pairs were collected from the input side; the way back runs them from the other end.
        self.up = nn.Sequential(*[part for n in range(len(up) - 2, -1, -2) for part in up[n : n + 2]])
        self.maps = maps[-1]

    def encode(self, windows: Tensor) -> Tensor:
        """Windows (B, T, C) -> embeddings (B, d)."""
        x = windows.transpose(1, 2)
        if self.missing:
            x = nn.functional.pad(x, (0, self.missing), mode="replicate")
        z: Tensor = self.to_embedding(self.down(x).flatten(1))
        return z

    def encode_with_losses(self, windows: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Embeddings (B, d) and ``rec``, the mean squared error of the reconstruction."""
        z = self.encode(windows)
        maps = self.from_embedding(z).view(len(z), self.maps, -1)
        restored = self.up(maps)[:, :, : self.n_samples].transpose(1, 2)
        return z, {"rec": nn.functional.mse_loss(restored, windows)}


def _seeded(
    kind: type[nn.Conv1d] | type[nn.ConvTranspose1d],
    inputs: int,
    outputs: int,
    kernel: int,
    generator: torch.Generator,
) -> nn.Module:
    """A strided convolution, or its transpose from ``outputs`` maps back to ``inputs``."""
    padding = kernel // 2
    if kind is nn.ConvTranspose1d:
        layer: nn.Module = nn.ConvTranspose1d(
            inputs, outputs, kernel, _STRIDE, padding, output_padding=1, device="meta"
        )
    else:
        layer = nn.Conv1d(inputs, outputs, kernel, _STRIDE, padding, device="meta")
    layer = layer.to_empty(device="cpu")
    bound = 1.0 / math.sqrt(inputs * kernel)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.uniform_(-bound, bound, generator=generator)
    return layer
