"""What physics says of single windows."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from disc_stream.characteristics.rhythm import rhythm
from disc_stream.characteristics.sensors import Floats, Gravity, Sensors
from disc_stream.signal.units import STANDARD_GRAVITY

SEDENTARY_MG = 25.0
"""Mean amplitude deviation below which a window is still. Chosen here: of people who sit, stand or lie, nine
windows in ten are below 23 mg (HAPT, MotionSense, WISDM)."""

MODERATE_MG, VIGOROUS_MG = 91.0, 414.0
"""Mean amplitude deviation at 3 and 6 MET at the hip (Vähä-Ypyä et al. 2015,
doi:10.1371/journal.pone.0134813)."""

_IMPACT_HZ = 5.0
_FLIGHT_G = 0.35  # of 1 g: nothing carries the body
_BLOCK = 2048


@dataclass(frozen=True, slots=True)
class Measures:
    """Measures of n windows; NaN where the sensor or the units do not tell.

    Args:
        dynamic: (n,) rms of the acceleration about its mean, m/s².
        mad: (n,) mean amplitude deviation of the magnitude, mg; needs gravity.
        enmo: (n,) Euclidean norm minus one, negative values as 0, mg; needs gravity.
        impact: (n,) share of the acceleration's power above 5 Hz.
        flight: (n,) share of time in which less than 0.35 g is felt; needs gravity.
        rotation: (n,) rms of the angular rate about its mean, rad/s.
        gravity: (n, 3) unit vector of the mean acceleration: the direction that is up.
        turning: (n,) angle between the directions of the first and the last quarter, degrees.
        hz: (n,) repetitions per second; see ``rhythm``, also for what follows.
        regularity: (n,)
        step: (n,)
        stride: (n,)
        half: (n,)
    """

    dynamic: Floats
    mad: Floats
    enmo: Floats
    impact: Floats
    flight: Floats
    rotation: Floats
    gravity: Floats
    turning: Floats
    hz: Floats
    regularity: Floats
    step: Floats
    stride: Floats
    half: Floats


def measure(x: npt.NDArray[np.floating], fs: float, sensors: Sensors, gravity: Gravity) -> Measures:
    """Measure windows, a few thousand at a time.

    Mean amplitude deviation: Vähä-Ypyä et al. 2015 (doi:10.1111/cpf.12127); ENMO: van Hees et al. 2013
    (doi:10.1371/journal.pone.0061691).

    Args:
        x: (n, T, C).
        fs: samples per second.
        sensors: of these channels.
        gravity: whether it is part of the acceleration.

    Raises:
        DataError: if there is no accelerometer of three axes.
    """
    parts = [
        _measure_block(x[start : start + _BLOCK], fs, sensors, gravity)
        for start in range(0, max(1, len(x)), _BLOCK)
    ]
    return Measures(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Measures)))


def _measure_block(x: npt.NDArray[np.floating], fs: float, sensors: Sensors, gravity: Gravity) -> Measures:
    acc = sensors.acceleration(x)
    known = np.nan if sensors.acc_si is None else 1.0
    upright = 1.0 if gravity == "included" else np.nan
    moved = acc - acc.mean(1, keepdims=True)
    magnitude = np.linalg.norm(acc, axis=2)
    deviation = np.abs(magnitude - magnitude.mean(1, keepdims=True)).mean(1)
    excess = np.maximum(magnitude - STANDARD_GRAVITY, 0.0).mean(1)
    # With gravity the magnitude repeats with every step, however the sensor is worn; without it, it would
    # be rectified and repeat twice as often.
    beat = rhythm(magnitude[:, :, None] if gravity == "included" else acc, fs)
    mg = 1000.0 / STANDARD_GRAVITY
    return Measures(
        dynamic=np.sqrt(np.square(moved).sum(2).mean(1)) * known,
        mad=deviation * mg * upright,
        enmo=excess * mg * upright,
        impact=_share_above(moved, fs, _IMPACT_HZ),
        flight=(magnitude < _FLIGHT_G * STANDARD_GRAVITY).mean(1) * upright,
        rotation=_rotation(x, sensors),
        gravity=_direction(acc.mean(1)) * upright,
        turning=_turning(acc) * upright,
        hz=beat.hz,
        regularity=beat.regularity,
        step=beat.step,
        stride=beat.stride,
        half=beat.half,
    )


def angle_between(a: Floats, b: Floats) -> Floats:
    """Angles between unit vectors in degrees; (..., 3) and (..., 3) -> (...)."""
    out: Floats = np.degrees(np.arccos(np.clip((a * b).sum(-1), -1.0, 1.0)))
    return out


def _direction(vectors: Floats) -> Floats:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    out: Floats = np.divide(vectors, length, out=np.full_like(vectors, np.nan), where=length > 1e-9)
    return out


def _turning(acc: Floats) -> Floats:
    quarter = max(1, acc.shape[1] // 4)
    return angle_between(_direction(acc[:, :quarter].mean(1)), _direction(acc[:, -quarter:].mean(1)))


def _rotation(x: npt.NDArray[np.floating], sensors: Sensors) -> Floats:
    if not sensors.gyro:
        return np.full(len(x), np.nan)
    rate = sensors.rotation(x)
    out: Floats = np.sqrt(rate.var(1).sum(1))
    return out


def _share_above(moved: Floats, fs: float, hz: float) -> Floats:
    """Share of the power of windows (n, T, 3) without their mean that lies above a frequency."""
    power = np.square(np.abs(np.fft.rfft(moved, axis=1))).sum(2)
    high = power[:, np.fft.rfftfreq(moved.shape[1], 1 / fs) > hz].sum(1)
    total = power.sum(1)
    out: Floats = np.divide(high, total, out=np.zeros_like(high), where=total > 1e-12)
    return out
