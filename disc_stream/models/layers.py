"""Weights of the recurrent layers, seeded modules, and initialisation from a given generator.

Nothing here draws from torch's global random state, so training is repeatable inside any program.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol, cast

import torch
from torch import Tensor, nn

from disc_stream.models.collectives import SynchronisedBatchNorm


class GRUWeights(NamedTuple):
    """Weights of D stacked GRUs, in PyTorch's orientation and gate order (r, z, n).

    ``w_ih`` (D, 3H, I) · ``w_hh`` (D, 3H, H) · ``b_ih`` (D, 3H) · ``b_hh`` (D, 3H)
    """

    w_ih: Tensor
    w_hh: Tensor
    b_ih: Tensor
    b_hh: Tensor


class Recurrence(Protocol):
    """A layer of D recurrences whose weights can be written as those of plain GRUs."""

    hidden: int

    def weights(self) -> GRUWeights:
        """The weights as of now, differentiable."""
        ...


def weights_of(layers: nn.ModuleList) -> list[GRUWeights]:
    """The weights of a stack of recurrences, bottom layer first."""
    return [cast("Recurrence", layer).weights() for layer in layers]


class DenseRecurrence(nn.Module):
    """D plain GRUs: the ``channels`` layout, and the decoders.

    Args:
        n: D, number of GRUs that share nothing but their shape.
        inputs: I.
        hidden: H.
        generator: source of the initial weights.
    """

    def __init__(self, n: int, inputs: int, hidden: int, generator: torch.Generator) -> None:
        super().__init__()
        self.hidden = hidden
        bound = 1.0 / math.sqrt(hidden)
        self.w_ih = uniform((n, 3 * hidden, inputs), bound, generator)
        self.w_hh = uniform((n, 3 * hidden, hidden), bound, generator)
        self.b_ih = uniform((n, 3 * hidden), bound, generator)
        self.b_hh = uniform((n, 3 * hidden), bound, generator)

    def weights(self) -> GRUWeights:
        """The parameters themselves."""
        return GRUWeights(self.w_ih, self.w_hh, self.b_ih, self.b_hh)


class ConvRecurrence(nn.Module):
    """D convolutional GRUs on a grid (Ballas et al. 2016, arXiv:1511.06432): the ``grid`` layout.

    Each gate is a zero-padded convolution over the grid of cells. The grid of a body-worn sensor is tiny
    (sensors × 3 axes), so the convolution is written out as the matrix it is, and the recurrence of plain
    GRUs runs it: faster here than a convolution a step, and exportable as an ordinary GRU.

    Args:
        n: D, number of recurrences.
        in_maps: feature maps of the input.
        maps: feature maps of the state.
        grid: rows and columns.
        kernel: odd side of the kernel.
        generator: source of the initial weights.
    """

    taps: Tensor

    def __init__(
        self, n: int, in_maps: int, maps: int, grid: tuple[int, int], kernel: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.cells = grid[0] * grid[1]
        self.hidden = maps * self.cells
        bound = 1.0 / math.sqrt(maps * kernel * kernel)
        self.k_ih = uniform((n, 3 * maps, in_maps, kernel * kernel), bound, generator)
        self.k_hh = uniform((n, 3 * maps, maps, kernel * kernel), bound, generator)
        self.b_ih = uniform((n, 3 * maps), bound, generator)
        self.b_hh = uniform((n, 3 * maps), bound, generator)
        self.register_buffer("taps", kernel_taps(grid, kernel), persistent=False)

    def weights(self) -> GRUWeights:
        """The convolutions as matrices; rows are gate-major, then map, then cell."""
        return GRUWeights(
            self._matrix(self.k_ih),
            self._matrix(self.k_hh),
            self.b_ih.repeat_interleave(self.cells, dim=1),
            self.b_hh.repeat_interleave(self.cells, dim=1),
        )

    def _matrix(self, kernel: Tensor) -> Tensor:
        n, outputs, inputs, _ = kernel.shape
        spread = torch.einsum("doik,kpq->dopiq", kernel, self.taps)
        return spread.reshape(n, outputs * self.cells, inputs * self.cells)


def kernel_taps(grid: tuple[int, int], kernel: int) -> Tensor:
    """(kernel², cells p, cells q), 1 where that tap of a zero-padded kernel joins input q to output p."""
    rows, columns = grid
    cells, half = rows * columns, kernel // 2
    taps = torch.zeros(kernel * kernel, cells, cells)
    for p in range(cells):
        for q in range(cells):
            down, right = q // columns - p // columns + half, q % columns - p % columns + half
            if 0 <= down < kernel and 0 <= right < kernel:
                taps[down * kernel + right, p, q] = 1.0
    return taps


class Seeded(nn.Module):
    """A module with a random generator of its own."""

    def __init__(self) -> None:
        super().__init__()
        self._generator: torch.Generator | None = None
        self._seed = 0

    def reseed(self, seed: int) -> None:
        """Start a new sequence of draws."""
        self._seed = seed
        self._generator = None

    def generator(self, device: torch.device) -> torch.Generator:
        """The generator, for draws on that device."""
        if self._generator is None or self._generator.device != device:
            self._generator = torch.Generator(device).manual_seed(self._seed)
        return self._generator


class SeededDropout(Seeded):
    """Dropout whose masks come from its own generator.

    Args:
        p: probability of zeroing a value; the others are scaled by 1 / (1 - p).
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Drop in training, pass through in evaluation."""
        if not self.training or self.p == 0.0:
            return x
        # Sixteen random bits a value, four values a draw: far cheaper than a draw for each. The share kept is
        # a multiple of 2^-16, and the scale is that share's, so that the mean stays as it is.
        kept = min(max(round((1.0 - self.p) * 2**16), 1), 2**16 - 1)
        draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device)
        bits = draws.random_(-(2**63), None, generator=self.generator(x.device)).view(torch.int16)
        keep = (bits[: x.numel()] < kept - 2**15).view(x.shape)
        return x * keep.to(x.dtype).mul_(2**16 / kept)


class NormalisedLinear(nn.Module):
    """Linear, then batch normalisation, then (optionally) tanh: the bottleneck, and a context vector.

    Args:
        inputs: size of the input.
        outputs: size of the output.
        squash: apply tanh.
        generator: source of the initial weights.
    """

    def __init__(self, inputs: int, outputs: int, *, squash: bool, generator: torch.Generator) -> None:
        super().__init__()
        self.linear = seeded_linear(inputs, outputs, generator)
        self.norm = SynchronisedBatchNorm(outputs)
        self.squash = squash

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs) -> (B, outputs)."""
        y: Tensor = self.norm(self.linear(x))
        return torch.tanh(y) if self.squash else y


def uniform(shape: tuple[int, ...], bound: float, generator: torch.Generator) -> nn.Parameter:
    """A parameter drawn from U(-bound, bound)."""
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound, generator=generator))


def seeded_linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """A linear layer with PyTorch's usual initial distribution, drawn from ``generator``."""
    layer = nn.Linear(inputs, outputs, device="meta").to_empty(device="cpu")
    bound = 1.0 / math.sqrt(inputs)
    with torch.no_grad():
        layer.weight.uniform_(-bound, bound, generator=generator)
        layer.bias.uniform_(-bound, bound, generator=generator)
    return layer


def reseed_dropout(module: nn.Module, seed: int) -> None:
    """Give every ``Seeded`` part of ``module`` its own new sequence of draws."""
    for number, part in enumerate(m for m in module.modules() if isinstance(m, Seeded)):
        part.reseed(seed + number)
