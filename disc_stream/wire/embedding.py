"""Embeddings of labelled windows: CBOR on ``<prefix>/<device>/embedding``.

Several windows in one message: a map with text keys, whose rows are little-endian typed arrays (RFC 8746),
the windows' numbers as uint32 (tag 70) and their embeddings as float16 (tag 84), row after row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cbor2
import numpy as np
import numpy.typing as npt

from disc_stream.errors import PayloadError
from disc_stream.types import Float32Array
from disc_stream.wire.limits import MAX_UINT32

SCHEMA = "disc-stream.embedding/1"
CONTENT_TYPE = "application/cbor"

_UINT32, _FLOAT16 = 70, 84
_MAX_DIMENSIONS = 4_096
_MAX_WINDOWS = 65_536


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
    """Read a message.

    Raises:
        PayloadError: with reason ``embedding``; no other exception, whatever the bytes.
    """
    try:
        found = cbor2.loads(payload)
    except Exception as error:  # noqa: BLE001 - whatever a decoder of others raises
        raise PayloadError("embedding", f"it is no CBOR: {error}") from None
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise PayloadError("embedding", f"it is no message of schema {SCHEMA}")
    boot, model = found.get("boot"), found.get("model")
    if type(boot) is not int or not 0 <= boot <= MAX_UINT32 or not isinstance(model, str):
        raise PayloadError("embedding", "boot or model is missing or of a wrong type")
    d = found.get("d")
    windows = np.frombuffer(_bytes(found, "windows", _UINT32, 4), dtype="<u4").astype(np.uint32)
    values = np.frombuffer(_bytes(found, "values", _FLOAT16, 2), dtype="<f2").astype(np.float32)
    if type(d) is not int or not 1 <= d <= _MAX_DIMENSIONS or len(values) != d * len(windows):
        raise PayloadError("embedding", "the numbers of windows, dimensions and values do not fit")
    if not 1 <= len(windows) <= _MAX_WINDOWS or not np.isfinite(values).all():
        raise PayloadError("embedding", "there are no windows, too many, or a value that is not finite")
    return Embeddings(device, boot, model, windows, values.reshape(-1, d))


def _bytes(found: dict[Any, Any], name: str, tag: int, size: int) -> bytes:
    value = found.get(name)
    data = getattr(value, "value", None)
    if getattr(value, "tag", None) != tag or not isinstance(data, bytes) or len(data) % size:
        raise PayloadError("embedding", f"{name!r} is not a typed array with tag {tag}")
    return data
