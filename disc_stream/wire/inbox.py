"""The receiving side of a connection: read in large pieces, ordinary messages taken apart at once.

paho reads a packet in three calls and hands it through a dozen functions, which takes 20 µs. A flood of
messages that are to be refused would so take all the time there is; taken apart where they lie they cost two.
Whatever is not an ordinary message is left to paho.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import Any

from disc_stream.wire.client import plain_properties

OnPlain = Callable[[bytes, bytes, bytes, bool, int], None]
"""Topic, payload, content type, whether it was retained, message id."""

_PIECE, _LARGEST_PIECE = 2**16, 2**20  # bytes read at once
_LONGEST = 2**21  # bytes of a packet; what is longer is paho's
_PUBLISH_QOS1, _KIND = 0x32, 0xF6  # MQTT 5, 3.3.1: whether it is a repetition, or retained, does not matter
_EMPTY = (BlockingIOError, ssl.SSLWantReadError)


class Inbox:
    """A socket that is read in large pieces; everything else is the socket's own.

    Args:
        connection: the socket, plain or TLS.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._data, self._at = b"", 0
        self._piece = _PIECE
        self._lacks = False  # whether the rest of a message must come before anything can be done
        self.received = 0
        """Bytes read from the socket."""
        self.ended = False
        """Whether the other side has closed the connection."""
        self.send = connection.send
        self._of_tls: Callable[[], int] = getattr(connection, "pending", lambda: 0)

    def recv(self, n: int) -> bytes:
        """Up to n bytes, from what has been read already or from the socket."""
        self._lacks = False
        at = self._at
        if at >= len(self._data):
            self._data, at = self._read(), 0
        piece = self._data[at : at + n]
        self._at = at + len(piece)
        return piece

    def pending(self) -> int:
        """Bytes that can be worked on, though no poll would tell of them."""
        return (0 if self._lacks else len(self._data) - self._at) or self._of_tls()

    def take(self, handle: OnPlain) -> bool:
        """Hand over the messages that are here, from a border between packets on.

        Returns:
            Whether what follows is paho's; if not, there is nothing more, or a message without its end.
        """
        self._take_complete(handle)
        if not self._lacks and self._at < len(self._data):
            return True
        try:
            piece = self._read()
        except _EMPTY:
            return False
        except OSError:
            piece = b""
        if not piece:  # the end of the connection is for paho to see
            self._lacks = False
            return True
        self._data, self._at = self._data[self._at :] + piece, 0
        self._take_complete(handle)
        return not self._lacks and self._at < len(self._data)

    def _take_complete(self, handle: OnPlain) -> None:
        data, at, n = self._data, self._at, len(self._data)
        self._lacks = False
        while at < n and data[at] & _KIND == _PUBLISH_QOS1:
            body, length = _length(data, at + 1)
            if body < 0 or (length <= _LONGEST and body + length > n):
                self._lacks = True
                break
            if length > _LONGEST or length < 5:
                break
            end, name = body + length, body + 2
            mid = name + (data[body] << 8 | data[body + 1])
            if mid + 3 > end:
                break
            content_type = plain_properties(data, mid + 2)
            if content_type is None:
                break
            begin = mid + 3 + (len(content_type) + 3 if content_type else 0)
            if begin > end:
                break
            self._at = end  # also where the handler fails
            retained = bool(data[at] & 1)
            handle(data[name:mid], data[begin:end], content_type, retained, data[mid] << 8 | data[mid + 1])
            at = end

    def _read(self) -> bytes:
        """What the socket has; pieces grow while there is more.

        Raises:
            BlockingIOError: if there is nothing.
            SSLWantReadError: likewise.
        """
        piece = self._connection.recv(self._piece)
        self.received += len(piece)
        self.ended = not piece
        self._piece = min(2 * self._piece, _LARGEST_PIECE) if len(piece) == self._piece else _PIECE
        return piece

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def _length(data: bytes, at: int) -> tuple[int, int]:
    """Where a packet's body begins, and its length (MQTT 5, 1.5.5); -1 if that is not all here."""
    length = shift = 0
    for place in range(at, at + 4):
        if place >= len(data):
            return -1, 0
        length |= (data[place] & 127) << shift
        if data[place] < 128:
            return place + 1, length
        shift += 7
    return at + 4, _LONGEST + 1  # no such length: paho closes the connection
