"""Messages that are taken apart where they lie: the same, in the same order, as a reader of packets finds."""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st

from disc_stream.wire.delivery import FIRST_MID
from disc_stream.wire.inbox import Inbox, Takers

Message = tuple[bytes, bytes, bytes, bool, int]
"""Topic, payload, properties, retained, message id; properties as they stand in the packet."""

Ack = tuple[int, int]
"""Message id and reason code of a confirmation of ours."""

_TURNS = 100_000


def length(n: int) -> bytes:
    """A length as MQTT writes it (MQTT 5, 1.5.5)."""
    found = b""
    while True:
        n, digit = divmod(n, 128)
        found += bytes([digit | (128 if n else 0)])
        if not n:
            return found


def publish(topic: bytes, payload: bytes, properties: bytes, flags: int, mid: int) -> bytes:
    qos = flags >> 1 & 3
    body = struct.pack(">H", len(topic)) + topic + (struct.pack(">H", mid) if qos else b"")
    body += length(len(properties)) + properties + payload
    return bytes([0x30 | flags]) + length(len(body)) + body


def content_type(text: bytes) -> bytes:
    return b"\x03" + struct.pack(">H", len(text)) + text


properties = st.one_of(
    st.just(b""),
    st.binary(min_size=1, max_size=124).map(content_type),
    st.just(content_type(b"")),
    st.binary(min_size=125, max_size=200).map(content_type),
    st.just(b"\x01\x01"),  # payload format indicator
    st.just(content_type(b"a/b") + b"\x01\x01"),
    st.just(b"\x26\x00\x01a\x00\x01b"),  # user property
)
messages = st.builds(
    publish,
    st.binary(max_size=40),
    st.binary(max_size=300) | st.integers(0, 80_000).map(lambda n: b"x" * n),
    properties,
    st.sampled_from([0x2, 0x3, 0xA, 0xB, 0x0, 0x1, 0x4]),  # QoS 1 repeated and retained or not, 0 and 2
    st.integers(1, 65_535),
)
others = st.sampled_from(
    [b"\xd0\x00", b"\x40\x02\x00\x07", b"\x40\x03\x00\x07\x00", b"\x90\x04\x00\x01\x00\x01"]
)
acks = st.builds(
    lambda mid, rest: bytes([0x40, 2 + len(rest)]) + mid.to_bytes(2, "big") + rest,
    st.integers(1, 2**16 - 1) | st.integers(FIRST_MID - 1, FIRST_MID + 1),
    st.sampled_from([b"", b"\x00", b"\x10", b"\x87", b"\x87\x00", b"\x97\x04\x1f\x00\x01x"]),
)
streams = st.lists(messages | others | acks, max_size=12)
cuts = st.lists(st.integers(0, 2**20), max_size=8)


def fields(packet: bytes) -> Message | Ack | bytes:
    """A message's fields, or those of a confirmation of ours; the packet itself if it is neither."""
    if packet[0] == 0x40 and packet[1] <= 4 and int.from_bytes(packet[2:4], "big") >= FIRST_MID:
        return int.from_bytes(packet[2:4], "big"), packet[4] if packet[1] > 2 else 0
    if packet[0] & 0xF6 != 0x32:
        return packet
    at, size, shift = 1, 0, 0
    while True:
        size |= (packet[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if packet[at - 1] < 128:
            break
    (n,) = struct.unpack_from(">H", packet, at)
    topic, at = packet[at + 2 : at + 2 + n], at + 2 + n
    (mid,) = struct.unpack_from(">H", packet, at)
    n, at = packet[at + 2] & 127, at + 3
    if packet[at - 1] > 127:
        n, at = n | packet[at] << 7, at + 1
    return topic, packet[at + n :], packet[at : at + n], bool(packet[0] & 1), mid


class Receiver:
    """Reads as the network thread does: messages from the inbox, every other packet byte by byte as paho."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection, self.inbox = connection, Inbox(connection)
        self.found: list[Message | Ack | bytes] = []
        self._packet = b""
        self._left: int | None = None  # bytes of the packet that are still to come; None within its length

    def read(self) -> None:
        """Take in what has arrived."""
        for _ in range(_TURNS):
            if self._packet or self.inbox.take(Takers(self._plain, acks=self.found.extend)):
                self._read_packet()
            if (
                not (self.inbox.pending() or select.select([self.connection], [], [], 0)[0])
                or self.inbox.ended
            ):
                return
        raise AssertionError("it goes round and round")

    def _plain(
        self, topic: bytes, payload: bytes, kind: bytes, retained: bool, mid: int, dropped: int
    ) -> None:
        assert dropped == 0, "everything is wanted here"
        self.found.append((topic, payload, content_type(kind) if kind else b"", retained, mid))

    def _read_packet(self) -> None:
        while self._left is None or self._left:
            try:
                piece = self.inbox.recv(1 if self._left is None else self._left)
            except BlockingIOError:
                return
            if not piece:
                return
            self._packet += piece
            if self._left is not None:
                self._left -= len(piece)
            elif len(self._packet) > 1 and piece[0] < 128:
                self._left = sum((digit & 127) << 7 * n for n, digit in enumerate(self._packet[1:]))
        self.found.append(fields(self._packet))
        self._packet, self._left = b"", None


@contextmanager
def connected() -> Iterator[tuple[socket.socket, Receiver]]:
    far, near = socket.socketpair()
    with far, near:
        near.setblocking(False)
        yield far, Receiver(near)


def pieces(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    """The bytes in pieces, none of them larger than what a socket takes at once."""
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {*range(0, len(data), 50_000)} | {0, len(data)})
    return (data[a:b] for a, b in pairwise(places))


@given(streams, cuts)
@settings(max_examples=150)
@example([publish(b"t", b"x" * 70_000, b"", 2, 1), b"\xd0\x00", publish(b"t", b"y", b"", 2, 2)], [3, 69_999])
@example([b"\xd0\x00", publish(b"", b"", b"", 2, 1)], [1, 2, 3])
def test_nothing_is_lost_changed_or_reordered(packets: list[bytes], cuts: list[int]) -> None:
    with connected() as (far, receiver):
        for piece in pieces(b"".join(packets), cuts):
            far.sendall(piece)
            receiver.read()
    assert receiver.found == [fields(packet) for packet in packets]


@given(streams, cuts, st.integers(0, 2**20), st.integers(0, 255))
@settings(max_examples=150)
def test_a_damaged_stream_is_an_error_of_nobody(
    packets: list[bytes], cuts: list[int], place: int, byte: int
) -> None:
    data = bytearray(b"".join(packets) or b"\x32")
    data[place % len(data)] = byte
    with connected() as (far, receiver):

        def handle(topic: bytes, payload: bytes, kind: bytes, retained: bool, mid: int, dropped: int) -> None:
            assert len(topic) + len(payload) + len(kind) <= len(data)

        receiver._plain = handle  # type: ignore[method-assign]
        for piece in pieces(bytes(data), cuts):
            far.sendall(piece)
            try:
                receiver.read()
            except (IndexError, struct.error):  # of our own reader of packets; paho closes the connection
                return


def test_the_end_of_the_connection_is_seen_once_everything_is_read() -> None:
    with connected() as (far, receiver):
        far.sendall(publish(b"t", b"x", b"", 2, 1) + publish(b"t", b"half", b"", 2, 2)[:-1])
        far.shutdown(socket.SHUT_WR)
        receiver.read()
        assert receiver.found == [(b"t", b"x", b"", False, 1)]
        assert receiver.inbox.ended
