"""Messages as they come and go over an MQTT connection."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode


class Message(NamedTuple):
    """One received message.

    Args:
        topic: full topic.
        payload: bytes as sent.
        content_type: MQTT 5 content type, "" where the publisher gave none.
        qos: quality of service it was delivered with.
        retained: whether the broker kept it from before the subscription.
        mid: message id, for the acknowledgement.
        epoch: number of the connection it came over.
    """

    topic: str
    payload: bytes
    content_type: str
    qos: int
    retained: bool
    mid: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes, retained, when the connection breaks."""

    topic: str
    payload: bytes


class Unconfirmed:
    """Our QoS 1 messages that the broker has not confirmed yet; safe to use from several threads."""

    def __init__(self) -> None:
        self._infos: deque[paho.MQTTMessageInfo] = deque()
        self._lock = threading.Lock()

    def add(self, info: paho.MQTTMessageInfo) -> None:
        """Remember a message that was just handed to paho."""
        with self._lock:
            self._infos.append(info)
        self._oldest()

    def wait(self, timeout_s: float) -> bool:
        """Wait until every message is confirmed; False if time ran out before."""
        deadline = time.monotonic() + timeout_s
        while (oldest := self._oldest()) is not None:
            oldest.wait_for_publish(max(0.0, deadline - time.monotonic()))
            if not oldest.is_published():
                return False
        return True

    def _oldest(self) -> paho.MQTTMessageInfo | None:
        """Forget what has been confirmed; the oldest message that is left, if any."""
        with self._lock:
            while self._infos and self._infos[0].is_published():
                self._infos.popleft()
            return self._infos[0] if self._infos else None


def is_lost(info: paho.MQTTMessageInfo) -> bool:
    """Whether paho gave up on a message at once (its queue is full)."""
    return info.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE
