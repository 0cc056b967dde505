"""What training asks of any autoencoder, and DISC's own."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from disc_stream.models.config import NetworkConfig
from disc_stream.models.decoder import ConditionalDecoders
from disc_stream.models.decoder_free import UnconditionalDecoders
from disc_stream.models.encoder import RecurrentEncoder


class Autoencoder(Protocol):
    """The part of a deep clustering method that learns without clusters.

    Implementations are ``nn.Module``; windows are normalised and whole, (B, T, C).
    """

    def encode(self, windows: Tensor) -> Tensor:
        """Embeddings (B, d) of windows."""
        ...

    def encode_with_losses(self, windows: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Embeddings (B, d) and the named terms whose sum is the autoencoder's loss."""
        ...


def half(n_samples: int) -> int:
    """Samples of a window of ``n_samples`` that are encoded: its first half."""
    return n_samples // 2


class MultiTaskAutoencoder(nn.Module):
    """DISC's autoencoder: encodes the first half, decodes its time-flip and the second half (equation 11).

    With ``conditional=False`` its decoders read nothing, which makes it DSC's.

    Args:
        config: shape of the network.
        n_channels: C.
        generator: source of the initial weights.
        conditional: whether the decoders read what they made.
    """

    def __init__(
        self, config: NetworkConfig, n_channels: int, generator: torch.Generator, *, conditional: bool = True
    ) -> None:
        super().__init__()
        kind = ConditionalDecoders if conditional else UnconditionalDecoders
        self.encoder = RecurrentEncoder(config, n_channels, generator)
        self.decoders = kind(config, n_channels, generator)

    def encode(self, windows: Tensor) -> Tensor:
        """Embeddings (B, d) of whole windows (B, T, C), of which the first half is read."""
        z: Tensor = self.encoder(windows[:, : half(windows.shape[1])])
        return z

    def encode_with_losses(self, windows: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Embeddings (B, d) and the terms ``rec`` and ``fut``: mean squared errors of the two decoders.

        Args:
            windows: (B, T, C); the last sample of an odd T is not used.
        """
        n = half(windows.shape[1])
        past, future = windows[:, :n], windows[:, n : 2 * n]
        z = self.encoder(past)
        rec, fut = self.decoders(z, n)
        terms = {
            "rec": torch.nn.functional.mse_loss(rec, past.flip(1)),
            "fut": torch.nn.functional.mse_loss(fut, future),
        }
        return z, terms
