"""The samples of unfinished windows of all devices, in few large arrays.

An array of its own for each of ten thousand devices would cost an allocation each and scatter them over the
heap; here a device borrows a row of a block and gives it back when it falls silent.
"""

from __future__ import annotations

import numpy as np

from disc_stream.types import Float32Array

_ROWS = 256  # devices per block


class WindowBuffers:
    """Lends (length, n_channels) float32 rows.

    Args:
        length: samples a row holds.
        n_channels: columns.
    """

    def __init__(self, length: int, n_channels: int) -> None:
        self._shape = length, n_channels
        self._blocks: list[Float32Array] = []
        self._free: list[int] = []

    def borrow(self) -> tuple[int, Float32Array]:
        """A row and its number; what it holds is left over from whoever had it before."""
        if not self._free:
            first = len(self._blocks) * _ROWS
            self._blocks.append(np.empty((_ROWS, *self._shape), dtype=np.float32))
            self._free = list(range(first + _ROWS - 1, first - 1, -1))
        number = self._free.pop()
        return number, self._blocks[number // _ROWS][number % _ROWS]

    def give_back(self, number: int) -> None:
        """Let somebody else have the row."""
        self._free.append(number)
