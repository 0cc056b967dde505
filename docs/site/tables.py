"""Pieces of Markdown that the generated pages are made of."""

from __future__ import annotations

import re
from collections.abc import Iterable

_MARKUP = re.compile(r"([\\`*{}\[\]<>|#]|(?<!\w)_|_(?!\w))")


def plain(text: str) -> str:
    """Text in which nothing is taken for markup, on one line and fit for a cell of a table."""
    return re.sub(_MARKUP, r"\\\1", " ".join(text.split()))


def prose(text: str) -> str:
    """Text whose code is in backticks, and in which nothing else is taken for markup."""
    parts = " ".join(text.split()).split("`")
    if len(parts) % 2 == 0:
        return plain(text)
    return "`".join(part if n % 2 else re.sub(_MARKUP, r"\\\1", part) for n, part in enumerate(parts))


def code(text: str) -> str:
    """Text as code, fit for a cell of a table."""
    return "`" + " ".join(text.split()).replace("|", r"\|") + "`"


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table; its cells are Markdown."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
