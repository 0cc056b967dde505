"""DSC's two decoders, which read nothing: all they know is the state they start from."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from disc_stream.models.config import NetworkConfig
from disc_stream.models.layers import DenseRecurrence, NormalisedLinear, seeded_linear, uniform, weights_of
from disc_stream.models.scan import own_precision, product, scan_gru

_DECODERS = 2  # reconstruction, future


class UnconditionalDecoders(nn.Module):
    """Two stacked GRU decoders whose input is zero at every step.

    DSC (Abedin et al. 2020, "Towards deep clustering of human activities from wearables") starts both
    decoders from the embedding and lets them run; DISC's paper names the conditional input as its difference.

    Args:
        config: shape of the network; ``feedback`` and ``reset_after`` are not used.
        n_channels: C.
        generator: source of the initial weights.
    """

    def __init__(self, config: NetworkConfig, n_channels: int, generator: torch.Generator) -> None:
        super().__init__()
        hidden, width = config.decoder_hidden, config.frame * n_channels
        self.frame = config.frame
        self.context: nn.Module = (
            NormalisedLinear(config.embedding, hidden, squash=True, generator=generator)
            if config.context_norm
            else seeded_linear(config.embedding, hidden, generator)
        )
        self.layers = nn.ModuleList(
            DenseRecurrence(_DECODERS, hidden, hidden, generator) for _ in range(config.decoder_layers)
        )
        bound = hidden**-0.5
        self.w_out = uniform((_DECODERS, hidden, width), bound, generator)
        self.b_out = uniform((_DECODERS, 1, width), bound, generator)

    def forward(self, z: Tensor, n_samples: int) -> tuple[Tensor, Tensor]:
        """Embeddings (B, d) -> reconstruction and future, each (B, n_samples, C)."""
        steps = -(-n_samples // self.frame)
        with own_precision(z) as dtype:
            h0 = self.context(z).expand(_DECODERS, -1, -1)
            states = self._states(h0, steps, dtype)
            outputs = product(self.b_out, states.flatten(1, 2), self.w_out.to(dtype))
        y = outputs.view(_DECODERS, steps, z.shape[0], -1).transpose(1, 2)
        rec, fut = y.reshape(_DECODERS, z.shape[0], steps * self.frame, -1)[:, :, :n_samples]
        return rec, fut

    def _states(self, h0: Tensor, steps: int, dtype: torch.dtype) -> Tensor:
        """States of the top layer, (2, steps, B, H); every layer starts from ``h0``."""
        states = h0.new_zeros(_DECODERS, steps, *h0.shape[1:])
        for w_ih, w_hh, b_ih, b_hh in weights_of(self.layers):
            below = product(b_ih.unsqueeze(1), states.flatten(1, 2), w_ih.transpose(1, 2).to(dtype))
            gi = below.view(_DECODERS, steps, h0.shape[1], -1)
            states = scan_gru(gi, h0, w_hh.transpose(1, 2), b_hh.unsqueeze(1), steps, dtype)
        return states
