"""A device that sends numbered messages all the time, and knows which of them the broker has confirmed."""

from __future__ import annotations

import threading

from disc_stream.errors import DiscStreamError
from disc_stream.wire.broker import Broker
from disc_stream.wire.delivery import Delivery
from disc_stream.wire.mqtt import MqttLink, Session

_PACE_S = 0.02
_PATIENCE_S = 1.0


class Courier:
    """Sends from a thread of its own, over whatever credentials it has at the time.

    Args:
        device: its id, also in the payloads: ``DEVICE:NUMBER``.
        broker: where to, with credentials.
    """

    def __init__(self, device: str, broker: Broker) -> None:
        self.device = device
        self._broker: Broker | None = broker
        self._fresh = threading.Event()  # other credentials than those in use
        self._stop = threading.Event()
        self._moved = threading.Condition()
        self._waiting: list[tuple[bytes, Delivery]] = []
        self.sent = self.refused = self.connections = 0
        self.confirmed: set[bytes] = set()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def use(self, broker: Broker) -> None:
        """Connect with other credentials from now on."""
        self._broker = broker
        self._fresh.set()

    def wait_for_more(self, n: int = 5) -> None:
        """Wait until n further messages are confirmed."""
        with self._moved:
            goal = len(self.confirmed) + n
            assert self._moved.wait_for(lambda: len(self.confirmed) >= goal, 90), (
                f"{self.device} gets nothing through"
            )

    def finish(self) -> None:
        """Send no more."""
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._fresh.clear()
            assert self._broker is not None
            try:
                link = MqttLink(self._broker, f"courier-{self.device}", session=Session())
                link.connect(5)
            except DiscStreamError:  # no access, or no broker, at the moment
                self._stop.wait(0.1)
                continue
            self.connections += 1
            try:
                self._send_over(link)
            finally:
                link.flush(_PATIENCE_S, reconnect=False)
                link.close()
                self._settle()
                self._waiting.clear()

    def _send_over(self, link: MqttLink) -> None:
        while not self._stop.is_set() and not self._fresh.is_set():
            payload = f"{self.device}:{self.sent}".encode()
            self.sent += 1
            delivery = link.publish(f"ds/v1/{self.device}/raw", payload)
            self._waiting.append((payload, delivery))
            delivery.wait(_PATIENCE_S)
            self._settle()
            self._stop.wait(_PACE_S)

    def _settle(self) -> None:
        with self._moved:
            for payload, delivery in self._waiting:
                if delivery.is_answered and delivery.refused:
                    self.refused += 1
                elif delivery.is_answered:
                    self.confirmed.add(payload)
            self._waiting = [entry for entry in self._waiting if not entry[1].is_answered]
            self._moved.notify_all()
