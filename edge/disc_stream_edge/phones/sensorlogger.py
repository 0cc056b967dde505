"""Sensor Logger (Kelvin Choi; iOS and Android), over HTTP push or MQTT: the same JSON in both.

Format: https://github.com/tszheichoi/awesome-sensor-logger (PUSHING.md, UNITS.md, COORDINATES.md).
``accelerometer`` is without gravity, so ``gravity`` is needed beside it; ``accelerometeruncalibrated`` has
gravity. On iOS all three have the opposite sign, and the last is in g, unless "Standardise Units & Frames" is
on; the messages do not say which, so that is found by ``checks``.
"""

from __future__ import annotations

import msgspec

from disc_stream_edge.phones.readings import (
    MAX_TIME_NS,
    PhoneMessage,
    Readings,
    Sensor,
    make_readings,
    parse,
)

APP = "Sensor Logger"
_SENSORS = {
    "accelerometer": Sensor.LINEAR,
    "gravity": Sensor.GRAVITY,
    "accelerometeruncalibrated": Sensor.ACC,
    "gyroscope": Sensor.GYRO,
}


class _Axes(msgspec.Struct, frozen=True, gc=False):
    x: float
    y: float
    z: float


class _Entry(msgspec.Struct, frozen=True, gc=False):
    name: str
    time: int = -1
    values: msgspec.Raw = msgspec.Raw(b"null")


class _Push(msgspec.Struct, frozen=True, rename="camel"):
    payload: list[_Entry]
    message_id: int | None = None
    session_id: str = ""
    device_id: str = ""


_DECODER = msgspec.json.Decoder(_Push)
_AXES = msgspec.json.Decoder(_Axes)


def read(payload: bytes) -> PhoneMessage:
    """One message; sensors other than accelerometer, gravity and gyroscope are left out.

    Raises:
        PayloadError: if it is not what the app sends.
    """
    push = parse(payload, _DECODER, APP)
    times: dict[Sensor, list[int]] = {}
    values: dict[Sensor, list[tuple[float, float, float]]] = {}
    for entry in push.payload:
        sensor = _SENSORS.get(entry.name)
        if sensor is None:
            continue
        axes = parse(bytes(entry.values), _AXES, APP)
        times.setdefault(sensor, []).append(entry.time)
        values.setdefault(sensor, []).append((axes.x, axes.y, axes.z))
    readings: list[Readings] = [make_readings(s, times[s], values[s], APP) for s in times]
    number = push.message_id if push.message_id is not None and 0 <= push.message_id < MAX_TIME_NS else None
    return PhoneMessage(tuple(readings), push.device_id[:200], push.session_id[:200], number)
