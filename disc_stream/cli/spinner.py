"""A line on the terminal that says what is being measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def spinner() -> Iterator[Callable[[str], None]]:
    """Show what is being measured, as it is told."""
    from rich.console import Console

    console = Console(stderr=True)
    with console.status("measuring") as status:
        yield lambda what: status.update(f"measuring {what}")
