"""From a trajectory to what a six-axis sensor reports: specific force, angular rate, and its own errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from disc_stream.data.synthetic.motion import Trajectory
from disc_stream.data.synthetic.rotation import rotation_vectors
from disc_stream.types import Channel, Float32Array

Floats = npt.NDArray[np.float64]

STANDARD_GRAVITY = 9.80665  # m/s²

CHANNELS = tuple(Channel(f"acc_{axis}", "g") for axis in "xyz") + tuple(
    Channel(f"gyro_{axis}", "rad/s") for axis in "xyz"
)


@dataclass(frozen=True, slots=True)
class SensorModel:
    """Errors of a consumer inertial sensor; all zero is a perfect one.

    Args:
        acc_noise: white noise, g rms per sample.
        gyro_noise: white noise, rad/s rms per sample.
        acc_bias: spread of the constant offset between devices, g.
        gyro_bias: the same, rad/s.
        scale_error: spread of the sensitivity between devices and axes, relative.
        acc_range: largest magnitude in g; beyond it the sensor saturates.
        gyro_range: largest magnitude in rad/s.
        bits: resolution over the range, or None for no quantisation.
    """

    acc_noise: float = 0.003
    gyro_noise: float = 0.004
    acc_bias: float = 0.015
    gyro_bias: float = 0.01
    scale_error: float = 0.008
    acc_range: float = 8.0
    gyro_range: float = 34.9
    bits: int | None = None


PERFECT = SensorModel(0.0, 0.0, 0.0, 0.0, 0.0, np.inf, np.inf, None)


def ideal_samples(trajectory: Trajectory, mount: Floats, lever_m: float, fs: float) -> Floats:
    """What a perfect sensor measures at every sample but the first and the last.

    Specific force is the acceleration minus gravity's in the sensor's frame, 1 g upwards at rest. The angular
    rate of sample k turns its orientation into that of sample k + 1.

    Args:
        trajectory: n samples.
        mount: (3, 3) columns are the sensor's axes in the segment's frame.
        lever_m: distance of the sensor below the joint, in metres.
        fs: samples per second.

    Returns:
        (n - 2, 6): acceleration in g, angular rate in rad/s.
    """
    segment = trajectory.orientation
    position = segment @ np.array([0.0, 0.0, -lever_m])
    turning = np.diff(position, 2, axis=0) * (fs * fs / STANDARD_GRAVITY)
    force = trajectory.acceleration[1:-1] + turning + np.array([0.0, 0.0, 1.0])
    world_from_sensor = segment @ mount
    sensor_from_world = np.swapaxes(world_from_sensor[1:-1], 1, 2)
    acc = np.einsum("nij,nj->ni", sensor_from_world, force)
    rate = rotation_vectors(sensor_from_world @ world_from_sensor[2:]) * fs
    return np.concatenate([acc, rate], axis=1)


class Sensor:
    """One device's sensor: adds its errors to ideal samples.

    Args:
        rng: source of randomness, used for nothing else.
        model: kind of sensor.
    """

    def __init__(self, rng: np.random.Generator, model: SensorModel) -> None:
        self._rng = rng
        self._noise = np.repeat([model.acc_noise, model.gyro_noise], 3)
        self._bias = rng.standard_normal(6) * np.repeat([model.acc_bias, model.gyro_bias], 3)
        self._scale = 1.0 + model.scale_error * rng.standard_normal(6)
        self._range = np.repeat([model.acc_range, model.gyro_range], 3)
        self._step = None if model.bits is None else 2 * self._range / 2**model.bits

    def block(self, ideal: Floats) -> Float32Array:
        """Measured samples, (n, 6) float32."""
        measured = ideal * self._scale + self._bias + self._noise * self._rng.standard_normal(ideal.shape)
        measured = np.clip(measured, -self._range, self._range)
        if self._step is not None:
            measured = np.round(measured / self._step) * self._step
        samples: Float32Array = measured.astype(np.float32)
        return samples
