"""Who is there: retained JSON on ``<prefix>/<device>/status`` and ``<prefix>/$server/status``.

A device publishes ``online`` when it connects and ``offline`` before it disconnects gracefully. Its last will
is ``offline`` too, with ``since`` null: the broker sends it for a device that fell silent, at a time which
the device could not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from disc_stream.wire.limits import MAX_T0_US, MAX_UINT32
from disc_stream.wire.schema import read, read_tolerant, write

DEVICE_SCHEMA: Literal["disc-stream.status/1"] = "disc-stream.status/1"
SERVER_SCHEMA: Literal["disc-stream.server/1"] = "disc-stream.server/1"

_Time = Annotated[int, Meta(ge=0, le=MAX_T0_US)]


class State(StrEnum):
    """Whether somebody is connected."""

    ONLINE = "online"
    OFFLINE = "offline"


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """State of a device.

    Args:
        state: online or offline.
        boot: boot that the state belongs to.
        since_us: when it came about, Unix microseconds; None in a last will.
    """

    state: State
    boot: int
    since_us: int | None


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """State of the server.

    Args:
        state: online or offline.
        since_us: when it came about, Unix microseconds; None in the last will.
        model: version of the bundle that serves, "" if unknown.
        provider: what runs the model, such as ``cpu`` or ``openvino``, "" if unknown.
        updated_us: when this message was made, Unix microseconds; None in the last will.
        counters: named totals since the start, such as messages, windows, labels, and current numbers such
            as devices, queue.
        rejected: messages refused since the start, by reason.
        limited: devices that send more than they may, with what the server does about it: messages and bytes
            that wait, messages that had to wait and that were refused since the start, and whether it is
            held back entirely for the moment (1).
        retraining: where the retraining beside the server is: ``phase``, ``words``, ``last`` (texts),
            ``done``, ``total``, ``due``, ``windows``, ``devices`` (numbers); empty if there is none.
    """

    state: State
    since_us: int | None
    model: str = ""
    counters: Mapping[str, int] = field(default_factory=dict)
    rejected: Mapping[str, int] = field(default_factory=dict)
    provider: str = ""
    updated_us: int | None = None
    limited: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    retraining: Mapping[str, int | str] = field(default_factory=dict)


class DeviceStatusMessage(msgspec.Struct, frozen=True):
    """The message of a device; ``DeviceStatus`` says what the fields mean."""

    schema: Literal["disc-stream.status/1"]
    state: State
    boot: Annotated[int, Meta(ge=0, le=MAX_UINT32)]
    since: _Time | None


class ServerStatusMessage(msgspec.Struct, frozen=True):
    """The message of the server; ``ServerStatus`` says what the fields mean."""

    schema: Literal["disc-stream.server/1"]
    state: State
    since: _Time | None
    updated: _Time | None = None
    model: str = ""
    provider: str = ""
    counters: dict[str, _Time] = {}
    rejected: dict[str, _Time] = {}
    limited: dict[str, dict[str, _Time]] | msgspec.UnsetType = msgspec.UNSET
    retraining: dict[str, _Time | str] | msgspec.UnsetType = msgspec.UNSET


_SERVER_DECODER = msgspec.json.Decoder(ServerStatusMessage)


def encode_device_status(status: DeviceStatus) -> bytes:
    """The status as UTF-8 JSON."""
    return write(DeviceStatusMessage(DEVICE_SCHEMA, status.state, status.boot, status.since_us))


def decode_device_status(payload: bytes) -> DeviceStatus:
    """Read a device's status.

    Raises:
        PayloadError: with a reason of the codecs; no other exception, whatever the bytes.
    """
    message = read_tolerant(DeviceStatusMessage, payload, "status")
    return DeviceStatus(message.state, message.boot, message.since)


def _server_message(status: ServerStatus) -> ServerStatusMessage:
    return ServerStatusMessage(
        SERVER_SCHEMA, status.state, status.since_us, status.updated_us, status.model, status.provider,
        dict(status.counters), dict(status.rejected),
        {device: dict(facts) for device, facts in status.limited.items()} or msgspec.UNSET,
        dict(status.retraining) or msgspec.UNSET,
    )  # fmt: skip


def server_status_to_dict(status: ServerStatus) -> dict[str, Any]:
    """The status as plain JSON values."""
    plain: dict[str, Any] = msgspec.to_builtins(_server_message(status))
    return plain


def encode_server_status(status: ServerStatus) -> bytes:
    """The status as UTF-8 JSON."""
    return write(_server_message(status))


def decode_server_status(payload: bytes) -> ServerStatus:
    """Read the server's status.

    Raises:
        PayloadError: with a reason of the codecs; no other exception, whatever the bytes.
    """
    message = read(_SERVER_DECODER, payload, "server's status")
    return ServerStatus(
        message.state, message.since, message.model, message.counters, message.rejected, message.provider,
        message.updated, message.limited or {}, message.retraining or {},
    )  # fmt: skip
