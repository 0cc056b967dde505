"""Sample payloads: bytes to ``SampleBatch`` and back, in three encodings (docs/reference/wire.md).

================  =========================================  ==========================  ==============
encoding          for                                        content type                first byte
================  =========================================  ==========================  ==============
``cbor``          gateways and anything with a CBOR library  application/cbor            0xA0..0xBF
``packed``        microcontrollers                           application/vnd.disc-…      0xD5
``json``          people                                     application/json            ``{`` or space
================  =========================================  ==========================  ==============

Content types that say nothing of the encoding (``application/octet-stream``, ``text/plain``) count as none.

Whatever the bytes are, ``decode_batch`` returns a batch that is within ``disc_stream.wire.limits`` or raises
``PayloadError`` with one of the reasons in ``REASONS``.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from disc_stream.errors import PayloadError
from disc_stream.types import DeviceMeta, SampleBatch
from disc_stream.wire.codecs import cbor, json_text, packed
from disc_stream.wire.codecs.fields import (
    REASONS,
    Fields,
    build_batch,
    check_batch,
    check_channels,
    read_channels,
)

__all__ = [
    "CONTENT_TYPES",
    "MAX_BYTES",
    "REASONS",
    "Encoding",
    "check_channels",
    "decode_batch",
    "encode_batch",
    "encoding_of",
    "read_channels",
]

MAX_BYTES = 262_144


class Encoding(StrEnum):
    """How a sample batch is written into bytes."""

    CBOR = "cbor"
    PACKED = "packed"
    JSON = "json"


CONTENT_TYPES: dict[Encoding, str] = {
    Encoding.CBOR: "application/cbor",
    Encoding.PACKED: "application/vnd.disc-stream.packed",
    Encoding.JSON: "application/json",
}
_DECODERS: dict[Encoding, Callable[[bytes], Fields]] = {
    Encoding.CBOR: cbor.decode,
    Encoding.PACKED: packed.decode,
    Encoding.JSON: json_text.decode,
}
_BY_CONTENT_TYPE = {CONTENT_TYPES[encoding]: decode for encoding, decode in _DECODERS.items()}

_BY_FIRST_BYTE = {
    packed.MAGIC: Encoding.PACKED,
    **dict.fromkeys(cbor.FIRST_BYTES, Encoding.CBOR),
    **dict.fromkeys(json_text.FIRST_BYTES, Encoding.JSON),
}
# What libraries and gateways put where nobody chose a type: the first byte tells the encoding then.
_SAY_NOTHING = frozenset({"application/octet-stream", "text/plain", ""})


def encode_batch(batch: SampleBatch, encoding: Encoding, *, describe_channels: bool) -> bytes:
    """Write a batch.

    Args:
        batch: samples int16, int32 or float32.
        encoding: one of the three.
        describe_channels: whether channel names, units and scales go into the message (CBOR and JSON); packed
            messages never carry them, so the device must have a retained ``meta``.

    Raises:
        PayloadError: if the batch is outside the limits, so that nothing is sent that would be refused.
    """
    check_batch(batch)
    match encoding:
        case Encoding.CBOR:
            return cbor.encode(batch, describe_channels=describe_channels)
        case Encoding.PACKED:
            return packed.encode(batch)
        case Encoding.JSON:
            return json_text.encode(batch, describe_channels=describe_channels)


def decode_batch(
    payload: bytes,
    *,
    device: str,
    content_type: str = "",
    meta: DeviceMeta | None = None,
    max_bytes: int = MAX_BYTES,
) -> SampleBatch:
    """Read a payload and check everything in it.

    Args:
        payload: bytes as received.
        device: device id, from the topic.
        content_type: MQTT 5 content type, in any case and with any parameters; where it is "" or one that
            says nothing, such as ``application/octet-stream``, the first byte tells the encoding.
        meta: the device's retained description, used where the message describes no channels.
        max_bytes: larger payloads are refused undecoded.

    Raises:
        PayloadError: with a reason from ``REASONS``; no other exception, whatever the bytes.
    """
    if not payload:
        raise PayloadError("empty", "the payload is empty")
    if len(payload) > max_bytes:
        raise PayloadError("oversized", f"the payload has more than {max_bytes} bytes, the limit")
    decode = _BY_CONTENT_TYPE.get(content_type)
    if decode is None:
        decode = _DECODERS[encoding_of(payload, content_type)]
    return build_batch(decode(payload), device, meta)


def encoding_of(payload: bytes, content_type: str = "") -> Encoding:
    """How a payload is written: by its content type, else by its first byte.

    Raises:
        PayloadError: with reason ``empty`` or ``encoding``.
    """
    if not payload:
        raise PayloadError("empty", "the payload is empty")
    wanted = content_type.partition(";")[0].strip().lower() if content_type else ""
    if wanted not in _SAY_NOTHING:
        for encoding, known in CONTENT_TYPES.items():
            if wanted == known:
                return encoding
        known_types = ", ".join(CONTENT_TYPES.values())
        raise PayloadError(
            "encoding", f"content type {content_type[:80]!r} is not known; use one of {known_types}, or none"
        )
    found = _BY_FIRST_BYTE.get(payload[0])
    if found is None:
        raise PayloadError("encoding", f"first byte 0x{payload[0]:02x} starts none of the three encodings")
    return found
