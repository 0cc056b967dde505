"""What is wrong with a phone's data, in words, within ten seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from disc_stream.signal.units import STANDARD_GRAVITY
from disc_stream_edge.phones.readings import PhoneMessage, Readings, Sensor
from disc_stream_edge.phones.rotation import STEP_S, Agreement, agreement

_Floats = npt.NDArray[np.float64]

WINDOW_S = 8.0
"""What is looked at: so much of the latest data."""

_MOST = 10_000  # readings of a sensor that are looked at
_ENOUGH_S = 2.0
_START_S = 1.0  # after the start the phone is still in the hand that started it
_FASTEST = 40.0  # rad/s, more than phones' gyroscopes measure: 2 293 degrees a second
_SLOW = 0.8  # of the model's rate
_DEGREES = 180 / np.pi


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong.

    Args:
        code: stable name for programs.
        words: one sentence: what is seen and what is expected.
        remedy: what to do.
    """

    code: str
    words: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Needs:
    """What a model reads.

    Args:
        fs: its rate in Hz; None while there is no model.
        gyro: whether it reads the gyroscope.
    """

    fs: float | None = None
    gyro: bool = False


class Checks:
    """Looks at the latest readings of one phone."""

    def __init__(self) -> None:
        self._seen = {sensor: _Latest() for sensor in Sensor}
        self._turned: bool | None = None

    def push(self, message: PhoneMessage) -> None:
        """Take what an adapter has read."""
        for readings in message.readings:
            self._seen[readings.sensor].push(readings)

    def findings(self, needs: Needs) -> list[Finding]:
        """What is wrong now; empty if nothing is, or too little is known."""
        acc, gyro = self._acceleration(), self._seen[Sensor.GYRO]
        found = [self._missing(needs), *_levels(acc), self._sign(acc), _fast(gyro), _rate(acc, needs)]
        if not any(found[1:3]):
            found.append(_together(acc, gyro))
        by_code = {one.code: one for one in found if one is not None}
        return list(by_code.values())

    def _acceleration(self) -> _Latest:
        """That with gravity; else that without, plus gravity where it is measured."""
        total, linear, gravity = (self._seen[s] for s in (Sensor.ACC, Sensor.LINEAR, Sensor.GRAVITY))
        if total.span_s or not linear.span_s or gravity.span_s < 0.1:
            return total
        return linear.plus(gravity)

    def _missing(self, needs: Needs) -> Finding | None:
        total, linear, gravity = (self._seen[s] for s in (Sensor.ACC, Sensor.LINEAR, Sensor.GRAVITY))
        if linear.span_s >= _ENOUGH_S and not gravity.count and not total.count:
            return Finding(
                "gravity-missing",
                "the acceleration comes without gravity; the model needs both together",
                "Turn on Gravity beside Accelerometer, or choose the acceleration with gravity",
            )
        longest = max(total.span_s, linear.span_s)
        if needs.gyro and longest >= _ENOUGH_S and not self._seen[Sensor.GYRO].count:
            return Finding(
                "gyroscope-missing",
                "the model reads the gyroscope, and none comes",
                "Turn on Gyroscope; a phone without one needs a model of the acceleration alone",
            )
        return None

    def _sign(self, acc: _Latest) -> Finding | None:
        """Somebody who starts a stream looks at the screen: its face or its upper edge is up."""
        if self._turned is None and acc.first_s is not None and acc.span_s >= _START_S / 2:
            start = acc.values[acc.times_s <= acc.first_s + _START_S]
            mean, size = start.mean(axis=0), float(np.median(np.linalg.norm(start, axis=1)))
            if size > 0 and float(np.linalg.norm(mean)) > 0.8 * size:
                self._turned = bool(
                    max(mean[1], mean[2]) < 0.3 * size and min(mean[1], mean[2]) < -0.7 * size
                )
        elif self._turned and acc.span_s >= 1.0:
            late = acc.values[acc.times_s >= acc.times_s[-1] - 1.0].mean(axis=0)
            self._turned = not bool(max(late[1], late[2]) > 0.7 * STANDARD_GRAVITY)
        if not self._turned:
            return None
        return Finding(
            "sign-turned",
            "the acceleration points down where it should point up: its sign is turned, as on iOS, or the "
            "phone was started upside down",
            "Turn on Standardise Units & Frames in Sensor Logger; a phone on its back must measure "
            "+9.8 m/s² along z",
        )


def _levels(acc: _Latest) -> Sequence[Finding | None]:
    """Is the acceleration in m/s², with gravity?"""
    if acc.span_s < _ENOUGH_S:
        return ()
    size = float(np.median(np.linalg.norm(acc.values, axis=1)))
    mean = float(np.linalg.norm(acc.values.mean(axis=0)))
    seen = f"the acceleration is {size:.3g} where 9.81 m/s² is expected at rest"
    if 0.8 < size < 1.25 and mean > 0.75 * size:
        return (Finding("units", f"{seen}: it is in g", "Turn on Standardise Units & Frames, or send m/s²"),)
    if 800 < size < 1250 and mean > 0.75 * size:
        return (Finding("units", f"{seen}: it is in thousandths of g", "Send m/s²"),)
    if size < 4.0:
        remedy = "Send the acceleration with gravity: in Sensor Logger turn on Gravity, too"
        return (Finding("gravity-missing", f"{seen}: gravity is missing", remedy),)
    if size < 7.0 or size > 25.0:
        return (Finding("units", f"{seen}: the unit is wrong", "Send m/s²"),)
    return ()


def _fast(gyro: _Latest) -> Finding | None:
    if gyro.span_s < 0.5:
        return None
    size = float(np.quantile(np.linalg.norm(gyro.values, axis=1), 0.9))
    return _degrees(f"it turns by {size:.0f} rad/s, faster than phones measure") if size > _FASTEST else None


def _degrees(why: str) -> Finding:
    return Finding(
        "degrees-for-radians",
        f"the gyroscope's values are degrees a second where radians are expected: {why}",
        "Turn on Standardise Units & Frames, or send rad/s",
    )


def _rate(acc: _Latest, needs: Needs) -> Finding | None:
    rate = acc.rate
    if needs.fs is None or rate is None or acc.span_s < _ENOUGH_S or rate >= _SLOW * needs.fs:
        return None
    return Finding(
        "rate-too-low",
        f"{rate:.3g} readings a second come, and the model reads {needs.fs:g}: faster motion is lost",
        f"Set the app to {needs.fs:g} Hz or more, and turn off the phone's battery saver",
    )


def _together(acc: _Latest, gyro: _Latest) -> Finding | None:
    """Do both sensors tell of the same turning?"""
    if min(acc.span_s, gyro.span_s) < _ENOUGH_S:
        return None
    edges = np.arange(max(acc.times_s[0], gyro.times_s[0]), min(acc.times_s[-1], gyro.times_s[-1]), STEP_S)
    if len(edges) * STEP_S < _ENOUGH_S:
        return None
    pair = acc.means(edges), gyro.means(edges)
    if not all(np.isfinite(means).all() for means in pair):  # a slow sensor leaves steps empty
        return None
    return _of_agreement(agreement(*pair))


def _of_agreement(found: Agreement | None) -> Finding | None:
    if found is None or (found.axes == ("x", "y", "z") and found.slope >= 3 / _DEGREES):
        return None
    if found.axes == ("x", "y", "z"):
        return _degrees(f"gravity turns {1 / found.slope:.0f} times more slowly than they say")
    if found.axes == ("-x", "-y", "-z"):
        return Finding(
            "gyroscope-turned",
            "the gyroscope turns the other way than gravity does: the sign of its three axes is turned",
            "Turn on Standardise Units & Frames, or turn the sign",
        )
    return Finding(
        "axes-differ",
        "gyroscope and accelerometer measure in different frames: gravity turns as if the gyroscope's "
        f"({', '.join(found.axes)}) were (x, y, z)",
        "Let both use the phone's axes: x right, y up, z out of the screen",
    )


class _Latest:
    """The latest readings of one sensor, in order."""

    def __init__(self) -> None:
        self.times_s: _Floats = np.empty(0)
        self.values: _Floats = np.empty((0, 3))
        self.first_s: float | None = None
        self.count = 0

    def push(self, readings: Readings) -> None:
        order = np.argsort(readings.times_ns, kind="stable")
        times, values = readings.times_ns[order] / 1e9, readings.values[order]
        if not len(times):
            return
        if len(self.times_s) and times[0] < self.times_s[-1] - WINDOW_S:  # another recording
            self.times_s, self.values, self.first_s = np.empty(0), np.empty((0, 3)), None
        fresh = times > (self.times_s[-1] if len(self.times_s) else -1.0)
        self.count += len(times)
        times = np.concatenate([self.times_s, times[fresh]])
        values = np.concatenate([self.values, values[fresh]])
        if not len(times):
            return
        self.first_s = times[0] if self.first_s is None else self.first_s
        keep = times >= times[-1] - WINDOW_S
        self.times_s, self.values = times[keep][-_MOST:], values[keep][-_MOST:]

    @property
    def span_s(self) -> float:
        """Seconds from the first reading to the last."""
        return float(self.times_s[-1] - self.times_s[0]) if len(self.times_s) else 0.0

    @property
    def rate(self) -> float | None:
        """Readings a second, without pauses."""
        steps = np.diff(self.times_s)
        if len(steps) < 4:
            return None
        return 1.0 / float(steps[steps <= max(0.25, 4 * float(np.median(steps)))].mean())

    def plus(self, other: _Latest) -> _Latest:
        """The sum with another sensor, interpolated."""
        both = _Latest()
        within = (self.times_s >= other.times_s[0]) & (self.times_s <= other.times_s[-1])
        both.times_s, both.first_s = self.times_s[within], other.first_s
        added = [np.interp(both.times_s, other.times_s, other.values[:, axis]) for axis in range(3)]
        both.values, both.count = self.values[within] + np.stack(added, axis=1), int(within.sum())
        return both

    def means(self, edges: _Floats) -> _Floats:
        """(len(edges) - 1, 3) means between edges; NaN where there is none."""
        place = np.searchsorted(edges, self.times_s, side="right") - 1
        inside = (place >= 0) & (place < len(edges) - 1)
        counts = np.bincount(place[inside], minlength=len(edges) - 1)
        sums = [
            np.bincount(place[inside], weights=self.values[inside, axis], minlength=len(edges) - 1)
            for axis in range(3)
        ]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.stack(sums, axis=1) / counts[:, None]
