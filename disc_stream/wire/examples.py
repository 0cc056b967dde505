"""One message of each kind, written by the encoders that devices and server use.

They stand in the AsyncAPI document (``disc-stream wire asyncapi``), and tests replay them against the
decoders and against a real server.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from disc_stream.types import (
    NOT_WORN,
    STATE_NAMES,
    Channel,
    DeviceMeta,
    Label,
    Problem,
    SampleBatch,
    SoftLabel,
)
from disc_stream.wire.activity import Activity, encode_activity
from disc_stream.wire.codecs import Encoding, encode_batch
from disc_stream.wire.embedding import Embeddings, encode_embeddings
from disc_stream.wire.event import SCHEMA as EVENT_SCHEMA
from disc_stream.wire.event import Event, EventType, encode_event
from disc_stream.wire.label import encode_label
from disc_stream.wire.meta import encode_meta
from disc_stream.wire.problem import encode_problem
from disc_stream.wire.servermodel import (
    SCHEMA,
    ChannelFacts,
    ClusterFacts,
    ModelMessage,
    WindowFacts,
    encode_model,
)
from disc_stream.wire.status import (
    DeviceStatus,
    ServerStatus,
    State,
    encode_device_status,
    encode_server_status,
)

DEVICE = "watch-17"
"""The device that the examples are about."""

NOW_US = 1_700_000_000_000_000
_BOOT = 7
_G, _DPS = 1 / 2048, 1 / 16
_CHANNELS = tuple(
    Channel(f"{sensor}_{axis}", unit, scale)
    for sensor, unit, scale in (("acc", "g", _G), ("gyro", "deg/s", _DPS))
    for axis in "xyz"
)
_META = DeviceMeta(50.0, _CHANNELS, placement="left wrist", model="example", firmware="1.2.3")
_COUNTS = np.array([[0, -512, 2048, 160, 0, -16], [32, -480, 2000, 176, 8, -32]], dtype=np.int16)
_BATCH = SampleBatch(DEVICE, _BOOT, 0, 1_500_000, 50.0, _CHANNELS, _COUNTS)
_WALKING, _CLIMBING = SoftLabel(3, "walking", 0.91), SoftLabel(5, "climbing stairs", 0.06)
_LABEL = Label(
    DEVICE, _BOOT, 12, 15_360_000, 17_920_000, _WALKING, (_WALKING, _CLIMBING), SoftLabel(3, "walking", 0.97),
    1.25, 0.4, "v3", 35, NOW_US, NOW_US - 2_000_000,
)  # fmt: skip
_AWAY = SoftLabel(NOT_WORN, STATE_NAMES[NOT_WORN], 1.0)
_NOT_WORN = Label(
    DEVICE, _BOOT, 720, 921_600_000, 924_160_000, _AWAY, (_WALKING,), _AWAY, 4.5, 1.6, "v3", 1843, NOW_US
)
_PROBLEM = Problem("rate-differs", "fs is 50 Hz and 100 Hz come", NOW_US, 7, "Correct fs")
_MODEL = ModelMessage(
    SCHEMA, "wrist", "v3", "2023-11-14T22:00:00+00:00", 50.0, WindowFacts(128, 64, 64),
    tuple(ChannelFacts(c.name, c.unit) for c in _CHANNELS),
    (ClusterFacts(3, "walking"), ClusterFacts(5, "climbing stairs")),
)  # fmt: skip
_SERVER = ServerStatus(
    State.ONLINE, NOW_US, "v3", {"messages": 12, "windows": 3, "labels": 3, "devices": 1}, {"no-meta": 1},
    "cpu", NOW_US,
)  # fmt: skip


def batch(encoding: Encoding) -> bytes:
    """Two rows of six channels, described by themselves where the encoding can do that."""
    return encode_batch(_BATCH, encoding, describe_channels=encoding is not Encoding.PACKED)


def meta() -> bytes:
    """What the device's samples are."""
    return encode_meta(_META)


def device_status() -> dict[str, bytes]:
    """A device that has come, and the last will of one that has gone."""
    states = {
        "online": DeviceStatus(State.ONLINE, _BOOT, NOW_US),
        "lastWill": DeviceStatus(State.OFFLINE, _BOOT, None),
    }
    return {name: encode_device_status(status) for name, status in states.items()}


def labels() -> dict[str, bytes]:
    """A label of an activity, and one that says that nobody wears the device."""
    return {name: encode_label(one) for name, one in (("walking", _LABEL), ("notWorn", _NOT_WORN))}


def embedding() -> bytes:
    """Embeddings of two windows, in three dimensions."""
    values = np.array([[0.5, -1.25, 2.0], [0.75, -1.0, 1.5]], dtype=np.float32)
    return encode_embeddings(Embeddings(DEVICE, _BOOT, "v3", np.array([11, 12], dtype=np.uint32), values))


def problem() -> bytes:
    """Why a device's labels are worse than they could be."""
    return encode_problem(_PROBLEM)


def activity() -> bytes:
    """What a device's wearer does, for automations."""
    return encode_activity(Activity("walking", 3, NOW_US))


def events() -> dict[str, bytes]:
    """What begins, ends and is corrected, and a device that goes."""
    times: dict[str, Any] = {"at": NOW_US, "begin": NOW_US - 60_000_000}
    walked = {"label": 3, "name": "walking"}
    some: dict[str, tuple[EventType, dict[str, Any]]] = {
        "began": (EventType.EPISODE_BEGAN, {**times, **walked}),
        "ended": (EventType.EPISODE_ENDED, {**times, **walked, "end": NOW_US - 5_000_000}),
        "corrected": (EventType.EPISODE_CORRECTED, {**times, "end": NOW_US}),
        "notWorn": (EventType.NOT_WORN_BEGAN, {**times, "label": NOT_WORN, "name": STATE_NAMES[NOT_WORN]}),
        "offline": (EventType.OFFLINE, {"at": NOW_US}),
    }
    return {
        name: encode_event(
            msgspec.convert(
                {
                    "schema": EVENT_SCHEMA, "id": f"0a1b2c3d-{number}", "number": number, "type": kind,
                    "device": DEVICE, **fields,
                },
                Event,
            )
        )
        for number, (name, (kind, fields)) in enumerate(some.items(), 41)
    }  # fmt: skip


def server_status() -> dict[str, bytes]:
    """A server at work, and its last will."""
    states = {"online": _SERVER, "lastWill": ServerStatus(State.OFFLINE, None, "v3")}
    return {name: encode_server_status(status) for name, status in states.items()}


def model() -> bytes:
    """A model of two clusters."""
    return encode_model(_MODEL)
