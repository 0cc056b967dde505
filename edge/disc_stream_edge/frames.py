"""Frames on a serial line, such as the Nordic UART over Bluetooth: what `edge/firmware/banglejs` speaks.

A frame is ``A7 5D``, the payload's length (uint16), the payload, and a CRC-16/CCITT-FALSE of length and
payload; all little-endian. A payload that begins with ``{`` describes the samples (`meta`, with the number of
the watch's start in ``boot``), one that begins with 0xD5 is a packed batch. A batch is acknowledged by ten
bytes: 06, boot, seq, and the exclusive or of these nine.
"""

from __future__ import annotations

import binascii
import struct
from collections.abc import Iterator

_MAGIC = b"\xa7\x5d"
_MAX = 8_192


class Frames:
    """Finds the frames in a stream of bytes; what is damaged is skipped and counted."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self.skipped = 0
        """Bytes that belonged to no whole frame."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The payloads that are complete with these bytes."""
        self._bytes += data
        while True:
            at = self._bytes.find(_MAGIC)
            if at < 0:
                at = max(0, len(self._bytes) - 1)  # the last byte may begin one
            self._skip(at)
            if len(self._bytes) < 4:
                return
            size = int.from_bytes(self._bytes[2:4], "little")
            if size > _MAX:
                self._skip(2)
                continue
            if len(self._bytes) < size + 6:
                return
            crc = int.from_bytes(self._bytes[size + 4 : size + 6], "little")
            if binascii.crc_hqx(bytes(self._bytes[2 : size + 4]), 0xFFFF) != crc:
                self._skip(2)
                continue
            payload = bytes(self._bytes[4 : size + 4])
            del self._bytes[: size + 6]
            yield payload

    def clear(self) -> None:
        """The connection is gone: a frame that has begun does not go on."""
        self._bytes.clear()

    def _skip(self, n: int) -> None:
        self.skipped += n
        del self._bytes[:n]


def acknowledgement(boot: int, seq: int) -> bytes:
    """The bytes that let a watch forget a batch."""
    body = struct.pack("<BII", 6, boot, seq)
    check = 0
    for byte in body:
        check ^= byte
    return body + bytes((check,))
