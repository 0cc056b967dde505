"""The bounded queue between the network thread and the worker."""

from __future__ import annotations

import threading
import time
from collections import deque

from disc_stream.wire.mqtt import Message


class Inbox:
    """Messages in the order of their arrival.

    With MQTT 5 the broker keeps at most Receive Maximum messages unacknowledged, so a capacity of that size
    never fills. Older brokers know no such limit: then ``put`` waits, nothing more is read from the socket,
    and TCP holds the broker back.

    Args:
        capacity: messages held at most.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._messages: deque[Message] = deque()
        self._changed = threading.Condition()
        self._open = True
        self._woken = False

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def is_open(self) -> bool:
        """Whether messages are still taken."""
        return self._open

    def put(self, message: Message) -> bool:
        """Append a message, waiting for room; False (not taken) once the inbox is closed."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._messages) < self._capacity or not self._open)
            if not self._open:
                return False
            self._messages.append(message)
            self._changed.notify_all()
            return True

    def get(self, timeout_s: float) -> Message | None:
        """The next message; None if none came in time, or at once after ``wake`` or ``close``."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not self._messages:
                remaining = deadline - time.monotonic()
                if self._woken or not self._open or remaining <= 0:
                    self._woken = False
                    return None
                self._changed.wait(remaining)
            message = self._messages.popleft()
            self._changed.notify_all()
            return message

    def wake(self) -> None:
        """Make a waiting ``get`` return."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def close(self) -> None:
        """Take no more messages; those inside can still be got."""
        with self._changed:
            self._open = False
            self._changed.notify_all()
