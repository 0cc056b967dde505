"""The recurrence of a GRU, run for several independent GRUs at once.

Both directions of an encoder layer, and both decoders, are stacked along a leading axis D and advance
together with one batched matrix product a step. The backward pass is written by hand: every gradient of
a step is linear in the gradient of its state, so the factors of all steps are computed in one go and the
loop back through time is left with three operations a step; the weights' gradient is one product at the
end. Against step-by-step autograd this is several times faster where the hidden state is small.

Gates are in PyTorch's order: r (reset), z (update), n (candidate).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


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
        b: (D, 1, 3H) or (D, 1, 4H).
        steps: T.
        dtype: of the matrix products; that of ``h0`` if None.

    Returns:
        (D, T, B, H).
    """
    states: Tensor = _Scan.apply(gi, h0, w, b, steps, dtype or h0.dtype)  # type: ignore[no-untyped-call]
    return states


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, gi: Tensor | None, h0: Tensor, w: Tensor, b: Tensor, steps: int, dtype: torch.dtype
    ) -> Tensor:
        d, batch, hidden = h0.shape
        states = h0.new_empty(d, steps + 1, batch, hidden)
        states[:, 0] = h0
        a = h0.new_empty(d, steps, batch, w.shape[2])
        n = h0.new_empty(d, steps, batch, hidden)
        low = w.to(dtype)
        state_at, a_at, n_at = states.unbind(1), a.unbind(1), n.unbind(1)
        gi_at = gi.unbind(1) if gi is not None else None
        for t in range(steps):
            h, a_t = state_at[t], a_at[t]
            product(b, h, low, out=a_t)
            gates, a_n, *a_x = _split(a_t, 2 * hidden, *[hidden] * (w.shape[2] // hidden - 2))
            if gi_at is not None:
                gi_gates, gi_n = _split(gi_at[t], 2 * hidden, hidden)
                gates.add_(gi_gates)
                base = gi_n if not a_x else gi_n + a_x[0]
            else:
                base = a_x[0]
            r, z = gates.sigmoid_().chunk(2, dim=2)
            torch.addcmul(base, r, a_n, out=n_at[t]).tanh_()
            torch.lerp(n_at[t], h, z, out=state_at[t + 1])
        ctx.save_for_backward(w, states, a, n)
        ctx.has_input = gi is not None
        ctx.dtype = dtype
        return states[:, 1:]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        w, states, a, n = ctx.saved_tensors
        (grad,) = grads
        d, steps, batch, hidden = n.shape
        blocks = w.shape[2] // hidden
        previous = states[:, :-1]
        r, z, a_n = a[..., :hidden], a[..., hidden : 2 * hidden], a[..., 2 * hidden : 3 * hidden]

        # ∂(pre-activation)/∂h_t of every step and gate: (D, T, B, blocks, H)
        through_n = (1 - z) * (1 - n * n)
        factors = n.new_empty(d, steps, batch, blocks, hidden)
        torch.mul(through_n * a_n, r * (1 - r), out=factors[..., 0, :])
        torch.mul(previous - n, z * (1 - z), out=factors[..., 1, :])
        torch.mul(through_n, r, out=factors[..., 2, :])
        if blocks == 4:
            factors[..., 3, :] = through_n

        back = w.transpose(1, 2).to(ctx.dtype)
        dh_all = n.new_empty(d, steps, batch, hidden)
        carry = torch.zeros_like(states[:, 0])
        dh_at, grad_at, factor_at, z_at = dh_all.unbind(1), grad.unbind(1), factors.unbind(1), z.unbind(1)
        for t in reversed(range(steps)):
            dh = torch.add(grad_at[t], carry, out=dh_at[t])
            da = factor_at[t].mul_(dh.unsqueeze(2))  # the factors become the gradients, in place
            carry = product(dh * z_at[t], da.flatten(2), back)

        da_all = factors.view(d, steps * batch, blocks * hidden)
        inputs = previous.reshape(d, steps * batch, hidden).transpose(1, 2)
        grad_w = torch.bmm(inputs.to(ctx.dtype), da_all.to(ctx.dtype)).to(w.dtype)
        grad_b = da_all.sum(1, keepdim=True)
        grad_gi = None
        if ctx.has_input:
            grad_n = dh_all.mul_(through_n).unsqueeze(3)
            grad_gi = torch.cat([factors[..., :2, :], grad_n], dim=3).flatten(3)
        return grad_gi, carry, grad_w, grad_b, None, None


def _split(x: Tensor, *widths: int) -> tuple[Tensor, ...]:
    """Cut the last axis into blocks of these widths."""
    blocks: tuple[Tensor, ...] = x.split(widths, dim=-1)  # type: ignore[no-untyped-call]
    return blocks


def product(base: Tensor, h: Tensor, w: Tensor, out: Tensor | None = None) -> Tensor:
    """Base + h w, with the product in the type of ``w`` and the sum in that of ``base``."""
    if h.dtype == w.dtype:
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
    w_gates, w_n = _split(w, 2 * hidden, hidden)
    b_gates, b_n = _split(b, 2 * hidden, hidden)
    gi_gates, gi_n = _split(gi, 2 * hidden, hidden)
    r, z = torch.sigmoid(gi_gates + product(b_gates, h, w_gates)).chunk(2, dim=2)
    n = torch.tanh(gi_n + product(b_n, r * h, w_n))
    return torch.lerp(n, h, z)


def torch_step(gi: Tensor, h: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """One step of ``scan_gru`` with three blocks, differentiated by autograd."""
    hidden = h.shape[2]
    gi_gates, gi_n = _split(gi, 2 * hidden, hidden)
    a_gates, a_n = _split(product(b, h, w), 2 * hidden, hidden)
    r, z = torch.sigmoid(gi_gates + a_gates).chunk(2, dim=2)
    n = torch.tanh(torch.addcmul(gi_n, r, a_n))
    return torch.lerp(n, h, z)
