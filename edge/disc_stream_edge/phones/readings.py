"""What a message of a phone says, whatever the app: readings of sensors, in SI units, on the phone's axes.

Axes and signs are Android's and those of the W3C's DeviceMotion: x to the right of the screen, y to its upper
edge, z out of it; a phone that lies on its back measures +9.81 m/s² along z.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from disc_stream.errors import PayloadError

MAX_BYTES = 262_144
MAX_READINGS = 20_000
"""Readings in one message, of all sensors: half a minute of two sensors at 300 Hz."""

MAX_TIME_NS = 2**62
_MAX_VALUE = 1e6

_T = TypeVar("_T")


class Sensor(StrEnum):
    """What is measured."""

    ACC = "acc"  # acceleration with gravity, m/s²
    LINEAR = "linear"  # without gravity, m/s²
    GRAVITY = "gravity"  # gravity alone, m/s²
    GYRO = "gyro"  # angular rate, rad/s


@dataclass(frozen=True, slots=True)
class Readings:
    """Readings of one sensor, in any order.

    Args:
        sensor: which.
        times_ns: (n,) int64, on one clock for all sensors of the phone.
        values: (n, 3) float64, along x, y and z, finite.
    """

    sensor: Sensor
    times_ns: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PhoneMessage:
    """One message of a phone.

    Args:
        readings: of the sensors that motion is recognised from; empty if it has none of them.
        sender: what the app calls the phone, "" if it does not say.
        session: of the recording, "" if it does not say.
        number: of the message within the session; None if they are not numbered.
    """

    readings: tuple[Readings, ...]
    sender: str = ""
    session: str = ""
    number: int | None = None


def parse(payload: bytes, decoder: msgspec.json.Decoder[_T], app: str) -> _T:
    """The JSON of a message.

    Raises:
        PayloadError: if it is too large, is no JSON, or does not have the app's fields.
    """
    if len(payload) > MAX_BYTES:
        raise PayloadError("oversized", f"{len(payload)} bytes of {app}; at most {MAX_BYTES} are taken")
    try:
        return decoder.decode(payload)
    except (msgspec.ValidationError, RecursionError, UnicodeDecodeError, OverflowError) as error:
        raise PayloadError("type", f"this is not what {app} sends: {str(error)[:120]}") from None
    except msgspec.DecodeError as error:
        raise PayloadError("malformed", f"what {app} sent is not valid JSON: {str(error)[:120]}") from None


def make_readings(sensor: Sensor, times_ns: Sequence[int], values: Sequence[Any], app: str) -> Readings:
    """Readings from lists that have the same length.

    Args:
        sensor: which.
        times_ns: one of each reading.
        values: three numbers of each reading.
        app: for the message of an error.

    Raises:
        PayloadError: if there are too many, or a time or value is outside the limits.
    """
    if len(times_ns) > MAX_READINGS:
        raise PayloadError("range", f"{len(times_ns)} readings in one message of {app}")
    if any(not 0 <= time < MAX_TIME_NS for time in times_ns):
        raise PayloadError("range", f"a time of {app} is negative or too large")
    array = np.array(values, dtype=np.float64).reshape(len(times_ns), 3)
    if not bool(np.all(np.abs(array) <= _MAX_VALUE)):  # NaN compares false
        raise PayloadError("range", f"a value of {app} is NaN, or larger than any sensor's")
    return Readings(sensor, np.array(times_ns, dtype=np.int64), array)
