"""Messages of which only the numbers and the samples differ from one that was read before.

A device sends the same keys in the same order, with numbers of the same width, again and again. Once such a
message has been read item by item, others of its length are read with one ``struct`` call. All bytes that are
not of a number or of the samples must be equal to the first one's, so the result is what reading item by item
gives; whatever differs is read so.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from operator import itemgetter
from typing import Any

import numpy as np

from disc_stream.wire.codecs.cbor_items import NUMBER_CODES, argument, skip
from disc_stream.wire.codecs.fields import Fields

_MOST_SHAPES = 256
_MOST_FIELDS, _MOST_FIXED = 16, 1_024  # of a shape: fields, and bytes that are equal
_MISSES = 8  # messages of its length that do not fit, until a shape gives way to another


class _Shape:
    """What messages of one length have in common.

    Args:
        pieces: codes of ``struct``, by turns what is equal and what is read.
        payload: the message that it is made of.
        names: of what is read, in order.
        like: what the message says.
    """

    __slots__ = ("_channels", "_dtype", "_fixed", "_is_float32", "_pick", "_rest", "_unpack", "misses")

    def __init__(self, pieces: list[str], payload: bytes, names: list[str], like: Fields) -> None:
        self._unpack: Callable[[bytes], tuple[Any, ...]] = struct.Struct(">" + "".join(pieces)).unpack
        values = self._unpack(payload)
        self._fixed = values[::2]
        self._rest = (like.boot, like.seq, like.t0, like.fs)  # short numbers are in the bytes that are equal
        at = {name: 2 * number + 1 for number, name in enumerate(names)}
        places = [at.get(name, len(values) + n) for n, name in enumerate(("boot", "seq", "t0", "fs"))]
        self._pick: Callable[[tuple[Any, ...]], tuple[Any, ...]] = itemgetter(*places, at["samples"])
        self._channels, self._dtype, self._is_float32 = like.channels, like.samples.dtype, like.fs_is_float32
        self.misses = 0

    def read(self, payload: bytes) -> Fields | None:
        """What a message of this length says; None if more differs than numbers and samples."""
        values = self._unpack(payload)
        if values[::2] != self._fixed:
            self.misses += 1
            return None
        self.misses = 0
        boot, seq, t0, fs, samples = self._pick(values + self._rest)
        array = np.frombuffer(samples, self._dtype)
        return Fields(boot, seq, t0, fs, self._channels, array, self._is_float32)


class Shapes:
    """The shapes of the messages that came, one for each length; bounded in number and size."""

    def __init__(self) -> None:
        self._by_length: dict[int, _Shape] = {}

    def read(self, payload: bytes) -> Fields | None:
        """What a message says; None if it must be read item by item."""
        shape = self._by_length.get(len(payload))
        return None if shape is None else shape.read(payload)

    def learn(self, payload: bytes, fields: Fields) -> None:
        """Remember a sound message that was read item by item, unless others of its length have a shape.

        Args:
            payload: the message, a map of definite length.
            fields: what it says.
        """
        known = self._by_length.get(len(payload))
        if known is not None and known.misses < _MISSES:
            return
        shape = _shape_of(payload, fields)
        if shape is None:
            return
        if len(self._by_length) >= _MOST_SHAPES:
            self._by_length.clear()
        self._by_length[len(payload)] = shape


def _shape_of(payload: bytes, fields: Fields) -> _Shape | None:
    _, n_fields, at = argument(payload, 0)
    if n_fields > _MOST_FIELDS or len(payload) - fields.samples.nbytes > _MOST_FIXED:
        return None
    pieces, names, since = [], [], 0
    for _ in range(n_fields):
        _, size, start = argument(payload, at)
        name, at = payload[start : start + size].decode(), start + size
        code, begin, end = "", at + 1, skip(payload, at)
        if name == "samples":
            code, begin = f"{fields.samples.nbytes}s", end - fields.samples.nbytes
        elif name in {"boot", "seq", "t0", "fs"}:
            code = NUMBER_CODES.get(payload[at], "")
        if code:
            pieces += [f"{begin - since}s", code]
            names.append(name)
            since = end
        at = end
    return _Shape([*pieces, f"{len(payload) - since}s"], payload, names, fields)
