"""The reference of the training benchmark: DISC written the plain way, in fp32.

One Python loop over time per direction and layer and one per decoder, autograd through all of it. As in the
authors' released code, the encoder's gates are convolutions of kernel 1 over a single position, and the
decoders are plain GRU cells. It is there to be measured against, not to be used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from disc_stream.models.autoencoder import half
from disc_stream.models.config import NetworkConfig


class ConvCell(nn.Module):
    """One step of a GRU whose gates are convolutions over a single position."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.of_input = nn.Conv1d(inputs, 3 * hidden, 1)
        self.of_state = nn.Conv1d(hidden, 3 * hidden, 1)

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """(B, inputs) and (B, hidden) -> (B, hidden)."""
        x_r, x_z, x_n = self.of_input(x.unsqueeze(2)).squeeze(2).chunk(3, dim=1)
        h_r, h_z, h_n = self.of_state(h.unsqueeze(2)).squeeze(2).chunk(3, dim=1)
        reset, update = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z)
        new = torch.tanh(x_n + reset * h_n)
        return (1 - update) * new + update * h


class EagerAutoencoder(nn.Module):
    """Bidirectional encoder and two decoders with fed-back output, for the shapes of the preset ``released``.

    Args:
        config: shape of the network.
        n_channels: C.
        cell: of the encoder; made with (inputs, hidden), called with an input and a state.
    """

    def __init__(
        self, config: NetworkConfig, n_channels: int, cell: Callable[[int, int], nn.Module] = ConvCell
    ) -> None:
        super().__init__()
        self.hidden = hidden = config.hidden
        widths = [n_channels] + [2 * hidden] * (config.layers - 1)
        self.forward_cells = nn.ModuleList(cell(w, hidden) for w in widths)
        self.backward_cells = nn.ModuleList(cell(w, hidden) for w in widths)
        self.dropout = nn.Dropout(config.dropout)
        self.bottleneck = nn.Sequential(
            nn.Linear(2 * hidden, config.embedding), nn.BatchNorm1d(config.embedding), nn.Tanh()
        )
        wide = config.decoder_hidden
        self.context = nn.Sequential(nn.Linear(config.embedding, wide), nn.BatchNorm1d(wide), nn.Tanh())
        below = [n_channels] + [wide] * (config.decoder_layers - 1)
        self.decoders = nn.ModuleList(nn.ModuleList(nn.GRUCell(w, wide) for w in below) for _ in range(2))
        self.outputs = nn.ModuleList(nn.Linear(wide, n_channels) for _ in range(2))

    def forward(self, windows: Tensor) -> Tensor:
        """Windows (B, T, C) -> the loss of equation 11."""
        n = half(windows.shape[1])
        past, future = windows[:, :n], windows[:, n : 2 * n]
        context = self.context(self.bottleneck(self._top(past)))
        reconstruction, prediction = (self._decode(d, context, past) for d in range(2))
        mse = nn.functional.mse_loss
        return mse(reconstruction, past.flip(1)) + mse(prediction, future)

    def _top(self, sequence: Tensor) -> Tensor:
        for number, (ahead, back) in enumerate(zip(self.forward_cells, self.backward_cells, strict=True)):
            n = sequence.shape[1]
            h = sequence.new_zeros(len(sequence), self.hidden)
            first = []
            for t in range(n):
                h = ahead(sequence[:, t], h)
                first.append(h)
            h = sequence.new_zeros(len(sequence), self.hidden)
            second = []
            for t in reversed(range(n)):
                h = back(sequence[:, t], h)
                second.append(h)
            sequence = torch.cat([torch.stack(first, 1), torch.stack(second[::-1], 1)], dim=2)
            if number + 1 < len(self.forward_cells):
                sequence = self.dropout(sequence)
        return torch.cat(
            [sequence[:, -1, : sequence.shape[2] // 2], sequence[:, 0, sequence.shape[2] // 2 :]], 1
        )

    def _decode(self, decoder: int, context: Tensor, like: Tensor) -> Tensor:
        cells = cast("nn.ModuleList", self.decoders[decoder])
        states = [context for _ in cells]
        y, made = torch.zeros_like(like[:, 0]), []
        for _ in range(like.shape[1]):
            below = y
            for number, cell in enumerate(cells):
                states[number] = below = cell(below, states[number])
            y = self.outputs[decoder](below)
            made.append(y)
        return torch.stack(made, dim=1)
