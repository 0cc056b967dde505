"""Cutting a table into the stretches that were recorded without a break."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt


def runs(begins: npt.NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Stretches (start, stop) of rows; ``begins[i]`` says that row i + 1 begins a new one.

    Args:
        begins: (n_rows - 1,).
    """
    borders = [0, *(np.flatnonzero(begins) + 1).tolist(), len(begins) + 1]
    yield from pairwise(borders)
