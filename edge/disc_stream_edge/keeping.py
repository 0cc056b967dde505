"""Where a publisher puts its messages: straight into a connection, or first into the outbox."""

from __future__ import annotations

import logging
from typing import Protocol

from disc_stream.errors import StorageError
from disc_stream.sparselog import SparseLog
from disc_stream_edge.connection import Connection
from disc_stream_edge.forwarding import Forwarding
from disc_stream_edge.outbox import Entry, Outbox

log = logging.getLogger(__name__)

_TOGETHER = 64  # messages in one transaction
_MOST_IN_MEMORY = 1_024  # messages that wait for a disk that is full
_WAIT_FOR_ROOM_S = 0.02


class Keeper(Protocol):
    """Takes the messages of a device."""

    def has_room(self, *, may_wait: bool) -> bool:
        """Whether a further message may be put now; waits a little if not."""
        ...

    def put(self, entry: Entry) -> None:
        """Take a message."""
        ...

    def flush(self) -> None:
        """There is time now: keep what was put."""
        ...


class Direct:
    """Into the connection: the source is held back while too much is unconfirmed.

    Args:
        connection: of the device.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def has_room(self, *, may_wait: bool) -> bool:  # noqa: ARG002 - every source is held back
        """Whether the broker has confirmed enough."""
        return self._connection.has_room(_WAIT_FOR_ROOM_S)

    def put(self, entry: Entry) -> None:
        """Send it."""
        self._connection.send(entry)

    def flush(self) -> None:
        """Nothing waits here."""


class Kept:
    """Into the outbox, several messages in one transaction; no source is held back that cannot wait.

    Args:
        outbox: of all devices.
        forwarding: sends what is in it.
    """

    def __init__(self, outbox: Outbox, forwarding: Forwarding) -> None:
        self._outbox, self._forwarding = outbox, forwarding
        self._entries: list[Entry] = []
        self._log = SparseLog(log)
        self.unstored = 0
        """Messages that are lost because the disk took none for too long."""

    def has_room(self, *, may_wait: bool) -> bool:
        """Whether there is room without anything giving way; always, for a source that goes on by itself.

        Raises:
            DiscStreamError: if the messages cannot be sent any more.
        """
        self._forwarding.check()
        if not may_wait or self._outbox.tally.waiting_bytes < self._outbox.max_bytes // 2:
            return True
        self._forwarding.wait_for_step(_WAIT_FOR_ROOM_S)
        return False

    def put(self, entry: Entry) -> None:
        """Take a message; it is on disk after ``flush`` at the latest."""
        self._entries.append(entry)
        if len(self._entries) >= _TOGETHER:
            self.flush()

    def flush(self) -> None:
        """Write what was put, and have it sent."""
        if not self._entries:
            return
        try:
            self._outbox.put(self._entries)
        except StorageError as error:
            self._log.error("", "outbox", "%s; messages are kept in memory for the moment", error)
            excess = max(0, len(self._entries) - _MOST_IN_MEMORY)
            del self._entries[:excess]
            self.unstored += excess
        else:
            self._entries = []
        self._forwarding.wake()
