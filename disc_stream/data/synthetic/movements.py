"""How each activity moves the body segment that a sensor is worn on: one table per placement.

The magnitudes were set so that the simulated signals agree with recordings in their spread along each axis,
their spectrum and their peaks: waist with HAPT (walking, stairs, postures), trouser pocket with MotionSense
(also jogging). Step rates follow Öberg, Karsznia & Öberg 1993 (J Rehabil Res Dev 30:210) and the phases of
pelvis acceleration Menz, Lord & Fitzpatrick 2003 (doi:10.1016/S0966-6362(02)00159-5).

Frame: x forward, y left, z up. Positive pitch leans forward; a thigh or forearm raised forward has negative
pitch. One stride is two steps; one cycle on the bicycle is one turn of the crank.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum, StrEnum

import numpy as np
import numpy.typing as npt


class Activity(IntEnum):
    """What a person does; the values index ``LABEL_NAMES``."""

    WALKING = 0
    STAIRS_UP = 1
    STAIRS_DOWN = 2
    RUNNING = 3
    CYCLING = 4
    SITTING = 5
    STANDING = 6
    LYING = 7


LABEL_NAMES = tuple(activity.name.lower().replace("_", " ") for activity in Activity)


class Placement(StrEnum):
    """Where the sensor is worn."""

    WAIST = "waist"
    POCKET = "pocket"
    WRIST = "wrist"


@dataclass(frozen=True, slots=True)
class Movement:
    """Motion of one body segment in one activity; all zero is standing still and upright.

    Args:
        cadence: strides or crank turns per second.
        pitch: mean lean in degrees.
        roll: mean lean to the right in degrees.
        swing_pitch: amplitude of pitch once per cycle, in degrees; likewise roll and yaw.
        swing_roll: see above.
        swing_yaw: see above.
        step_pitch: amplitude of pitch twice per cycle, in degrees; likewise roll and yaw.
        step_roll: see above.
        step_yaw: see above.
        up: amplitude of vertical acceleration twice per cycle, in g.
        up_second: the same four times per cycle.
        limp: vertical acceleration once per cycle, in g: the two legs differ.
        forward: amplitude of forward acceleration twice per cycle, in g.
        side: amplitude of sideward acceleration once per cycle, in g.
        impact: peak of the pulse after each foot strike, in g.
        shake: broadband vibration, g rms: road, soft tissue.
        sway: slow drift of posture, degrees rms.
        fidget: size of occasional quick movements, in degrees.
        breath: amplitude of pitch with each breath, in degrees.
        turn: changes of heading, degrees per second rms.
        spread: how much the mean lean differs from bout to bout, in degrees (standard deviation).
    """

    cadence: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    swing_pitch: float = 0.0
    swing_roll: float = 0.0
    swing_yaw: float = 0.0
    step_pitch: float = 0.0
    step_roll: float = 0.0
    step_yaw: float = 0.0
    up: float = 0.0
    up_second: float = 0.0
    limp: float = 0.0
    forward: float = 0.0
    side: float = 0.0
    impact: float = 0.0
    shake: float = 0.0
    sway: float = 0.3
    fidget: float = 0.3
    breath: float = 0.1
    turn: float = 0.0
    spread: float = 3.0

    def vector(self) -> npt.NDArray[np.float64]:
        """The values in the order of ``COLUMN``, for blending one movement into another."""
        return np.array([getattr(self, field.name) for field in fields(self)])


COLUMN = {field.name: index for index, field in enumerate(fields(Movement))}

_WAIST = {
    Activity.WALKING: Movement(
        cadence=0.92, pitch=3, swing_pitch=1.0, swing_roll=4.0, swing_yaw=5.0, step_pitch=2.8,
        step_roll=0.8, step_yaw=1.3, up=0.24, up_second=0.08, limp=0.03, forward=0.13, side=0.14,
        impact=0.36, shake=0.02, sway=1.0, turn=12, spread=2,
    ),
    Activity.STAIRS_UP: Movement(
        cadence=0.84, pitch=11, swing_pitch=2.0, swing_roll=5.5, swing_yaw=7.5, step_pitch=3.2,
        step_roll=1.2, step_yaw=1.5, up=0.3, up_second=0.11, limp=0.05, forward=0.16, side=0.13,
        impact=0.24, shake=0.02, sway=1.6, turn=16, spread=3,
    ),
    Activity.STAIRS_DOWN: Movement(
        cadence=0.90, pitch=-1, swing_pitch=1.5, swing_roll=4.6, swing_yaw=8.0, step_pitch=3.2,
        step_roll=1.5, step_yaw=2.0, up=0.36, up_second=0.16, limp=0.09, forward=0.16, side=0.14,
        impact=0.55, shake=0.03, sway=1.4, turn=16, spread=3,
    ),
    Activity.RUNNING: Movement(
        cadence=1.38, pitch=9, swing_pitch=1.5, swing_roll=5.0, swing_yaw=8.5, step_pitch=4.0,
        step_roll=1.5, step_yaw=2.0, up=1.05, up_second=0.22, limp=0.08, forward=0.30, side=0.22,
        impact=1.2, shake=0.06, sway=1.2, turn=10, spread=3,
    ),
    Activity.CYCLING: Movement(
        cadence=1.20, pitch=36, swing_roll=2.6, swing_yaw=2.2, step_pitch=0.6, up=0.03, limp=0.02,
        forward=0.03, side=0.04, shake=0.07, sway=1.3, turn=7, breath=0.3, spread=5,
    ),
    Activity.SITTING: Movement(pitch=-9, sway=0.5, fidget=1.4, breath=0.35, spread=8),
    Activity.STANDING: Movement(pitch=2, sway=0.6, fidget=0.9, breath=0.15, spread=2.5),
    Activity.LYING: Movement(pitch=-88, sway=0.25, fidget=0.7, breath=0.5, spread=5),
}  # fmt: skip

_POCKET = {
    Activity.WALKING: Movement(
        cadence=0.92, pitch=-8, swing_pitch=18, swing_roll=7, swing_yaw=14, step_pitch=5.5, step_roll=2.5,
        step_yaw=7.0, up=0.30, up_second=0.20, limp=0.16, forward=0.26, side=0.22, impact=1.35, shake=0.05,
        sway=1.2, turn=12, spread=3,
    ),
    Activity.STAIRS_UP: Movement(
        cadence=0.82, pitch=-24, swing_pitch=20, swing_roll=7, swing_yaw=13, step_pitch=4.5, step_roll=2.5,
        step_yaw=6.0, up=0.24, up_second=0.14, limp=0.14, forward=0.16, side=0.18, impact=0.75, shake=0.04,
        sway=1.8, turn=16, spread=4,
    ),
    Activity.STAIRS_DOWN: Movement(
        cadence=0.95, pitch=-13, swing_pitch=13, swing_roll=6, swing_yaw=12, step_pitch=4.5, step_roll=2.5,
        step_yaw=6.0, up=0.32, up_second=0.18, limp=0.18, forward=0.15, side=0.2, impact=1.1, shake=0.05,
        sway=1.6, turn=16, spread=4,
    ),
    Activity.RUNNING: Movement(
        cadence=1.38, pitch=-16, swing_pitch=17, swing_roll=8, swing_yaw=14, step_pitch=6.0, step_roll=3.0,
        step_yaw=10, up=0.9, up_second=0.35, limp=0.30, forward=0.45, side=0.35, impact=2.5, shake=0.12,
        sway=1.5, turn=10, spread=4,
    ),
    Activity.CYCLING: Movement(
        cadence=1.20, pitch=-52, swing_pitch=20, swing_roll=3.0, swing_yaw=3.0, step_pitch=2.0, up=0.04,
        limp=0.04, forward=0.05, side=0.04, shake=0.06, sway=1.2, turn=7, spread=4,
    ),
    Activity.SITTING: Movement(pitch=-80, sway=0.35, fidget=0.9, breath=0.05, spread=7),
    Activity.STANDING: Movement(pitch=-3, sway=0.7, fidget=1.6, breath=0.05, spread=4),
    Activity.LYING: Movement(pitch=-93, sway=0.2, fidget=0.9, breath=0.1, spread=4),
}  # fmt: skip

_WRIST = {
    Activity.WALKING: Movement(
        cadence=0.92, pitch=-18, swing_pitch=20, swing_roll=5, swing_yaw=9, step_pitch=3.0, step_roll=2.0,
        up=0.20, up_second=0.06, limp=0.04, forward=0.08, side=0.06, impact=0.22, shake=0.03, sway=2.5,
        fidget=1.0, turn=12, spread=5,
    ),
    Activity.STAIRS_UP: Movement(
        cadence=0.84, pitch=-30, swing_pitch=13, swing_roll=5, swing_yaw=8, step_pitch=3.0, step_roll=2.0,
        up=0.20, up_second=0.08, limp=0.05, forward=0.10, side=0.06, impact=0.12, shake=0.03, sway=3.5,
        fidget=1.0, turn=16, spread=7,
    ),
    Activity.STAIRS_DOWN: Movement(
        cadence=0.90, pitch=-24, swing_pitch=9, swing_roll=5, swing_yaw=7, step_pitch=3.0, step_roll=2.0,
        up=0.32, up_second=0.12, limp=0.08, forward=0.08, side=0.07, impact=0.42, shake=0.03, sway=3.0,
        fidget=1.0, turn=16, spread=7,
    ),
    Activity.RUNNING: Movement(
        cadence=1.38, pitch=-82, swing_pitch=22, swing_roll=10, swing_yaw=11, step_pitch=5.0, step_roll=4.0,
        step_yaw=3, up=0.90, up_second=0.20, limp=0.08, forward=0.30, side=0.20, impact=0.60, shake=0.06,
        sway=2.5, fidget=0.5, turn=10, spread=7,
    ),
    Activity.CYCLING: Movement(
        cadence=1.20, pitch=-48, swing_pitch=0.8, swing_roll=1.6, swing_yaw=1.0, up=0.03, forward=0.03,
        side=0.03, shake=0.13, sway=1.5, fidget=0.8, turn=7, spread=5,
    ),
    Activity.SITTING: Movement(pitch=-74, roll=12, sway=1.0, fidget=2.4, breath=0.1, spread=9),
    Activity.STANDING: Movement(pitch=-9, sway=1.2, fidget=1.8, breath=0.1, spread=5),
    Activity.LYING: Movement(pitch=-96, roll=-8, sway=0.4, fidget=1.2, breath=0.4, spread=8),
}  # fmt: skip

MOVEMENTS = {Placement.WAIST: _WAIST, Placement.POCKET: _POCKET, Placement.WRIST: _WRIST}

LEVER_M = {Placement.WAIST: 0.08, Placement.POCKET: 0.18, Placement.WRIST: 0.45}
"""Distance of the sensor below the joint that its segment turns about, in metres."""
