"""What the windows of each cluster have in common, in physical terms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from disc_stream.characteristics.measures import (
    MODERATE_MG,
    SEDENTARY_MG,
    VIGOROUS_MG,
    Measures,
    angle_between,
    measure,
)
from disc_stream.characteristics.sensors import Floats, Gravity, Sensors, find_sensors, gravity_in
from disc_stream.characteristics.timing import bout_seconds, usual_hours
from disc_stream.characteristics.upright import relative_to_walking, tilts, upright_directions
from disc_stream.errors import DataError
from disc_stream.types import Channel, IntArray

Intensity = Literal["still", "light", "moderate", "vigorous"]

_STILL_RMS = 0.3  # m/s²; where gravity is removed the magnitude says nothing
# Noise has peaks too: about 0.25 high in windows of 2.56 s, 0.37 in windows of half of that (median over the
# still windows of three datasets).
_REGULAR_LONG, _REGULAR_SHORT, _LONG_S = 0.4, 0.5, 2.0
_AXES = ("+x", "-x", "+y", "-y", "+z", "-z")


@dataclass(frozen=True, slots=True)
class MotionWindows:
    """Windows and what is known of them beside their samples.

    Args:
        x: (n, T, C), in the channels' units.
        fs: samples per second.
        channels: C of them.
        device: (n,) device of each window, ids or numbers; None for one device.
        time_us: (n,) Unix time of each window's first sample, microseconds; None if not known.
        utc_offset_minutes: of the wearers' wall clocks from UTC, for the time of day.
    """

    x: npt.NDArray[np.floating]
    fs: float
    channels: tuple[Channel, ...]
    device: Sequence[str] | npt.NDArray[np.generic] | None = None
    time_us: IntArray | None = None
    utc_offset_minutes: int = 0


class OwnWalk(BaseModel):
    """A cluster against all that its wearers do when they walk, stairs included: medians of ratios."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    cadence: float | None
    strength: float | None = Field(description="of the mean amplitude deviation")
    impact: float | None
    turning: float | None


class Characteristics(BaseModel):
    """What a cluster looks like. ``None`` means that this sensor, or these units, cannot tell.

    Angles in degrees, acceleration in mg (thousandths of standard gravity) or m/s², times in seconds. Values
    are medians over the cluster's windows unless said otherwise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    row: int = Field(description="column of q")
    windows: int
    window_s: float = Field(description="length of a window")
    share: float = Field(description="of all windows")
    devices: int | None = Field(description="on how many devices it was seen; None if they are not known")
    gravity: Gravity = Field(description="whether gravity is part of the acceleration")
    moving: bool | None
    still_share: float | None = Field(description="share of windows that are still")
    intensity: Intensity | None
    mad_mg: float | None = Field(description="mean amplitude deviation")
    enmo_mg: float | None = Field(description="Euclidean norm minus one")
    dynamic_ms2: float | None = Field(description="rms of acceleration about its mean, m/s²")
    rhythmic: bool
    cadence_hz: float | None = Field(description="steps (repetitions) per second, if rhythmic")
    cadence_spread_hz: float | None = Field(description="half of the distance between the quartiles")
    regularity: float = Field(description="height of the autocorrelation's highest peak, up to 1")
    step_regularity: float | None = Field(description="its height at one repetition")
    stride_regularity: float | None = Field(description="its height at two")
    half_regularity: float | None = Field(description="its height at half a repetition")
    impact: float = Field(description="share of the power above 5 Hz")
    flight: float | None = Field(description="mean share of time with less than 0.35 g")
    own_walk: OwnWalk = Field(description="compared with the same wearers' walking")
    rotation_rad_s: float | None = Field(description="rms of the angular rate about its mean")
    turning_deg: float | None = Field(description="change of the direction of gravity within a window")
    up: tuple[float, float, float] | None = Field(
        description="mean direction that is up, in the sensor's axes"
    )
    up_axis: str | None = Field(description="the axis nearest to it, such as +z")
    up_axis_deg: float | None = Field(description="angle between the two")
    tilt_deg: float | None = Field(description="from the direction that is up while the wearer walks")
    tilt_spread_deg: float | None = Field(description="half of the distance between the quartiles")
    bout_s: float | None = Field(description="median length of an uninterrupted stretch")
    hours: tuple[int, int] | None = Field(description="shortest span of wall-clock hours with 80 % of it")
    unknown: tuple[str, ...] = Field(default=(), description="what cannot be known, and why, in words")


def characterise(windows: MotionWindows, rows: IntArray, n_clusters: int) -> tuple[Characteristics, ...]:
    """Describe every cluster by physics; no label is used.

    Args:
        windows: n of them.
        rows: (n,) cluster of each, 0 to ``n_clusters`` - 1, or -1 for none.
        n_clusters: K.

    Returns:
        One for every cluster; a cluster without windows has ``windows`` 0 and knows nothing else.

    Raises:
        DataError: if lengths differ, a row is out of range, or there is no accelerometer of three axes.
        StreamMismatchError: if a unit is not known.
    """
    _check(windows, rows, n_clusters)
    sensors = find_sensors(windows.channels, windows.x)
    gravity = gravity_in(windows.x, sensors)
    measures = measure(windows.x, windows.fs, sensors, gravity)
    device, n_devices = _numbered(windows.device, len(rows))
    angles = tilts(measures, device, upright_directions(measures, device, n_devices))
    shared = _Shared(
        gravity=gravity,
        seconds=windows.x.shape[1] / windows.fs,
        unknown=_unknown(sensors, gravity, angles, windows.time_us is None),
        bouts=bout_seconds(device, windows.time_us, rows, n_clusters),
        hours=usual_hours(windows.time_us, rows, n_clusters, windows.utc_offset_minutes),
        n_devices=None if windows.device is None else n_devices,
        own_walk={
            "cadence": relative_to_walking(_steady(measures), measures, device),
            "strength": relative_to_walking(measures.mad, measures, device),
            "impact": relative_to_walking(measures.impact, measures, device),
            "turning": relative_to_walking(measures.turning, measures, device),
        },
    )
    return tuple(_one(row, rows == row, measures, angles, device, shared) for row in range(n_clusters))


@dataclass(frozen=True, slots=True)
class _Shared:
    gravity: Gravity
    seconds: float
    unknown: tuple[str, ...]
    bouts: list[float | None]
    hours: list[tuple[int, int] | None]
    n_devices: int | None
    own_walk: dict[str, Floats]


def _one(
    row: int,
    mine: npt.NDArray[np.bool_],
    m: Measures,
    angles: Floats,
    device: npt.NDArray[np.intp],
    shared: _Shared,
) -> Characteristics:
    mad, dynamic = _median(m.mad[mine]), _median(m.dynamic[mine])
    regularity = _median(m.regularity[mine]) or 0.0
    rhythmic = regularity >= (_REGULAR_LONG if shared.seconds >= _LONG_S else _REGULAR_SHORT)
    still = _still(m, mine)
    still_share = None if still is None else float(still.mean())
    moving = None if still_share is None else still_share < 0.5
    rhythmic = rhythmic and moving is not False
    hz = m.hz[mine & (m.regularity >= _REGULAR_LONG)] if rhythmic else np.empty(0)
    up = _mean_direction(m.gravity[mine])
    axis, axis_deg = _nearest_axis(up)
    return Characteristics(
        row=row,
        windows=int(mine.sum()),
        window_s=round(shared.seconds, 4),
        share=round(float(mine.mean()), 4) if len(mine) else 0.0,
        devices=None if shared.n_devices is None else len(np.unique(device[mine])),
        gravity=shared.gravity,
        moving=moving if moving is not None or not rhythmic else True,
        still_share=_rounded(still_share),
        intensity=_intensity(mad),
        mad_mg=mad,
        enmo_mg=_median(m.enmo[mine]),
        dynamic_ms2=dynamic,
        rhythmic=rhythmic,
        cadence_hz=_median(hz),
        cadence_spread_hz=_spread(hz),
        regularity=regularity,
        step_regularity=_median(m.step[mine]),
        stride_regularity=_median(m.stride[mine]),
        half_regularity=_median(m.half[mine]),
        impact=_median(m.impact[mine]) or 0.0,
        flight=_mean(m.flight[mine]),
        own_walk=OwnWalk(**{name: _median(ratio[mine]) for name, ratio in shared.own_walk.items()}),
        rotation_rad_s=_median(m.rotation[mine]),
        turning_deg=_median(m.turning[mine]),
        up=up,
        up_axis=axis,
        up_axis_deg=axis_deg,
        tilt_deg=_median(angles[mine]),
        tilt_spread_deg=_spread(angles[mine]),
        bout_s=_rounded(shared.bouts[row]),
        hours=shared.hours[row],
        unknown=shared.unknown,
    )


def _steady(m: Measures) -> Floats:
    """Repetitions per second where the motion is regular."""
    return np.where(m.regularity >= _REGULAR_LONG, m.hz, np.nan)


def _still(m: Measures, mine: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_] | None:
    """Which windows of a cluster are still; None where the units say nothing."""
    if not mine.any() or np.isnan(m.dynamic[mine]).all():
        return None
    if np.isnan(m.mad[mine]).all():
        return m.dynamic[mine] < _STILL_RMS
    return m.mad[mine] < SEDENTARY_MG


def _intensity(mad: float | None) -> Intensity | None:
    if mad is None:
        return None
    if mad < SEDENTARY_MG:
        return "still"
    if mad < MODERATE_MG:
        return "light"
    return "moderate" if mad < VIGOROUS_MG else "vigorous"


def _unknown(sensors: Sensors, gravity: Gravity, angles: Floats, no_times: bool) -> tuple[str, ...]:
    found = []
    if sensors.acc_si is None:
        found.append("acceleration has no unit, so neither strength nor posture can be known")
    elif gravity != "included":
        why = "is removed from the acceleration" if gravity == "removed" else "cannot be found in it"
        found.append(f"gravity {why}, so posture and published intensities cannot be known")
    elif np.isnan(angles).all():
        found.append("nobody was seen to walk, so which way is up for the wearer cannot be known")
    if not sensors.gyro:
        found.append("there is no gyroscope, so rotation cannot be known")
    if no_times:
        found.append("windows have no times, so durations and times of day cannot be known")
    return tuple(found)


def _check(windows: MotionWindows, rows: IntArray, n_clusters: int) -> None:
    n = len(windows.x)
    if windows.x.ndim != 3 or windows.x.shape[2] != len(windows.channels):
        raise DataError(
            f"windows must be (n, samples, {len(windows.channels)} channels), got shape {windows.x.shape}",
            remedy="Give the channels in the order of the windows' columns",
        )
    for what, given in (("rows", rows), ("devices", windows.device), ("times", windows.time_us)):
        if given is not None and len(given) != n:
            raise DataError(f"{n} windows have {len(given)} {what}", remedy="Give one for every window")
    if n and not -1 <= int(rows.min()) <= int(rows.max()) < n_clusters:
        raise DataError(
            f"rows must be -1 to {n_clusters - 1}, got {int(rows.min())} to {int(rows.max())}",
            remedy="Give the cluster's row of each window, or -1",
        )


def _numbered(
    device: Sequence[str] | npt.NDArray[np.generic] | None, n: int
) -> tuple[npt.NDArray[np.intp], int]:
    if device is None:
        return np.zeros(n, dtype=np.intp), 1
    names, number = np.unique(np.asarray(device), return_inverse=True)
    return number.astype(np.intp), len(names)


def _finite(values: Floats) -> Floats:
    return values[np.isfinite(values)]


def _median(values: Floats) -> float | None:
    known = _finite(values)
    return _rounded(float(np.median(known))) if len(known) else None


def _mean(values: Floats) -> float | None:
    known = _finite(values)
    return _rounded(float(known.mean())) if len(known) else None


def _spread(values: Floats) -> float | None:
    known = _finite(values)
    if len(known) == 0:
        return None
    low, high = np.quantile(known, (0.25, 0.75))
    return _rounded(float(high - low) / 2)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _mean_direction(vectors: Floats) -> tuple[float, float, float] | None:
    known = vectors[np.isfinite(vectors).all(1)]
    mean = known.mean(0) if len(known) else np.zeros(3)
    length = float(np.linalg.norm(mean))
    if length < 1e-6:
        return None
    x, y, z = (round(float(value), 4) for value in mean / length)
    return x, y, z


def _nearest_axis(up: tuple[float, float, float] | None) -> tuple[str | None, float | None]:
    if up is None:
        return None, None
    directions = np.kron(np.eye(3), np.array([[1.0], [-1.0]]))
    angles = angle_between(directions, np.asarray(up))
    nearest = int(np.argmin(angles))
    return _AXES[nearest], round(float(angles[nearest]), 1)
