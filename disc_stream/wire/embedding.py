"""Embeddings of labelled windows: CBOR on ``<prefix>/<device>/embedding``.

Several windows in one message: a map with text keys, whose rows are little-endian typed arrays (RFC 8746),
the windows' numbers as uint32 (tag 70) and their embeddings as float16 (tag 84), row after row.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import cbor2
import numpy as np
import numpy.typing as npt

from disc_stream.errors import PayloadError
from disc_stream.types import Float32Array
from disc_stream.wire.codecs.cbor_items import ANY_TAG, argument, read_plain, skip
from disc_stream.wire.limits import MAX_UINT32

SCHEMA = "disc-stream.embedding/1"
CONTENT_TYPE = "application/cbor"

MAX_BYTES = 262_144
_UINT32, _FLOAT16 = 70, 84
_ARRAYS: dict[str, tuple[int, np.dtype[Any]]] = {
    "windows": (_UINT32, np.dtype("<u4")),
    "values": (_FLOAT16, np.dtype("<f2")),
}
_FIELDS = ("schema", "boot", "model", "d", *_ARRAYS)
_BYTES, _TEXT, _MAP, _TAG = 2, 3, 5, 6  # major types of CBOR
_MAX_DIMENSIONS = 4_096
_SCHEMA_KEY = b"fschema"  # the text of six bytes


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Embeddings of windows of one boot of a device.

    Args:
        device: device id, taken from the topic.
        boot: boot of the device.
        model: version of the bundle that made them.
        windows: (n,) numbers of the windows within the boot.
        values: (n, d) float32; on the wire they are float16.
    """

    device: str
    boot: int
    model: str
    windows: npt.NDArray[np.uint32]
    values: Float32Array


def encode_embeddings(one: Embeddings) -> bytes:
    """The message."""
    return cbor2.dumps(
        {
            "schema": SCHEMA,
            "boot": one.boot,
            "model": one.model,
            "d": one.values.shape[1],
            "windows": cbor2.CBORTag(_UINT32, one.windows.astype("<u4").tobytes()),
            "values": cbor2.CBORTag(_FLOAT16, one.values.astype("<f2").tobytes()),
        }
    )


def decode_embeddings(payload: bytes, device: str) -> Embeddings:
    """Read a message; fields that it does not know are passed over.

    Raises:
        PayloadError: with a reason of the codecs; no other exception, whatever the bytes.
    """
    if not payload:
        raise PayloadError("empty", "the payload is empty")
    if len(payload) > MAX_BYTES:
        raise PayloadError("oversized", f"{len(payload)} bytes are more than {MAX_BYTES}")
    try:
        found = _read_map(payload)
    except (IndexError, struct.error):
        raise PayloadError("malformed", "not valid CBOR: it ends early") from None
    except UnicodeDecodeError:
        raise PayloadError("malformed", "not valid CBOR: a text is not UTF-8") from None
    for name in _FIELDS:
        if name not in found:
            raise PayloadError("missing", f"the embeddings have no {name!r}")
    if found["schema"] != SCHEMA:
        raise PayloadError("version", f"it is no message of schema {SCHEMA}")
    boot, model, d = found["boot"], found["model"], found["d"]
    if type(boot) is not int or not isinstance(model, str) or type(d) is not int:
        raise PayloadError("type", "'boot' and 'd' must be integers, and 'model' a text")
    if not 0 <= boot <= MAX_UINT32 or not 1 <= d <= _MAX_DIMENSIONS:
        raise PayloadError("range", f"'boot' must fit 32 bits, and 'd' be from 1 to {_MAX_DIMENSIONS}")
    return Embeddings(device, boot, model, *_rows(found["windows"], found["values"], d))


def schema_of(payload: bytes) -> str | None:
    """The schema that a CBOR map names; None if it names none, or is none."""
    try:
        schema = _read_map(payload).get("schema") if _SCHEMA_KEY in payload else None
    except (PayloadError, IndexError, struct.error, UnicodeDecodeError):
        return SCHEMA if SCHEMA.encode() in payload else None  # a damaged message, most likely
    return schema if isinstance(schema, str) else None


def _rows(windows: Any, values: Any, d: int) -> tuple[npt.NDArray[np.uint32], Float32Array]:
    numbers, rows = windows.astype(np.uint32), values.astype(np.float32)
    if not len(numbers) or len(rows) != d * len(numbers):
        raise PayloadError("shape", f"{len(rows)} values are not {d} for each of {len(numbers)} windows")
    if not np.isfinite(rows).all():
        raise PayloadError("non-finite", "a value is NaN or infinite")
    return numbers, rows.reshape(-1, d)


def _read_map(payload: bytes) -> dict[str, Any]:
    """Numbers, texts and both arrays by name; nothing is built of the rest."""
    major, n_fields, at = argument(payload, 0)
    if major != _MAP:
        raise PayloadError("malformed", "the payload is not a CBOR map with text keys")
    found: dict[str, Any] = {}
    for _ in range(n_fields):
        major, size, start = argument(payload, at)
        if major != _TEXT:
            raise PayloadError("malformed", "the payload is not a CBOR map with text keys")
        at = start + size
        name = payload[start:at].decode()
        if name in found:
            raise PayloadError("malformed", f"the key {name[:80]!r} is there twice")
        if name in _ARRAYS:
            found[name], at = _read_array(payload, at, name)
        elif name in _FIELDS:
            found[name], at = read_plain(payload, at)
        else:
            found[name], at = None, skip(payload, at, ANY_TAG)
    if at > len(payload):
        raise IndexError
    if at < len(payload):
        raise PayloadError("malformed", "there are bytes after the CBOR map")
    return found


def _read_array(payload: bytes, at: int, name: str) -> tuple[npt.NDArray[Any], int]:
    wanted, dtype = _ARRAYS[name]
    major, tag, at = argument(payload, at)
    if (major, tag) != (_TAG, wanted):
        raise PayloadError("type", f"{name!r} must be a typed array with tag {wanted}")
    major, size, at = argument(payload, at)
    end = at + size
    if major != _BYTES or size % dtype.itemsize:
        raise PayloadError("shape", f"{name!r} needs a byte string of whole values")
    if end > len(payload):
        raise IndexError
    return np.frombuffer(payload[at:end], dtype), end
