"""Device descriptions: retained JSON on ``<prefix>/<device>/meta``."""

from __future__ import annotations

import json
from typing import Any

from disc_stream.errors import PayloadError
from disc_stream.types import DeviceMeta
from disc_stream.wire.codecs.fields import check_channels, check_text, read_channels, read_rate
from disc_stream.wire.codecs.json_text import load_object
from disc_stream.wire.codecs.names import check_names, describe
from disc_stream.wire.limits import MAX_TEXT

SCHEMA = "disc-stream.meta/1"
MAX_BYTES = 65_536

_TEXTS = ("placement", "model", "firmware")
_NAMES = frozenset({"schema", "fs", "channels", "units", "scale", *_TEXTS})


def encode_meta(meta: DeviceMeta) -> bytes:
    """The description as UTF-8 JSON.

    Raises:
        PayloadError: if it is outside the limits.
    """
    read_rate({"fs": meta.fs})
    check_channels(meta.channels)
    message: dict[str, Any] = {"schema": SCHEMA, "fs": meta.fs, **describe(meta.channels)}
    for name in _TEXTS:
        message[name] = check_text(getattr(meta, name), name, MAX_TEXT, may_be_empty=True)
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode()


def decode_meta(payload: bytes) -> DeviceMeta:
    """Read a device's description.

    Raises:
        PayloadError: with a reason of the codecs; no other exception, whatever the bytes.
    """
    if len(payload) > MAX_BYTES:
        raise PayloadError("oversized", f"the meta has {len(payload)} bytes, the limit is {MAX_BYTES}")
    message = load_object(payload)
    if message.get("schema") != SCHEMA:
        raise PayloadError("version", f"the meta's schema is not {SCHEMA!r}")
    check_names(message, _NAMES)
    channels = read_channels(message)
    if channels is None:
        raise PayloadError("missing", "the field 'channels' is missing")
    texts = {name: _text(message, name) for name in _TEXTS}
    return DeviceMeta(read_rate(message), channels, **texts)


def _text(message: dict[str, Any], name: str) -> str:
    value = message.get(name, "")
    if not isinstance(value, str):
        raise PayloadError("type", f"{name} must be text, got {type(value).__name__}")
    return check_text(value, name, MAX_TEXT, may_be_empty=True)
