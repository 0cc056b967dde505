"""Problems of devices: published, shown, and kept over a restart."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from disc_stream.stream.problems import ProblemBook
from disc_stream.types import Problem
from disc_stream_server.observers import Observers
from disc_stream_server.outbox import Outbox
from disc_stream_server.storage.state import StateStore

PART = "problem"


class Problems:
    """Tells devices and observers what keeps them from having labels.

    Args:
        store: where the problems of the last run are.
        outbox: publishes them.
        observers: are told of them.
    """

    def __init__(self, store: StateStore, outbox: Outbox, observers: Observers) -> None:
        self.book = ProblemBook()
        """All problems."""
        self._outbox, self._observers = outbox, observers
        self._changed: set[str] = set()
        for device, state in store.states(0, PART).items():
            problem = msgspec.msgpack.decode(state, type=Problem)
            self.book.restore(device, problem)
            observers.on_problem(device, problem)

    def publish(self) -> None:
        """Publish what has changed since the last call."""
        for device, problem in self.book.drain():
            self._outbox.problem(device, problem)
            self._observers.on_problem(device, problem)
            self._changed.add(device)

    def capture(self) -> dict[str, bytes]:
        """The problem of each device for which it has changed."""
        changed, self._changed = self._changed, set()
        shown = {device: self.book.of(device) for device in sorted(changed)}
        return {
            device: b"" if problem is None else msgspec.msgpack.encode(problem)
            for device, problem in shown.items()
        }

    def committed(self, taken: Mapping[str, bytes]) -> None:
        """What ``capture`` gave is on disk; nothing depends on it."""

    def forget(self, device: str) -> None:
        """Drop a device, and what is retained of it."""
        self.book.forget(device)
        self._changed.discard(device)
        self._outbox.problem(device, None)
