"""Ways to damage a database of SQLite, for the tests of what survives it."""

from __future__ import annotations

from pathlib import Path

_PAGE = 8192
_LEAF = 13  # first byte of a page that holds rows of a table


def hide_a_row(path: Path) -> None:
    """Damage of which SQLite itself says nothing: the last leaf counts a row less than it holds."""
    data = bytearray(path.read_bytes())
    leaves = [at for at in range(_PAGE, len(data), _PAGE) if data[at] == _LEAF and data[at + 4] > 1]
    data[leaves[-1] + 4] -= 1
    path.write_bytes(data)
