"""A device that sends as much as the broker takes: ``python -m disc_stream.load.attacker``.

Its order is a line of JSON on stdin; it ends when stdin does, and then writes how much it has sent.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass, field, replace

from disc_stream.load.processes import until_stdin_ends
from disc_stream.load.publisher import CHANNELS, Format, Template, send_all
from disc_stream.load.wire import RawConnection, publish_packet
from disc_stream.types import DeviceMeta
from disc_stream.wire.broker import Broker
from disc_stream.wire.meta import encode_meta
from disc_stream.wire.topics import Kind, Topics

KINDS = ("huge", "many", "garbage")
"""Messages as large as may be, of ordinary size as fast as they go, and such that nobody can read."""

_KIND_S = 5.0  # for so long one kind is sent, then the next
_HUGE_ROWS = 21_500  # of six channels in 16 bits: just below max_payload_bytes
_GARBAGE = bytes(1_000)
_BURST = 64
_BURST_BYTES = 2**20
_NICE = 10


@dataclass(frozen=True, slots=True)
class AttackOrder:
    """What to send.

    Args:
        broker: URL.
        prefix: of the topics.
        device: the attacker's id.
        form: what an ordinary message looks like.
        kinds: of the messages, one after the other.
    """

    broker: str = field(repr=False)
    prefix: str
    device: str
    fs: float
    samples: int
    encoding: str
    kinds: tuple[str, ...] = KINDS


class _Source:
    """The messages of one kind, numbered on."""

    def __init__(self, order: AttackOrder, kind: str, boot: int) -> None:
        self._template: Template | None = None
        form = Format(order.prefix, order.fs, order.samples, order.encoding)
        if kind == "garbage":
            topic = Topics(order.prefix).of(order.device, Kind.RAW)
            self._packet, self._at = publish_packet(topic, _GARBAGE)[:2]
        else:
            form = replace(form, samples=_HUGE_ROWS) if kind == "huge" else form
            self._template = Template(0, order.device, boot, form)
            self._template.begin_us = time.time_ns() // 1000
        self._turn = 0

    def next(self) -> tuple[bytearray, int]:
        """The next message, and where its id goes."""
        if self._template is None:
            return self._packet.copy(), self._at
        self._turn += 1
        return self._template.at(self._turn - 1)


def main() -> None:
    """Publish until stdin ends."""
    order = AttackOrder(**json.loads(sys.stdin.readline()))
    # A real one has a machine of its own; here it is not to compete with the server for the processors.
    os.nice(_NICE)
    connection = RawConnection(Broker.parse(order.broker), order.device)
    topics, meta = Topics(order.prefix), encode_meta(DeviceMeta(order.fs, CHANNELS))
    send_all(connection, [publish_packet(topics.of(order.device, Kind.META), meta, retain=True)[:2]])
    ended = until_stdin_ends()
    print(json.dumps({"ready": 1}), flush=True)
    sent = dict.fromkeys(order.kinds, 0)
    size, boot = 0, int(time.time())
    while not ended.is_set():
        for kind in order.kinds:
            boot += 1
            source, until = _Source(order, kind, boot), time.monotonic() + _KIND_S
            while time.monotonic() < until and not ended.is_set():
                burst: list[tuple[bytearray, int]] = []
                bytes_ = 0
                while len(burst) < min(connection.room, _BURST) and bytes_ < _BURST_BYTES:
                    burst.append(source.next())
                    bytes_ += len(burst[-1][0])
                if burst:
                    connection.send(burst)
                    sent[kind] += len(burst)
                    size += bytes_
                if not burst or connection.room < connection.window // 2:
                    connection.read(0.01)
    print(json.dumps({"sent": sent, "bytes": size, "confirmed": connection.confirmed}), flush=True)
    connection.close()


if __name__ == "__main__":
    main()
