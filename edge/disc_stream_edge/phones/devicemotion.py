"""Our own page: the browser's DeviceMotion events (https://www.w3.org/TR/orientation-event/), some at a time.

Acceleration with gravity is in m/s², the rotation in degrees a second: alpha about x, beta about y, gamma
about z, as Chromium and WebKit fill them in. WebKit on iOS has the opposite sign of acceleration; the page
says so.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from disc_stream.errors import PayloadError
from disc_stream_edge.phones.readings import PhoneMessage, Readings, Sensor, make_readings, parse

APP = "the page"
_Number = float | None


class _Motion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: Literal["disc-stream.motion/1"]
    session: str
    number: int
    origin: float  # Unix milliseconds of the page's time 0
    turned: bool  # whether acceleration has iOS' sign
    samples: list[list[_Number]]  # time in ms; acceleration with gravity x, y, z; without; alpha, beta, gamma


_DECODER = msgspec.json.Decoder(_Motion)
_COLUMNS = {Sensor.ACC: slice(1, 4), Sensor.LINEAR: slice(4, 7), Sensor.GYRO: slice(7, 10)}


def read(payload: bytes) -> PhoneMessage:
    """One message; acceleration without gravity counts where there is none with it.

    Raises:
        PayloadError: if it is not what the page sends.
    """
    motion = parse(payload, _DECODER, APP)
    if any(len(row) != 10 or row[0] is None for row in motion.samples):
        raise PayloadError("shape", "a sample of the page does not have its 10 numbers")
    if not 0 <= motion.origin < 1e14:
        raise PayloadError("range", "the time of the page is out of range")
    readings = [_column(motion, sensor) for sensor in _COLUMNS]
    found = [one for one in readings if len(one.times_ns)]
    if any(one.sensor == Sensor.ACC for one in found):
        found = [one for one in found if one.sensor != Sensor.LINEAR]
    return PhoneMessage(tuple(found), "", motion.session[:200], max(0, motion.number))


def _column(motion: _Motion, sensor: Sensor) -> Readings:
    times, values = [], []
    factor = math.pi / 180 if sensor == Sensor.GYRO else (-1.0 if motion.turned else 1.0)
    for row in motion.samples:
        axes = row[_COLUMNS[sensor]]
        numbers = [factor * value for value in axes if value is not None]
        if len(numbers) < 3:
            continue
        at = row[0] or 0.0
        if not -1e12 < at < 1e12:
            raise PayloadError("range", "a time of the page is out of range")
        times.append(round(motion.origin * 1e3 + at * 1e3) * 1_000)
        values.append(numbers)
    return make_readings(sensor, times, values, APP)
