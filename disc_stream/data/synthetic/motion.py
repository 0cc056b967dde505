"""From movement to the trajectory of a body segment: orientation and acceleration over time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from disc_stream.data.synthetic.movements import COLUMN
from disc_stream.data.synthetic.noise import SmoothNoise
from disc_stream.data.synthetic.person import Person
from disc_stream.data.synthetic.rotation import euler_matrix

Floats = npt.NDArray[np.float64]

_TAU = 2.0 * np.pi
_PULSE_HZ = 8.5  # ringing of shoe and soft tissue after a foot strike
_PULSE_DECAY_S = 0.035
# Time constants of the smooth random processes, seconds.
_NOISE = {
    "sway_pitch": 0.9, "sway_roll": 0.9, "sway_yaw": 0.9,
    "fidget_pitch": 0.12, "fidget_roll": 0.12, "fidget_yaw": 0.12, "fidget_gate": 1.5,
    "turn": 1.2, "tempo": 1.5, "size": 0.8,
}  # fmt: skip
_TEMPO_JITTER = 0.025
_SIZE_JITTER = 0.10


@dataclass(frozen=True, slots=True)
class Trajectory:
    """A stretch of motion.

    Args:
        orientation: (n, 3, 3) from segment to world.
        acceleration: (n, 3) of the segment's joint in the world, in g, without gravity.
    """

    orientation: Floats
    acceleration: Floats


class Motion:
    """Turns movements into trajectories, in blocks; the state between blocks is the phase and the heading.

    Args:
        rng: source of randomness, used for nothing else.
        person: who moves.
        fs: samples per second.
    """

    def __init__(self, rng: np.random.Generator, person: Person, fs: float) -> None:
        noise_rng, self._rng = rng.spawn(2)
        self._noise = SmoothNoise(noise_rng, np.array(list(_NOISE.values())), fs)
        self._person, self._fs = person, fs
        self._cycle = float(self._rng.uniform())  # strides since the start
        self._breath = float(self._rng.uniform())
        self._heading = float(self._rng.uniform(0, _TAU))
        self._strike = 1.0  # size of the latest foot strike

    def block(self, movement: Floats) -> Trajectory:
        """The trajectory of the next samples.

        Args:
            movement: (n, n_columns) as ``Schedule.block`` gives it.
        """
        move = {name: movement[:, column] for name, column in COLUMN.items()}
        noise = dict(zip(_NOISE, self._noise.block(len(movement)).T, strict=True))
        rate = move["cadence"] * (1.0 + _TEMPO_JITTER * noise["tempo"])
        cycle = self._advance(rate)
        size = 1.0 + _SIZE_JITTER * noise["size"]
        heading = self._turn(move["turn"] * noise["turn"])
        orientation = self._orientation(move, noise, cycle, size, heading)
        return Trajectory(orientation, self._acceleration(move, cycle, rate, size, heading))

    def _advance(self, rate: Floats) -> Floats:
        cycle = self._cycle + np.cumsum(rate) / self._fs
        self._cycle = float(cycle[-1])
        return cycle

    def _turn(self, degrees_per_second: Floats) -> Floats:
        heading = self._heading + np.cumsum(np.radians(degrees_per_second)) / self._fs
        self._heading = float(heading[-1]) % _TAU
        return heading

    def _orientation(
        self, move: dict[str, Floats], noise: dict[str, Floats], cycle: Floats, size: Floats, heading: Floats
    ) -> Floats:
        p = self._person.phases
        once, twice = _TAU * cycle, 2 * _TAU * cycle
        breath = self._breath + np.arange(1, len(cycle) + 1) * self._person.breaths_hz / self._fs
        self._breath = float(breath[-1])
        # Quick movements come in bursts: only while the slow gate is above its mean.
        burst = move["fidget"] * np.clip(noise["fidget_gate"], 0.0, None) ** 2
        pitch = (
            move["pitch"]
            + size * move["swing_pitch"] * np.sin(once + p[0])
            + size * move["step_pitch"] * np.sin(twice + 0.9 + p[1])
            + move["breath"] * np.sin(_TAU * breath)
            + move["sway"] * noise["sway_pitch"]
            + burst * noise["fidget_pitch"]
        )
        roll = (
            move["roll"]
            + size * move["swing_roll"] * np.sin(once + 1.4 + p[2])
            + size * move["step_roll"] * np.sin(twice + 0.3 + p[3])
            + move["sway"] * noise["sway_roll"]
            + burst * noise["fidget_roll"]
        )
        yaw = (
            size * move["swing_yaw"] * np.sin(once + 0.5 + p[4])
            + size * move["step_yaw"] * np.sin(twice + 1.1 + p[12])
            + move["sway"] * noise["sway_yaw"]
            + burst * noise["fidget_yaw"]
        )
        return euler_matrix(heading + np.radians(yaw), np.radians(pitch), np.radians(roll))

    def _acceleration(
        self, move: dict[str, Floats], cycle: Floats, rate: Floats, size: Floats, heading: Floats
    ) -> Floats:
        """Acceleration of the joint in the world, (n, 3) in g."""
        p = self._person.phases
        once, twice = _TAU * cycle, 2 * _TAU * cycle
        pulse = move["impact"] * self._pulses(cycle, rate)
        shake = move["shake"][:, None] * self._rng.standard_normal((len(cycle), 3))
        up = (
            size * move["up"] * np.sin(twice + 0.6 + p[5])
            + size * move["up_second"] * np.sin(2 * twice + 0.2 + p[6])
            + 0.4 * size * move["up_second"] * np.sin(3 * twice + p[13])
            + move["limp"] * np.sin(once + p[7])
        )
        forward = size * move["forward"] * (
            np.sin(twice + 2.2 + p[8]) + 0.35 * np.sin(2 * twice + 1.0 + p[9])
        )  # fmt: skip
        side = size * move["side"] * (np.sin(once + 0.8 + p[10]) + 0.5 * np.sin(3 * once + p[11]))
        forward = forward - 0.45 * pulse  # the foot brakes
        side = side + 0.25 * pulse * np.where(np.floor(2 * cycle) % 2 == 0, 1.0, -1.0)
        cos, sin = np.cos(heading), np.sin(heading)
        world = np.stack([cos * forward - sin * side, sin * forward + cos * side, up + pulse], axis=1)
        return world + shake

    def _pulses(self, cycle: Floats, rate: Floats) -> Floats:
        """A damped oscillation after each foot strike (two per cycle), each of its own size; peak about 1."""
        step = np.floor(2 * cycle)
        since_s = (2 * cycle - step) / (2 * np.maximum(rate, 0.2))
        new = np.diff(step, prepend=np.floor(2 * (cycle[0] - rate[0] / self._fs))) > 0
        sizes = np.concatenate(
            [[self._strike], np.clip(self._rng.normal(1.0, 0.2, int(new.sum())), 0.4, 1.8)]
        )
        self._strike = float(sizes[-1])
        wave = np.exp(-since_s / _PULSE_DECAY_S) * np.sin(_TAU * _PULSE_HZ * since_s)
        pulses: Floats = 1.8 * sizes[np.cumsum(new)] * wave
        return pulses
