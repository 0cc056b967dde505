"""How many rows of an array really differ: what a clustering needs to know before it looks for K clusters."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

ROUNDING = 64 * float(np.finfo(np.float32).eps)
"""Relative size of the rounding errors of a network in single precision.

The order in which a matrix product is summed depends on the processor's kernels and on the row's place in
the batch, so embeddings of equal windows can differ by a few units in the last place. The factor of 64 leaves
room for what many layers add up to, and is far below what separates windows that differ.
"""

_BLOCK = 256  # rows looked at together; among varied rows, the first block has enough


def count_distinct(x: npt.NDArray[np.floating], enough: int) -> int:
    """Number of rows that differ by more than rounding, counted up to ``enough``.

    Two rows count as one if no element differs by more than ``ROUNDING`` times the largest magnitude in
    ``x``. Rows are compared with those already counted, in order.

    Args:
        x: (n, d), n at least 1, finite.
        enough: where to stop counting, at least 1.

    Returns:
        1 to ``enough``.

    Example:
        >>> count_distinct(np.array([[1.0, 2.0], [1.0 + 1e-7, 2.0], [1.0, 3.0]]), 10)
        2
    """
    tolerance = ROUNDING * float(np.abs(x).max(initial=0.0))
    found: list[npt.NDArray[np.floating]] = []
    for start in range(0, len(x), _BLOCK):
        left = x[start : start + _BLOCK]
        for row in found:
            left = left[_apart(left, row, tolerance)]
        while len(left) and len(found) < enough:
            found.append(left[0])
            left = left[_apart(left, left[0], tolerance)]
        if len(found) == enough:
            break
    return len(found)


def _apart(
    x: npt.NDArray[np.floating], row: npt.NDArray[np.floating], tolerance: float
) -> npt.NDArray[np.bool_]:
    """Which rows differ from ``row`` by more than the tolerance, (n, d) and (d,) -> (n,)."""
    return np.asarray((np.abs(x - row) > tolerance).any(axis=1))
