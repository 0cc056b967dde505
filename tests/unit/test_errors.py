"""Errors for the user are one line, whatever they quote."""

from __future__ import annotations

from disc_stream.errors import DataError


def test_what_a_library_says_in_several_lines_becomes_one() -> None:
    error = DataError(
        "'x.npz' is not readable: too large.\nAllow pickles, or\ntrust it", remedy="Write it again"
    )
    assert str(error) == "'x.npz' is not readable: too large. Allow pickles, or trust it. Write it again"
