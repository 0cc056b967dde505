"""A fast session whose doubtful windows are run again by an exact one.

With bfloat16 products, q differs by a few hundredths. That changes the label of windows that lie between two
clusters and of no others, so those few are run in float32 as well.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from disc_stream.artifacts.runtimes.buckets import run_padded
from disc_stream.artifacts.runtimes.session import Concrete, GraphFacts, Outputs, Session
from disc_stream.types import Float32Array

_BATCH = 256


class RefinedSession:
    """Two sessions of one graph.

    Whether a window is run again depends on nothing but the window.

    Args:
        fast: runs every window.
        exact: runs those whose two most probable clusters are nearer to each other than ``margin``, and those
            for which the fast one is not finite.
        margin: in q.
    """

    def __init__(self, fast: Session, exact: Session, margin: float) -> None:
        self._fast, self._exact, self.margin = fast, exact, margin
        self.provider: Concrete = fast.provider
        # Whole batches are taken, so that their doubtful windows are run together.
        self.buckets: Sequence[int] = ()

    def facts(self) -> GraphFacts:
        """See ``Session``."""
        return self._fast.facts()

    def warm_up(self, shape: tuple[int, int], most: int) -> None:
        """See ``Session``."""
        self._fast.warm_up(shape, most)
        self._exact.warm_up(shape, most)

    def run(self, x: Float32Array) -> Outputs:
        """See ``Session``."""
        outputs = run_padded(self._fast, x)
        rows = np.flatnonzero(~(gap_of(outputs[1]) >= self.margin))  # NaN is doubtful, too
        if len(rows):
            for whole, part in zip(outputs, run_padded(self._exact, x[rows]), strict=True):
                whole[rows] = part
        return outputs


def gap_of(q: Float32Array) -> Float32Array:
    """(B,) probability of the first cluster less that of the second; infinite where there is but one."""
    if q.shape[1] < 2:
        return np.full(len(q), np.inf, dtype=np.float32)
    ordered = np.partition(q, -2, axis=1)
    gap: Float32Array = ordered[:, -1] - ordered[:, -2]
    return gap


def largest_difference(fast: Session, exact: Session, windows: Float32Array) -> float:
    """The largest difference in q between two sessions on windows (n, T, C), of those finite for both."""
    found = 0.0
    for at in range(0, len(windows), _BATCH):
        part = windows[at : at + _BATCH]
        differences = np.abs(run_padded(fast, part)[1] - run_padded(exact, part)[1])
        found = max(found, float(np.nanmax(differences, initial=0.0)))
    return found
