"""What the labeller keeps, one class for each kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


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


@dataclass(frozen=True, slots=True)
class DeferredWindow:
    """A window whose label was put off; ``blob`` is the business of whoever put it off."""

    position: int
    device: str
    boot: int
    window: int
    t0_us: int
    seq: int
    segment: int
    blob: bytes


@dataclass(slots=True)
class Commit:
    """One checkpoint.

    Args:
        position: last row of the spool that it covers.
        sessions: new states of devices.
        gone: devices whose state is to be removed.
        labels: labels up to there; those on disk already are passed over.
        dead_letters: messages that could not be used.
        deferred: windows put off.
        caught_up: (device, boot, window) of windows labelled after all.
        facts: small named values; an empty one is removed.
    """

    position: int
    sessions: dict[str, bytes]
    gone: set[str]
    labels: list[StoredLabel]
    dead_letters: list[DeadLetter]
    deferred: list[DeferredWindow]
    caught_up: list[tuple[str, int, int]]
    facts: dict[str, bytes]
