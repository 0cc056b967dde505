"""Last bits that depend on a value's place, as some processors' kernels give them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_STEP = 2.0**-23  # of float32; a value changes by 0 to 2 units in the last place

_INEXACT: frozenset[Any] = frozenset(
    {
        torch.nn.functional.linear, torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__,
        torch.mm, torch.Tensor.mm, torch.bmm, torch.Tensor.bmm, torch.addmm, torch.Tensor.addmm,
        torch.baddbmm, torch.Tensor.baddbmm, torch.einsum, torch.nn.functional.conv1d,
        torch.nn.functional.conv2d, torch.conv1d, torch.conv2d, torch.tanh, torch.Tensor.tanh,
        torch.sigmoid, torch.Tensor.sigmoid, torch.exp, torch.Tensor.exp, torch.cdist,
        torch.Tensor.mean, torch.mean, torch.Tensor.sum, torch.sum, torch.log, torch.Tensor.log,
    }
)  # fmt: skip


class PlaceDependentLastBits(TorchFunctionMode):
    """Changes the last bits of what products, sums, convolutions and transcendental functions give.

    The change depends on where in the result a value stands and on nothing else: equal rows of one batch
    differ in their last bits, as they do with torch's AVX-512 kernels, and two equal runs stay equal. So a
    machine without AVX-512 finds the code that trusts last bits.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if torch.compiler.is_exporting():
            return result
        if func in _INEXACT and "out" not in (kwargs or {}) and isinstance(result, torch.Tensor):
            return _nudged(result)
        return result


def _nudged(values: torch.Tensor) -> torch.Tensor:
    if values.dtype not in {torch.float32, torch.float64} or values.is_complex() or not values.numel():
        return values
    place = torch.arange(values.numel(), device=values.device)
    units = (place * 2654435761 >> 7) % 5 - 2
    step = _STEP if values.dtype == torch.float32 else _STEP**2 * 64
    return values * (1.0 + units.reshape(values.shape).to(values.dtype) * step)
