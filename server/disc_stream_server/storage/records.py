"""What the labeller keeps, one class for each kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

DEFERRED, BRIDGED = 1, 2
"""Flags of a label."""


class StoredLabel(NamedTuple):
    """A label as it is kept; see ``disc_stream.types.Label``.

    ``q`` holds K little-endian float32 values; ``flags`` is 1 for deferred plus 2 for bridged. Unique by
    (device, boot, window start, model version): by the rules of the labeller these follow from the
    position, the window and the model, which are the key on disk, for rows are then only ever appended.
    """

    position: int
    device: str
    boot: int
    window: int
    t0_us: int
    t1_us: int
    t0_unix_us: int | None
    label: int
    name: str
    confidence: float
    smoothed: int
    smoothed_confidence: float
    q: bytes
    distance: float
    novelty: float | None
    model: str
    flags: int
    labelled_us: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that could not be used; its payload may be cut, ``size`` is that of all of it."""

    position: int
    received_us: int
    topic: str
    device: str
    reason: str
    message: str
    content_type: str
    payload: bytes
    size: int


@dataclass(slots=True)
class LaneState:
    """How far a lane is, and what has changed there since the last checkpoint.

    Args:
        lane: 0 for the live lane.
        position: last row of the spool that it covers.
        parts: by part and device, the new state; an empty one stands for none.
    """

    lane: int
    position: int
    parts: dict[str, dict[str, bytes]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lane:
    """A stretch of the spool whose windows were deferred.

    Args:
        lane: its number.
        first: rows after this position belong to it.
        last: the last row of it; None while windows are being deferred.
        windows: number of windows that wait, about.
        position: rows up to here are caught up.
    """

    lane: int
    first: int
    last: int | None
    windows: int
    position: int


class Labels(Protocol):
    """Labels to be written, in order."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[StoredLabel]: ...


@dataclass(slots=True)
class Commit:
    """One checkpoint.

    Args:
        lanes: what has changed in each lane.
        labels: labels up to there; those on disk already are skipped.
        dead_letters: messages and windows that could not be used.
        opens: number of a lane that begins at the live lane's position.
        closes: number of a lane that ends at the live lane's position.
        ended: lanes that are caught up and go.
        windows: by lane, how many windows wait there.
        facts: small named values; an empty one is removed.
    """

    lanes: list[LaneState]
    labels: Labels = ()
    dead_letters: list[DeadLetter] = field(default_factory=list)
    opens: int | None = None
    closes: int | None = None
    ended: list[int] = field(default_factory=list)
    windows: dict[int, int] = field(default_factory=dict)
    facts: dict[str, bytes] = field(default_factory=dict)

    @property
    def n_states(self) -> int:
        """States of devices in all lanes and parts."""
        return sum(len(states) for lane in self.lanes for states in lane.parts.values())
