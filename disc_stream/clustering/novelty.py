"""From which distance on a window is unknown: a threshold for each cluster that meets a stated rate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from disc_stream.errors import DataError
from disc_stream.types import IntArray

Floats = npt.NDArray[np.float64]

_FEWEST_TAIL = 10  # windows beyond a cluster's own threshold, for it to be used
_FEWEST_DEVICES = 5
_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class NoveltyThresholds:
    """When a window is unknown: its squared distance to the best centroid is above its cluster's threshold.

    Args:
        rate: share of known motion that is called unknown, as aimed at.
        distance: (K,) squared distance; NaN for a cluster without any window.
        own: (K,) whether the cluster had enough windows for a threshold of its own; otherwise it has the
            common one in units of its own median distance.
        devices: how many the thresholds were calibrated on.
        windows: how many.
    """

    rate: float
    distance: Floats
    own: npt.NDArray[np.bool_]
    devices: int
    windows: int

    def novelty(self, distance: npt.NDArray[np.floating], row: IntArray) -> Floats:
        """Distance over the threshold of the window's cluster: (n,), above 1 is unknown.

        NaN where the cluster has no threshold.

        Args:
            distance: (n,) squared distance of each window to its best centroid.
            row: (n,) that centroid.
        """
        out: Floats = np.asarray(distance, dtype=np.float64) / np.maximum(self.distance[row], _TINY)
        return out

    def widened(self, factor: float) -> NoveltyThresholds:
        """The same with all thresholds multiplied, such as by ``optimism``."""
        return NoveltyThresholds(self.rate, self.distance * factor, self.own, self.devices, self.windows)


def calibrate(
    distance: npt.NDArray[np.floating],
    row: IntArray,
    device: npt.NDArray[np.integer],
    n_clusters: int,
    rate: float = 0.02,
) -> NoveltyThresholds:
    """Thresholds such that windows like these are above them at the given rate.

    Windows of one person are alike, so a quantile over all windows would promise too much. Each device has
    the same weight, and the quantile is that of the mean of the devices' distributions: conformal prediction
    for groups by pooling of distribution functions (Dunn, Wasserman and Ramdas 2023,
    doi:10.1080/01621459.2022.2060112). Its promise holds for a new device on average, as their number grows.

    The rate holds for people never trained on only if these windows are of such people; with windows that the
    model was trained on, widen the thresholds by ``optimism``.

    Args:
        distance: (n,) squared distance of each window to its best centroid.
        row: (n,) that centroid.
        device: (n,) number of the device.
        n_clusters: K.
        rate: 0 to 0.5.

    Raises:
        DataError: if there are no windows, lengths differ, or the rate is out of range.
    """
    far = np.asarray(distance, dtype=np.float64)
    if not 0.0 < rate < 0.5:
        raise DataError(
            f"the rate of false unknowns must be between 0 and 0.5, got {rate}", remedy="Try 0.02"
        )
    if len(far) == 0 or len(far) != len(row) or len(far) != len(device):
        raise DataError(
            f"thresholds need windows with row and device each; got {len(far)}, {len(row)}, {len(device)}",
            remedy="Give windows of devices that the model was not trained on",
        )
    weight = _equal_devices(device)
    scale = np.full(n_clusters, np.nan)
    for k in np.unique(row):
        mine = row == k
        scale[k] = max(_TINY, weighted_quantile(far[mine], weight[mine], 0.5))
    common = weighted_quantile(far / scale[row], weight, 1.0 - rate)
    thresholds, own = common * scale, np.zeros(n_clusters, dtype=np.bool_)
    for k in np.unique(row):
        mine = row == k
        if mine.sum() * rate >= _FEWEST_TAIL and len(np.unique(device[mine])) >= _FEWEST_DEVICES:
            own[k] = True
            thresholds[k] = weighted_quantile(far[mine], _equal_devices(device[mine]), 1.0 - rate)
    return NoveltyThresholds(rate, thresholds, own, len(np.unique(device)), len(far))


def optimism(
    trained: tuple[npt.NDArray[np.floating], IntArray],
    held_out: tuple[npt.NDArray[np.floating], IntArray],
    devices: tuple[npt.NDArray[np.integer], npt.NDArray[np.integer]],
    rate: float = 0.02,
) -> float:
    """How much farther windows of devices that were left out are than those trained on: at least 1.

    Leave some devices out, fit, and give the distances of both. The two quantiles are compared in units of
    the median distance of each cluster, so the clusters of the fit need not be those of the final model.

    Args:
        trained: (distance, row) of the windows fitted on.
        held_out: the same of windows of other devices, under the same fit.
        devices: number of the device of each, in the same order.
        rate: of false unknowns.
    """
    n_clusters = 1 + int(max(trained[1].max(), held_out[1].max()))
    fitted = calibrate(*trained, devices[0], n_clusters, rate)
    score = fitted.novelty(*held_out)
    known = np.isfinite(score)
    if not known.any():
        return 1.0
    return max(1.0, weighted_quantile(score[known], _equal_devices(devices[1][known]), 1.0 - rate))


def weighted_quantile(values: Floats, weights: Floats, level: float) -> float:
    """The smallest value whose weight, with that of all smaller ones, reaches a share of the whole.

    One more value at infinity counts as much as a mean one, as in split conformal prediction (Vovk et al.
    2005); where that is reached, the largest value is given.

    Args:
        values: (n,), n at least 1.
        weights: (n,), above 0.
        level: share of the whole weight, 0 to 1.
    """
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    needed = level * float(reached[-1]) * (1.0 + 1.0 / len(values))
    index = int(np.searchsorted(reached, needed * (1.0 - 1e-12)))
    return float(values[order][min(index, len(values) - 1)])


def _equal_devices(device: npt.NDArray[np.integer]) -> Floats:
    """Weights of windows that add up to 1 for every device."""
    _, number, count = np.unique(device, return_inverse=True, return_counts=True)
    out: Floats = 1.0 / count[number]
    return out
