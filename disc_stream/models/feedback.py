"""Stacked GRUs that read what they made themselves: the recurrence of decoders with several layers.

As in ``scan``, D stacks (the two decoders) advance together, and the backward pass is written by hand.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from disc_stream.models.both_ways import joint_bias, parted_bias
from disc_stream.models.layers import GRUWeights
from disc_stream.models.recurrence import PARTS, LayerBackward, LayerForward, ProductSum, Recast


def run_feedback(
    h0: Tensor,
    layers: list[GRUWeights],
    feed: tuple[Tensor, Tensor] | None,
    steps: int,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """States of the top layer of D stacks of GRUs (PyTorch's form), each fed with its own last result.

    ::

        x_0 = 0,  x_t = s_{t-1} w_feed + b_feed   or   x_t = s_{t-1}   (s: the top layer's state)

    Args:
        h0: (D, B, H) first state of every layer.
        layers: bottom layer first; (D, 3H, I) and so on, see ``GRUWeights``.
        feed: w_feed (D, H, I) and b_feed (D, 1, I) of the bottom layer's input; None to feed the state.
        steps: T.
        dtype: of the matrix products; that of ``h0`` if None.

    Returns:
        (D, T, B, H).
    """
    flat = [part for layer in layers for part in layer]
    states: Tensor = _Feedback.apply(h0, steps, dtype or h0.dtype, *(feed or (None, None)), *flat)  # type: ignore[no-untyped-call]
    return states.transpose(0, 1)


class _Feedback(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        h0: Tensor,
        steps: int,
        dtype: torch.dtype,
        w_feed: Tensor | None,
        b_feed: Tensor | None,
        *flat: Tensor,
    ) -> Tensor:
        learning = any(ctx.needs_input_grad)
        weights = _grouped(flat)
        layers = [
            LayerForward(
                w.w_hh.transpose(1, 2), joint_bias(w.b_ih, w.b_hh), h0, steps, dtype, learning=learning
            )
            for w in weights
        ]
        from_input = [w.w_ih.to(dtype).transpose(1, 2) for w in weights]
        low_feed = w_feed.to(dtype) if w_feed is not None else None
        fed: list[Tensor] = []  # what the bottom layer read, from the second step on
        x: Tensor | None = None
        for k in range(steps):
            for layer, w_ih in zip(layers, from_input, strict=True):
                x = layer.step(k, torch.bmm(x, w_ih) if x is not None else None)
            if low_feed is not None and b_feed is not None and x is not None:
                x = (b_feed + torch.bmm(x, low_feed)).to(dtype)
                fed.append(x)
        kept = [part for layer in layers for part in layer.kept]
        ctx.save_for_backward(w_feed, *flat, *kept, *fed)
        ctx.n_flat = len(flat)
        return layers[-1].states[1:]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        w_feed, *saved = ctx.saved_tensors
        weights, n_flat = _grouped(saved[: ctx.n_flat]), ctx.n_flat
        kept, fed = saved[n_flat : 2 * n_flat], saved[2 * n_flat :]
        stack = [_StackedLayer(w, tuple(kept[i * PARTS : (i + 1) * PARTS])) for i, w in enumerate(weights)]
        bottom, top = stack[0], stack[-1]
        feed = _FeedGradient(w_feed, top.low.dtype) if w_feed is not None else None
        for k in reversed(range(len(grads[0]))):
            above = grads[0][k]
            if k + 1 < len(grads[0]):  # the bottom layer read this state, or what was made of it
                read = bottom.to_input
                above = above + (read if feed is None else feed.step(top.low[k + 1], read))
            for number in reversed(range(len(stack))):
                x = stack[number - 1].low[k + 1] if number > 0 else None
                if number == 0 and k > 0:
                    x = fed[k - 1] if feed is not None else top.low[k]
                above = stack[number].step(k, above, x)
        grad_h0 = torch.stack([layer.carry for layer in stack]).sum(0)
        grad_feed = feed.gradients if feed is not None else (None, None)
        return (grad_h0, None, None, *grad_feed, *(part for layer in stack for part in layer.gradients))


def _grouped(flat: Any) -> list[GRUWeights]:
    size = len(GRUWeights._fields)
    return [GRUWeights(*flat[i : i + size]) for i in range(0, len(flat), size)]


class _StackedLayer:
    """The backward pass of one layer, and of the product of what it reads."""

    def __init__(self, weights: GRUWeights, kept: tuple[Tensor, ...]) -> None:
        self._layer = LayerBackward(weights.w_hh.transpose(1, 2), kept)
        self.low = self._layer.low
        self._w_ih = weights.w_ih.to(self.low.dtype)
        self._widen = Recast(weights.w_ih.dtype)
        self._by_input = ProductSum(torch.zeros_like(weights.w_ih), self.low.dtype)
        self.to_input = self.low.new_empty(0)

    def step(self, k: int, above: Tensor, x: Tensor | None) -> Tensor:
        """Go back over step k; returns the gradient (D, B, I) of x (D, B, I), what the layer read in it."""
        self._layer.step(k, above)
        if x is not None:
            self._by_input.add(self._layer.da_input, x)
        self.to_input = torch.bmm(self._layer.da_input, self._w_ih)
        return self._widen(self.to_input)

    @property
    def carry(self) -> Tensor:
        """Gradient of the first state."""
        return self._layer.carry

    @property
    def gradients(self) -> GRUWeights:
        """Of the weights."""
        hidden = self.carry.shape[2]
        grad_w, grad_b = self._layer.gradients(4 * hidden)
        return GRUWeights(self._by_input.total, grad_w.transpose(1, 2), *parted_bias(grad_b))


class _FeedGradient:
    """The backward pass of the projection that the bottom layer reads."""

    def __init__(self, w: Tensor, dtype: torch.dtype) -> None:
        self._back = w.to(dtype).transpose(1, 2)
        self._w = ProductSum(torch.zeros_like(w), dtype)
        self._b = w.new_zeros(w.shape[0], 1, w.shape[2])

    def step(self, state: Tensor, grad: Tensor) -> Tensor:
        """The gradient of the state (D, B, H), given that of its projection (D, B, I)."""
        self._w.add(state, grad)
        self._b.add_(grad.sum(1, keepdim=True))
        return torch.bmm(grad, self._back)

    @property
    def gradients(self) -> tuple[Tensor, Tensor]:
        """Of w_feed and b_feed."""
        return self._w.total, self._b
