"""What candidate labellings are found on: descriptors that are alike across devices, averaged over time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from disc_stream.training.plus.config import PlusConfig
from disc_stream.types import IntArray

Array = npt.NDArray[np.float64]

_FEW_ROWS = 10  # of a device; a mean over fewer is the activity's, not the device's


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to label the training windows.

    Args:
        span: windows before and after that its descriptors were averaged over.
        labels: (n,), every cluster has windows; empty where a resumed search has no more use for them.
        likelihood: mean log-likelihood of the averaged descriptors; comparable within one span.
        score: the higher the better.
        number: of the search's candidates in the order in which they were looked at.
    """

    span: int
    labels: IntArray
    likelihood: float
    score: float
    number: int = -1


def standardise_by_device(x: Array, devices: IntArray) -> Array:
    """Every device's rows to mean 0 and deviation 1 per column: how it is worn no longer shows.

    Devices with too few rows to tell share one mean and deviation.
    """
    _, number, counts = np.unique(devices, return_inverse=True, return_counts=True)
    groups = np.where(counts[number] < _FEW_ROWS, -1, number)
    out = np.empty_like(x)
    for group in np.unique(groups):
        rows = groups == group
        out[rows] = (x[rows] - x[rows].mean(0)) / (x[rows].std(0) + 1e-6)
    return out


def principal_components(x: Array, config: PlusConfig, n_clusters: int) -> Array:
    """Rows in as many principal components as the data can bear, (n, F) -> (n, d)."""
    most = max(len(x) // config.windows_per_component, n_clusters)
    most = min(most, config.most_components, x.shape[1], len(x) - 1)
    powers, axes = _axes_of(x)
    kept = int(np.searchsorted(np.cumsum(powers), config.explained * powers.sum())) + 1
    return x @ axes[:, : min(kept, most)]


def reduced(x: Array, most: int) -> Array:
    """Rows (n, F) as they are, or in their first ``most`` principal components where F is larger."""
    return x if x.shape[1] <= most else x @ _axes_of(x)[1][:, :most]


def _axes_of(x: Array) -> tuple[Array, Array]:
    """Variances (F,), falling, and the directions that have them (F, F), in columns.

    From the covariance: a decomposition of the rows themselves takes their memory several times. The
    largest part of each direction is positive.
    """
    mean = x.mean(0)
    powers, axes = np.linalg.eigh(x.T @ x / len(x) - np.outer(mean, mean))
    powers, axes = np.maximum(powers[::-1], 0.0), axes[:, ::-1]
    largest = axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])]
    return powers, axes * np.where(largest < 0.0, -1.0, 1.0)


def average_over_time(x: Array, devices: IntArray, span: int) -> Array:
    """Mean of each row and the ``span`` rows of its device before and after it, fewer at the ends."""
    if span == 0:
        return x
    out = np.empty_like(x)
    for device in np.unique(devices):
        rows = np.flatnonzero(devices == device)
        total = np.concatenate([np.zeros((1, x.shape[1])), np.cumsum(x[rows], axis=0)])
        at = np.arange(len(rows))
        low, high = np.maximum(at - span, 0), np.minimum(at + span + 1, len(rows))
        out[rows] = (total[high] - total[low]) / (high - low)[:, None]
    return out
