"""A connection in simulated time: outages, lost confirmations, messages sent again, a server that counts."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from disc_stream.wire.delivery import Delivery
from disc_stream_edge.outbox import Entry

Outage = tuple[float, float]
"""Begin and end, in seconds."""


class SimulatedWay:
    """What ``disc_stream_edge.forwarding.Way`` asks for, as MQTT with QoS 1 behaves.

    Whatever is on its way when the connection breaks has arrived or not, and its confirmation is lost; it is
    sent again, in order, on the next connection.

    Args:
        device: whose messages it brings.
        outages: in order of time.
        seed: of what arrives just before a break.
    """

    def __init__(self, device: str, outages: Sequence[Outage] = (), seed: int = 0) -> None:
        self.devices = [device]
        self.now_s = 0.0
        self.metas: list[bytes] = []
        self.received: list[Entry] = []
        self.codes: list[int] = []
        """Answers to the next messages, in place of a confirmation."""
        self._outages, self._random = list(outages), random.Random(seed)
        self._flying: list[tuple[Entry, Delivery]] = []
        self._was_up = True

    @property
    def connected(self) -> bool:
        return not any(begin <= self.now_s < end for begin, end in self._outages)

    @property
    def copies(self) -> Counter[tuple[int, int]]:
        """How often each (boot, seq) has arrived."""
        return Counter((entry.boot, entry.seq) for entry in self.received)

    def check(self) -> None:
        """Nobody takes over."""

    def describe(self, device: str, meta: bytes) -> None:
        assert device in self.devices
        self.metas.append(meta)

    def pass_on(self, entry: Entry) -> Delivery:
        assert self.connected, "nothing is handed to a connection that is not there"
        delivery = Delivery()
        self._flying.append((entry, delivery))
        return delivery

    def advance(self, now_s: float) -> None:
        """Let time pass: what is on its way arrives and is confirmed, or the connection breaks before."""
        self.now_s = now_s
        if self.connected:
            for entry, delivery in self._flying:
                code = self.codes.pop(0) if self.codes else 0
                if not code:
                    self.received.append(entry)
                delivery.answer(code)
            self._flying.clear()
        elif self._was_up:
            arrived = self._random.randint(0, len(self._flying))
            self.received += [entry for entry, _ in self._flying[:arrived]]
        self._was_up = self.connected
