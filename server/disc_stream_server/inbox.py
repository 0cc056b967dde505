"""The queue between the network thread and the worker."""

from __future__ import annotations

import threading
import time
from collections import deque

from disc_stream.wire.mqtt import Message


class Inbox:
    """Messages in the order of their arrival.

    It is bounded without ever making the network thread wait, which has confirmations to read: what must not
    be lost (QoS 1) is limited by the broker, because nothing is acknowledged before it has left this queue;
    MQTT 5 brokers keep to our Receive Maximum, older ones to a limit of their own. What nobody promised to
    deliver (QoS 0) is turned away when the queue is full.

    Args:
        capacity: messages from which on QoS 0 is turned away.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._messages: deque[Message] = deque()
        self._changed = threading.Condition()
        self._open = True
        self._woken = False
        self._turned_away = 0

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def is_open(self) -> bool:
        """Whether messages are still taken."""
        return self._open

    def put(self, message: Message) -> bool:
        """Append a message; False (not taken) when full, for QoS 0, or closed."""
        with self._changed:
            if not self._open:
                return False
            if message.qos == 0 and len(self._messages) >= self._capacity:
                self._turned_away += 1
                return False
            self._messages.append(message)
            self._changed.notify()
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
            return self._messages.popleft()

    def take_turned_away(self) -> int:
        """How many messages were turned away since the last call."""
        with self._changed:
            count, self._turned_away = self._turned_away, 0
            return count

    def wake(self) -> None:
        """Make a waiting ``get`` return."""
        with self._changed:
            self._woken = True
            self._changed.notify()

    def close(self) -> None:
        """Take no more messages; those inside can still be got."""
        with self._changed:
            self._open = False
            self._changed.notify()
