"""What exported graphs do with numbers beyond all measure: huge ones are cut, NaN is passed on."""

from __future__ import annotations

import torch
from torch import Tensor

BOUND = 1e8
"""Beyond what float32 can tell apart in units of a channel's spread; its fourth power times the length of a
window still fits."""


def bounded(x: Tensor) -> Tensor:
    """``x`` cut to ±``BOUND``; NaN stays NaN."""
    return x.clamp(-BOUND, BOUND)


def unless_nan(z: Tensor, x: Tensor) -> Tensor:
    """Rows of ``z`` (B, d), NaN where the window of ``x`` (B, T, C) holds NaN.

    Said outright, because runtimes differ in what they make of NaN on the way: onnxruntime's GRU gives finite
    states, so that a window which was not measured would have a label.
    """
    broken = torch.isnan(x).flatten(1).any(1, keepdim=True)
    return torch.where(broken, torch.nan, z)
