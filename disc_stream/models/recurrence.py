"""A layer of D stacked GRUs, one step at a time: what the hand-written recurrences share.

Buffers are (T, D, B, ·), so that every step's part is one piece of memory; whatever a step makes and nobody
needs later is written into scratch memory that stays in the processor's cache. That decides the speed, more
than the number of operations: writing to fresh memory costs ten times what computing the values costs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from disc_stream.models.gates import (
    split,
    state_blocks,
    step_backward,
    step_forward,
    torch_blocks,
)

PARTS = 4  # tensors that a layer keeps for its backward pass


class LayerForward:
    """Runs a layer.

    Args:
        w: (D, H, 3H), or (D, H, 4H) with a part x of the candidate outside the reset gate; gates r, z, n, x.
        b: (D, 1, 3H) or (D, 1, 4H) likewise.
        h0: (D, B, H).
        steps: T.
        dtype: of the matrix products.
        learning: keep what the backward pass needs.
    """

    def __init__(
        self, w: Tensor, b: Tensor, h0: Tensor, steps: int, dtype: torch.dtype, *, learning: bool
    ) -> None:
        d, batch, hidden = h0.shape
        self._hidden = hidden
        self._w = state_blocks(w, hidden).to(dtype).contiguous()
        self._b, *self._b_x = split(
            state_blocks(b, hidden), 3 * hidden, *[hidden] * (b.shape[2] > 3 * hidden)
        )
        # Where it is of the right type and width, the product goes to where it is kept.
        self._is_direct = dtype == h0.dtype and w.shape[2] == 3 * hidden
        self._result = h0.new_empty(0 if self._is_direct else d, batch, w.shape[2], dtype=dtype)
        self._a_h, *self._a_x = split(self._result, 3 * hidden, *[hidden] * (w.shape[2] > 3 * hidden))
        self.states = h0.new_empty(steps + 1, d, batch, hidden)
        self.low = self.states if dtype == h0.dtype else torch.empty_like(self.states, dtype=dtype)
        kept = steps if learning else 1
        self._a = h0.new_empty(kept, d, batch, 3 * hidden)
        self._n = h0.new_empty(kept, d, batch, hidden)
        self._widen = Recast(h0.dtype)
        self.states[0] = h0
        self.low[0] = h0

    def step(self, k: int, gi: Tensor | None) -> Tensor:
        """From state k to state k+1.

        Args:
            k: from 0.
            gi: (D, B, 3H) contribution of the inputs, gates r, z, n; None for none.

        Returns:
            (D, B, H) the new state in the products' type.
        """
        hidden, slot = self._hidden, k % len(self._a)
        a, n = self._a[slot], self._n[slot]
        torch.bmm(self.low[k], self._w, out=a if self._is_direct else self._result)
        if not self._is_direct:
            a.copy_(self._a_h)
        a.add_(self._b)
        parts = [*self._a_x, *self._b_x]
        if gi is not None:
            gi_gates, gi_n = split(self._widen(gi), 2 * hidden, hidden)
            a[..., hidden:].add_(gi_gates)
            parts.insert(0, gi_n)
        if len(parts) > 1:
            torch.add(parts[0], parts[1], out=n)
        else:
            n.copy_(parts[0].expand_as(n))
        for part in parts[2:]:
            n.add_(part)
        step_forward(a, n, self.states[k], out=self.states[k + 1])
        if self.low is not self.states:
            self.low[k + 1].copy_(self.states[k + 1])
        return self.low[k + 1]

    @property
    def kept(self) -> tuple[Tensor, ...]:
        """What ``LayerBackward`` needs."""
        return self.states, self.low, self._a, self._n


class LayerBackward:
    """Goes back over the steps of a layer, last step first.

    Args:
        w: as for ``LayerForward``.
        kept: its ``kept``.
    """

    def __init__(self, w: Tensor, kept: tuple[Tensor, ...]) -> None:
        self._states, self.low, self._a, self._n = kept
        _, d, batch, hidden = self._n.shape
        self._hidden = hidden
        low = self.low.dtype
        self._back = state_blocks(w, hidden).to(low).contiguous().transpose(1, 2)
        self._da = self._n.new_empty(d, batch, 4 * hidden)
        self._width = w.shape[2]
        self._to_state, self._to_input = Recast(low), Recast(low)
        self.da_input = self.low.new_empty(0)
        self._b = self._n.new_zeros(d, 1, 4 * hidden)
        self._w = ProductSum(self._n.new_zeros(d, hidden, w.shape[2]), low)
        self._product = self.low.new_empty(d, batch, hidden)
        self._widen = Recast(self._n.dtype)
        self.carry = torch.zeros_like(self._n[0])

    def step(self, k: int, above: Tensor) -> None:
        """Go back from state k+1 to state k.

        Leaves in ``da_input`` (D, B, 3H) the gradient of the input's contribution in this step.

        Args:
            k: the step.
            above: (D, B, H) gradient of state k+1, besides what comes from the later steps.
        """
        da = self._da
        kept = step_backward(self.carry.add_(above), self._a[k], self._n[k], self._states[k], da)
        self._b.add_(da.sum(1, keepdim=True))
        da_state = self._to_state(da[..., : self._width])
        self.da_input = self._to_input(da[..., self._hidden :])
        self._w.add(self.low[k], da_state)
        self.carry = kept.add_(self._widen(torch.bmm(da_state, self._back, out=self._product)))

    def gradients(self, bias_width: int) -> tuple[Tensor, Tensor]:
        """Of ``w`` and of a ``b`` with so many columns."""
        grad_b = torch_blocks(self._b[..., :bias_width], self._hidden)
        return torch_blocks(self._w.total, self._hidden), grad_b


class Recast:
    """Copies into scratch memory of another type; torch's own mixed sums take fresh memory every time.

    Args:
        dtype: to copy to.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._scratch: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """``x`` in that type, valid until the next call; ``x`` itself if it is of the type already."""
        if x.dtype == self._dtype:
            return x
        if self._scratch is None or self._scratch.shape != x.shape:
            self._scratch = torch.empty_like(x, dtype=self._dtype)
        return self._scratch.copy_(x)


class ProductSum:
    """Σ xᵀ g over the steps, for the gradient of a weight.

    The products are of the type of x and g, the sum of the type of ``total``.

    Args:
        total: (D, I, O) zeros, to add to.
        dtype: of the products.
    """

    def __init__(self, total: Tensor, dtype: torch.dtype) -> None:
        self.total = total
        self._product = torch.empty_like(total, dtype=dtype) if dtype != total.dtype else None
        self._widen = Recast(total.dtype)

    def add(self, x: Tensor, g: Tensor) -> None:
        """Add one step's (D, B, I), (D, B, O)."""
        if self._product is None:
            torch.baddbmm(self.total, x.transpose(1, 2), g, out=self.total)
        else:
            self.total.add_(self._widen(torch.bmm(x.transpose(1, 2), g, out=self._product)))
