"""What makes one person's signals differ from another's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from disc_stream.data.synthetic.movements import Placement
from disc_stream.data.synthetic.rotation import euler_matrix

Floats = npt.NDArray[np.float64]

# Columns are the sensor's axes in the segment's frame (x forward, y left, z up).
_UP_X = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]) * np.array([1.0, -1.0, 1.0])
_UP_Y = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
_DOWN_X = np.array([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]) * np.array([1.0, -1.0, -1.0])
_MOUNT = {Placement.WAIST: _UP_X, Placement.POCKET: _UP_Y, Placement.WRIST: _DOWN_X}
# How far the mounting differs between people: degrees about forward, left, up (standard deviations).
_MOUNT_SPREAD = {Placement.WAIST: (5, 5, 10), Placement.POCKET: (6, 6, 18), Placement.WRIST: (6, 6, 14)}


@dataclass(frozen=True, slots=True)
class Person:
    """One wearer.

    Args:
        tempo: factor on step and pedal rates.
        vigour: factor on accelerations and impacts.
        swing: factor on the angles of limbs.
        asymmetry: factor on what differs between left and right leg.
        breaths_hz: breaths per second.
        phases: (14,) offsets of the periodic parts, radians.
        lean: (8, 2) habitual pitch and roll by activity, in units of the movement's spread.
        mount: (3, 3) columns are the sensor's axes in the segment's frame.
    """

    tempo: float
    vigour: float
    swing: float
    asymmetry: float
    breaths_hz: float
    phases: Floats
    lean: Floats
    mount: Floats

    @classmethod
    def draw(cls, rng: np.random.Generator, placement: Placement) -> Person:
        """A person at random."""
        spread = np.radians(np.array(_MOUNT_SPREAD[placement]))
        roll, pitch, yaw = np.clip(rng.standard_normal(3), -2.0, 2.0) * spread
        turned = euler_matrix(np.array([yaw]), np.array([pitch]), np.array([roll]))[0]
        return cls(
            tempo=float(np.clip(rng.normal(1.0, 0.06), 0.85, 1.15)),
            vigour=float(np.clip(rng.lognormal(0.0, 0.16), 0.7, 1.45)),
            swing=float(np.clip(rng.lognormal(0.0, 0.12), 0.75, 1.35)),
            asymmetry=float(rng.lognormal(0.0, 0.4)),
            breaths_hz=float(rng.uniform(0.2, 0.3)),
            phases=rng.normal(0.0, 0.35, 14),
            lean=np.clip(rng.standard_normal((8, 2)), -2.0, 2.0),
            mount=turned @ _MOUNT[placement],
        )
