"""Progress of training, on stderr; loaded only when a command trains."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from disc_stream.training.events import BatchEvent, Callback, EpochEvent, TrainingEvent

_TITLES = {"pretrain": "autoencoder", "refine": "refinement"}


@contextmanager
def training(name: str) -> Iterator[Callback]:
    """A bar for each phase; where stderr is not a terminal, a line for each epoch instead."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(console)
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


def _lines(console: Console) -> Callback:
    def show(event: TrainingEvent) -> None:
        if isinstance(event, EpochEvent):
            title = _TITLES.get(event.phase, event.phase)
            line = f"{title} {event.epoch}/{event.n_epochs} ({event.seconds:.1f} s): {describe(event)}"
            console.print(line, soft_wrap=True, highlight=False)

    return show


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
