"""Do two answers about the same windows agree, in terms of what moves a label?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from disc_stream.artifacts.runtime import Encoded
from disc_stream.types import Float32Array


def radius(expected: Encoded) -> float:
    """The median of the windows' distances to their nearest centroid: the unit that differences are told in.

    Where most windows lie on their centroids, a hundredth of the median distance to the middle of them all.
    """
    z = expected.embedding.astype(np.float64)
    spread = float(np.median(np.linalg.norm(z - np.median(z, axis=0), axis=1)))
    own = math.sqrt(float(np.median(expected.distance.min(axis=1))))
    return max(own, 0.01 * spread, float(np.finfo(np.float32).tiny))


@dataclass(frozen=True, slots=True)
class Differences:
    """How two answers about B windows differ, by output.

    Args:
        judged: (B,) as it is judged: of ``embedding`` the length of the difference, of ``distance`` the
            difference of the distances (not of their squares), both in units of the radius, or of the
            window's own distance where that is larger; of ``q`` the largest difference.
        shown: (B,) the largest difference of a coordinate of ``embedding`` and of a column of ``q``, and of
            ``distance`` relative to it; figures for people.
    """

    judged: dict[str, Float32Array]
    shown: dict[str, Float32Array]

    @classmethod
    def between(cls, got: Encoded, wanted: Encoded, unit: float) -> Differences:
        """Compare.

        Args:
            got: of B windows.
            wanted: of the same.
            unit: a cluster's radius.
        """
        far, other = (np.sqrt(np.maximum(one.distance.astype(np.float64), 0.0)) for one in (wanted, got))
        own = np.maximum(far.min(axis=1), unit)
        moved = got.embedding.astype(np.float64) - wanted.embedding
        q = np.abs(got.q - wanted.q).max(axis=1)
        squares = np.abs(got.distance.astype(np.float64) - wanted.distance)
        found = {
            "embedding": (np.linalg.norm(moved, axis=1) / own, np.abs(moved).max(axis=1)),
            "q": (q, q),
            "distance": (
                (np.abs(other - far) / np.maximum(far, unit)).max(axis=1),
                (squares / np.maximum(wanted.distance, 0.01 * unit**2)).max(axis=1),
            ),
        }
        return cls(
            {name: judged.astype(np.float32) for name, (judged, _) in found.items()},
            {name: shown.astype(np.float32) for name, (_, shown) in found.items()},
        )
