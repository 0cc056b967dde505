"""Which channels are an accelerometer and a gyroscope, and what their values mean."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from disc_stream.errors import DataError
from disc_stream.signal.units import STANDARD_GRAVITY, conversion_factor
from disc_stream.types import Channel

Floats = npt.NDArray[np.float64]
Gravity = Literal["included", "removed", "unknown"]

_AXIS = re.compile(r"(.*?)[_.\- ]?([xyz])", re.IGNORECASE)
_ACCELERATION, _RATE = ("g", "mg", "m/s2"), ("rad/s", "deg/s", "mdps")
# Sensors differ by a few per cent, and a posture is held by people who move: a wide band around 1 g.
_NEAR_G, _NO_G = (0.75, 1.25), 0.3
_QUIET_SHARE = 0.5
_BLOCK = 4096  # windows looked at together, so that memory does not grow with their number


@dataclass(frozen=True, slots=True)
class Sensors:
    """Columns of a window that belong to one accelerometer and one gyroscope.

    Args:
        acc: columns of x, y and z; None where there is no accelerometer of three axes.
        acc_si: m/s² of one unit; None where the unit says nothing (``1``: normalised).
        gyro: columns of the gyroscope's axes, one to three; empty where there is none.
        gyro_si: rad/s of one unit.
        gravity: columns of gravity, where it is reported apart; empty where it is not.
        gravity_si: m/s² of one unit of it.
    """

    acc: tuple[int, ...] | None
    acc_si: float | None
    gyro: tuple[int, ...] = ()
    gyro_si: float = 1.0
    gravity: tuple[int, ...] = ()
    gravity_si: float = 1.0

    def acceleration(self, x: npt.NDArray[np.floating]) -> Floats:
        """The accelerometer's part of windows (n, T, C) -> (n, T, 3), in m/s² where the unit is known.

        Raises:
            DataError: if there is no accelerometer.
        """
        if self.acc is None:
            raise DataError(
                "there are no three axes of acceleration among the channels",
                remedy="Name them acc_x, acc_y and acc_z, in g or m/s2",
            )
        part: Floats = np.asarray(x[:, :, list(self.acc)], dtype=np.float64) * (self.acc_si or 1.0)
        if self.gravity:
            part += x[:, :, list(self.gravity)] * self.gravity_si
        return part

    def rotation(self, x: npt.NDArray[np.floating]) -> Floats:
        """The gyroscope's part of windows (n, T, C) -> (n, T, 1 to 3), in rad/s."""
        part: Floats = np.asarray(x[:, :, list(self.gyro)], dtype=np.float64) * self.gyro_si
        return part


def find_sensors(channels: Sequence[Channel], x: npt.NDArray[np.floating]) -> Sensors:
    """The accelerometer with three axes among the channels that tells most, and the gyroscope beside it.

    A sensor's axes have names that differ in a last x, y or z, and one unit. Of several accelerometers the
    first that feels gravity is taken. Where none does and gravity has channels of its own (``gravity_x`` and
    so on, as phones report it), it is added. A gyroscope of the same place (the same words before ``acc`` and
    ``gyro``) goes before others.

    Args:
        channels: one for every column of the windows.
        x: (n, T, C), the windows.
    """
    groups = _sensors_by_name(channels)
    whole = [name for name, axes in groups.items() if len(axes) == 3]
    unit = {name: channels[next(iter(axes.values()))].unit for name, axes in groups.items()}
    felt = [name for name in whole if unit[name] in _ACCELERATION and "grav" not in name]
    apart = next((name for name in whole if unit[name] in _ACCELERATION and "grav" in name), None)
    found = [_with_gyroscope(name, groups, unit) for name in felt]
    for sensors in found:
        if gravity_in(x, sensors) == "included":
            return sensors
    if found and apart:
        columns = tuple(groups[apart][axis] for axis in "xyz")
        return replace(found[0], gravity=columns, gravity_si=conversion_factor(unit[apart], "m/s2"))
    if found:
        return found[0]
    named = [name for name in whole if unit[name] == "1" and "acc" in name]
    return _with_gyroscope(named[0] if named else None, groups, unit)


def _sensors_by_name(channels: Sequence[Channel]) -> dict[str, dict[str, int]]:
    """Name without the axis -> axis -> column; sensors whose axes have several units are left out."""
    groups: dict[str, dict[str, int]] = {}
    for column, channel in enumerate(channels):
        if match := _AXIS.fullmatch(channel.name):
            groups.setdefault(match[1].lower(), {})[match[2].lower()] = column
    return {
        name: axes for name, axes in groups.items() if len({channels[k].unit for k in axes.values()}) == 1
    }


def _with_gyroscope(acc: str | None, groups: dict[str, dict[str, int]], unit: dict[str, str]) -> Sensors:
    place = (acc or "").split("acc")[0]
    rates = sorted(
        (name for name in groups if unit[name] in _RATE), key=lambda name: not name.startswith(place)
    )
    gyro = rates[0] if rates else None
    known = acc is not None and unit[acc] in _ACCELERATION
    return Sensors(
        acc=None if acc is None else tuple(groups[acc][axis] for axis in "xyz"),
        acc_si=conversion_factor(unit[acc], "m/s2") if acc is not None and known else None,
        gyro=() if gyro is None else tuple(groups[gyro].values()),
        gyro_si=1.0 if gyro is None else conversion_factor(unit[gyro], "rad/s"),
    )


def gravity_in(x: npt.NDArray[np.floating], sensors: Sensors) -> Gravity:
    """Whether gravity is part of the acceleration, by the level of the quieter half of the windows.

    Args:
        x: (n, T, C).
        sensors: of these channels.
    """
    if sensors.acc is None or sensors.acc_si is None or len(x) == 0:
        return "unknown"
    level, motion = [], []
    for start in range(0, len(x), _BLOCK):
        acc = sensors.acceleration(x[start : start + _BLOCK])
        level.append(np.linalg.norm(acc.mean(1), axis=1))
        motion.append(acc.var(1).sum(1))
    levels, motions = np.concatenate(level), np.concatenate(motion)
    quiet = levels[motions <= np.quantile(motions, _QUIET_SHARE)] / STANDARD_GRAVITY
    middle = float(np.median(quiet))
    if _NEAR_G[0] <= middle <= _NEAR_G[1]:
        return "included"
    return "removed" if middle < _NO_G else "unknown"
