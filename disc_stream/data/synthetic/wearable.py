"""A person with a sensor, as an endless stream."""

from __future__ import annotations

import zlib
from functools import cached_property, partial

import numpy as np

from disc_stream.data.synthetic.motion import Motion, Trajectory
from disc_stream.data.synthetic.movements import LABEL_NAMES, LEVER_M, MOVEMENTS, Activity, Placement
from disc_stream.data.synthetic.person import Person
from disc_stream.data.synthetic.schedule import Schedule
from disc_stream.data.synthetic.sensor import CHANNELS, Sensor, SensorModel, ideal_samples
from disc_stream.data.types import LabelArray, Recording
from disc_stream.types import Channel, Float32Array

_BLOCK = 128  # samples computed at once, whatever the reader asks for
_MIXED = (Placement.WAIST, Placement.POCKET, Placement.WRIST)


class SyntheticWearable:
    """One device's samples and their true labels; the same whatever the sizes they are read in.

    Args:
        device: device id; with the seed it decides who wears it and what happens.
        seed: same device and seed, same stream.
        fs: samples per second, at least 20.
        placement: where it is worn.
        dwell: factor on how long activities last (about 20 to 45 s each at 1).
        sensor: kind of sensor.

    Raises:
        ValueError: if ``fs`` or ``dwell`` is out of range.
    """

    channels: tuple[Channel, ...] = CHANNELS
    label_names: tuple[str, ...] = LABEL_NAMES

    def __init__(
        self,
        device: str,
        seed: int = 0,
        *,
        fs: float = 50.0,
        placement: Placement | str = Placement.WAIST,
        dwell: float = 1.0,
        sensor: SensorModel | None = None,
    ) -> None:
        if not 20.0 <= fs <= 10_000.0 or not dwell > 0:
            raise ValueError(f"fs must be 20 to 10000 Hz and dwell above 0, got {fs} and {dwell}")
        self.device, self.fs, self.placement = device, float(fs), Placement(placement)
        rng = np.random.default_rng([seed, zlib.crc32(device.encode())])
        person_rng, schedule_rng, motion_rng, sensor_rng = rng.spawn(4)
        self.person = Person.draw(person_rng, self.placement)
        self._movements = dict(MOVEMENTS[self.placement])
        self._make_schedule = partial(Schedule, schedule_rng, self.person, self._movements, self.fs, dwell)
        self._motion = Motion(motion_rng, self.person, self.fs)
        self._sensor = Sensor(sensor_rng, sensor or SensorModel())
        # The last two moments of the trajectory: a sample needs the moments before and after it.
        self._tail: tuple[Trajectory, LabelArray] | None = None
        self._samples = np.empty((0, 6), dtype=np.float32)
        self._labels: LabelArray = np.empty(0, dtype=np.int16)

    def read(self, n: int) -> tuple[Float32Array, LabelArray]:
        """The next ``n`` samples.

        Returns:
            (n, 6) float32: acceleration in g, angular rate in rad/s; and (n,) int16 indices of
            ``label_names``.
        """
        samples, labels, ready = [self._samples], [self._labels], len(self._samples)
        while ready < n:
            more, more_labels = self._compute_block()
            samples.append(more)
            labels.append(more_labels)
            ready += len(more)
        all_samples, all_labels = np.concatenate(samples), np.concatenate(labels)
        self._samples, self._labels = all_samples[n:], all_labels[n:]
        return all_samples[:n], all_labels[:n]

    def leave_out(self, activity: Activity) -> None:
        """Do not do this activity until ``start`` is called with it; to be called before the first ``read``.

        Raises:
            ValueError: if something was read.
        """
        if "_schedule" in self.__dict__:
            raise ValueError("the stream has begun")
        self._movements.pop(activity, None)

    @cached_property
    def _schedule(self) -> Schedule:
        return self._make_schedule()

    def start(self, activity: Activity) -> None:
        """Go over to this activity within seconds, and do it now and then from there on; from any thread."""
        self._schedule.start(activity, MOVEMENTS[self.placement][activity])

    def _compute_block(self) -> tuple[Float32Array, LabelArray]:
        movement, labels = self._schedule.block(_BLOCK)
        new = self._motion.block(movement)
        if self._tail is not None:
            old, old_labels = self._tail
            new = Trajectory(
                np.concatenate([old.orientation, new.orientation]),
                np.concatenate([old.acceleration, new.acceleration]),
            )
            labels = np.concatenate([old_labels, labels])
        self._tail = Trajectory(new.orientation[-2:], new.acceleration[-2:]), labels[-2:]
        ideal = ideal_samples(new, self.person.mount, LEVER_M[self.placement], self.fs)
        return self._sensor.block(ideal), labels[1:-1]


def device_names(n: int) -> list[str]:
    """Ids of a fleet: ``wearable-001`` and so on."""
    return [f"wearable-{i + 1:03d}" for i in range(n)]


def placements(placement: Placement | str, n: int) -> list[Placement]:
    """Where each of ``n`` devices is worn: all in one place, or taking turns if it is ``mixed``."""
    if placement == "mixed":
        return [_MIXED[i % len(_MIXED)] for i in range(n)]
    return [Placement(placement)] * n


def synthetic_recordings(
    n_devices: int,
    seconds: float,
    seed: int = 0,
    *,
    fs: float = 50.0,
    placement: Placement | str = Placement.WAIST,
    sensor: SensorModel | None = None,
) -> list[Recording]:
    """Recordings of a fleet, one person each; the same streams that ``SyntheticWearable`` gives live.

    Args:
        n_devices: number of recordings.
        seconds: length of each.
        seed: same seed, same recordings.
        fs: samples per second.
        placement: where all of them are worn, or ``mixed`` to take turns.
        sensor: kind of sensor.
    """
    recordings = []
    worn_at = placements(placement, n_devices)
    for number, (device, worn) in enumerate(zip(device_names(n_devices), worn_at, strict=True)):
        wearable = SyntheticWearable(device, seed, fs=fs, placement=worn, sensor=sensor)
        samples, labels = wearable.read(round(seconds * fs))
        recordings.append(Recording(device, number + 1, float(fs), CHANNELS, samples, labels, LABEL_NAMES))
    return recordings
