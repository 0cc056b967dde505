"""Problems of devices: published, shown, and kept over a restart."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from disc_stream.stream.problems import ProblemBook
from disc_stream.types import Problem
from disc_stream.wire.topics import is_device
from disc_stream_server.observers import Observers
from disc_stream_server.outbox import Outbox
from disc_stream_server.storage.state import StateStore

PART = "problem"
_LIMITED, _REFUSED = "rate-limited", "over-quota"
_LIMITED_WORDS = "it sends more than it may, so what exceeds that waits and is labelled later"
_REFUSED_WORDS = (
    "it has sent more than it may for so long that its further messages are refused: they are lost"
)
_LIMITED_REMEDY = (
    "Let it send less; or raise device_messages_s, device_bytes_s or device_waiting_bytes of the server"
)


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
        self._refused: dict[str, int] = {}
        for device, state in store.states(0, PART).items():
            problem = msgspec.msgpack.decode(state, type=Problem)
            self.book.restore(device, problem)
            observers.on_problem(device, problem)

    def tell_limits(self, limited: Mapping[str, Mapping[str, int]], now_us: int) -> None:
        """Tell the devices that send more than they may, and those that do not any more.

        Args:
            limited: the former, with the number of messages of each that were ``refused`` so far.
            now_us: server time, Unix microseconds.
        """
        for device in self.book.having(_LIMITED) - limited.keys():
            self.book.resolve(device, _LIMITED)
            self.book.resolve(device, _REFUSED)
            self._refused.pop(device, None)
        for device, facts in limited.items():
            if not is_device(device):
                continue  # there is no topic to tell it on
            self.book.report(device, _LIMITED, _LIMITED_WORDS, now_us, _LIMITED_REMEDY)
            refused = facts.get("refused", 0)
            if refused > self._refused.get(device, 0):
                self.book.report(device, _REFUSED, _REFUSED_WORDS, now_us, _LIMITED_REMEDY)
            self._refused[device] = refused

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
        self._refused.pop(device, None)
        if is_device(device):  # of others nothing was ever published
            self._outbox.problem(device, None)
