"""Whether a fresh centroid may be placed: what it takes from known motion is bounded."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from disc_stream.clustering.newmotion import NewMotion

Points = npt.NDArray[np.floating]

MOVED = 0.005
"""Share of the known windows that one fresh centroid may take, at most."""
MOST = 4
"""Groups that may get a centroid in one retraining; together they take 2 % of the known windows at most."""
_CAUGHT = 0.9  # share of its group that it has to take


def untouched(new: NewMotion) -> npt.NDArray[np.bool_]:
    """(n,) which windows are known for sure: near to what was known, in no group."""
    return new.near & ~new.grouped


def offset_of(
    z: Points,
    old: Points,
    centroid: Points,
    group: npt.NDArray[np.integer],
    known: npt.NDArray[np.bool_],
) -> float | None:
    """What has to be added to the squared distances to a fresh centroid, so that known windows stay.

    Args:
        z: (n, d) embeddings.
        old: (K, d) centroids.
        centroid: (d,) the fresh one.
        group: positions of the windows that it is for.
        known: (n,) windows that are to stay.

    Returns:
        0 where no more than ``MOVED`` of them go anyway; None if with it most of the group would stay, too:
        then the embedding does not tell the group from what is known.
    """
    beside = np.min([np.square(z - one).sum(1) for one in old], axis=0)
    margin = beside - np.square(z - centroid).sum(1)  # above 0: nearer to the fresh one
    stay = margin[known]
    offset = max(0.0, float(np.quantile(stay, 1.0 - MOVED))) if len(stay) else 0.0
    caught = float((margin[group] > offset).mean())
    return offset if caught >= _CAUGHT else None
