"""The recurrence of a GRU, run for several independent GRUs at once.

Both directions of an encoder layer, and both decoders, are stacked along a leading axis D and advance
together with one batched matrix product a step. The backward pass is written by hand (see ``recurrence``).

Arguments have their gates in PyTorch's order: r (reset), z (update), n (candidate).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from disc_stream.models.gates import split
from disc_stream.models.recurrence import LayerBackward, LayerForward


def product_dtype(x: Tensor) -> torch.dtype:
    """The type of matrix products: the ambient autocast's, or that of ``x``."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


@contextmanager
def own_precision(x: Tensor) -> Iterator[torch.dtype]:
    """Take over from autocast: yields its type for the large products, all else stays as it is."""
    dtype = product_dtype(x)
    with torch.autocast(x.device.type, enabled=False):
        yield dtype


def scan_gru(
    gi: Tensor | None, h0: Tensor, w: Tensor, b: Tensor, steps: int, dtype: torch.dtype | None = None
) -> Tensor:
    """States of D stacked GRUs in PyTorch's form (reset gate after the recurrent product).

    ::

        a_t  = h_{t-1} w + b
        r, z = σ(a_rz + gi_rz)
        n    = tanh(gi_n + a_x + r ⊙ a_n)
        h_t  = (1 - z) ⊙ n + z ⊙ h_{t-1}

    Args:
        gi: (D, T, B, 3H) contributions of the inputs, or None for none.
        h0: (D, B, H).
        w: (D, H, 3H), or (D, H, 4H) where the fourth block a_x is what a GRU adds to the candidate outside
            the reset gate because it reads its own state as input.
        b: (D, 1, 3H) or (D, 1, 4H), the fourth block likewise; it may have one where ``w`` has none.
        steps: T.
        dtype: of the matrix products; that of ``h0`` if None.

    Returns:
        (D, T, B, H).
    """
    states: Tensor = _Scan.apply(gi, h0, w, b, (steps, dtype or h0.dtype))  # type: ignore[no-untyped-call]
    return states.transpose(0, 1)


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, gi: Tensor | None, h0: Tensor, w: Tensor, b: Tensor, plan: tuple[int, torch.dtype]
    ) -> Tensor:
        steps, dtype = plan
        layer = LayerForward(w, b, h0, steps, dtype, learning=any(ctx.needs_input_grad))
        for k in range(steps):
            layer.step(k, gi[:, k] if gi is not None else None)
        ctx.save_for_backward(w, *layer.kept)
        ctx.facts = (b.shape[2], gi is not None)
        return layer.states[1:]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        w, *kept = ctx.saved_tensors
        bias_width, has_input = ctx.facts
        layer = LayerBackward(w, tuple(kept))
        steps, (d, batch, hidden) = len(grads[0]), layer.carry.shape
        grad_gi = grads[0].new_empty(d, steps, batch, 3 * hidden) if has_input else None
        for k in reversed(range(steps)):
            layer.step(k, grads[0][k])
            if grad_gi is not None:
                grad_gi[:, k] = layer.da_input
        return grad_gi, layer.carry, *layer.gradients(bias_width), None


def product(base: Tensor, h: Tensor, w: Tensor, out: Tensor | None = None) -> Tensor:
    """Base + h w, with the product in the type of ``w`` and the sum in that of ``base``."""
    if h.dtype == w.dtype == base.dtype:
        return torch.baddbmm(base, h, w, out=out)
    return torch.add(base, torch.bmm(h.to(w.dtype), w), out=out)


def scan_gru_paper(gi: Tensor, h0: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """States of D stacked GRUs in the paper's form (equations 1–4: reset gate before the product).

    ::

        r, z = σ(gi_rz + h_{t-1} w_rz + b_rz)
        n    = tanh(gi_n + (r ⊙ h_{t-1}) w_n + b_n)
        h_t  = (1 - z) ⊙ n + z ⊙ h_{t-1}

    Arguments and result are as for ``scan_gru`` with three blocks.
    """
    states, h = [], h0
    for gi_t in gi.unbind(1):
        h = paper_step(gi_t, h, w, b)
        states.append(h)
    return torch.stack(states, dim=1)


def paper_step(gi: Tensor, h: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """One step of ``scan_gru_paper``: (D, B, 3H), (D, B, H), (D, H, 3H), (D, 1, 3H) -> (D, B, H)."""
    hidden = h.shape[2]
    w_gates, w_n = split(w, 2 * hidden, hidden)
    b_gates, b_n = split(b, 2 * hidden, hidden)
    gi_gates, gi_n = split(gi, 2 * hidden, hidden)
    r, z = torch.sigmoid(gi_gates + product(b_gates, h, w_gates)).chunk(2, dim=2)
    n = torch.tanh(gi_n + product(b_n, r * h, w_n))
    return torch.lerp(n, h, z)


def torch_step(gi: Tensor, h: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """One step of ``scan_gru`` with three blocks, differentiated by autograd."""
    hidden = h.shape[2]
    gi_gates, gi_n = split(gi, 2 * hidden, hidden)
    a_gates, a_n = split(product(b, h, w), 2 * hidden, hidden)
    r, z = torch.sigmoid(gi_gates + a_gates).chunk(2, dim=2)
    n = torch.tanh(torch.addcmul(gi_n, r, a_n))
    return torch.lerp(n, h, z)
