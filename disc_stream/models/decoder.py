"""The two conditional decoders: (ȳ_rec, ȳ_fut) = Dec(z), equations 6–10."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from disc_stream.models.config import NetworkConfig
from disc_stream.models.feedback import run_feedback
from disc_stream.models.layers import DenseRecurrence, NormalisedLinear, seeded_linear, uniform, weights_of
from disc_stream.models.scan import own_precision, paper_step, product, scan_gru, torch_step

_DECODERS = 2  # reconstruction, future


class TwinDecoders(nn.Module):
    """Two stacks of GRUs, run together, that turn an embedding into two series.

    All layers start from one context vector, a transformation of the embedding.

    Args:
        config: shape of the network.
        n_channels: C.
        inputs: I, size of what the bottom layer reads; 0 if it reads nothing.
        generator: source of the initial weights.
    """

    def __init__(
        self, config: NetworkConfig, n_channels: int, inputs: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        hidden, width = config.decoder_hidden, config.frame * n_channels
        self.frame = config.frame
        self.context = _context(config, generator)
        widths = [inputs] + [hidden] * (config.decoder_layers - 1)
        self.layers = nn.ModuleList(DenseRecurrence(_DECODERS, w, hidden, generator) for w in widths)
        bound = hidden**-0.5
        self.w_out = uniform((_DECODERS, hidden, width), bound, generator)
        self.b_out = uniform((_DECODERS, 1, width), bound, generator)

    def forward(self, z: Tensor, n_samples: int) -> tuple[Tensor, Tensor]:
        """Embeddings (B, d) -> reconstruction and future, each (B, n_samples, C)."""
        steps = -(-n_samples // self.frame)
        with own_precision(z) as dtype:
            h0 = self.context(z).expand(_DECODERS, -1, -1)
            states = self.states(h0, steps, dtype)
            outputs = product(self.b_out, states.to(dtype).flatten(1, 2), self.w_out.to(dtype))
        y = outputs.view(_DECODERS, steps, z.shape[0], -1).transpose(1, 2)
        rec, fut = y.reshape(_DECODERS, z.shape[0], steps * self.frame, -1)[:, :, :n_samples]
        return rec, fut

    @abstractmethod
    def states(self, h0: Tensor, steps: int, dtype: torch.dtype) -> Tensor:
        """States of the top layer (2, steps, B, H); every layer starts from ``h0`` (2, B, H)."""


class ConditionalDecoders(TwinDecoders):
    """DISC's decoders, which read what they made themselves: their last state, or their last output.

    The first input is zero.

    Args:
        config: shape of the network.
        n_channels: C.
        generator: source of the initial weights.
    """

    def __init__(self, config: NetworkConfig, n_channels: int, generator: torch.Generator) -> None:
        feeds_output = config.feedback == "output"
        inputs = config.frame * n_channels if feeds_output else config.decoder_hidden
        super().__init__(config, n_channels, inputs, generator)
        self.reset_after = config.reset_after
        self.feeds_output = feeds_output

    def states(self, h0: Tensor, steps: int, dtype: torch.dtype) -> Tensor:
        """See ``TwinDecoders``."""
        if not self.reset_after:
            return self._step_by_step(h0, steps, dtype)
        run = self._merged if len(self.layers) == 1 else self._stacked
        return run(h0, steps, dtype)

    def _stacked(self, h0: Tensor, steps: int, dtype: torch.dtype) -> Tensor:
        feed = (self.w_out, self.b_out) if self.feeds_output else None
        return run_feedback(h0, weights_of(self.layers), feed, steps, dtype)

    def _merged(self, h0: Tensor, steps: int, dtype: torch.dtype) -> Tensor:
        """One layer: what it reads is linear in its state, so both weights become one matrix."""
        w_ih, w_hh, b_ih, b_hh = weights_of(self.layers)[0]
        hidden = h0.shape[2]
        # x_0 = 0: only the input's bias acts in the first step.
        first_input = b_ih.unsqueeze(1).expand(-1, h0.shape[1], -1)
        h1 = torch_step(first_input, h0, w_hh.transpose(1, 2), b_hh.unsqueeze(1))
        if steps == 1:
            return h1.unsqueeze(1)

        w_x, b_x = w_ih.transpose(1, 2), b_ih.unsqueeze(1)
        if self.feeds_output:  # x_t = h_{t-1} w_out + b_out
            w_x, b_x = self.w_out @ w_x, b_x + self.b_out @ w_x
        w_h, b_h = w_hh.transpose(1, 2), b_hh.unsqueeze(1)
        cut = 2 * hidden
        w = torch.cat([w_x[..., :cut] + w_h[..., :cut], w_h[..., cut:], w_x[..., cut:]], dim=2)
        b = torch.cat([b_x[..., :cut] + b_h[..., :cut], b_h[..., cut:], b_x[..., cut:]], dim=2)
        rest = scan_gru(None, h1, w, b, steps - 1, dtype)
        return torch.cat([h1.unsqueeze(1), rest], dim=1)

    def _step_by_step(self, h0: Tensor, steps: int, dtype: torch.dtype) -> Tensor:
        step = torch_step if self.reset_after else paper_step
        layers = [
            (
                w_ih.transpose(1, 2).to(dtype),
                w_hh.transpose(1, 2).to(dtype),
                b_ih.unsqueeze(1),
                b_hh.unsqueeze(1),
            )
            for w_ih, w_hh, b_ih, b_hh in weights_of(self.layers)
        ]
        hidden, w_out = [h0] * len(layers), self.w_out.to(dtype)
        x = h0.new_zeros(*h0.shape[:2], layers[0][0].shape[1])
        tops = []
        for _ in range(steps):
            below = x
            for number, (w_ih, w_hh, b_ih, b_hh) in enumerate(layers):
                gi = product(b_ih, below, w_ih)
                below = step(gi, hidden[number], w_hh, b_hh)
                hidden[number] = below
            tops.append(below)
            x = product(self.b_out, below, w_out) if self.feeds_output else below
        return torch.stack(tops, dim=1)


def _context(config: NetworkConfig, generator: torch.Generator) -> nn.Module:
    """Embedding (B, d) -> context vector (B, decoder_hidden)."""
    if config.context_norm:
        return NormalisedLinear(config.embedding, config.decoder_hidden, squash=True, generator=generator)
    return seeded_linear(config.embedding, config.decoder_hidden, generator)
