"""What training tells its caller while it is under way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class BatchEvent:
    """A step has been taken.

    Args:
        phase: ``pretrain`` or ``refine``.
        epoch: from 1.
        n_epochs: maximum number of epochs in the phase.
        batch: from 1.
        n_batches: in every epoch.
    """

    phase: str
    epoch: int
    n_epochs: int
    batch: int
    n_batches: int


@dataclass(frozen=True, slots=True)
class EpochEvent:
    """An epoch has ended, and its checkpoint (if any) is on disk.

    Args:
        phase: ``pretrain`` or ``refine``.
        epoch: from 1.
        n_epochs: maximum number of epochs in the phase.
        losses: mean of every term over the epoch, unweighted, and their weighted sum ``total``.
        learning_rate: of this epoch.
        label_change: share of the training windows whose label changed in this epoch; None before refinement.
        reseeded: clusters that had collapsed and were re-initialised with a new centroid.
        seconds: the epoch took.
        eta_s: estimated seconds for the remaining epochs of the phase; refinement may stop earlier.
    """

    phase: str
    epoch: int
    n_epochs: int
    losses: dict[str, float]
    learning_rate: float
    label_change: float | None
    reseeded: tuple[int, ...]
    seconds: float
    eta_s: float

    def to_dict(self) -> dict[str, Any]:
        """As a line of ``history.jsonl``."""
        return asdict(self)


TrainingEvent = BatchEvent | EpochEvent
Callback = Callable[[TrainingEvent], None]


def ignore(_: TrainingEvent) -> None:
    """The callback for callers who do not want to know."""
