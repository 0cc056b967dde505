"""The queue between the network thread and the thread that commits."""

from __future__ import annotations

import threading
import time

from disc_stream.wire.mqtt import Message


class Inbox:
    """Messages in the order of their arrival.

    It is bounded without ever making the network thread wait: what must not be lost (QoS 1) is limited by
    the broker, because nothing is acknowledged before it has left this queue and is durable; MQTT 5 brokers
    keep to our Receive Maximum, older ones to a limit of their own. What nobody promised to deliver (QoS 0)
    is turned away when the queue is full.

    Args:
        capacity: messages from which on QoS 0 is turned away.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._messages: list[Message] = []
        self._changed = threading.Condition()
        self._open = True
        self.turned_away = 0
        """Messages of QoS 0 that were not taken."""

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, message: Message) -> bool:
        """Append a message; False (not taken) when full, for QoS 0, or closed."""
        with self._changed:
            if not self._open:
                return False
            if message.qos == 0 and len(self._messages) >= self._capacity:
                self.turned_away += 1
                return False
            self._messages.append(message)
            if len(self._messages) == 1:
                self._changed.notify()
            return True

    def take(self, timeout_s: float) -> list[Message]:
        """Everything there is, as soon as there is anything; nothing if nothing came in time."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not self._messages and self._open:
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    break
                self._changed.wait(remaining)
            taken, self._messages = self._messages, []
            return taken

    def close(self) -> None:
        """Take no more messages; those inside can still be got."""
        with self._changed:
            self._open = False
            self._changed.notify()
