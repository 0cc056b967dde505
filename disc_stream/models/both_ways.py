"""A bidirectional GRU layer: the inputs' products inside the loop, the backward pass written by hand."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from disc_stream.models.gates import split
from disc_stream.models.layers import GRUWeights
from disc_stream.models.recurrence import LayerBackward, LayerForward, ProductSum


def scan_both_ways(x: Tensor, weights: GRUWeights) -> tuple[Tensor, Tensor]:
    """Run a forward and a backward GRU (PyTorch's form) that start from zero.

    Args:
        x: (T, B, I) in time order; its type is that of the matrix products.
        weights: of the two directions; their type is that of all else.

    Returns:
        What ``torch.nn.GRU`` returns: the states (T, B, 2H) of both directions in time order, in the type of
        ``x``; and the last state of each direction (2, B, H), in that of the weights.
    """
    result: tuple[Tensor, Tensor] = _BothWays.apply(x, *weights)  # type: ignore[no-untyped-call]
    return result


class _BothWays(torch.autograd.Function):
    """In step k the forward direction is at time k, the backward direction at time T-1-k."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor
    ) -> tuple[Tensor, Tensor]:
        steps, batch, _ = x.shape
        hidden = w_hh.shape[2]
        h0 = w_hh.new_zeros(2, batch, hidden)
        layer = LayerForward(
            w_hh.transpose(1, 2), joint_bias(b_ih, b_hh), h0, steps, x.dtype,
            learning=any(ctx.needs_input_grad),
        )  # fmt: skip
        from_input = w_ih.to(x.dtype).transpose(1, 2)
        gi = x.new_empty(2, batch, 3 * hidden)
        sequence = x.new_empty(steps, batch, 2 * hidden)
        for k in range(steps):
            torch.mm(x[k], from_input[0], out=gi[0])
            torch.mm(x[-1 - k], from_input[1], out=gi[1])
            forward, backward = layer.step(k, gi)
            sequence[k, :, :hidden] = forward
            sequence[-1 - k, :, hidden:] = backward
        ctx.save_for_backward(x, w_ih, w_hh, *layer.kept)
        ctx.set_materialize_grads(False)
        return sequence, layer.states[-1].clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        x, w_ih, w_hh, *kept = ctx.saved_tensors
        steps, hidden = len(x), w_hh.shape[2]
        layer = LayerBackward(w_hh.transpose(1, 2), tuple(kept))
        grad_sequence, grad_last = grads
        if grad_last is not None:
            layer.carry.copy_(grad_last)
        above = torch.zeros_like(layer.carry)
        to_input = w_ih.to(x.dtype)
        by_input = [ProductSum(w_ih.new_zeros(1, 3 * hidden, x.shape[2]), x.dtype) for _ in range(2)]
        grad_x = torch.zeros_like(x) if ctx.needs_input_grad[0] else None
        read = torch.empty_like(x[0])
        for k in reversed(range(steps)):
            times = (k, steps - 1 - k)
            if grad_sequence is not None:
                above[0] = grad_sequence[times[0], :, :hidden]
                above[1] = grad_sequence[times[1], :, hidden:]
            layer.step(k, above)
            for direction, time in enumerate(times):
                da = layer.da_input[direction]
                by_input[direction].add(da.unsqueeze(0), x[time].unsqueeze(0))
                if grad_x is not None:
                    grad_x[time].add_(torch.mm(da, to_input[direction], out=read))
        grad_w, grad_b = layer.gradients(4 * hidden)
        grad_ih = torch.cat([part.total for part in by_input])
        return (grad_x, grad_ih, grad_w.transpose(1, 2), *parted_bias(grad_b))


def joint_bias(b_ih: Tensor, b_hh: Tensor) -> Tensor:
    """(D, 3H) twice -> (D, 1, 4H): only in the candidate do the two biases of a GRU differ in effect."""
    hidden = b_hh.shape[1] // 3
    (gates, n), (c_gates, c_n) = split(b_hh, 2 * hidden, hidden), split(b_ih, 2 * hidden, hidden)
    return torch.cat([gates + c_gates, n, c_n], dim=1).unsqueeze(1)


def parted_bias(grad: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of the two arguments of ``joint_bias``, given that of its result."""
    hidden = grad.shape[2] // 4
    gates, n, c_n = split(grad.squeeze(1), 2 * hidden, hidden, hidden)
    return torch.cat([gates, c_n], dim=1), torch.cat([gates, n], dim=1)
