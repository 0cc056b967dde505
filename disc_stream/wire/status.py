"""Who is there: retained JSON on ``<prefix>/<device>/status`` and ``<prefix>/$server/status``.

A device publishes ``online`` when it connects and ``offline`` when it leaves in peace. Its last will is
``offline`` too, with ``since`` null: the broker sends it for a device that fell silent, at a time which the
device could not know.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from disc_stream.errors import PayloadError
from disc_stream.wire.codecs.fields import read_int
from disc_stream.wire.codecs.json_text import load_object
from disc_stream.wire.limits import MAX_T0_US, MAX_UINT32

DEVICE_SCHEMA = "disc-stream.status/1"
SERVER_SCHEMA = "disc-stream.server/1"
MAX_BYTES = 65_536


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
        provider: what runs the model, such as ``CPUExecutionProvider``, "" if unknown.
        updated_us: when this message was made, Unix microseconds; None in the last will.
        counters: named totals since the start, such as messages, windows, labels, and current numbers such
            as devices, queue.
        rejected: messages refused since the start, by reason.
    """

    state: State
    since_us: int | None
    model: str = ""
    counters: Mapping[str, int] = field(default_factory=dict)
    rejected: Mapping[str, int] = field(default_factory=dict)
    provider: str = ""
    updated_us: int | None = None


def encode_device_status(status: DeviceStatus) -> bytes:
    """The status as UTF-8 JSON."""
    return _dump(
        {
            "schema": DEVICE_SCHEMA,
            "state": status.state.value,
            "boot": status.boot,
            "since": status.since_us,
        }
    )


def decode_device_status(payload: bytes) -> DeviceStatus:
    """Read a device's status.

    Raises:
        PayloadError: with a reason of the codecs; no other exception, whatever the bytes.
    """
    message = _load(payload, DEVICE_SCHEMA)
    return DeviceStatus(_state(message), read_int(message, "boot", MAX_UINT32), _time(message, "since"))


def server_status_to_dict(status: ServerStatus) -> dict[str, Any]:
    """The status as plain JSON values."""
    return {
        "schema": SERVER_SCHEMA,
        "state": status.state.value,
        "since": status.since_us,
        "updated": status.updated_us,
        "model": status.model,
        "provider": status.provider,
        "counters": dict(status.counters),
        "rejected": dict(status.rejected),
    }


def encode_server_status(status: ServerStatus) -> bytes:
    """The status as UTF-8 JSON."""
    return _dump(server_status_to_dict(status))


def decode_server_status(payload: bytes) -> ServerStatus:
    """Read the server's status.

    Raises:
        PayloadError: with a reason of the codecs; no other exception, whatever the bytes.
    """
    message = _load(payload, SERVER_SCHEMA)
    return ServerStatus(
        state=_state(message),
        since_us=_time(message, "since"),
        model=_text(message, "model"),
        counters=_totals(message, "counters"),
        rejected=_totals(message, "rejected"),
        provider=_text(message, "provider"),
        updated_us=_time(message, "updated") if "updated" in message else None,
    )


def _dump(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode()


def _load(payload: bytes, schema: str) -> dict[str, Any]:
    if len(payload) > MAX_BYTES:
        raise PayloadError("oversized", f"the status has {len(payload)} bytes, the limit is {MAX_BYTES}")
    message = load_object(payload)
    if message.get("schema") != schema:
        raise PayloadError("version", f"the status's schema is not {schema!r}")
    return message


def _state(message: Mapping[str, Any]) -> State:
    try:
        return State(message["state"])
    except KeyError:
        raise PayloadError("missing", "the field 'state' is missing") from None
    except (ValueError, TypeError):
        raise PayloadError("range", "state must be 'online' or 'offline'") from None


def _time(message: Mapping[str, Any], name: str) -> int | None:
    if message.get(name, 0) is None:
        return None
    return read_int(message, name, MAX_T0_US)


def _text(message: Mapping[str, Any], name: str) -> str:
    value = message.get(name, "")
    if not isinstance(value, str):
        raise PayloadError("type", f"{name} must be text, got {type(value).__name__}")
    return value


def _totals(message: Mapping[str, Any], name: str) -> dict[str, int]:
    totals = message.get(name, {})
    if not isinstance(totals, dict):
        raise PayloadError("type", f"{name} must be an object, got {type(totals).__name__}")
    return {key: read_int(totals, key, MAX_T0_US) for key in totals}
