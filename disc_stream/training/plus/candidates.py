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
        labels: (n,), every cluster has windows.
        likelihood: mean log-likelihood of the averaged descriptors; comparable within one span.
        score: the higher the better.
    """

    span: int
    labels: IntArray
    likelihood: float
    score: float


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


def principal_components(x: Array, config: PlusConfig, n_clusters: int, seed: int) -> Array:
    """Rows in as many principal components as the data can bear, (n, F) -> (n, d)."""
    from sklearn.decomposition import PCA

    most = max(len(x) // config.windows_per_component, n_clusters)
    most = min(most, x.shape[1], len(x) - 1)
    pca = PCA(most, random_state=seed).fit(x)
    kept = int(np.searchsorted(np.cumsum(pca.explained_variance_ratio_), config.explained)) + 1
    return np.asarray(pca.transform(x)[:, :kept], dtype=np.float64)


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
