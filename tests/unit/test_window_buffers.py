"""Rows of shared arrays: nobody has one that somebody else has."""

from __future__ import annotations

import numpy as np

from disc_stream.stream.buffers import WindowBuffers


def test_everybody_has_a_row_of_its_own_beyond_one_block_too() -> None:
    buffers = WindowBuffers(4, 3)
    lent = [buffers.borrow() for _ in range(600)]
    assert len({number for number, _ in lent}) == 600
    for number, row in lent:
        row[:] = number
    assert all(row.shape == (4, 3) and row.dtype == np.float32 for _, row in lent)
    assert all((row == number).all() for number, row in lent)


def test_what_is_given_back_is_lent_again_and_only_that() -> None:
    buffers = WindowBuffers(4, 3)
    lent = dict(buffers.borrow() for _ in range(300))
    for number in (5, 299, 260):
        buffers.give_back(number)
        again, row = buffers.borrow()
        assert again == number
        assert np.shares_memory(row, lent[number])
