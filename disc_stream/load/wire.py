"""The few MQTT 5 packets that a load generator needs, made faster than a full client makes them.

A generator must outrun the server on the same machine; a client library spends as much on sending a message
as the server may spend on receiving one.
"""

from __future__ import annotations

import socket
import struct

from disc_stream.errors import BrokerError
from disc_stream.wire.broker import Broker

_WINDOW = 500  # unconfirmed messages, where the broker allows as many
_SEND_S = 60.0
_RECEIVE_MAXIMUM = 0x21
# Sizes of the CONNACK properties that may stand before Receive Maximum, by identifier (MQTT 5, 2.2.2.2).
_SIZES = {
    0x11: 4,
    0x24: 1,
    0x25: 1,
    0x27: 4,
    0x22: 2,
    0x28: 1,
    0x29: 1,
    0x2A: 1,
    0x13: 2,
    _RECEIVE_MAXIMUM: 2,
}


def remaining_length(n: int) -> bytes:
    """The variable byte integer of MQTT (1.5.5)."""
    out = bytearray()
    while True:
        n, digit = n >> 7, n & 127
        out.append(digit | (128 if n else 0))
        if not n:
            return bytes(out)


def publish_packet(topic: str, payload: bytes, *, retain: bool = False) -> tuple[bytearray, int, int]:
    """A QoS 1 PUBLISH; returns it, and where its message id and its payload begin."""
    name = topic.encode()
    body = struct.pack(">H", len(name)) + name + b"\0\0" + b"\0" + payload
    head = bytes([0x32 | retain]) + remaining_length(len(body))
    packet = bytearray(head + body)
    return packet, len(head) + 2 + len(name), len(packet) - len(payload)


class RawConnection:
    """A connection that publishes with QoS 1 and reads nothing but confirmations.

    Args:
        broker: where to; no TLS.
        client_id: for the connection.

    Raises:
        BrokerError: if it refuses.
    """

    def __init__(self, broker: Broker, client_id: str) -> None:
        self._socket = socket.create_connection((broker.host, broker.port), 10)
        name = client_id.encode()
        flags, tail = 0x02, b""
        if broker.username is not None:
            flags |= 0x80
            tail += struct.pack(">H", len(broker.username.encode())) + broker.username.encode()
        if broker.password is not None:
            flags |= 0x40
            tail += struct.pack(">H", len(broker.password.encode())) + broker.password.encode()
        body = b"\0\4MQTT\5" + bytes([flags]) + b"\0\0\0" + struct.pack(">H", len(name)) + name + tail
        self._socket.sendall(b"\x10" + remaining_length(len(body)) + body)
        answer = self._socket.recv(1024)
        if len(answer) < 5 or answer[0] != 0x20 or answer[3]:
            raise BrokerError(f"the broker at {broker} refused the load generator ({answer[:8].hex()})")
        self.window = min(_WINDOW, _limit(answer[5:]))
        self._rest = b""
        self._mid = 0
        self.sent = self.confirmed = 0

    def send(self, packets: list[tuple[bytearray, int]]) -> None:
        """Send packets with new message ids; they must fit into the window."""
        for packet, at in packets:
            self._mid = self._mid % 65_535 + 1
            struct.pack_into(">H", packet, at, self._mid)
        self._socket.settimeout(_SEND_S)  # that of ``read`` is shorter than a broker may need
        self._socket.sendall(b"".join([packet for packet, _ in packets]))
        self.sent += len(packets)

    def read(self, timeout_s: float) -> None:
        """Wait for confirmations, and count them."""
        self._socket.settimeout(timeout_s)
        try:
            data = self._rest + self._socket.recv(65_536)
        except TimeoutError:
            return
        if not data:
            raise BrokerError("the broker closed the load generator's connection")
        at = 0
        while at + 2 <= len(data) and at + 2 + data[at + 1] <= len(data):
            if data[at] == 0x40:
                self.confirmed += 1
            elif data[at] == 0xE0:
                raise BrokerError(f"the broker disconnected the load generator ({data[at : at + 4].hex()})")
            at += 2 + data[at + 1]
        self._rest = data[at:]

    @property
    def room(self) -> int:
        """Messages that may be sent now."""
        return self.window - (self.sent - self.confirmed)

    def close(self) -> None:
        """Disconnect gracefully."""
        self._socket.sendall(b"\xe0\0")
        self._socket.close()


def _limit(properties: bytes) -> int:
    """Receive Maximum of a CONNACK; 65,535 if it names none."""
    at, end = 1, 1 + properties[0] if properties else 0
    while at < end and properties[at] in _SIZES:
        size = _SIZES[properties[at]]
        if properties[at] == _RECEIVE_MAXIMUM:
            return int.from_bytes(properties[at + 1 : at + 3], "big")
        at += 1 + size
    return 65_535
