"""Many small messages in and out with QoS 1, over a connection that paho keeps.

paho spends on each message it publishes, and again on its confirmation, as much as the server may spend on
labelling a window; and half of what it spends on a received one goes into an object for its properties,
mostly empty. Here messages are packed and handed to paho's socket in large pieces, their confirmations are
counted, and received messages with no property but a content type are unpacked directly. Connecting, TLS,
keep-alive and everything else stay paho's (docs/adr/0003).

Message ids from ``FIRST_MID`` on are ours, the lower ones paho's.
"""

from __future__ import annotations

import itertools
import struct
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence

import paho.mqtt.client as paho
from paho.mqtt.client import PUBACK
from paho.mqtt.enums import MQTTErrorCode

FIRST_MID = 32_768
_MIDS = 65_536 - FIRST_MID
_PIECE = 256  # packets written at once
_DUP = 0x08
_UINT16 = struct.Struct("!H")

_CONTENT_TYPE = 0x03  # MQTT 5, 3.3.2.3.9
_QOS1 = 0x02

OnAck = Callable[[int, int], bool]
OnPlain = Callable[[bytes, bytes, bytes, bool, int], None]


class Client(paho.Client):
    """paho's client, but for plain messages, and for confirmations of messages that are not its own."""

    on_foreign_ack: OnAck | None = None
    """Told of a confirmation (message id, reason code); whether it was of a message of ours."""
    on_plain: OnPlain | None = None
    """Told of a plain message with QoS 1: topic, payload, content type, retained, message id."""

    def _handle_publish(self) -> MQTTErrorCode:
        packet = self._in_packet
        flags, body = packet["command"], packet["packet"]
        if self.on_plain is None or self._protocol != paho.MQTTv5 or flags & 0x06 != _QOS1 or len(body) < 5:
            return super()._handle_publish()
        end = 2 + (body[0] << 8 | body[1])  # of the topic; the message id and the properties' length follow
        content_type = _plain_properties(body, end + 2)
        if content_type is None:
            return super()._handle_publish()
        payload = bytes(body[end + 3 + (len(content_type) + 3 if content_type else 0) :])
        mid = body[end] << 8 | body[end + 1]
        self.on_plain(bytes(body[2:end]), payload, content_type, bool(flags & 1), mid)
        return MQTTErrorCode.MQTT_ERR_SUCCESS if self._manual_ack else self._send_puback(mid)

    def _packet_handle(self) -> MQTTErrorCode:
        packet = self._in_packet
        if packet["command"] & 0xF0 == PUBACK and self.on_foreign_ack is not None:
            body = packet["packet"]
            if len(body) >= 2 and self.on_foreign_ack(
                body[0] << 8 | body[1], body[2] if len(body) > 2 else 0
            ):
                return MQTTErrorCode.MQTT_ERR_SUCCESS
        return super()._packet_handle()

    def _mid_generate(self) -> int:
        with self._mid_generate_mutex:
            self._last_mid = self._last_mid % (FIRST_MID - 1) + 1
            return self._last_mid


def _plain_properties(body: bytearray, at: int) -> bytes | None:
    """The content type if there is no other property; None if there are others, or it is paho's to judge."""
    length = body[at] if at < len(body) else 128
    if length == 0:
        return b""
    if length > 127 or at + 4 > len(body) or body[at + 1] != _CONTENT_TYPE:
        return None
    size = body[at + 2] << 8 | body[at + 3]
    if size == 0 or size + 3 != length or at + 4 + size > len(body):
        return None
    return bytes(body[at + 4 : at + 4 + size])


class BulkSender:
    """Messages on their way, kept until they are confirmed, and sent again after a break.

    Args:
        write: hands bytes to the connection.
        v5: whether packets are those of MQTT 5.
    """

    def __init__(self, write: Callable[[bytes], None], *, v5: bool) -> None:
        self._write, self._properties = write, b"\0" if v5 else b""
        self._lock = threading.Lock()
        self._queue: deque[tuple[int, bytearray, int]] = deque()  # (serial, packet, place of the id)
        self._flying: OrderedDict[int, tuple[int, bytearray, int]] = OrderedDict()  # by message id
        self._mids = itertools.cycle(range(FIRST_MID, FIRST_MID + _MIDS))
        self._limit = 0  # messages that the broker takes unconfirmed; 0 while there is no connection
        self._changed = threading.Condition(self._lock)
        self.added = 0
        """Messages put in since the start."""

    def put(self, messages: Iterable[tuple[str, bytes]], *, retain: bool) -> None:
        """Send messages (topic, payload), in order."""
        packed = [self._pack(topic, payload, retain) for topic, payload in messages]
        with self._lock:
            for packet, at in packed:
                self.added += 1
                self._queue.append((self.added, packet, at))
            self._pump()

    @property
    def settled(self) -> int:
        """How many messages, counted from the first without a hole, are confirmed."""
        with self._lock:
            return self._settled()

    def wait(self, timeout_s: float) -> bool:
        """Wait until all are confirmed; False if time ran out before."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._flying and not self._queue, timeout_s)

    # -- on the network thread ------------------------------------------------------------------------

    def up(self, limit: int) -> None:
        """There is a connection that takes so many unconfirmed messages: send again what is on its way."""
        with self._lock:
            again = list(self._flying.values())
            for _, packet, _ in again:
                packet[0] |= _DUP
            self._flying.clear()
            self._queue.extendleft(reversed(again))
            self._limit = min(limit, _MIDS)
            self._pump()

    def down(self) -> None:
        """The connection is gone."""
        with self._lock:
            self._limit = 0

    def acknowledge(self, mid: int) -> bool:
        """The broker has answered a message; whether it was one of ours."""
        if mid < FIRST_MID:
            return False
        with self._lock:
            self._flying.pop(mid, None)
            if self._queue and len(self._flying) <= self._limit // 2:
                self._pump()
            if not self._flying:
                self._changed.notify_all()
        return True

    def _settled(self) -> int:
        first: Sequence[tuple[int, bytearray, int]] = (
            [next(iter(self._flying.values()))] if self._flying else []
        )
        oldest = first or ([self._queue[0]] if self._queue else [])
        return oldest[0][0] - 1 if oldest else self.added

    def _pump(self) -> None:
        """Write what the broker takes."""
        room = self._limit - len(self._flying)
        while room > 0 and self._queue:
            piece = []
            for _ in range(min(room, _PIECE, len(self._queue))):
                serial, packet, at = self._queue.popleft()
                mid = next(self._mids)
                _UINT16.pack_into(packet, at, mid)
                self._flying[mid] = serial, packet, at
                piece.append(packet)
            room -= len(piece)
            self._write(b"".join(piece))

    def _pack(self, topic: str, payload: bytes, retain: bool) -> tuple[bytearray, int]:
        name = topic.encode()
        length = 4 + len(name) + len(self._properties) + len(payload)
        head = bytearray((0x32 | retain,))
        while length > 127:
            head.append(length & 127 | 128)
            length >>= 7
        head.append(length)
        head += _UINT16.pack(len(name))
        head += name
        at = len(head)
        head += b"\0\0"
        head += self._properties
        head += payload
        return head, at
