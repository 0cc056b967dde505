"""Out-of-range input in exported graphs: values are clipped, NaN is propagated."""

from __future__ import annotations

import torch
from torch import Tensor

BOUND = 1e8
"""Clipping limit of normalised samples: far above any real signal, and its fourth power times the length of a
window still fits into float32."""


def bounded(x: Tensor) -> Tensor:
    """``x`` clipped to ±``BOUND``; NaN stays NaN."""
    return x.clamp(-BOUND, BOUND)


def unless_nan(z: Tensor, x: Tensor) -> Tensor:
    """Rows of ``z`` (B, d), NaN where the window of ``x`` (B, T, C) holds NaN.

    An explicit operation, because runtimes differ in how they propagate NaN: onnxruntime's GRU returns finite
    states for it, so that an invalid window would be labelled.
    """
    # Counted in floats: runtimes have no fast "any", and take a whole-number maximum instead.
    broken = torch.isnan(x).flatten(1).float().amax(1, keepdim=True).bool()
    return torch.where(broken, torch.nan, z)
