"""The steps of an export, shown while they are done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def steps(first: str, total: int) -> Iterator[Callable[[str], None]]:
    """A line on stderr that says which step is under way, if stderr is a terminal.

    Args:
        first: what is done before the first step is told.
        total: steps after it.

    Yields:
        What is to be called with each step.
    """
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    with Progress(
        SpinnerColumn(),
        TextColumn("[{task.completed}/{task.total}] {task.description}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task(first, total=total)
        yield lambda step: bar.update(task, advance=1, description=step)
