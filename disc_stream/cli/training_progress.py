"""Progress of training, on stderr; loaded only when a command trains."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from disc_stream.training.events import BatchEvent, Callback, EpochEvent, TrainingEvent

_TITLES = {"pretrain": "autoencoder", "refine": "refinement", "guided": "guided"}


EVERY_S = 10.0  # between two lines of a long epoch or search in a log


@contextmanager
def training(name: str) -> Iterator[Callback]:
    """A bar for each phase; where stderr is not a terminal, lines instead."""
    console = Console(stderr=True)
    if not console.is_terminal:
        console.print(f"training on {name}", soft_wrap=True, highlight=False, markup=False)
        yield lines(partial(console.print, soft_wrap=True, highlight=False, markup=False))
        return
    columns = (
        SpinnerColumn(), TextColumn("{task.description:<11}"), BarColumn(20),
        TextColumn("{task.fields[epoch]}"), TimeElapsedColumn(), TextColumn("{task.fields[state]}"),
    )  # fmt: skip
    with Progress(*columns, console=console) as bar:
        console.print(f"training on {name}; stop with Ctrl-C, resume with --resume", markup=False)
        yield _bars(bar)


def describe(event: EpochEvent) -> str:
    """Loss terms, label change, revived clusters and the time left, in a few words."""
    words = [f"{name} {value:.4f}" for name, value in event.losses.items()]
    if event.label_change is not None:
        words.append(f"labels changed {event.label_change:.2%}")
    if event.reseeded:
        words.append(f"revived clusters {', '.join(map(str, event.reseeded))}")
    if event.eta_s > 0:
        most = "at most " if event.phase == "refine" else ""
        words.append(f"{most}{_duration(event.eta_s)} left")
    return " · ".join(words)


def _bars(bar: Progress) -> Callback:
    tasks: dict[str, TaskID] = {}

    def show(event: TrainingEvent) -> None:
        if event.phase not in tasks:
            tasks[event.phase] = bar.add_task(
                _TITLES.get(event.phase, event.phase), total=event.n_epochs, epoch="", state=""
            )
        task, epoch = tasks[event.phase], f"{event.epoch}/{event.n_epochs}"
        if isinstance(event, BatchEvent):
            done = event.epoch - 1 + event.batch / event.n_batches
            bar.update(task, completed=done, epoch=epoch)
        else:
            settled = event.eta_s == 0.0  # refinement may end before its last epoch
            total = event.epoch if settled else event.n_epochs
            bar.update(task, completed=event.epoch, total=total, epoch=epoch, state=describe(event))

    return show


def lines(write: Callable[[str], object], clock: Callable[[], float] = monotonic) -> Callback:
    """A line for each epoch, and every ten seconds one for how far a long epoch or search is.

    Args:
        write: takes a line.
        clock: seconds.
    """
    last = clock()

    def show(event: TrainingEvent) -> None:
        nonlocal last
        title = _TITLES.get(event.phase, event.phase)
        if isinstance(event, EpochEvent):
            whole = f" {event.epoch}/{event.n_epochs}" if event.n_epochs > 1 else ""
            write(f"{title}{whole} ({event.seconds:.1f} s): {describe(event)}")
        elif clock() - last >= EVERY_S:
            epoch = f" {event.epoch}/{event.n_epochs}, batch" if event.n_epochs > 1 else ""
            write(f"{title}{epoch} {event.batch}/{event.n_batches} ({event.batch / event.n_batches:.0%})")
        else:
            return
        last = clock()

    return show


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
