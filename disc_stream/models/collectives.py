"""Collective operations of distributed training, over the default process group of torch.distributed.

Outside a process group, the world size is 1, and every operation returns its input.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn


def rank() -> int:
    """Rank of this process, from 0."""
    return distributed.get_rank() if _is_distributed() else 0


def world_size() -> int:
    """Number of processes in the group."""
    return distributed.get_world_size() if _is_distributed() else 1


def is_rank_zero() -> bool:
    """Whether this is the process that writes files and reports progress."""
    return rank() == 0


def all_reduce_sum(x: Tensor) -> Tensor:
    """Sum of ``x`` over all ranks; its backward pass sums the gradients over all ranks."""
    if world_size() == 1:
        return x
    total: Tensor = _AllReduceSum.apply(x)  # type: ignore[no-untyped-call]
    return total


def broadcast(x: Tensor) -> Tensor:
    """Rank 0's ``x`` on every rank, so that ranks cannot diverge by rounding errors."""
    if world_size() == 1:
        return x
    common = x.detach().contiguous().clone()
    distributed.broadcast(common, src=0)
    return common


def all_reduce_gradients(module: nn.Module) -> None:
    """Replace every gradient by its sum over all ranks, in one all-reduce."""
    if world_size() == 1:
        return
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    taken = 0
    for gradient in gradients:
        gradient.copy_(flat[taken : taken + gradient.numel()].view_as(gradient))
        taken += gradient.numel()


class _AllReduceSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ARG004
        total = x.contiguous().clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:  # noqa: ARG004
        total = grads[0].contiguous().clone()
        distributed.all_reduce(total)
        return total


class SynchronisedBatchNorm(nn.BatchNorm1d):
    """Batch normalisation over the whole batch, of which each process has a part.

    (torch's own synchronised form runs on CUDA alone.) Equal to ``BatchNorm1d`` in a process of its own, and
    with the same weights and running statistics.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the base class's name
        """(B, d) -> (B, d)."""
        if not self.training or world_size() == 1 or self.momentum is None:
            return super().forward(input)
        n = all_reduce_sum(input.new_full((), float(len(input))))
        mean = all_reduce_sum(input.sum(0)) / n
        var = all_reduce_sum((input - mean).square().sum(0)) / n
        if self.running_mean is not None and self.running_var is not None:
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(var * n / (n - 1), self.momentum)
                if self.num_batches_tracked is not None:
                    self.num_batches_tracked.add_(1)
        y: Tensor = (input - mean) * torch.rsqrt(var + self.eps) * self.weight + self.bias
        return y


def _is_distributed() -> bool:
    return distributed.is_available() and distributed.is_initialized()
