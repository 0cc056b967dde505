"""CBOR (RFC 8949): one map; the samples are a little-endian typed array (RFC 8746), row-major.

The decoder reads what the contract knows and walks over the rest without building it, so that nothing a
stranger nests, repeats or refers to costs more than its bytes. (A library that builds everything can be made
to spend seconds on one message: keys that are lists of numbers are easily chosen to collide in a dict.)
Of definite length, no key twice, text keys, no tag but the three typed arrays.
"""

from __future__ import annotations

import struct
from typing import Any, TypeVar

import cbor2
import numpy as np
import numpy.typing as npt

from disc_stream.errors import PayloadError
from disc_stream.types import Channel, SampleBatch
from disc_stream.wire.codecs.cbor_items import argument, read_list, read_plain, skip
from disc_stream.wire.codecs.cbor_shapes import Shapes
from disc_stream.wire.codecs.fields import ABSENT, Fields, read_channels
from disc_stream.wire.codecs.names import FIELDS, check_names, header_of

K = TypeVar("K")
V = TypeVar("V")

FIRST_BYTES = range(0xA0, 0xC0)  # major type 5, a map

_TAGS = {"int16": 77, "int32": 78, "float32": 85}  # RFC 8746, section 2.1, little-endian
_TYPES = {tag: np.dtype(name).newbyteorder("<") for name, tag in _TAGS.items()}
_PLAIN = frozenset({"boot", "seq", "t0", "fs"})
_DESCRIPTION = ("channels", "units", "scale")
_NAMES = {name.encode(): name for name in FIELDS}
_USUAL = {bytes([0xD8, tag, 0x59]): dtype for tag, dtype in _TYPES.items()}  # on up to 65,535 bytes

# Streams have few descriptions and many messages. Equal ones get the same tuple, checked once, and a list
# that was walked over before is known by its bytes. Both are bounded in number and size, so that strangers
# can make them grow to a megabyte or two, and no further.
_MOST_KNOWN, _MOST_BYTES, _MOST_CHANNELS, _PREFIX = 256, 1024, 32, 16
_tuples: dict[tuple[bytes, ...], tuple[Channel, ...]] = {}
_lists: dict[bytes, bytes] = {}  # by its first bytes
_shapes = Shapes()


def encode(batch: SampleBatch, *, describe_channels: bool) -> bytes:
    """The batch as a CBOR map with sorted keys and shortest numbers."""
    message = header_of(batch, describe_channels=describe_channels)
    little = batch.samples.astype(batch.samples.dtype.newbyteorder("<"), copy=False)
    message["samples"] = cbor2.CBORTag(_TAGS[batch.samples.dtype.name], little.tobytes())
    return cbor2.dumps(message, canonical=True)


def decode(payload: bytes) -> Fields:
    """Read the map.

    Raises:
        PayloadError: with reason ``malformed``, ``type``, ``shape``, ``missing``, ``unknown-field``, or one
            of ``read_channels``.
    """
    fields = _shapes.read(payload)
    if fields is None:
        fields = _read(payload)
        _shapes.learn(payload, fields)
    return fields


def _read(payload: bytes) -> Fields:
    """Read the map item by item."""
    try:
        found = _read_map(payload)
        check_names(found)
        samples = found["samples"]
        if samples is None:
            raise _no_typed_array()
        get, channels = found.get, None
        if "channels" in found or "units" in found or "scale" in found:
            channels = _channels(found)
        return Fields(
            get("boot", ABSENT), get("seq", ABSENT), get("t0", ABSENT), get("fs", ABSENT), channels, samples
        )
    except (IndexError, struct.error):
        raise PayloadError("malformed", "not valid CBOR: it ends early") from None
    except UnicodeDecodeError:
        raise PayloadError("malformed", "not valid CBOR: a text is not UTF-8") from None


def _read_map(payload: bytes) -> dict[str, Any]:
    """Numbers, the array of samples, and the bytes of the items that describe channels, by name."""
    if payload[0] not in FIRST_BYTES:
        raise PayloadError("malformed", "the payload is not a CBOR map with text keys")
    _, n_fields, at = argument(payload, 0)
    found: dict[str, Any] = {}
    for _ in range(n_fields):
        head = payload[at]
        if 0x60 <= head < 0x78:
            start, at = at + 1, at + head - 0x5F
        else:
            start, at = _long_key(payload, at)
        name = _NAMES.get(payload[start:at]) or payload[start:at].decode()
        if name in found:
            raise PayloadError("malformed", f"the key {name[:80]!r} is there twice")
        if name in _PLAIN:
            found[name], at = read_plain(payload, at)
        elif name == "samples":
            found[name], at = _read_samples(payload, at)
        elif name in _DESCRIPTION:
            found[name], at = _read_description(payload, at)
        else:
            found[name], at = None, skip(payload, at)
    if at != len(payload):
        if at > len(payload):
            raise IndexError
        raise PayloadError("malformed", "there are bytes after the CBOR map")
    return found


def _long_key(payload: bytes, at: int) -> tuple[int, int]:
    major, size, at = argument(payload, at)
    if major != 3:
        raise PayloadError("malformed", "the payload is not a CBOR map with text keys")
    return at, at + size


def _read_samples(payload: bytes, at: int) -> tuple[npt.NDArray[np.generic] | None, int]:
    """The typed array; None for any other item that is not a tag."""
    dtype = _USUAL.get(payload[at : at + 3])
    if dtype is not None:
        start = at + 5
        end = start + (payload[at + 3] << 8 | payload[at + 4])
        if end <= len(payload) and not (end - start) % dtype.itemsize:
            # A copy: aligned, and it does not keep the rest of the payload alive.
            return np.frombuffer(payload[start:end], dtype), end
    return _read_any_samples(payload, at)


def _read_any_samples(payload: bytes, at: int) -> tuple[npt.NDArray[np.generic] | None, int]:
    if payload[at] >> 5 != 6:
        return None, skip(payload, at)
    _, tag, at = argument(payload, at)
    dtype = _TYPES.get(tag)
    if dtype is None:
        raise _no_typed_array()
    major, size, at = argument(payload, at)
    end = at + size
    if major != 2:
        raise PayloadError("shape", f"a typed array of {dtype.name} needs a byte string")
    if end > len(payload):
        raise IndexError
    if size % dtype.itemsize:
        raise PayloadError(
            "shape", f"a typed array of {dtype.name} needs whole values of {dtype.itemsize} bytes"
        )
    return np.frombuffer(payload[at:end], dtype), end


def _no_typed_array() -> PayloadError:
    return PayloadError("type", "samples must be a typed array of int16, int32 or float32 (tag 77, 78, 85)")


def _read_description(payload: bytes, at: int) -> tuple[bytes, int]:
    """The bytes of the item at ``at``, and where it ends."""
    prefix = payload[at : at + _PREFIX]
    known = _lists.get(prefix)
    if known is not None and payload.startswith(known, at):
        return known, at + len(known)
    end = skip(payload, at)
    if end > len(payload):  # the part that is there must not be remembered as the whole
        raise IndexError
    item = payload[at:end]
    if _PREFIX <= len(item) <= _MOST_BYTES:
        _remember(_lists, prefix, item)
    return item, end


def _channels(found: dict[str, Any]) -> tuple[Channel, ...] | None:
    raw = tuple([found.get(name, b"") for name in _DESCRIPTION])
    channels = _tuples.get(raw)
    if channels is not None:
        return channels
    header = {name: read_list(item) for name, item in zip(_DESCRIPTION, raw, strict=True) if item}
    channels = read_channels(header)
    if channels is not None and len(channels) <= _MOST_CHANNELS and sum(map(len, raw)) <= _MOST_BYTES:
        _remember(_tuples, raw, channels)
    return channels


def _remember(known: dict[K, V], key: K, value: V) -> None:
    if len(known) >= _MOST_KNOWN:
        known.clear()
    known[key] = value
