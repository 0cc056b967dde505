"""Label messages: JSON on ``<prefix>/<device>/label``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from disc_stream.errors import PayloadError
from disc_stream.types import Label, SoftLabel
from disc_stream.wire.limits import MAX_T0_US, MAX_UINT32
from disc_stream.wire.schema import read, write

SCHEMA: Literal["disc-stream.label/1"] = "disc-stream.label/1"

_Uint32 = Annotated[int, Meta(ge=0, le=MAX_UINT32)]
_Count = Annotated[int, Meta(ge=0, le=MAX_T0_US)]
_Time = Annotated[int, Meta(ge=-MAX_T0_US, le=MAX_T0_US)]


class LabelMessage(msgspec.Struct, frozen=True):
    """The message, in the order in which people read it; ``Label`` says what the fields mean."""

    schema: Literal["disc-stream.label/1"]
    device: str
    boot: _Uint32
    window: _Count
    t0: _Time
    t1: _Time
    label: _Time
    name: str
    confidence: float
    soft: tuple[SoftLabel, ...]
    smoothed: SoftLabel
    distance: float
    novelty: float | None
    model: str
    seq: _Uint32
    published: _Time
    t0_unix: _Time | UnsetType | None = UNSET
    bridged: bool | UnsetType = UNSET
    deferred: bool | UnsetType = UNSET
    muted: bool | UnsetType = UNSET
    adapted: float | UnsetType | None = UNSET


_DECODER = msgspec.json.Decoder(LabelMessage)


def _rounded(soft: SoftLabel) -> SoftLabel:
    return SoftLabel(soft.label, soft.name, round(soft.confidence, 7))


def _message(label: Label) -> LabelMessage:
    """In the message, numbers have as many digits as they are good for."""
    best = label.best
    return LabelMessage(
        SCHEMA, label.device, label.boot, label.window, label.t0_us, label.t1_us,
        best.label, best.name, round(best.confidence, 7),
        tuple([_rounded(one) for one in label.soft]),
        _rounded(label.smoothed),
        round(label.distance, 6),
        None if label.novelty is None else round(label.novelty, 4),
        label.model, label.seq, label.published_us,
        UNSET if label.t0_unix_us is None else label.t0_unix_us,
        label.bridged or UNSET, label.deferred or UNSET, label.muted or UNSET,
        UNSET if label.adapted is None else round(label.adapted, 2),
    )  # fmt: skip


def label_to_dict(label: Label) -> dict[str, Any]:
    """The message as plain JSON values, in the order people read them."""
    plain: dict[str, Any] = msgspec.to_builtins(_message(label))
    return {**plain, "soft": list(plain["soft"])}


def encode_label(label: Label) -> bytes:
    """The label as UTF-8 JSON; a number that is not finite becomes null, which readers refuse."""
    return write(_message(label))


def decode_label(payload: bytes) -> Label:
    """Read a label message.

    Raises:
        PayloadError: with reason ``label`` if it is not a label of schema 1, naming the field.
    """
    try:
        found = read(_DECODER, payload, "label")
    except PayloadError as error:
        raise PayloadError("label", error.message) from None
    return Label(
        found.device, found.boot, found.window, found.t0, found.t1,
        SoftLabel(found.label, found.name, found.confidence), found.soft, found.smoothed,
        found.distance, found.novelty, found.model, found.seq, found.published,
        None if found.t0_unix is UNSET else found.t0_unix,
        found.bridged is True, found.deferred is True, found.muted is True,
        None if found.adapted is UNSET else found.adapted,
    )  # fmt: skip
