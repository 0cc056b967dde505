"""CBOR (RFC 8949): one map; the samples are a little-endian typed array (RFC 8746), row-major.

The decoder takes definite-length, two-level maps without repeated keys, and no tag but the three typed
arrays: everything else that CBOR can express (shared references, big numbers, dates, regular expressions)
is refused before it is built.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import cbor2
import numpy as np
import numpy.typing as npt

from disc_stream.errors import PayloadError
from disc_stream.types import SampleBatch
from disc_stream.wire.codecs.fields import Fields
from disc_stream.wire.codecs.names import check_names, header_of

FIRST_BYTES = range(0xA0, 0xC0)  # major type 5, a map

_TAG_INT16, _TAG_INT32, _TAG_FLOAT32 = 77, 78, 85  # RFC 8746, section 2.1, little-endian
_TAGS = {"int16": _TAG_INT16, "int32": _TAG_INT32, "float32": _TAG_FLOAT32}
_MAX_DEPTH = 4  # map, list, tag, and one to spare


def encode(batch: SampleBatch, *, describe_channels: bool) -> bytes:
    """The batch as a CBOR map with sorted keys and shortest numbers."""
    message = header_of(batch, describe_channels=describe_channels)
    little = batch.samples.astype(batch.samples.dtype.newbyteorder("<"), copy=False)
    message["samples"] = cbor2.CBORTag(_TAGS[batch.samples.dtype.name], little.tobytes())
    return cbor2.dumps(message, canonical=True)


def decode(payload: bytes) -> Fields:
    """Read the map.

    Raises:
        PayloadError: with reason ``malformed``, ``type``, ``missing`` or ``unknown-field``.
    """
    message = _load(payload)
    if not isinstance(message, dict) or set(map(type, message)) - {str}:
        raise PayloadError("malformed", "the payload is not a CBOR map with text keys")
    check_names(message)
    samples = message.pop("samples")
    if not isinstance(samples, np.ndarray):
        raise PayloadError(
            "type", "samples must be a typed array of int16, int32 or float32 (tag 77, 78, 85)"
        )
    return Fields(message, samples)


def _load(payload: bytes) -> Any:
    try:
        decoder = cbor2.CBORDecoder(
            io.BytesIO(payload),
            max_depth=_MAX_DEPTH,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            semantic_decoders=_SEMANTIC,
        )
        message = decoder.decode()
        at_end = _is_at_end(decoder)
    except (cbor2.CBORDecodeError, ValueError, OverflowError) as error:
        cause = error.__cause__
        if isinstance(cause, PayloadError):
            raise cause from None
        raise PayloadError("malformed", f"not valid CBOR: {error}") from None
    if not at_end:
        raise PayloadError("malformed", "there are bytes after the CBOR map")
    return message


def _is_at_end(decoder: cbor2.CBORDecoder) -> bool:
    try:
        decoder.read(1)
    except cbor2.CBORDecodeEOF:
        return True
    return False


def _typed_array(dtype: str) -> Callable[[Any, bool], npt.NDArray[np.generic]]:
    """Decoder of one RFC 8746 tag."""
    item = np.dtype(dtype)

    def read(value: Any, _immutable: bool) -> npt.NDArray[np.generic]:
        if not isinstance(value, bytes) or len(value) % item.itemsize:
            raise PayloadError(
                "shape", f"a typed array of {item.name} needs whole values of {item.itemsize} bytes"
            )
        return np.frombuffer(value, dtype=item)

    return read


def _refuse(_value: Any, _immutable: bool) -> Any:
    raise PayloadError("type", "CBOR tags other than 77, 78 and 85 are not taken")


# cbor2 builds dates, big numbers, patterns and shared objects for these unless told otherwise.
_BUILT_IN = (
    0,
    1,
    2,
    3,
    4,
    5,
    25,
    28,
    29,
    30,
    35,
    36,
    37,
    52,
    54,
    100,
    256,
    258,
    260,
    261,
    1004,
    43000,
    55799,
)
_SEMANTIC: dict[int, Any] = dict.fromkeys(_BUILT_IN, _refuse) | {
    _TAG_INT16: _typed_array("<i2"),
    _TAG_INT32: _typed_array("<i4"),
    _TAG_FLOAT32: _typed_array("<f4"),
}
