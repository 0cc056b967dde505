"""A process that publishes for some of the devices: ``python -P -m disc_stream.load.publisher``.

Its order is a line of JSON on stdin. Each further line is the number of messages it may have sent in total,
so that the broker's queue stays short; it answers with its confirmed messages, and ends when all are.
"""

from __future__ import annotations

import json
import struct
import sys
import threading
from dataclasses import dataclass, field

import numpy as np

from disc_stream.load.wire import RawConnection, publish_packet
from disc_stream.types import Channel, DeviceMeta, SampleBatch
from disc_stream.wire.broker import Broker
from disc_stream.wire.codecs import Encoding, encode_batch
from disc_stream.wire.meta import encode_meta
from disc_stream.wire.topics import Kind, Topics

CHANNELS = tuple(
    Channel(name, unit, scale)
    for names, unit, scale in (("acc", "g", 1 / 4096), ("gyro", "rad/s", 1 / 1024))
    for name in (f"{names}_x", f"{names}_y", f"{names}_z")
)
FIRST_SEQ = 2**31  # so that a number takes as many bytes in every message
_T0 = 1_700_000_000_000_000
_BURST = 64


@dataclass(frozen=True, slots=True)
class Order:
    """What to publish.

    Args:
        broker: URL.
        prefix: of the topics.
        devices: ids.
        rounds: messages per device.
        fs: sampling rate in Hz.
        samples: per message.
        encoding: of the payloads.
        boot: of all devices.
    """

    broker: str = field(repr=False)
    prefix: str
    devices: list[str]
    rounds: int
    fs: float
    samples: int
    encoding: str
    boot: int


@dataclass(frozen=True, slots=True)
class Format:
    """What all messages of a fleet have in common.

    Args:
        prefix: of the topics.
        fs: sampling rate in Hz.
        samples: per message.
        encoding: of the payloads.
    """

    prefix: str
    fs: float
    samples: int
    encoding: str


class Template:
    """A device's message, whose number and time are put in anew each time.

    Args:
        number: of the device; seeds its samples.
        device: its id.
        boot: of the device.
        form: what its messages look like.
    """

    def __init__(self, number: int, device: str, boot: int, form: Format) -> None:
        rng = np.random.default_rng(number)
        values = rng.integers(-4096, 4096, (form.samples, len(CHANNELS)), dtype=np.int16)
        batch = SampleBatch(device, boot, FIRST_SEQ, _T0, form.fs, CHANNELS, values)
        payload = encode_batch(batch, Encoding(form.encoding), describe_channels=False)
        self.packet, self.mid_at, begin = publish_packet(Topics(form.prefix).of(device, Kind.RAW), payload)
        order_of_bytes = "<" if form.encoding == Encoding.PACKED else ">"
        self._seq = struct.Struct(order_of_bytes + "I")
        self._t0 = struct.Struct(order_of_bytes + "Q")
        self._seq_at = begin + payload.index(self._seq.pack(FIRST_SEQ))
        self._t0_at = begin + payload.index(self._t0.pack(_T0))
        self._step_us = form.samples * 1e6 / form.fs
        self.begin_us = _T0
        """Device time of the first sample."""

    def at(self, turn: int) -> tuple[bytearray, int]:
        """The packet of a round; a copy, since several rounds may wait to be sent together."""
        packet = self.packet.copy()
        self._seq.pack_into(packet, self._seq_at, FIRST_SEQ + turn)
        self._t0.pack_into(packet, self._t0_at, self.begin_us + round(turn * self._step_us))
        return packet, self.mid_at


class _Allowance:
    """How many messages may have been sent, as read from stdin."""

    def __init__(self) -> None:
        self.total = 0
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in sys.stdin:
            self.total = int(line)
        self.total = -1


def main() -> None:
    """Publish everything."""
    order = Order(**json.loads(sys.stdin.readline()))
    connection = RawConnection(Broker.parse(order.broker), f"load-{order.devices[0]}")
    meta = encode_meta(DeviceMeta(order.fs, CHANNELS))
    topics = Topics(order.prefix)
    metas = [publish_packet(topics.of(device, Kind.META), meta, retain=True)[:2] for device in order.devices]
    send_all(connection, metas)
    form = Format(order.prefix, order.fs, order.samples, order.encoding)
    templates = [Template(number, device, order.boot, form) for number, device in enumerate(order.devices)]
    print(json.dumps({"ready": len(templates)}), flush=True)
    allowance = _Allowance()
    told = connection.confirmed
    total = len(templates) * order.rounds
    turn = number = sent = 0
    while connection.confirmed - told < total and allowance.total >= 0:
        burst: list[tuple[bytearray, int]] = []
        limit = min(connection.room, _BURST, total - sent, allowance.total - sent)
        while len(burst) < limit:
            burst.append(templates[number].at(turn))
            number += 1
            if number == len(templates):
                turn, number = turn + 1, 0
        if burst:
            connection.send(burst)
            sent += len(burst)
        if not burst or connection.room < connection.window // 2:
            connection.read(0.002)
    print(json.dumps({"sent": sent, "confirmed": connection.confirmed - told}), flush=True)
    connection.close()


def send_all(connection: RawConnection, packets: list[tuple[bytearray, int]]) -> None:
    """Send packets and wait until all are confirmed."""
    while packets or connection.confirmed < connection.sent:
        batch, packets = packets[: connection.room], packets[connection.room :]
        if batch:
            connection.send(batch)
        connection.read(1.0)


if __name__ == "__main__":
    main()
