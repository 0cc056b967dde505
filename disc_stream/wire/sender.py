"""Our QoS 1 messages on their way to the broker, over a connection that paho keeps.

paho spends on each message it publishes, and again on its confirmation, as much as the server may spend on
labelling a window. Here messages are packed and handed to paho's socket in large pieces, and their
confirmations are counted (docs/adr/0003). All messages of a link go through one sender, so that they share
the one limit of unconfirmed messages that the broker has set (Receive Maximum; MQTT 5, 3.3.4).
"""

from __future__ import annotations

import itertools
import struct
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable

import msgspec

from disc_stream.wire.delivery import FIRST_MID, Delivery

_MIDS = 65_536 - FIRST_MID
_PIECE = 256  # packets written at once
_PUBLISH, _RETAINED = b"\x32", b"\x33"  # MQTT 5, 3.3.1: QoS 1
_DUP = 0x08
_CONTENT_TYPE = 0x03
_UINT16 = struct.Struct("!H")


class _Outgoing(msgspec.Struct, frozen=True, gc=False):
    """A packed message: its number, its packet, where in that the message id stands, and who waits for it."""

    serial: int
    packet: bytearray
    at: int
    delivery: Delivery | None


class Sender:
    """Keeps messages until they are confirmed, and sends them again after a break.

    Args:
        write: hands bytes to the connection; must not call back.
        v5: whether packets are those of MQTT 5.
    """

    def __init__(self, write: Callable[[bytes], None], *, v5: bool) -> None:
        self._write, self._v5 = write, v5
        self._lock = threading.Lock()
        self._queue: deque[_Outgoing] = deque()
        self._flying: OrderedDict[int, _Outgoing] = OrderedDict()  # by message id, in order of their numbers
        self._mids = itertools.cycle(range(FIRST_MID, FIRST_MID + _MIDS))
        self._limit = 0  # messages that the broker takes unconfirmed; 0 while there is no connection
        self._changed = threading.Condition(self._lock)
        self.added = 0
        """Messages put in since the start."""

    def put(self, topic: str, payload: bytes, *, retain: bool, content_type: str | None) -> Delivery:
        """Send a message, after those that were put in before."""
        packet, at = self._pack(topic, payload, retain, content_type)
        delivery = Delivery()
        with self._lock:
            self._add(packet, at, delivery)
            self._pump()
        return delivery

    def put_many(self, messages: Iterable[tuple[str, bytes]], *, retain: bool) -> None:
        """Send messages (topic, payload), in order."""
        packed = [self._pack(topic, payload, retain, None) for topic, payload in messages]
        with self._lock:
            for packet, at in packed:
                self._add(packet, at, None)
            self._pump()

    @property
    def settled(self) -> int:
        """How many messages, counted from the first without a hole, are confirmed or refused."""
        with self._lock:
            if self._flying:
                return next(iter(self._flying.values())).serial - 1
            return self._queue[0].serial - 1 if self._queue else self.added

    def wait(self, timeout_s: float, *, reconnect: bool) -> bool:
        """Wait until all are confirmed or refused.

        Args:
            timeout_s: longest wait.
            reconnect: whether to wait for another connection where there is none.

        Returns:
            False if there are some left.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._is_empty or not (reconnect or self._limit), timeout_s)
            return self._is_empty

    @property
    def _is_empty(self) -> bool:
        return not self._flying and not self._queue

    # -- on the network thread ------------------------------------------------------------------------

    def up(self, limit: int) -> None:
        """There is a connection that takes so many unconfirmed messages: send again what is on its way.

        What is sent again keeps its message id (MQTT 5, 4.4).
        """
        with self._lock:
            again = list(self._flying.values())
            for message in again:
                message.packet[0] |= _DUP
            self._flying.clear()
            self._queue.extendleft(reversed(again))
            self._limit = min(limit, _MIDS)
            self._pump()

    def down(self) -> None:
        """The connection is gone."""
        with self._lock:
            self._limit = 0
            self._changed.notify_all()

    def acknowledge(self, acks: Iterable[tuple[int, int]]) -> None:
        """The broker has answered messages; the id and the reason code of each."""
        answered: list[tuple[Delivery, int]] = []
        with self._lock:
            for mid, code in acks:
                message = self._flying.pop(mid, None)
                if message is not None and message.delivery is not None:
                    answered.append((message.delivery, code))
            if self._queue and len(self._flying) <= self._limit // 2:
                self._pump()
            if not self._flying:
                self._changed.notify_all()
        for delivery, code in answered:
            delivery.answer(code)

    def _add(self, packet: bytearray, at: int, delivery: Delivery | None) -> None:
        self.added += 1
        self._queue.append(_Outgoing(self.added, packet, at, delivery))

    def _pump(self) -> None:
        """Write what the broker takes."""
        room = self._limit - len(self._flying)
        while room > 0 and self._queue:
            piece = []
            for _ in range(min(room, _PIECE, len(self._queue))):
                message = self._queue.popleft()
                self._flying[self._number(message)] = message
                piece.append(message.packet)
            room -= len(piece)
            self._write(b"".join(piece))

    def _number(self, message: _Outgoing) -> int:
        """The message id: a free one, unless it had one on an earlier connection."""
        mid: int = _UINT16.unpack_from(message.packet, message.at)[0]
        if mid == 0:
            mid = next(self._mids)
            while mid in self._flying:
                mid = next(self._mids)
            _UINT16.pack_into(message.packet, message.at, mid)
        return mid

    def _pack(
        self, topic: str, payload: bytes, retain: bool, content_type: str | None
    ) -> tuple[bytearray, int]:
        """(PUBLISH with QoS 1 and the message id 0, place of the id); MQTT 5, 3.3."""
        name, properties = topic.encode(), self._properties(content_type)
        length = 4 + len(name) + len(properties) + len(payload)
        head = b"".join((_RETAINED if retain else _PUBLISH, _varint(length), _UINT16.pack(len(name)), name))
        return bytearray(b"".join((head, b"\0\0", properties, payload))), len(head)

    def _properties(self, content_type: str | None) -> bytes:
        if not self._v5:
            return b""
        if content_type is None:
            return b"\0"
        text = content_type.encode()
        inside = bytes((_CONTENT_TYPE,)) + _UINT16.pack(len(text)) + text
        return _varint(len(inside)) + inside


def _varint(value: int) -> bytes:
    """Variable byte integer (MQTT 5, 1.5.5)."""
    if 127 < value < 16_384:  # most of them
        return bytes((value & 127 | 128, value >> 7))
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
