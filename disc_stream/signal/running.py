"""Normalisation by what a device has shown so far."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from disc_stream.types import Float32Array

Array = npt.NDArray[np.float64]
_LEAST_VARIANCE = 1e-12  # so that a feature that never moves divides by something


@dataclass(frozen=True, slots=True, eq=False)
class Prior:
    """What is believed of a device before it has shown anything.

    Args:
        mean: (d,).
        variance: (d,), not negative.
        weight: how many observations that is worth.

    Raises:
        ValueError: naming what is not usable.
    """

    mean: Array
    variance: Array
    weight: float = 50.0

    def __post_init__(self) -> None:
        """Check the values."""
        mean, variance = (np.asarray(a, dtype=np.float64) for a in (self.mean, self.variance))
        if mean.ndim != 1 or mean.shape != variance.shape:
            raise ValueError(f"mean and variance must be alike (d,), got {mean.shape} and {variance.shape}")
        if not (np.isfinite(mean).all() and np.isfinite(variance).all() and (variance >= 0.0).all()):
            raise ValueError("mean and variance must be finite, and variance not negative")
        if not (self.weight > 0.0 and np.isfinite(self.weight)):
            raise ValueError(f"weight must be above 0 and finite, got {self.weight}")
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "variance", variance)


class RunningStatistics:
    """Mean and deviation of feature vectors, for each device by itself and by its past alone.

    Keeps a count, a mean and a sum of squares for each device: O(d), however long the stream. Chunks are
    merged as Chan, Golub and LeVeque do (1983, doi:10.1080/00031305.1983.10483115), about the mean so far,
    so that neither long streams nor large offsets cost precision, and the cut into chunks changes nothing.

    Args:
        prior: where every device starts.
    """

    def __init__(self, prior: Prior) -> None:
        self._prior = prior
        self._states: dict[Hashable, tuple[float, Array, Array]] = {}

    def __len__(self) -> int:
        """How many devices have been seen."""
        return len(self._states)

    def forget(self, device: Hashable) -> None:
        """Let a device start from the prior again."""
        self._states.pop(device, None)

    def update(self, device: Hashable, rows: npt.NDArray[np.floating]) -> tuple[Array, Array]:
        """Take the next rows of a device.

        Args:
            device: anything that tells devices apart.
            rows: (m, d), in time order.

        Returns:
            Mean and deviation, both (m, d): in each row, of the prior, all rows before it, and itself.

        Raises:
            ValueError: if ``rows`` is not (m, d) or holds NaN or infinity; the device is then as it was.
        """
        x = np.asarray(rows, dtype=np.float64)
        if x.ndim != 2 or x.shape[1:] != self._prior.mean.shape:
            raise ValueError(f"rows has shape {x.shape}; expected (m, {len(self._prior.mean)})")
        if not np.isfinite(x).all():
            raise ValueError("rows holds NaN or infinity")
        start = (self._prior.weight, self._prior.mean, self._prior.weight * self._prior.variance)
        count, mean, squares = self._states.get(device, start)
        if not len(x):
            return x.copy(), x.copy()
        away = x - mean
        counts = count + np.arange(1.0, len(x) + 1.0)[:, None]
        sums = np.cumsum(away, axis=0)
        means = mean + sums / counts
        spread = np.maximum(squares + np.cumsum(np.square(away), axis=0) - np.square(sums) / counts, 0.0)
        self._states[device] = (float(counts[-1, 0]), means[-1].copy(), spread[-1].copy())
        return means, np.sqrt(np.maximum(spread / counts, _LEAST_VARIANCE))


def running_zscore(rows: npt.NDArray[np.floating], devices: npt.NDArray[np.integer], prior: Prior) -> Array:
    """All rows to about mean 0 and deviation 1, each by its own device's past and itself.

    The same as ``RunningStatistics`` fed chunk by chunk.

    Args:
        rows: (n, d); rows of one device in time order.
        devices: (n,).
        prior: where every device starts.

    Returns:
        (n, d).

    Raises:
        ValueError: if the shapes do not fit, or ``rows`` holds NaN or infinity.
    """
    if np.shape(devices) != (len(rows),):
        raise ValueError(f"devices has shape {np.shape(devices)}; expected ({len(rows)},)")
    statistics, out = RunningStatistics(prior), np.empty(rows.shape, dtype=np.float64)
    for device in np.unique(devices):
        own = np.flatnonzero(devices == device)
        mean, deviation = statistics.update(int(device), rows[own])
        out[own] = (rows[own] - mean) / deviation
    return out


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
        deviation = np.sqrt(np.maximum(second - np.square(first), _LEAST_VARIANCE))
        out[rows] = (x - (mean + first)[:, None]) / deviation[:, None]
    return out
