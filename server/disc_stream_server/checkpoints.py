"""Checkpoints: how far the spool is labelled, and everything that the rest of it builds on.

A checkpoint is taken in memory at a position of the spool, and put on disk in one transaction once the
broker has confirmed every label up to there. What comes after it is labelled again after a crash, from the
same state and the same rows, so the same labels come out.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from disc_stream.clock import Clock
from disc_stream.errors import StateDamagedError, StorageError
from disc_stream_server.deferral import Deferral, Key
from disc_stream_server.intake import Intake
from disc_stream_server.metas import MetaBook
from disc_stream_server.outbox import Outbox
from disc_stream_server.pipeline import Labelled
from disc_stream_server.sessions import Sessions
from disc_stream_server.storage.state import BRIDGED, DEFERRED, Commit, StateStore, StoredLabel

log = logging.getLogger(__name__)

_RETRY_S = 1.0


class Checkpoints:
    """Takes checkpoints, one at a time.

    Args:
        store: where they go.
        sessions: state of the devices.
        metas: descriptions of the devices.
        intake: dead letters.
        deferral: windows put off and caught up.
        outbox: knows which labels are confirmed.
        interval_s: between two of them.
        clock: time.
    """

    def __init__(
        self,
        store: StateStore,
        sessions: Sessions,
        metas: MetaBook,
        intake: Intake,
        deferral: Deferral,
        outbox: Outbox,
        *,
        interval_s: float,
        clock: Clock,
    ) -> None:
        self._store, self._sessions, self._metas = store, sessions, metas
        self._intake, self._deferral, self._outbox = intake, deferral, outbox
        self._interval_s, self._clock = interval_s, clock
        self._labels: list[StoredLabel] = []
        self._taken: Commit | None = None
        self._done: list[Key] = []
        self._barrier = 0
        self._due = clock.monotonic() + interval_s
        self._retry_at = 0.0
        self.position = store.position
        """Of the last checkpoint on disk."""
        self.blocked = ""
        """Why checkpoints cannot be written, "" if they can."""

    @property
    def backlog(self) -> int:
        """Labels that wait to be written."""
        return len(self._labels) + (0 if self._taken is None else len(self._taken.labels))

    @property
    def is_on_its_way(self) -> bool:
        """Whether one was taken and is not written yet."""
        return self._taken is not None

    def add(self, labelled: Iterable[Labelled]) -> None:
        """Labels that were published."""
        self._labels += [stored_label(one) for one in labelled]

    def step(self, position: int, *, now: bool = False) -> bool:
        """Take a checkpoint if one is due, and write the one taken if its labels are confirmed.

        Args:
            position: of the last row that was labelled.
            now: take one whether it is due or not.

        Returns:
            Whether everything up to ``position`` is on disk.
        """
        if self._taken is None and (now or self._clock.monotonic() >= self._due):
            self._take(position)
        if self._taken is not None and self._outbox.confirmed(self._barrier):
            self._write(self._taken)
        return self._taken is None and self.position == position and not self._labels

    def forget(self, device: str) -> None:
        """Leave a device out of what is still to be written."""
        for labels in (self._labels, [] if self._taken is None else self._taken.labels):
            labels[:] = [label for label in labels if label.device != device]
        if self._taken is not None:
            self._taken.sessions.pop(device, None)
            self._taken.facts.pop(f"meta/{device}", None)
            self._taken.deferred[:] = [one for one in self._taken.deferred if one.device != device]

    def _take(self, position: int) -> None:
        labels, self._labels = self._labels, []
        letters, self._intake.dead_letters = self._intake.dead_letters, []
        put_off, self._deferral.put_off = self._deferral.put_off, []
        self._done = list(self._deferral.done)
        self._taken = Commit(
            position=position,
            sessions=self._sessions.changes(),
            gone=set(),
            labels=labels,
            dead_letters=letters,
            deferred=put_off,
            caught_up=self._done,
            facts=self._metas.changes(),
        )
        self._barrier = self._outbox.barrier

    def _write(self, taken: Commit) -> None:
        if self._clock.monotonic() < self._retry_at:
            return
        try:
            self._store.commit(taken)
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
        self._sessions.saved(taken.sessions)
        self._metas.saved(taken.facts)
        self._deferral.stored(taken.deferred, self._done)
        self.position, self._taken = taken.position, None
        self._due = self._clock.monotonic() + self._interval_s


def stored_label(one: Labelled) -> StoredLabel:
    """A label as it is kept."""
    label = one.label
    return StoredLabel(
        position=one.ready.position, device=label.device, boot=label.boot, window=label.window,
        t0_us=label.t0_us, t1_us=label.t1_us, t0_unix_us=label.t0_unix_us, label=label.best.label,
        name=label.best.name, confidence=label.best.confidence, smoothed=label.smoothed.label,
        smoothed_confidence=label.smoothed.confidence, q=one.q.astype("<f4").tobytes(),
        distance=label.distance, novelty=label.novelty, model=label.model,
        flags=DEFERRED * label.deferred + BRIDGED * label.bridged, labelled_us=label.published_us,
    )  # fmt: skip
