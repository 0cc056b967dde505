"""Normalisation by what a device has shown so far."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from disc_stream.types import Float32Array

Array = npt.NDArray[np.float64]
_MIN_VARIANCE = 1e-12  # so that a feature that never moves divides by something


def running_standardise(
    windows: Float32Array,
    devices: npt.NDArray[np.integer],
    *,
    mean: Array,
    variance: Array,
    weight: float = 50.0,
) -> Float32Array:
    """Windows to about mean 0 and deviation 1 per channel, by their own device's past and themselves.

    A device starts from a prior that counts as ``weight`` windows, so that its first windows are not all it
    is measured by. Nothing that comes later changes a window.

    Args:
        windows: (n, T, C); windows of one device in time order.
        devices: (n,).
        mean: (C,) of the prior, usually of the training windows.
        variance: (C,) of the prior.
        weight: of the prior, in windows.

    Returns:
        (n, T, C).

    Raises:
        ValueError: if ``weight`` is not positive.
    """
    if not weight > 0.0:
        raise ValueError(f"weight must be above 0, got {weight}")
    out = np.empty_like(windows)
    for device in np.unique(devices):
        rows = np.flatnonzero(devices == device)
        x = windows[rows].astype(np.float64)
        count = weight + np.arange(1, len(rows) + 1)[:, None]
        # About the prior's mean, so that large offsets do not cost precision.
        first = np.cumsum((x - mean).mean(1), axis=0) / count
        second = (weight * variance + np.cumsum(np.square(x - mean).mean(1), axis=0)) / count
        deviation = np.sqrt(np.maximum(second - np.square(first), _MIN_VARIANCE))
        out[rows] = (x - (mean + first)[:, None]) / deviation[:, None]
    return out
