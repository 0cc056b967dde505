"""A process that publishes at the devices' own pace: ``python -P -m disc_stream.load.steady``.

Devices come and go: every few seconds one of them starts anew, or leaves and another takes its place. The
order is a line of JSON on stdin; it ends when stdin does, and then writes how much it has sent.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field

from disc_stream.load.processes import until_stdin_ends
from disc_stream.load.publisher import CHANNELS, Format, Template, send_all
from disc_stream.load.wire import RawConnection, publish_packet
from disc_stream.types import DeviceMeta
from disc_stream.wire.broker import Broker
from disc_stream.wire.meta import encode_meta
from disc_stream.wire.topics import Kind, Topics


@dataclass(frozen=True, slots=True)
class SteadyOrder:
    """What to publish.

    Args:
        broker: URL.
        prefix: of the topics.
        devices: number of devices at any moment.
        fs: sampling rate in Hz.
        samples: per message.
        encoding: of the payloads.
        churn_s: a device starts anew, or another takes its place, every so many seconds; 0 for never.
    """

    broker: str = field(repr=False)
    prefix: str
    devices: int
    fs: float
    samples: int
    encoding: str
    churn_s: float


class _Slot:
    """A place in the fleet, and who has it."""

    def __init__(self, order: SteadyOrder, number: int) -> None:
        self._order, self._number = order, number
        self._generation = number % 2  # of two neighbours, one starts anew when the other one is replaced
        self._boot = int(time.time())
        self.device = f"steady-{number:05d}"
        self._begin()

    def change(self) -> bool:
        """Start anew, or let another device have the place; whether there is a new device."""
        self._generation += 1
        self._boot += 1
        if self._generation % 2 == 0:
            self.device = f"steady-{self._number:05d}-{self._generation}"
        self._begin()
        return self._generation % 2 == 0

    def next(self) -> tuple[bytearray, int]:
        """The next message; its samples have been taken just now."""
        if self._turn == 0:
            now_us = time.time_ns() // 1000
            self._template.begin_us = now_us - round(self._order.samples * 1e6 / self._order.fs)
        packet = self._template.at(self._turn)
        self._turn += 1
        return packet

    def _begin(self) -> None:
        order = self._order
        form = Format(order.prefix, order.fs, order.samples, order.encoding)
        self._template = Template(self._number, self.device, self._boot, form)
        self._turn = 0


def main() -> None:
    """Publish until stdin ends."""
    order = SteadyOrder(**json.loads(sys.stdin.readline()))
    connection = RawConnection(Broker.parse(order.broker), f"steady-{order.prefix.replace('/', '-')}")
    meta = encode_meta(DeviceMeta(order.fs, CHANNELS))
    topics = Topics(order.prefix)

    def announce(device: str) -> None:
        send_all(connection, [publish_packet(topics.of(device, Kind.META), meta, retain=True)[:2]])

    slots = [_Slot(order, number) for number in range(order.devices)]
    for slot in slots:
        announce(slot.device)
    metas = connection.confirmed
    print(json.dumps({"ready": len(slots)}), flush=True)
    ended = until_stdin_ends()
    begin = time.monotonic()
    churn_at, churned, sent, devices = begin + order.churn_s, 0, 0, len(slots)
    interval = order.samples / order.fs / order.devices
    while not ended.is_set():
        due = begin + sent * interval
        while (left := due - time.monotonic()) > 0:
            connection.read(left)
        if order.churn_s and time.monotonic() >= churn_at:
            churn_at += order.churn_s
            slot = slots[churned * 7 % len(slots)]
            churned += 1
            if slot.change():
                announce(slot.device)
                metas += 1
                devices += 1
        while not connection.room:
            connection.read(1.0)
        connection.send([slots[sent % len(slots)].next()])
        sent += 1
    while connection.confirmed < connection.sent:
        connection.read(1.0)
    facts = {"sent": sent, "confirmed": connection.confirmed - metas, "changes": churned, "devices": devices}
    print(json.dumps(facts), flush=True)
    connection.close()


if __name__ == "__main__":
    main()
