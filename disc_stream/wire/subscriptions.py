"""What a connection is subscribed to, renewed on every connect."""

from __future__ import annotations

from collections.abc import Sequence

import paho.mqtt.client as paho
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions


class Subscriptions:
    """Topic filters, and which of them the broker has not answered yet.

    Args:
        v5: whether the connection speaks MQTT 5.
    """

    def __init__(self, *, v5: bool) -> None:
        self._v5 = v5
        self._wanted: dict[str, int] = {}  # filter -> QoS
        self._asked: dict[int, str] = {}  # message id -> filter

    @property
    def are_answered(self) -> bool:
        """Whether the broker has answered all."""
        return not self._asked

    def add(self, topic_filter: str, qos: int, client: paho.Client | None) -> None:
        """Want a filter from now on; ask for it at once where there is a connection."""
        self._wanted[topic_filter] = qos
        if client is not None:
            self._ask(client, topic_filter, qos)

    def renew(self, client: paho.Client) -> None:
        """There is a new connection: ask for all."""
        self._asked.clear()
        for topic_filter, qos in self._wanted.items():
            self._ask(client, topic_filter, qos)

    def answered(self, mid: int, reasons: Sequence[ReasonCode]) -> list[str]:
        """Take the broker's answer; returns what it refused and why."""
        topic_filter = self._asked.pop(mid, "a topic")
        return [f"to subscribe us to {topic_filter}: {reason}" for reason in reasons if reason.is_failure]

    def _ask(self, client: paho.Client, topic_filter: str, qos: int) -> None:
        if self._v5:
            _, mid = client.subscribe(topic_filter, options=SubscribeOptions(qos=qos))
        else:
            _, mid = client.subscribe(topic_filter, qos=qos)
        if mid is not None:
            self._asked[mid] = topic_filter
