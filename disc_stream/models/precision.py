"""Full precision where results are read, whatever the program around has chosen for speed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def full_float32() -> Iterator[None]:
    """Matrix products of float32 in float32: no TensorFloat-32, no bfloat16; the settings before afterwards.

    cuDNN's recurrences and convolutions use TensorFloat-32 by default, with 10 bits instead of 23.
    """
    places = _places()
    before = [getattr(place, name) for place, name, _ in places]
    for place, name, exact in places:
        setattr(place, name, exact)
    try:
        yield
    finally:
        for (place, name, _), value in zip(places, before, strict=True):
            setattr(place, name, value)


def _places() -> list[tuple[Any, str, Any]]:
    """Where torch keeps these settings, their name there, and the value for full precision."""
    cuda, cudnn, mkldnn = torch.backends.cuda.matmul, torch.backends.cudnn, torch.backends.mkldnn
    if hasattr(cuda, "fp32_precision"):  # torch 2.9 and later; the older names must not be mixed with these
        ours = (cuda, cudnn.conv, cudnn.rnn, mkldnn.matmul, mkldnn.rnn)  # type: ignore[attr-defined]
        return [(place, "fp32_precision", "ieee") for place in ours]
    return [(cuda, "allow_tf32", False), (cudnn, "allow_tf32", False)]
