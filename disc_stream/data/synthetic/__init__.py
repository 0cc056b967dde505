"""Synthetic wearables: people who walk, climb, run, cycle, sit, stand and lie, as their sensors see it.

The signals are computed from motion, not drawn as curves: a body segment's orientation over time turns
gravity into the accelerometer's frame, its angular rate is what the gyroscope measures, the sensor's distance
from the joint adds centripetal and tangential acceleration, and each foot strike sends a damped pulse.
Tempo, vigour, posture and mounting differ from person to person. Every sample has its true label.
"""

from __future__ import annotations

from disc_stream.data.synthetic.dropout import MessageLoss
from disc_stream.data.synthetic.movements import LABEL_NAMES, Activity, Placement
from disc_stream.data.synthetic.sensor import CHANNELS, SensorModel
from disc_stream.data.synthetic.wearable import (
    SyntheticWearable,
    device_names,
    placements,
    synthetic_recordings,
)

__all__ = [
    "CHANNELS",
    "LABEL_NAMES",
    "Activity",
    "MessageLoss",
    "Placement",
    "SensorModel",
    "SyntheticWearable",
    "device_names",
    "placements",
    "synthetic_recordings",
]
