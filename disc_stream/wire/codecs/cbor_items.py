"""Data items of CBOR (RFC 8949, section 3) in bytes: their heads, their values, and where they end.

Every step takes at least one byte, so the work is bounded by the payload's size, whatever lengths it claims.
An item that ends behind the payload's end raises ``IndexError`` or ``struct.error``, or ends there: whoever
reads a whole payload compares the last end with its size.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Container
from typing import Any

from disc_stream.errors import PayloadError

Unpack = Callable[[bytes, int], tuple[Any, ...]]


def _unpack(code: str) -> Unpack:
    return struct.Struct(code).unpack_from


NUMBER_CODES = {0x18: "B", 0x19: "H", 0x1A: "I", 0x1B: "Q", 0xF9: "e", 0xFA: "f", 0xFB: "d"}
"""By the first byte: the code in ``struct`` of the number behind it."""
_NUMBERS: dict[int, tuple[Unpack, int]] = {
    head: (_unpack(f">{code}"), 1 + struct.calcsize(f">{code}")) for head, code in NUMBER_CODES.items()
}
"""By the first byte: how to read the number behind it, and how long the item is."""


def _size_of(head: int) -> int:
    major, more = head >> 5, head & 0x1F
    if major in {2, 3}:
        return 1 + more if more < 0x18 else 0
    if major in {0, 1} or (major == 7 and more != 0x18):
        return {0x18: 2, 0x19: 3, 0x1A: 5, 0x1B: 9}.get(more, 1 if more < 0x18 else 0)
    return 0


_UINTS = tuple(_NUMBERS[head][0] for head in range(0x18, 0x1C))
_SIZES = tuple(map(_size_of, range(256)))
"""Length of an item by its first byte; 0 if that does not tell it."""
_TYPED_ARRAYS = (77, 78, 85)
ANY_TAG = range(2**64)
_SIMPLE = {0xF4: False, 0xF5: True, 0xF6: None}


def argument(payload: bytes, at: int) -> tuple[int, int, int]:
    """Major type and argument of the head at ``at``, and where the head ends.

    Raises:
        PayloadError: with reason ``malformed`` for indefinite lengths and reserved heads.
    """
    head = payload[at]
    more = head & 0x1F
    if more < 0x18:
        return head >> 5, more, at + 1
    if more > 0x1B:
        raise PayloadError("malformed", "not valid CBOR: an indefinite length or a reserved head")
    more -= 0x18
    return head >> 5, _UINTS[more](payload, at + 1)[0], at + 1 + (1 << more)


def skip(payload: bytes, at: int, tags: Container[int] = _TYPED_ARRAYS) -> int:
    """Where the item at ``at`` ends; whatever is in it, nothing is built of it.

    Args:
        payload: the bytes.
        at: begin of the item.
        tags: those that are taken.

    Raises:
        PayloadError: with reason ``malformed``, or ``type`` for a tag that is not taken.
    """
    open_items = 1
    while open_items:
        open_items -= 1
        size = _SIZES[payload[at]]
        if size:
            at += size
            continue
        major, value, at = argument(payload, at)
        match major:
            case 2 | 3:
                at += value
            case 4:
                open_items += value
            case 5:
                open_items += 2 * value
            case 6:
                if value not in tags:
                    raise tag_not_taken()
                open_items += 1
            case _:  # a simple value in a second byte
                if value < 0x20:
                    raise PayloadError(
                        "malformed", "not valid CBOR: a simple value is not in its shortest form"
                    )
    return at


def read_plain(payload: bytes, at: int) -> tuple[Any, int]:
    """A number, text, truth value or null, and where it ends.

    Other items are walked over; an object of their type, without their content, stands for them.

    Raises:
        PayloadError: with reason ``malformed``, or ``type`` for a tag.
    """
    head = payload[at]
    if head < 0x18:
        return head, at + 1
    number = _NUMBERS.get(head)
    if number is not None:
        unpack, size = number
        return unpack(payload, at + 1)[0], at + size
    if head in _SIMPLE:
        return _SIMPLE[head], at + 1
    major, value, start = argument(payload, at)
    match major:
        case 1:
            return -1 - value, start
        case 3:
            return payload[start : start + value].decode(), start + value
        case 6:
            raise tag_not_taken()
    return (b"", [], {}, object())[(2, 4, 5, 7).index(major)], skip(payload, at)


def read_list(item: bytes) -> Any:
    """The value of an item: of a list with the plain values in it, of others as ``read_plain`` has it."""
    major, value, at = argument(item, 0) if item[0] >> 5 == 4 else (0, 0, 0)
    if major != 4:
        return read_plain(item, 0)[0]
    values = []
    for _ in range(value):
        one, at = read_plain(item, at)
        values.append(one)
    return values


def tag_not_taken() -> PayloadError:
    """For any tag but those of the samples."""
    return PayloadError("type", "CBOR tags other than 77, 78 and 85 are not taken")
