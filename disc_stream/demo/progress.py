"""The demo's progress on stderr while it prepares."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)


class Step(Protocol):
    """How far a stage is."""

    def __call__(self, done: float, total: float | None, note: str = "") -> None:
        """``done`` of ``total`` (None if that is not known)."""
        ...


class Reporter:
    """Says what happens: bars on a terminal, one line a stage elsewhere; always on stderr."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """One line."""
        if self.console.is_terminal:
            self.console.print(text, markup=False)
        else:
            print(text, file=sys.stderr, flush=True)

    @contextmanager
    def stage(self, text: str, unit: str = "") -> Iterator[Step]:
        """A stage of work: its text, then a bar where there is a terminal."""
        self.say(text)
        columns = (
            SpinnerColumn(), BarColumn(30), MofNCompleteColumn(), TextColumn("{task.fields[unit]}"),
            TimeElapsedColumn(), TextColumn("{task.fields[note]}"),
        )  # fmt: skip
        shown = self.console.is_terminal
        with Progress(*columns, console=self.console, transient=True, disable=not shown) as bar:
            task = bar.add_task("", total=None, unit=unit, note="")

            def step(done: float, total: float | None, note: str = "") -> None:
                bar.update(task, completed=done, total=total, note=note)

            yield step
