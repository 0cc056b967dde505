"""A strict reader of protobuf's wire format, for looking into files before a library loads them.

It is stricter than any library: a field that is not listed, listed with another wire type, or given twice
where one is meant is refused. So whatever a library's parser makes of the same bytes (it would merge, skip or
let the last one win), there is nothing in them that was not looked at.

The format: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["int", "ints", "float", "floats", "bytes", "many bytes"]
Fields = Mapping[int, tuple[str, Kind]]
"""Of a message: number -> (name, kind). `ints` and `floats` may be packed; `many …` may be repeated."""

_VARINT, _FIXED32, _LENGTH = 0, 5, 2
_WIRE: dict[Kind, frozenset[int]] = {
    "int": frozenset({_VARINT}),
    "ints": frozenset({_VARINT, _LENGTH}),
    "float": frozenset({_FIXED32}),
    "floats": frozenset({_FIXED32, _LENGTH}),
    "bytes": frozenset({_LENGTH}),
    "many bytes": frozenset({_LENGTH}),
}
_MAX_TAG_BYTES = 5
_MAX_VARINT_BYTES = 10


class MalformedError(ValueError):
    """The bytes are not such a message, or hold a field that is not listed."""


@dataclass(slots=True)
class Budget:
    """How many fields may still be read: fields of a byte or two are small on disk and slow to walk over."""

    fields: int

    def spend(self) -> None:
        """Count one.

        Raises:
            MalformedError: if there are none left.
        """
        self.fields -= 1
        if self.fields < 0:
            raise MalformedError("it has too many fields")


def read_fields(
    data: memoryview, known: Fields, what: str, budget: Budget
) -> Iterator[tuple[str, int | memoryview]]:
    """Name and value of each field of a message, in their order.

    Args:
        data: the message.
        known: every field that it may have.
        what: the message, for errors.
        budget: shared by all messages of a file.

    Yields:
        (name, unsigned integer of up to 64 bits) for varints, (name, bytes) for everything else; a packed
        list comes as its bytes, see ``integers``.

    Raises:
        MalformedError: saying what is wrong.
    """
    seen: set[int] = set()
    at = 0
    while at < len(data):
        budget.spend()
        tag, at = _varint(data, at, _MAX_TAG_BYTES, what)
        number, wire = tag >> 3, tag & 7
        if number not in known:
            raise MalformedError(f"{what} has a field {number}, which is not allowed there")
        name, kind = known[number]
        if wire not in _WIRE[kind]:
            raise MalformedError(f"{what} has its field {name!r} in another form than is allowed")
        if kind in {"int", "float", "bytes"} and number in seen:
            raise MalformedError(f"{what} has its field {name!r} twice")
        seen.add(number)
        if wire == _VARINT:
            value, at = _varint(data, at, _MAX_VARINT_BYTES, what)
            yield name, value
            continue
        length = 4
        if wire == _LENGTH:
            length, at = _varint(data, at, _MAX_VARINT_BYTES, what)
        if length > len(data) - at:
            raise MalformedError(f"{what} is cut short in its field {name!r}")
        yield name, data[at : at + length]
        at += length


def integers(value: int | memoryview, what: str, budget: Budget) -> list[int]:
    """The signed integers of 64 bits of one occurrence of a field of kind ``ints``.

    Raises:
        MalformedError: if a packed list is cut short.
    """
    if isinstance(value, int):
        return [signed(value)]
    found, at = [], 0
    while at < len(value):
        budget.spend()
        number, at = _varint(value, at, _MAX_VARINT_BYTES, what)
        found.append(signed(number))
    return found


def signed(value: int) -> int:
    """An unsigned integer of 64 bits, read as a signed one."""
    return value - (1 << 64) if value >> 63 else value


def _varint(data: memoryview, at: int, most: int, what: str) -> tuple[int, int]:
    value = 0
    for index in range(most):
        if at + index >= len(data):
            raise MalformedError(f"{what} is cut short")
        byte = data[at + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            if value >> (32 if most == _MAX_TAG_BYTES else 64):
                break
            return value, at + index + 1
    raise MalformedError(f"{what} holds a number that is too long")
