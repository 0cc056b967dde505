"""One step of D stacked GRUs, forward and backward, in place on buffers that stay in the cache.

The recurrences with a hand-written backward pass (``scan``, ``both_ways``, ``feedback``) share it. In them
the blocks of H columns that belong to the gates have an order of their own: n, r, z, and last (where there
is one) x, the part of the candidate outside the reset gate. Then r and z lie side by side, the first three
blocks are what the state's product gives, and the last three are what the input's product gives.
"""

from __future__ import annotations

import torch
from torch import Tensor

_tanh_backward = torch.ops.aten.tanh_backward.grad_input
_sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input


def split(x: Tensor, *widths: int) -> tuple[Tensor, ...]:
    """Cut the last axis into blocks of these widths."""
    blocks: tuple[Tensor, ...] = x.split(widths, dim=-1)  # type: ignore[no-untyped-call]
    return blocks


def state_blocks(w: Tensor, hidden: int) -> Tensor:
    """Columns r, z, n(, x) in PyTorch's order -> n, r, z(, x)."""
    gates, n, *rest = split(w, 2 * hidden, hidden, *_others(w, 3 * hidden))
    return torch.cat([n, gates, *rest], dim=-1)


def torch_blocks(w: Tensor, hidden: int) -> Tensor:
    """The inverse of ``state_blocks``."""
    n, gates, *rest = split(w, hidden, 2 * hidden, *_others(w, 3 * hidden))
    return torch.cat([gates, n, *rest], dim=-1)


def _others(w: Tensor, taken: int) -> list[int]:
    return [w.shape[-1] - taken] if w.shape[-1] > taken else []


def step_forward(a: Tensor, candidate: Tensor, h: Tensor, out: Tensor) -> None:
    """From pre-activations to the next state.

    ::

        r, z = σ(a_r), σ(a_z)
        n    = tanh(candidate + r ⊙ a_n)
        out  = (1 - z) ⊙ n + z ⊙ h

    Args:
        a: (D, B, 3H) blocks n, r, z; r and z become the gates, n stays.
        candidate: (D, B, H); becomes n.
        h: (D, B, H).
        out: (D, B, H).
    """
    hidden = h.shape[2]
    a_n, gates = split(a, hidden, 2 * hidden)
    r, z = gates.sigmoid_().chunk(2, dim=2)
    torch.lerp(tanh_(candidate.addcmul_(r, a_n)), h, z, out=out)


def step_backward(dh: Tensor, a: Tensor, n: Tensor, previous: Tensor, da: Tensor) -> Tensor:
    """The inverse of ``step_forward`` for gradients.

    Args:
        dh: (D, B, H) gradient of the state; is overwritten.
        a: (D, B, 3H) as ``step_forward`` left it.
        n: (D, B, H) likewise.
        previous: (D, B, H) the state before the step.
        da: (D, B, 4H) is filled with the gradients of a_n, a_r, a_z and of the candidate.

    Returns:
        (D, B, H) z ⊙ dh, the part of the gradient that goes straight to the previous state.
    """
    a_n, r, z = a.chunk(3, dim=2)
    d_a_n, d_r, d_z, d_x = da.chunk(4, dim=2)
    kept = dh * z
    scratch = previous - n
    _sigmoid_backward(scratch.mul_(dh), z, grad_input=d_z)
    _tanh_backward(dh.sub_(kept), n, grad_input=d_x)
    torch.mul(d_x, r, out=d_a_n)
    _sigmoid_backward(torch.mul(d_x, a_n, out=scratch), r, grad_input=d_r)
    return kept


def tanh_(x: Tensor) -> Tensor:
    """Tanh in place; on a CPU by the logistic function, which is five times faster there (error 1e-7)."""
    if x.device.type != "cpu":
        return x.tanh_()
    s = x.mul_(2.0).sigmoid_()
    return torch.add(x.new_tensor(-1.0), s, alpha=2.0, out=s)
