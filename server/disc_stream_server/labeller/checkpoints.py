"""Checkpoints: how far the spool is labelled, and everything that the rest of it builds on.

A checkpoint is taken in memory at a position of the spool, and put on disk in one transaction once the
broker has confirmed every label up to there. What comes after it is labelled again after a crash, from the
same state and the same rows, so the same labels come out.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from disc_stream.clock import Clock
from disc_stream.errors import StateDamagedError, StorageError
from disc_stream.stream.values import Labelled
from disc_stream_server.intake import size_of
from disc_stream_server.labeller.lane import LaneStream
from disc_stream_server.labeller.pending import PendingLabels
from disc_stream_server.memory import give_back_memory
from disc_stream_server.outbox import Outbox
from disc_stream_server.storage.historyrecords import EpisodeEvent
from disc_stream_server.storage.state import Commit, DeadLetter, StateStore

log = logging.getLogger(__name__)

_RETRY_S = 1.0
# Nothing is labelled while one is taken or written. With many devices, or a slow disk, that is a larger part
# of the time, so they come less often: what is labelled again after a crash grows, and nothing else.
_SHARE, _LONGEST = 0.05, 4  # of the time; and of the interval that was asked for
_FULL = 0.75  # of the labels that may wait, from which on one is due
_MANY_STATES = 2_000  # of one checkpoint, from which on the memory that it took is given back to the system


@dataclass(slots=True)
class Change:
    """What a checkpoint changes beside the states of the lanes; see ``Commit``."""

    opens: int | None = None
    closes: int | None = None
    ended: list[int] = field(default_factory=list)
    facts: dict[str, bytes] = field(default_factory=dict)
    windows: dict[int, int] = field(default_factory=dict)


class Source(Protocol):
    """What checkpoints are taken of."""

    def lanes(self) -> list[LaneStream]:
        """The lanes in use, the live one first."""
        ...

    def take_change(self) -> Change:
        """What the next checkpoint has to change beside the lanes."""
        ...

    def tell(self, event: EpisodeEvent) -> None:
        """A checkpoint has made an episode begin or end."""
        ...


class Checkpoints:
    """Takes checkpoints, one at a time.

    Args:
        store: where they go.
        outbox: knows which labels are confirmed.
        source: what they are taken of.
        interval_s: between two of them; four times as long where they would take more than 5 % of the time.
        max_labels: that may wait to be written; with three quarters of them one is due.
        clock: time.
    """

    def __init__(
        self,
        store: StateStore,
        outbox: Outbox,
        source: Source,
        interval_s: float,
        max_labels: int,
        clock: Clock,
    ) -> None:
        self._store, self._outbox, self._source = store, outbox, source
        self._interval_s, self._clock = interval_s, clock
        self._many_labels = _FULL * max_labels
        self._cost_s = 0.0  # of the last one
        self._labels, self._taken_labels = PendingLabels(), PendingLabels()
        self._letters: list[DeadLetter] = []
        self._letter_bytes = self._taken_letter_bytes = 0
        self._taken: Commit | None = None
        self._barrier = 0
        self._due = clock.monotonic() + interval_s
        self._retry_at = 0.0
        self.position = store.position
        """Of the live lane in the last checkpoint on disk."""
        self.written = 0
        """Number of checkpoints written."""
        self.blocked = ""
        """Why checkpoints cannot be written, "" if they can."""

    @property
    def backlog(self) -> int:
        """Labels that wait to be written."""
        return len(self._labels) + len(self._taken_labels)

    @property
    def letter_bytes(self) -> int:
        """Memory of dead letters that wait to be written, about."""
        taken = self._taken_letter_bytes
        return self._letter_bytes + taken + sum(lane.intake.dead_bytes for lane in self._source.lanes())

    @property
    def is_on_its_way(self) -> bool:
        """Whether one was taken and is not written yet."""
        return self._taken is not None

    def add(self, labelled: Iterable[Labelled]) -> None:
        """Labels that were published."""
        self._labels.add(labelled)

    def add_letters(self, letters: Iterable[DeadLetter]) -> None:
        """Messages and windows that could not be used."""
        for letter in letters:
            self._letters.append(letter)
            self._letter_bytes += size_of(letter)

    def step(self, *, now: bool = False) -> bool:
        """Take a checkpoint if one is due, and write the one taken if its labels are confirmed.

        Args:
            now: take one whether it is due or not.

        Returns:
            Whether everything is on disk.
        """
        if self._taken is None and (now or self._is_due()):
            began = self._clock.monotonic()
            self._take()
            self._cost_s = self._clock.monotonic() - began
        if self._taken is not None and self._outbox.confirmed(self._barrier):
            is_large = self._taken.n_states >= _MANY_STATES
            self._write(self._taken)
            if is_large and not self.is_on_its_way:
                give_back_memory()  # or what lives long is scattered over the room that the states have left
        live = self._source.lanes()[0]
        return self._taken is None and self.position == live.position and not self._labels

    def _is_due(self) -> bool:
        return self._clock.monotonic() >= self._due or len(self._labels) >= self._many_labels

    def forget(self, device: str) -> None:
        """Leave a device out of what is still to be written."""
        for labels in (self._labels, self._taken_labels):
            labels.forget(device)
        self._letters = [letter for letter in self._letters if letter.device != device]
        if self._taken is not None:
            self._taken.dead_letters[:] = [one for one in self._taken.dead_letters if one.device != device]
            for lane in self._taken.lanes:
                for states in lane.parts.values():
                    states.pop(device, None)

    def _take(self) -> None:
        self._taken_labels, self._labels = self._labels, PendingLabels()
        letters, self._letters = self._letters, []
        change = self._source.take_change()
        lanes = self._source.lanes()
        self._taken_letter_bytes, self._letter_bytes = self.letter_bytes, 0
        for lane in lanes:
            letters += lane.intake.take_dead_letters()
        self._taken = Commit(
            [lane.capture() for lane in lanes], self._taken_labels, letters,
            change.opens, change.closes, change.ended, change.windows, change.facts,
        )  # fmt: skip
        self._barrier = self._outbox.barrier

    def _write(self, taken: Commit) -> None:
        began = self._clock.monotonic()
        if began < self._retry_at:
            return
        try:
            events = self._store.commit(taken)
        except StateDamagedError:
            raise  # trying again is in vain; the next start sets the file aside
        except StorageError as error:
            if not self.blocked:
                log.error("checkpoints cannot be written; labelling goes on for a while: %s", error)  # noqa: TRY400
            self.blocked = str(error)
            self._retry_at = self._clock.monotonic() + _RETRY_S
            return
        if self.blocked:
            log.warning("checkpoints can be written again")
            self.blocked = ""
        states = {state.lane: state for state in taken.lanes}
        for lane in self._source.lanes():
            if lane.number in states:
                lane.committed(states[lane.number])
        self.position, self._taken = taken.lanes[0].position, None
        self._taken_labels = PendingLabels()
        self._taken_letter_bytes = 0
        self.written += 1
        for event in events:
            self._source.tell(event)
        now = self._clock.monotonic()
        cost_s = self._cost_s + now - began
        self._due = now + min(max(self._interval_s, cost_s / _SHARE), _LONGEST * self._interval_s)
