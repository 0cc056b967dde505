"""Windows that show what a cluster is: those nearest to its centroid, and those at its border."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from disc_stream.errors import DataError
from disc_stream.types import IntArray


@dataclass(frozen=True, slots=True)
class Representatives:
    """Of one cluster.

    Args:
        nearest: indices of windows, nearest to the centroid first.
        border: indices of windows, smallest margin first: between the best two soft assignments.
    """

    nearest: IntArray
    border: IntArray


def representatives(
    q: npt.NDArray[np.floating], distance: npt.NDArray[np.floating], count: int = 10
) -> tuple[Representatives, ...]:
    """The windows of each cluster that are nearest to its centroid, and those at its border.

    The margin of a window is the difference of its two largest soft assignments (Scheffer, Decomain and
    Wrobel 2001, doi:10.1007/3-540-44816-0_31). Equal windows are taken in their order.

    Args:
        q: (n, K) soft assignments.
        distance: (n, K) squared distances to the centroids.
        count: most of each kind; smaller clusters have fewer.

    Raises:
        DataError: if the shapes differ, or there are no clusters.
    """
    if q.ndim != 2 or q.shape != distance.shape or q.shape[1] == 0:
        raise DataError(
            f"q and distance must both be (windows, clusters), got {q.shape} and {distance.shape}",
            remedy="Give both as the encoder returned them",
        )
    row = q.argmax(1)
    top = np.sort(q, axis=1)[:, -2:]
    margin = top[:, 1] - top[:, 0] if q.shape[1] > 1 else np.ones(len(q))
    found = []
    for k in range(q.shape[1]):
        mine = np.flatnonzero(row == k)
        by_distance = mine[np.argsort(distance[mine, k], kind="stable")]
        by_margin = mine[np.argsort(margin[mine], kind="stable")]
        found.append(Representatives(by_distance[:count], by_margin[:count]))
    return tuple(found)
