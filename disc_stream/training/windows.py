"""Checks and normalisation of training windows."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from disc_stream.artifacts.manifest import ScalerInfo
from disc_stream.data.types import WindowSet
from disc_stream.errors import ConfigError
from disc_stream.types import Float32Array

log = logging.getLogger(__name__)

MIN_SAMPLES = 4
MAX_SEED = 2**32 - 1  # scikit-learn takes no larger one
_EXPECTED = "expected (n_windows, n_samples, n_channels)"


def check_windows(x: Any, *, name: str = "x") -> Float32Array:
    """The windows as a contiguous float32 array.

    Args:
        x: array-like, (n_windows, n_samples, n_channels), real numbers.
        name: of the argument, for messages.

    Raises:
        ValueError: naming the argument, what it is and what was expected.
    """
    array = np.asarray(x)
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{name} must hold real numbers, got dtype {array.dtype}; {_EXPECTED} float32")
    if array.ndim != 3:
        raise ValueError(f"{name} has {array.ndim} dimensions and shape {array.shape}; {_EXPECTED}")
    if 0 in array.shape:
        raise ValueError(f"{name} is empty, shape {array.shape}; {_EXPECTED}")
    with np.errstate(over="ignore"):  # what does not fit into float32 is reported below, as not finite
        windows = np.ascontiguousarray(array, dtype=np.float32)
    if not np.isfinite(windows).all():
        row, sample, channel = np.argwhere(~np.isfinite(windows))[0]
        raise ValueError(
            f"{name} has values that are not finite, the first at window {row}, sample {sample}, "
            f"channel {channel}; shape {array.shape}, expected finite numbers"
        )
    return windows


def check_training_windows(x: Any, n_clusters: Any) -> Float32Array:
    """``check_windows``, and that a clustering can be learned from them.

    Raises:
        ValueError: also for too short or too few windows.
    """
    windows = check_windows(x)
    if isinstance(n_clusters, bool) or not isinstance(n_clusters, (int, np.integer)) or n_clusters < 1:
        raise ValueError(f"n_clusters must be a whole number of at least 1, got {n_clusters!r}")
    if windows.shape[1] < MIN_SAMPLES:
        raise ValueError(
            f"x has windows of {windows.shape[1]} samples, shape {windows.shape}; "
            f"expected at least {MIN_SAMPLES} samples"
        )
    if n_clusters == 1:
        raise ValueError("n_clusters is 1: there is nothing to tell apart; expected at least 2")
    if (windows == windows[:1, :1]).all():
        raise ValueError(f"x is constant in every channel, shape {windows.shape}; expected motion")
    least = max(2, int(n_clusters))
    if len(windows) < least:
        raise ValueError(
            f"x has {len(windows)} windows, shape {windows.shape}; "
            f"expected at least {least} for n_clusters={n_clusters}"
        )
    return windows


def check_seed(seed: Any) -> int:
    """The seed as a Python integer.

    Raises:
        ConfigError: if it is not a whole number from 0 to 2³² - 1.
    """
    whole = isinstance(seed, (int, np.integer)) and not isinstance(seed, bool)
    if not whole or not 0 <= seed <= MAX_SEED:
        raise ConfigError(f"the seed must be 0 to {MAX_SEED}, got {seed}")
    return int(seed)


def fit_scaler(kind: str, windows: Float32Array) -> ScalerInfo:
    """Statistics per channel for x' = (x - offset) * scale.

    A channel that never changes carries nothing; it is centred and left unscaled.

    Args:
        kind: ``minmax`` (to 0..1), ``zscore`` or ``none``.
        windows: (n_windows, n_samples, n_channels).
    """
    n_channels = windows.shape[2]
    if kind == "none":
        return ScalerInfo(kind=kind, offset=[0.0] * n_channels, scale=[1.0] * n_channels)
    low = windows.min((0, 1)).astype(np.float64)
    high = windows.max((0, 1)).astype(np.float64)
    if kind == "minmax":
        offset, spread = low, high - low
    else:
        offset = windows.mean((0, 1), dtype=np.float64)
        spread = windows.std((0, 1), dtype=np.float64)
    constant = high == low
    if constant.any():
        log.warning("channels %s never change and carry nothing", np.flatnonzero(constant).tolist())
        offset = np.where(constant, low, offset)
    scale = 1.0 / np.where(constant | (spread == 0.0), 1.0, spread)
    return ScalerInfo(kind=kind, offset=offset.tolist(), scale=scale.tolist())


def apply_scaler(scaler: ScalerInfo, windows: Float32Array) -> Float32Array:
    """Normalised windows; the same arithmetic as in ``InferenceNet``."""
    offset = np.array(scaler.offset, dtype=np.float32)
    scale = np.array(scaler.scale, dtype=np.float32)
    return np.asarray((windows - offset) * scale, dtype=np.float32)


def hop_of(windows: WindowSet) -> int:
    """Samples between the starts of successive windows of a recording; half a window if none follow."""
    steps = np.diff(windows.start)[np.diff(windows.group) == 0]
    steps = steps[steps > 0]
    length = windows.x.shape[1]
    return int(min(np.median(steps), length)) if len(steps) else length // 2
