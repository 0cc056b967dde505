"""paho's client, with received messages unpacked directly and sockets that are made elsewhere.

Half of what paho spends on a received message goes into an object for its properties, mostly empty. Here
messages with no property but a content type are unpacked directly, and confirmations of messages that paho
did not send are passed on. Keep-alive, subscriptions and everything else stay paho's (docs/adr/0003).

Message ids from ``FIRST_MID`` on belong to ``disc_stream.wire.sender``, the lower ones to paho.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence

import paho.mqtt.client as paho
from paho.mqtt.client import PUBACK
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from disc_stream.wire.broker import Broker
from disc_stream.wire.delivery import FIRST_MID, Session

KEEPALIVE_S = 30
_CONTENT_TYPE = 0x03  # MQTT 5, 3.3.2.3.9
_QOS1 = 0x02

OnAcks = Callable[[Sequence[tuple[int, int]]], None]
"""Confirmations of messages from ``FIRST_MID`` on: message id and reason code of each."""
OnPlain = Callable[[bytes, bytes, bytes, bool, int, int], None]
Wants = Callable[[bytes, int], bool]


class Client(paho.Client):
    """paho's client for sockets that are connected already."""

    ready: socket.socket | None = None
    """Connected socket, plain or TLS, that the next ``connect`` or ``reconnect`` takes."""
    on_acks: OnAcks | None = None
    """Told of confirmations of messages that paho did not send."""
    on_plain: OnPlain | None = None
    """Told of a plain message with QoS 1, see ``disc_stream.wire.inbox.OnPlain``."""
    wants: Wants | None = None
    """Asked before a large payload is read, see ``disc_stream.wire.inbox.Wants``."""

    def _create_socket(self) -> socket.socket:
        connection, self.ready = self.ready, None
        if connection is None:
            raise ConnectionError("there is no connected socket")
        return connection

    def _handle_publish(self) -> MQTTErrorCode:
        packet = self._in_packet
        flags, body = packet["command"], packet["packet"]
        if self.on_plain is None or self._protocol != paho.MQTTv5 or flags & 0x06 != _QOS1 or len(body) < 5:
            return super()._handle_publish()
        end = 2 + (body[0] << 8 | body[1])  # of the topic; the message id and the properties' length follow
        content_type = plain_properties(body, end + 2)
        if content_type is None:
            return super()._handle_publish()
        payload = bytes(body[end + 3 + (len(content_type) + 3 if content_type else 0) :])
        mid = body[end] << 8 | body[end + 1]
        self.on_plain(bytes(body[2:end]), payload, content_type, bool(flags & 1), mid, 0)
        return MQTTErrorCode.MQTT_ERR_SUCCESS if self._manual_ack else self._send_puback(mid)

    @property
    def is_between_packets(self) -> bool:
        """Whether what is received next begins a packet, which may be taken apart directly."""
        return not self._in_packet["command"] and self.on_plain is not None and self._protocol == paho.MQTTv5

    def take_plain(
        self, topic: bytes, payload: bytes, content_type: bytes, retained: bool, mid: int, dropped: int
    ) -> None:
        """A plain message was received and taken apart."""
        self._last_msg_in = paho.time_func()
        if self.on_plain is not None:
            self.on_plain(topic, payload, content_type, retained, mid, dropped)
        if not self._manual_ack:
            self._send_puback(mid)

    def take_acks(self, acks: Sequence[tuple[int, int]]) -> None:
        """Confirmations of messages that paho did not send were received and taken apart."""
        self._last_msg_in = paho.time_func()
        if self.on_acks is not None:
            self.on_acks(acks)

    def _packet_handle(self) -> MQTTErrorCode:
        packet = self._in_packet
        if packet["command"] & 0xF0 == PUBACK and self.on_acks is not None:
            body = packet["packet"]
            if len(body) >= 2 and (mid := body[0] << 8 | body[1]) >= FIRST_MID:
                self.on_acks([(mid, body[2] if len(body) > 2 else 0)])
                return MQTTErrorCode.MQTT_ERR_SUCCESS
        return super()._packet_handle()

    def _mid_generate(self) -> int:
        with self._mid_generate_mutex:
            self._last_mid = self._last_mid % (FIRST_MID - 1) + 1
            return self._last_mid


def prepare(client: paho.Client, broker: Broker, session: Session) -> None:
    """Tell a client what to send in its CONNECT (MQTT 5, 3.1)."""
    v5, clean = broker.protocol == "5", session.expiry_s == 0
    client.connect_async(
        broker.host,
        broker.port,
        keepalive=KEEPALIVE_S,
        clean_start=clean if v5 else paho.MQTT_CLEAN_START_FIRST_ONLY,
        properties=connect_properties(session.expiry_s, session.receive_maximum, session.max_packet_bytes)
        if v5
        else None,
    )


def connect_properties(
    session_expiry_s: int, receive_maximum: int | None = None, max_packet_bytes: int | None = None
) -> Properties:
    """Properties of a CONNECT (MQTT 5, 3.1.2.11)."""
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = session_expiry_s
    if receive_maximum is not None:
        properties.ReceiveMaximum = receive_maximum
    if max_packet_bytes is not None:
        properties.MaximumPacketSize = max_packet_bytes
    return properties


def plain_properties(body: bytes | bytearray, at: int) -> bytes | None:
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
