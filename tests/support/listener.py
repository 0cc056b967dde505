"""Hears everything under the prefix and lets tests wait for it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

from disc_stream.types import Label
from disc_stream.wire.broker import Broker
from disc_stream.wire.label import decode_label
from disc_stream.wire.mqtt import LinkListener, Message, MqttLink, Session

PATIENCE_S = 120.0
"""How long an event is waited for: a busy machine is slow, and an event that comes costs no more."""


class Listener:
    """A client that subscribes to all labels and to the server's topics.

    Args:
        url: of the broker.
    """

    def __init__(self, url: str) -> None:
        self.labels: list[Label] = []
        self.status: dict[str, Any] = {}
        self.model: dict[str, Any] = {}
        self._changed = threading.Condition()
        self.link = MqttLink(
            Broker.parse(url), "test-listener", LinkListener(on_message=self._take), Session(expiry_s=600)
        )
        for topic_filter in ("ds/v1/+/label", "ds/v1/$server/status", "ds/v1/$server/model"):
            self.link.subscribe(topic_filter)

    def _take(self, message: Message) -> None:
        with self._changed:
            if message.topic.endswith("/label"):
                if not message.retained:
                    self.labels.append(decode_label(message.payload))
            elif message.topic.endswith("/status"):
                self.status = json.loads(message.payload)
            else:
                self.model = json.loads(message.payload)
            self._changed.notify_all()

    def wait(self, what: Callable[[], bool], timeout: float = PATIENCE_S) -> None:
        """Wait until something holds; it is looked at whenever a message comes."""
        with self._changed:
            assert self._changed.wait_for(what, timeout), (
                f"timed out with {len(self.labels)} labels and status {self.status}"
            )

    def wait_for_labels(self, n: int, timeout: float = PATIENCE_S) -> None:
        """Wait until at least n labels came."""
        self.wait(lambda: len(self.labels) >= n, timeout)

    def wait_for_count(self, name: str, n: int, timeout: float = PATIENCE_S) -> None:
        """Wait until a counter of the server reaches n."""
        self.wait(lambda: self.status.get("counters", {}).get(name, 0) >= n, timeout)

    def wait_for_rejected(self, reason: str, n: int, timeout: float = PATIENCE_S) -> None:
        """Wait until the server has refused n messages for a reason."""
        self.wait(lambda: self.status.get("rejected", {}).get(reason, 0) >= n, timeout)
