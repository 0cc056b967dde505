"""Device descriptions: retained JSON on ``<prefix>/<device>/meta``."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from disc_stream.errors import PayloadError
from disc_stream.types import DeviceMeta
from disc_stream.wire.codecs.fields import check_channels, check_text, read_channels, read_rate
from disc_stream.wire.codecs.json_text import load_object
from disc_stream.wire.codecs.names import describe, meant_by
from disc_stream.wire.limits import MAX_TEXT
from disc_stream.wire.schema import check_schema, check_size, convert, write

SCHEMA: Literal["disc-stream.meta/1"] = "disc-stream.meta/1"

_SHAPING = ("fs", "channels", "units", "scale")


class MetaMessage(msgspec.Struct, frozen=True):
    """The message; ``DeviceMeta`` says what the fields mean. One unit or scale stands for all channels."""

    schema: Literal["disc-stream.meta/1"]
    fs: float
    channels: list[str]
    units: str | list[str]
    scale: float | list[float] | UnsetType = UNSET
    placement: str = ""
    model: str = ""
    firmware: str = ""
    battery: float | UnsetType = UNSET


def encode_meta(meta: DeviceMeta) -> bytes:
    """The description as UTF-8 JSON.

    Raises:
        PayloadError: if it is outside the limits.
    """
    _check(meta)
    return write(
        MetaMessage(
            SCHEMA, meta.fs, **describe(meta.channels),
            placement=meta.placement, model=meta.model, firmware=meta.firmware,
            battery=UNSET if meta.battery is None else meta.battery,
        )
    )  # fmt: skip


def decode_meta(payload: bytes) -> DeviceMeta:
    """Read a device's description.

    Fields that are not known are ignored, but for misspelt ones that would say what the samples are: a
    ``scales`` that nobody reads would make them wrong by a factor of thousands.

    Raises:
        PayloadError: with a reason of the codecs; no other exception, whatever the bytes.
    """
    check_size(payload, "meta")
    found = load_object(payload)
    check_schema(MetaMessage, found, "meta")
    _check_spelling(found)
    if not _is_share(found.get("battery")):
        found.pop("battery", None)  # in a form of its own: no reason to refuse what the samples are
    message = convert(MetaMessage, found, "meta")
    scale = {} if message.scale is UNSET else {"scale": message.scale}
    channels = read_channels({"channels": message.channels, "units": message.units, **scale})
    meta = DeviceMeta(
        message.fs, channels or (), message.placement, message.model, message.firmware,
        None if message.battery is UNSET else message.battery,
    )  # fmt: skip
    _check(meta)
    return meta


def _check(meta: DeviceMeta) -> None:
    read_rate({"fs": meta.fs})
    check_channels(meta.channels)
    for name in ("placement", "model", "firmware"):
        check_text(getattr(meta, name), name, MAX_TEXT, may_be_empty=True)
    if meta.battery is not None and not _is_share(meta.battery):
        raise PayloadError("battery", f"the battery is {meta.battery!r}, not a share from 0 to 1")


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0.0 <= value <= 1.0


def _check_spelling(message: dict[str, Any]) -> None:
    for name in message.keys() - set(MetaMessage.__struct_fields__):
        meant = meant_by(name, _SHAPING)
        if meant is not None:
            raise PayloadError(
                "unknown-field", f"the field {name[:80]!r} of the meta is not known; is {meant!r} meant?"
            )
