"""The bidirectional recurrent encoder: z = Enc(x), equations 1–5."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn

from disc_stream.models.both_ways import scan_both_ways
from disc_stream.models.config import NetworkConfig
from disc_stream.models.layers import (
    ConvRecurrence,
    DenseRecurrence,
    GRUWeights,
    NormalisedLinear,
    SeededDropout,
    weights_of,
)
from disc_stream.models.scan import own_precision, scan_gru_paper

_DIRECTIONS = 2


class RecurrentEncoder(nn.Module):
    """Bidirectional multi-layer (convolutional) GRU with a batch-normalised bottleneck.

    Args:
        config: shape of the network.
        n_channels: C.
        generator: source of the initial weights.
    """

    def __init__(self, config: NetworkConfig, n_channels: int, generator: torch.Generator) -> None:
        super().__init__()
        self.frame = config.frame
        self.reset_after = config.reset_after
        recurrences = _recurrences(config, n_channels, generator)
        self.layers = nn.ModuleList(recurrences)
        self.dropout = SeededDropout(config.dropout)
        top = _DIRECTIONS * recurrences[-1].hidden
        self.bottleneck = NormalisedLinear(top, config.embedding, squash=config.squash, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised input halves (B, n, C) -> embeddings (B, d)."""
        top = self.top_state(x)
        with own_precision(x):
            z: Tensor = self.bottleneck(top)
        return z

    def together(self, parts: Sequence[Tensor]) -> list[Tensor]:
        """Embeddings (B, d) of each of several inputs (B, n, C), n its own, normalised over all of them."""
        tops = [self.top_state(part) for part in parts]
        with own_precision(parts[0]):
            z: Tensor = self.bottleneck(torch.cat(tops))
        return list(z.tensor_split(list(accumulate(len(top) for top in tops))[:-1]))

    def top_state(self, x: Tensor) -> Tensor:
        """(B, n, C) -> (B, 2H): the last layer's forward state at the end and backward state at the start."""
        first, *others = weights_of(self.layers)
        with own_precision(x) as dtype:
            sequence = frames(x, self.frame).transpose(0, 1)
            sequence, last = run_both_ways(sequence, first, dtype, reset_after=self.reset_after)
            for weights in others:
                sequence = self.dropout(sequence)
                sequence, last = run_both_ways(sequence, weights, dtype, reset_after=self.reset_after)
        return torch.cat([last[0], last[1]], dim=1)


def _recurrences(
    config: NetworkConfig, n_channels: int, generator: torch.Generator
) -> list[DenseRecurrence | ConvRecurrence]:
    if config.layout == "channels":
        widths = [config.frame * n_channels] + [_DIRECTIONS * config.hidden] * (config.layers - 1)
        return [DenseRecurrence(_DIRECTIONS, width, config.hidden, generator) for width in widths]
    grid = config.grid(n_channels)
    maps = [config.frame] + [_DIRECTIONS * config.hidden] * (config.layers - 1)
    return [ConvRecurrence(_DIRECTIONS, m, config.hidden, grid, config.kernel, generator) for m in maps]


def run_both_ways(
    x: Tensor, weights: GRUWeights, dtype: torch.dtype, *, reset_after: bool
) -> tuple[Tensor, Tensor]:
    """Run one bidirectional layer.

    Args:
        x: (T, B, I), in time order.
        weights: of the forward and the backward direction.
        dtype: of the matrix products.
        reset_after: see ``NetworkConfig``.

    Returns:
        The states (T, B, 2H) of both directions in time order, in any type; and the last state of each
        direction (2, B, H), the backward direction's being at the first sample, in the weights' type.
    """
    if not reset_after:
        return _papers_form(x, weights, dtype)
    if x.device.type == "cuda":
        return _fused(x, weights, dtype)
    return scan_both_ways(x.to(dtype), weights)


def _papers_form(x: Tensor, weights: GRUWeights, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    steps, batch, _ = x.shape
    both = torch.stack([x, x.flip(0)]).flatten(1, 2)
    gi = torch.bmm(both.to(dtype), weights.w_ih.transpose(1, 2).to(dtype)).to(weights.w_ih.dtype)
    gi = (gi + weights.b_ih.unsqueeze(1)).view(_DIRECTIONS, steps, batch, -1)
    h0 = gi.new_zeros(_DIRECTIONS, batch, weights.w_hh.shape[2])
    w, b = weights.w_hh.transpose(1, 2).to(dtype), weights.b_hh.unsqueeze(1)
    states = scan_gru_paper(gi, h0, w, b)
    forward, backward = states
    return torch.cat([forward, backward.flip(0)], dim=2), states[:, -1]


def _fused(x: Tensor, weights: GRUWeights, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The same by the library's fused kernel (cuDNN on CUDA)."""
    hidden = weights.w_hh.shape[2]
    flat = [part[d].to(dtype) for d in range(_DIRECTIONS) for part in weights]
    h0 = x.new_zeros(_DIRECTIONS, x.shape[1], hidden, dtype=dtype)
    sequence, last = torch.gru(
        x.to(dtype), h0, flat, has_biases=True, num_layers=1, dropout=0.0, train=torch.is_grad_enabled(),
        bidirectional=True, batch_first=False,
    )  # fmt: skip
    return sequence, last.to(weights.w_hh.dtype)


def frames(x: Tensor, size: int) -> Tensor:
    """Join ``size`` consecutive samples: (B, n, C) -> (B, ⌈n / size⌉, size · C), the last sample repeated."""
    missing = -x.shape[1] % size
    if missing:
        # Not `expand`: that would be an operator that no other export needs, and bundles may not hold.
        x = torch.cat([x, *[x[:, -1:]] * missing], dim=1)
    return x.reshape(x.shape[0], x.shape[1] // size, size * x.shape[2])
