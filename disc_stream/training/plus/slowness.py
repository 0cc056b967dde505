"""Directions in which motion changes slowly: an activity lasts, what a person does within it does not."""

from __future__ import annotations

from collections.abc import Sequence

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
    found = lasting_directions(x, devices, config.slow_lags)
    if found is None:
        return None
    powers, axes = found[0][: config.slow_components], found[1][:, : config.slow_components]
    slow: Array = x @ (axes * np.sqrt(powers))
    return slow


def lasting_directions(
    x: Array,
    devices: IntArray,
    lags: Sequence[int],
    *,
    inside: npt.NDArray[np.bool_] | None = None,
    floor: float = _REG,
) -> tuple[Array, Array] | None:
    """Directions whose values last, the longest first: correlations (m,), all above 0, and axes (d, m).

    Args:
        x: (n, d), mean 0; rows of one device in time order.
        devices: (n,).
        lags: windows ahead.
        inside: (n,) the rows to look at, with those that are ``lags`` later if they are inside, too.
        floor: variance added to each direction, as a share of the mean one.

    Returns:
        None if no two windows are that far apart, or nothing lasts.
    """
    from scipy.linalg import eigh

    later, pairs = np.zeros((x.shape[1], x.shape[1])), 0
    rows_of = [np.flatnonzero(devices == device) for device in np.unique(devices)]
    for lag in lags:
        for rows in rows_of:
            here, there = rows[:-lag], rows[lag:]
            if inside is not None:
                both = inside[here] & inside[there]
                here, there = here[both], there[both]
            if len(here):
                later += x[here].T @ x[there]
                pairs += len(here)
    if not pairs:
        return None
    looked_at = x if inside is None else x[inside]
    now = looked_at.T @ looked_at / len(looked_at)
    now += floor * np.trace(now) / len(now) * np.eye(len(now))
    powers, axes = eigh((later + later.T) / (2.0 * pairs), now)
    powers, axes = powers[::-1], axes[:, ::-1]
    powers, axes = powers[powers > 0.0], axes[:, powers > 0.0]
    if not len(powers):
        return None
    largest = axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])]
    return powers, axes * np.where(largest < 0.0, -1.0, 1.0)
