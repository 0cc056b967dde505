"""Progress of a grid of trainings, on stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from disc_stream.training.events import BatchEvent, Callback, TrainingEvent

if TYPE_CHECKING:
    from disc_stream.benchmarks.cells import CellKey
    from disc_stream.benchmarks.grid import Request

OnCell = Callable[["CellKey"], None]


@contextmanager
def following(request: Request) -> Iterator[tuple[Callback, OnCell]]:
    """A bar over the cells and one over the training under way; plain lines where stderr is no terminal."""
    from disc_stream.benchmarks.grid import keys

    total, console = len(keys(request)), Console(stderr=True)
    if not console.is_terminal:
        yield _lines(console, total)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bar:
        console.print("stop with Ctrl-C; the same command resumes")
        cells, training = bar.add_task("cells", total=total), bar.add_task("", total=1)
        begun = 0

        def on_cell(key: CellKey) -> None:
            nonlocal begun
            bar.update(cells, completed=begun, description=f"{key.dataset} {key.protocol}")
            bar.update(training, completed=0, description=f"{key.method} seed {key.seed}")
            begun += 1

        def callback(event: TrainingEvent) -> None:
            done = event.epoch if not isinstance(event, BatchEvent) else event.epoch - 1
            bar.update(training, completed=done, total=event.n_epochs)

        yield callback, on_cell
        bar.update(cells, completed=total)


def _lines(console: Console, total: int) -> tuple[Callback, OnCell]:
    begun = 0

    def on_cell(key: CellKey) -> None:
        nonlocal begun
        begun += 1
        line = f"{begun}/{total} {key.dataset} {key.protocol} {key.method} {key.preset} seed {key.seed}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    return (lambda _event: None), on_cell
