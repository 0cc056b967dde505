"""An MQTT 5 broker that answers by script: for answers that a real one does not give on demand."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, DISCONNECT = 1, 2, 3, 4, 8, 9, 14


@dataclass
class Packet:
    """One packet: its type, the flags of its first byte, and what follows the length."""

    kind: int
    flags: int
    body: bytes

    @property
    def mid(self) -> bytes:
        """The message id where it stands first."""
        return self.body[:2]


@dataclass
class Connection:
    """One client's connection as a script sees it."""

    socket: socket.socket
    received: list[Packet] = field(default_factory=list)

    def send(self, kind: int, body: bytes, flags: int = 0) -> None:
        assert len(body) < 128
        self.socket.sendall(bytes([kind << 4 | flags, len(body)]) + body)

    def receive(self, kind: int) -> Packet:
        """The next packet of this kind; others are kept in ``received`` all the same."""
        while True:
            first = self._exactly(1)[0]
            length, shift = 0, 0
            while True:
                byte = self._exactly(1)[0]
                length |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    break
            packet = Packet(first >> 4, first & 0x0F, self._exactly(length))
            if packet.kind != PUBLISH:  # others have these flags and no others (MQTT 5, table 2-2)
                assert packet.flags == (2 if packet.kind == SUBSCRIBE else 0), packet
            self.received.append(packet)
            if packet.kind == kind:
                return packet

    def accept(self) -> None:
        """Answer CONNECT with success."""
        self.receive(CONNECT)
        self.send(CONNACK, b"\x00\x00\x00")

    def publish(self, topic: str, payload: bytes, mid: int) -> None:
        """Send a message; a lone surrogate such as \\udcff in the topic becomes a byte that is no UTF-8."""
        name = topic.encode(errors="surrogateescape")
        body = len(name).to_bytes(2, "big") + name + mid.to_bytes(2, "big") + b"\x00" + payload
        self.send(PUBLISH, body, flags=0b0010)

    def _exactly(self, n: int) -> bytes:
        data = b""
        while len(data) < n:
            piece = self.socket.recv(n - len(data))
            if not piece:
                raise ConnectionError("the client closed the connection")
            data += piece
        return data


class ScriptedBroker:
    """Runs one script per connection, in a thread; the connection is closed after its script.

    Args:
        scripts: what to do with the first, second, … connection.
    """

    def __init__(self, *scripts: Callable[[Connection], None]) -> None:
        self._scripts = scripts
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> ScriptedBroker:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # closing alone does not wake who waits in accept
        self._listener.close()
        self._thread.join(10)

    def _serve(self) -> None:
        for script in self._scripts:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            client.settimeout(10)
            with client:
                try:
                    script(Connection(client))
                except (ConnectionError, TimeoutError):
                    continue
