"""Directions in which motion changes slowly: an activity lasts, what a person does within it does not."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from disc_stream.training.plus.config import PlusConfig
from disc_stream.types import IntArray

Array = npt.NDArray[np.float64]

_REG = 0.01  # of the mean variance


def slow_components(x: Array, devices: IntArray, config: PlusConfig) -> Array | None:
    """Rows in the directions whose values last longest, (n, d) -> (n, m).

    The directions that maximise the correlation with the windows ``slow_lags`` later (Molgedey and Schuster
    1994, doi:10.1103/PhysRevLett.72.3634; slow feature analysis), each scaled by the root of its
    correlation: variance that does not last counts nothing. The largest part of each direction is positive.

    Args:
        x: principal components, of descriptors standardised by device; rows of one device in time order.
        devices: (n,).
        config: hyper-parameters.

    Returns:
        None if no two windows are that far apart, or nothing lasts.
    """
    from scipy.linalg import eigh

    later, pairs = np.zeros((x.shape[1], x.shape[1])), 0
    rows_of = [np.flatnonzero(devices == device) for device in np.unique(devices)]
    for lag in config.slow_lags:
        for rows in rows_of:
            if len(rows) > lag:
                later += x[rows[:-lag]].T @ x[rows[lag:]]
                pairs += len(rows) - lag
    if not pairs:
        return None
    now = x.T @ x / len(x)
    now += _REG * np.trace(now) / len(now) * np.eye(len(now))
    powers, axes = eigh((later + later.T) / (2.0 * pairs), now)
    powers, axes = powers[::-1][: config.slow_components], axes[:, ::-1][:, : config.slow_components]
    axes = axes[:, powers > 0.0] * np.sqrt(powers[powers > 0.0])
    if not axes.shape[1]:
        return None
    largest = axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])]
    slow: Array = x @ (axes * np.where(largest < 0.0, -1.0, 1.0))
    return slow
