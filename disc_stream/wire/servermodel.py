"""The model that serves: retained JSON on ``<prefix>/$server/model``, written by the server."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from disc_stream.wire.limits import MAX_CHANNELS, MAX_FS, MAX_NAME, MAX_SAMPLES, MAX_T0_US, MAX_UNIT
from disc_stream.wire.schema import read, write

SCHEMA: Literal["disc-stream.model/1"] = "disc-stream.model/1"

_Rows = Annotated[int, Meta(ge=1, le=MAX_SAMPLES)]


class WindowFacts(msgspec.Struct, frozen=True):
    """How streams are cut, in samples; ``disc_stream.types.WindowSpec`` says what the fields mean."""

    samples: _Rows
    hop: _Rows
    input_samples: _Rows


class ChannelFacts(msgspec.Struct, frozen=True):
    """A channel that the model reads."""

    name: Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]
    unit: Annotated[str, Meta(max_length=MAX_UNIT)]


class ClusterFacts(msgspec.Struct, frozen=True):
    """A cluster as labels name it."""

    id: Annotated[int, Meta(ge=-MAX_T0_US, le=MAX_T0_US)]
    name: str


class ModelMessage(msgspec.Struct, frozen=True):
    """What a device or a listener must know of the model.

    Args:
        schema: of the message.
        name: of the bundle.
        version: content hash of the model.
        created: when it was exported.
        fs: rate that it reads, in Hz.
        window: how it cuts streams.
        channels: in the order of its input.
        clusters: in use, by public id.
    """

    schema: Literal["disc-stream.model/1"]
    name: str
    version: str
    created: str
    fs: Annotated[float, Meta(gt=0, le=MAX_FS)]
    window: WindowFacts
    channels: Annotated[tuple[ChannelFacts, ...], Meta(min_length=1, max_length=MAX_CHANNELS)]
    clusters: tuple[ClusterFacts, ...]


MAX_BYTES = 2**20
"""More than other control messages: a model has up to 4096 clusters, each with a name."""

_DECODER = msgspec.json.Decoder(ModelMessage)


def encode_model(message: ModelMessage) -> bytes:
    """The description as UTF-8 JSON."""
    return write(message)


def decode_model(payload: bytes) -> ModelMessage:
    """Read the description of the model that serves.

    Raises:
        PayloadError: with a reason of the codecs; no other exception, whatever the bytes.
    """
    return read(_DECODER, payload, "model", MAX_BYTES)


def model_message_to_dict(message: ModelMessage) -> dict[str, Any]:
    """The message as plain JSON values."""
    plain: dict[str, Any] = msgspec.to_builtins(message)
    return plain
