"""The receiving side of a connection: read in large pieces, ordinary packets taken apart at once.

paho reads a packet in three calls and hands it through a dozen functions, which takes 20 µs. A flood of
messages that are to be refused would so take all the time there is; taken apart where they lie they cost two.
A large payload that is not wanted is not even copied: its bytes are read over into one buffer, which stays.
Confirmations of our own messages come one for each label, and are taken together. Whatever is neither is left
to paho.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import Any, NamedTuple

from disc_stream.wire.client import OnAcks, plain_properties
from disc_stream.wire.delivery import FIRST_MID

OnPlain = Callable[[bytes, bytes, bytes, bool, int, int], None]
"""Topic, payload, content type, retained, message id, bytes of the payload that were read over."""
_Plain = tuple[bytes, bytes, bytes, bool, int, int]
Wants = Callable[[bytes, int], bool]
"""Topic and bytes of a large payload: whether it is to be read; asked again as more of the message comes."""

LARGE = 2**14  # bytes of payload
_PIECE, _LARGEST_PIECE = 2**16, 2**20  # bytes read at once
_SCRATCH = 2**18
_LONGEST = 2**21  # bytes of a packet; what is longer is paho's
_HEAD = 2 + 1 + 127  # bytes between topic and payload at most: message id, properties of an ordinary message
_PUBLISH_QOS1, _KIND = 0x32, 0xF6  # MQTT 5, 3.3.1: whether it is a repetition, or retained, does not matter
_PUBACK, _PUBACK_LONGEST = 0x40, 4  # MQTT 5, 3.4: with a reason code, and the length of no properties
_EMPTY = (BlockingIOError, ssl.SSLWantReadError)


class Takers(NamedTuple):
    """Who is given what was taken apart.

    Args:
        plain: messages.
        wants: asked before a large payload is read; None if all are.
        acks: confirmations of our messages, several at once; None if they are paho's.
    """

    plain: OnPlain
    wants: Wants | None = None
    acks: OnAcks | None = None


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
        self._unwanted: _Plain | None = None  # a message whose payload is being read over
        self._left = 0  # bytes of it that have to come
        self._scratch: memoryview | None = None  # where they go
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

    def take(self, takers: Takers) -> bool:
        """Hand over the packets that are here, from a border between packets on.

        Returns:
            Whether what follows is paho's; if not, there is nothing more, or a message without its end.
        """
        if self._unwanted is None:
            self._take_complete(takers)
            if not self._lacks and self._at < len(self._data):
                return True
        try:
            if self._unwanted is not None:
                self._read_over()
                if not self._left:
                    unwanted, self._unwanted = self._unwanted, None
                    takers.plain(*unwanted)
                return False
            piece = self._read()
        except _EMPTY:
            return False
        except OSError:
            piece = b""
        if not piece:  # the end of the connection is for paho to see
            self._lacks, self._unwanted = False, None
            return True
        self._data, self._at = self._data[self._at :] + piece, 0
        self._take_complete(takers)
        return self._unwanted is None and not self._lacks and self._at < len(self._data)

    def _take_complete(self, takers: Takers) -> None:
        self._lacks, before = False, -1
        while self._at != before:  # messages and confirmations may follow each other
            before = self._at
            if takers.acks is not None:
                self._take_acks(takers.acks)
            self._take_messages(takers.plain, takers.wants)

    def _take_acks(self, handle: OnAcks) -> None:
        acks, end = _acks(self._data, self._at)
        if acks:
            self._at = end  # also where the handler fails
            handle(acks)
        rest = self._data[self._at : self._at + 2 + _PUBACK_LONGEST]
        if rest[:1] == b"\x40" and (len(rest) < 2 or len(rest) < 2 + rest[1] <= 2 + _PUBACK_LONGEST):
            self._lacks = True

    def _take_messages(self, handle: OnPlain, wants: Wants | None) -> None:
        data, at, n = self._data, self._at, len(self._data)
        while at < n and data[at] & _KIND == _PUBLISH_QOS1:
            body, length = _length(data, at + 1)
            end = body + length
            if body < 0 or (length <= _LONGEST and end > n):
                self._lacks = True
                if length >= LARGE and wants is not None:
                    self._begin_to_read_over(body, end, wants)
                break
            head = _head(data, body, end) if length <= _LONGEST else None
            if head is None:
                break
            mid, content_type, begin = head
            topic, retained, number = data[body + 2 : mid], bool(data[at] & 1), data[mid] << 8 | data[mid + 1]
            self._at = at = end  # also where the handler fails
            if end - begin < LARGE or wants is None or wants(topic, end - begin):
                handle(topic, data[begin:end], content_type, retained, number, 0)
            else:
                handle(topic, b"", content_type, retained, number, end - begin)

    def _begin_to_read_over(self, body: int, end: int, wants: Wants) -> None:
        """The end of a large message is not here yet: if it is not wanted, it never will be."""
        data, n = self._data, len(self._data)
        if body + 2 > n or body + 2 + (data[body] << 8 | data[body + 1]) + _HEAD > n:
            return  # too little of it to tell
        head = _head(data, body, end)
        if head is None:
            return
        mid, content_type, begin = head
        topic, size = data[body + 2 : mid], end - begin
        if size < LARGE or wants(topic, size):
            return
        retained, number = bool(data[self._at] & 1), data[mid] << 8 | data[mid + 1]
        self._unwanted = topic, b"", content_type, retained, number, size
        self._left = end - n
        self._data, self._at, self._piece, self._lacks = b"", 0, _PIECE, False

    def _read_over(self) -> None:
        """Read on in a payload that is not wanted.

        Raises:
            BlockingIOError: if there is nothing.
            SSLWantReadError: likewise.
            ConnectionError: if the other side has closed the connection.
        """
        if self._scratch is None:
            self._scratch = memoryview(bytearray(_SCRATCH))
        n = self._connection.recv_into(self._scratch, min(self._left, _SCRATCH))
        self.received += n
        self.ended = not n
        if self.ended:
            raise ConnectionError("the connection was closed within a message")
        self._left -= n

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


def _head(data: bytes, body: int, end: int) -> tuple[int, bytes, int] | None:
    """Of a PUBLISH between two places: where its message id is, its content type, where its payload is.

    None if it is paho's to judge.
    """
    if end - body < 5:
        return None
    mid = body + 2 + (data[body] << 8 | data[body + 1])
    if mid + 3 > end:
        return None
    content_type = plain_properties(data, mid + 2)
    if content_type is None:
        return None
    begin = mid + 3 + (len(content_type) + 3 if content_type else 0)
    return None if begin > end else (mid, content_type, begin)


def _acks(data: bytes, at: int) -> tuple[list[tuple[int, int]], int]:
    """(Message id, reason code) of the confirmations that begin at a place, and where they end.

    They end before one that is not complete, has properties, or is paho's by its message id.
    """
    found: list[tuple[int, int]] = []
    n = len(data)
    while at + 4 <= n and data[at] == _PUBACK:
        length = data[at + 1]
        end = at + 2 + length
        mid = data[at + 2] << 8 | data[at + 3]
        if not 2 <= length <= _PUBACK_LONGEST or end > n or mid < FIRST_MID or (length == 4 and data[at + 5]):
            break
        found.append((mid, data[at + 4] if length > 2 else 0))
        at = end
    return found, at


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
