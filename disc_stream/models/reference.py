"""DISC's forward pass, written to be read: the oracle of the fast one.

One Python loop over time for each direction and layer and for each decoder, every gate where its equation has
it, autograd through all of it. The fast form (``encoder``, ``scan``, ``decoder``, ``inference``) computes the
same: tests compare the two, ``export`` compares every graph with this one on the run that is exported, and
``benchmark train`` measures how much faster the fast one is.

Shapes: B windows, n samples that are encoded, C channels, d dimensions of the embedding, K clusters.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from disc_stream.artifacts.manifest import ScalerInfo
from disc_stream.models.autoencoder import MultiTaskAutoencoder, half
from disc_stream.models.config import NetworkConfig
from disc_stream.models.decoder import ConditionalDecoders
from disc_stream.models.encoder import RecurrentEncoder
from disc_stream.models.layers import ConvRecurrence, DenseRecurrence, GRUWeights, NormalisedLinear

MakeCell = Callable[[int, int], nn.Module]


class ConvCell(nn.Module):
    """One step of a convolutional GRU, equations 1 to 4; on a grid of one cell it is a plain GRU.

    Args:
        inputs: maps of the input times cells of the grid.
        hidden: maps of the state times cells of the grid.
        grid: rows and columns.
        kernel: odd side of the kernels.
        reset_after: the reset gate after the recurrent product (the form of PyTorch and of the released code)
            instead of before it (equation 3).
    """

    def __init__(
        self,
        inputs: int,
        hidden: int,
        grid: tuple[int, int] = (1, 1),
        kernel: int = 1,
        *,
        reset_after: bool = True,
    ) -> None:
        super().__init__()
        cells = grid[0] * grid[1]
        self.grid, self.reset_after = grid, reset_after
        maps = 3 * hidden // cells  # of the gates r, z and of the candidate n
        self.of_input = nn.Conv2d(inputs // cells, maps, kernel, padding=kernel // 2)
        self.of_state = nn.Conv2d(hidden // cells, maps, kernel, padding=kernel // 2)

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """(B, inputs) and (B, hidden) -> (B, hidden)."""
        x, h = (flat.reshape(len(flat), -1, *self.grid) for flat in (x, h))
        x_r, x_z, x_n = self.of_input(x).chunk(3, dim=1)
        h_r, h_z, h_n = self.of_state(h).chunk(3, dim=1)
        reset = torch.sigmoid(x_r + h_r)  # (1)
        update = torch.sigmoid(x_z + h_z)  # (2)
        if self.reset_after:
            new = torch.tanh(x_n + reset * h_n)
        else:
            new = torch.tanh(x_n + self.of_state(reset * h).chunk(3, dim=1)[2])  # (3)
        return ((1 - update) * new + update * h).flatten(1)  # (4)


class ReferenceEncoder(nn.Module):
    """z = Enc(x), equation 5: bidirectional layers, the last one's two final states, a bottleneck.

    Args:
        config: shape of the network.
        n_channels: C.
        cell: makes cells of (inputs, hidden); by default those that ``config`` describes.
    """

    def __init__(self, config: NetworkConfig, n_channels: int, cell: MakeCell | None = None) -> None:
        super().__init__()
        grid = config.grid(n_channels)
        kernel = config.kernel if config.layout == "grid" else 1
        make = cell or partial(ConvCell, grid=grid, kernel=kernel, reset_after=config.reset_after)
        self.frame = config.frame
        self.hidden = hidden = config.hidden * grid[0] * grid[1]
        widths = [config.frame * n_channels] + [2 * hidden] * (config.layers - 1)
        self.forward_cells = nn.ModuleList(make(width, hidden) for width in widths)
        self.backward_cells = nn.ModuleList(make(width, hidden) for width in widths)
        self.dropout = nn.Dropout(config.dropout)
        self.bottleneck = _normalised(2 * hidden, config.embedding, squash=config.squash)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised input halves (B, n, C) -> embeddings (B, d)."""
        sequence = _frames(x, self.frame)
        for number, (ahead, back) in enumerate(zip(self.forward_cells, self.backward_cells, strict=True)):
            if number > 0:
                sequence = self.dropout(sequence)
            first = self._run(ahead, sequence)
            second = self._run(back, sequence.flip(1)).flip(1)
            sequence = torch.cat([first, second], dim=2)
        at_end, at_start = first[:, -1], second[:, 0]
        z: Tensor = self.bottleneck(torch.cat([at_end, at_start], dim=1))
        return z

    def _run(self, cell: nn.Module, sequence: Tensor) -> Tensor:
        """(B, T, I) -> states (B, T, H), from a state of zeros."""
        h = sequence.new_zeros(len(sequence), self.hidden)
        states = []
        for t in range(sequence.shape[1]):
            h = cell(sequence[:, t], h)
            states.append(h)
        return torch.stack(states, dim=1)

    def take(self, fast: RecurrentEncoder) -> None:
        """Copy the weights of the fast form."""
        for number, layer in enumerate(fast.layers):
            _copy_cell(self.forward_cells[number], layer, 0)
            _copy_cell(self.backward_cells[number], layer, 1)
        _copy_normalised(self.bottleneck, fast.bottleneck)


class ReferenceDecoders(nn.Module):
    """(ȳ_rec, ȳ_fut) = Dec(z), equations 6 to 10: two stacks of GRUs that read what they made.

    Args:
        config: shape of the network.
        n_channels: C.
    """

    def __init__(self, config: NetworkConfig, n_channels: int) -> None:
        super().__init__()
        wide, width = config.decoder_hidden, config.frame * n_channels
        self.frame, self.feeds_output = config.frame, config.feedback == "output"
        self.context: nn.Module = nn.Linear(config.embedding, wide)
        if config.context_norm:
            self.context = _normalised(config.embedding, wide, squash=True)
        make: MakeCell = nn.GRUCell if config.reset_after else partial(ConvCell, reset_after=False)
        below = [width if self.feeds_output else wide] + [wide] * (config.decoder_layers - 1)
        self.inputs = below[0]
        self.stacks = nn.ModuleList(nn.ModuleList(make(w, wide) for w in below) for _ in range(2))
        self.outputs = nn.ModuleList(nn.Linear(wide, width) for _ in range(2))

    def forward(self, z: Tensor, n: int) -> tuple[Tensor, Tensor]:
        """Embeddings (B, d) -> reconstruction (time-flipped) and future, each (B, n, C)."""
        context = self.context(z)
        rec, fut = (self._decode(decoder, context, n) for decoder in range(2))
        return rec, fut

    def _decode(self, decoder: int, context: Tensor, n: int) -> Tensor:
        cells, project = cast("nn.ModuleList", self.stacks[decoder]), self.outputs[decoder]
        states = [context for _ in cells]
        read, made = context.new_zeros(len(context), self.inputs), []
        for _ in range(-(-n // self.frame)):
            below = read
            for number, cell in enumerate(cells):
                states[number] = below = cell(below, states[number])
            y = project(below)
            made.append(y)
            read = y if self.feeds_output else below
        return torch.stack(made, dim=1).reshape(len(context), -1, y.shape[1] // self.frame)[:, :n]

    def take(self, fast: ConditionalDecoders) -> None:
        """Copy the weights of the fast form."""
        for decoder in range(2):
            for number, layer in enumerate(fast.layers):
                _copy_cell(cast("nn.ModuleList", self.stacks[decoder])[number], layer, decoder)
            project = cast("nn.Linear", self.outputs[decoder])
            project.weight.data.copy_(fast.w_out[decoder].t())
            project.bias.data.copy_(fast.b_out[decoder, 0])
        if isinstance(fast.context, NormalisedLinear):
            _copy_normalised(cast("nn.Sequential", self.context), fast.context)
        else:
            self.context.load_state_dict(fast.context.state_dict())


class ReferenceAutoencoder(nn.Module):
    """DISC's multi-task autoencoder.

    Args:
        config: shape of the network.
        n_channels: C.
        cell: see ``ReferenceEncoder``.
    """

    def __init__(self, config: NetworkConfig, n_channels: int, cell: MakeCell | None = None) -> None:
        super().__init__()
        self.encoder = ReferenceEncoder(config, n_channels, cell)
        self.decoders = ReferenceDecoders(config, n_channels)

    def forward(self, windows: Tensor) -> Tensor:
        """Windows (B, T, C) -> the loss of equation 11."""
        n = half(windows.shape[1])
        past, future = windows[:, :n], windows[:, n : 2 * n]
        reconstruction, prediction = self.decoders(self.encoder(past), n)
        mse = nn.functional.mse_loss
        return mse(reconstruction, past.flip(1)) + mse(prediction, future)

    def take(self, fast: MultiTaskAutoencoder) -> None:
        """Copy the weights of the fast form, whose decoders must be conditional."""
        self.encoder.take(fast.encoder)
        self.decoders.take(cast("ConditionalDecoders", fast.decoders))


class ReferenceNet(nn.Module):
    """A trained network as it is used: normalisation, encoder, soft assignment (equation 13).

    Args:
        fast: the trained encoder; its weights are copied.
        config: its shape.
        centroids: (K, d).
        scaler: x' = (x - offset) * scale per channel.
    """

    centroids: Tensor
    offset: Tensor
    scale: Tensor

    def __init__(
        self, fast: RecurrentEncoder, config: NetworkConfig, centroids: Tensor, scaler: ScalerInfo
    ) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):  # first weights, drawn by torch's layers and replaced at once
            self.encoder = ReferenceEncoder(config, len(scaler.offset))
        self.encoder.take(fast)
        self.register_buffer("centroids", centroids.detach().cpu().clone())
        self.register_buffer("offset", torch.tensor(scaler.offset, dtype=torch.float32))
        self.register_buffer("scale", torch.tensor(scaler.scale, dtype=torch.float32))
        self.requires_grad_(False)
        self.eval()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, n, C) in physical units -> embedding (B, d), q (B, K), squared distances (B, K)."""
        z = self.encoder((x - self.offset) * self.scale)
        distance = torch.stack([(z - centroid).square().sum(1) for centroid in self.centroids], dim=1)
        similarity = 1 / (1 + distance)
        return z, similarity / similarity.sum(1, keepdim=True), distance


def _frames(x: Tensor, size: int) -> Tensor:
    """Samples joined in groups of ``size``, the last one repeated to fill the last group."""
    while x.shape[1] % size:
        x = torch.cat([x, x[:, -1:]], dim=1)
    groups = [x[:, start : start + size].flatten(1) for start in range(0, x.shape[1], size)]
    return torch.stack(groups, dim=1)


def _normalised(inputs: int, outputs: int, *, squash: bool) -> nn.Sequential:
    """Linear, batch normalisation and (optionally) tanh."""
    parts = [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs)]
    return nn.Sequential(*parts, nn.Tanh()) if squash else nn.Sequential(*parts)


def _copy_normalised(reference: nn.Sequential, fast: NormalisedLinear) -> None:
    reference[0].load_state_dict(fast.linear.state_dict())
    reference[1].load_state_dict(fast.norm.state_dict())


def _copy_cell(cell: nn.Module, layer: nn.Module, number: int) -> None:
    """Copy the weights of one of the recurrences of a layer.

    A convolution's kernel is taken as it is: that the fast form writes it out as the right matrix is for the
    comparison to show.
    """
    if isinstance(layer, ConvRecurrence):
        weights = GRUWeights(layer.k_ih, layer.k_hh, layer.b_ih, layer.b_hh)
    else:
        weights = cast("DenseRecurrence", layer).weights()
    w_ih, w_hh, b_ih, b_hh = (part[number].detach() for part in weights)
    targets: tuple[Tensor | None, ...]
    if isinstance(cell, nn.GRUCell):
        targets = (cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh)
    else:
        conv = cast("ConvCell", cell)
        targets = (conv.of_input.weight, conv.of_state.weight, conv.of_input.bias, conv.of_state.bias)
    for target, value in zip(targets, (w_ih, w_hh, b_ih, b_hh), strict=True):
        assert target is not None  # noqa: S101 - every cell here has biases
        target.data.copy_(value.reshape(target.shape))
