"""The fleet of a week in fast motion: who is there on which day, and what they do.

People of a recorded dataset and simulated ones; a day of a device is one boot, whose time stamps run at the
true rate from the morning of that day on, however fast it is sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from disc_stream.data.readers import get_reader, load_recordings
from disc_stream.data.synthetic import CHANNELS, LABEL_NAMES, Placement, SyntheticWearable
from disc_stream.data.types import UNLABELLED, LabelArray, Recording
from disc_stream.errors import ConfigError
from disc_stream.types import Channel, DeviceMeta, Float32Array, SampleBatch
from disc_stream_edge.sources import BatchSize, size_of

FS = 50.0
DAY_US = 86_400_000_000
_MORNING_US = 8 * 3_600_000_000
_CHUNK_S = 60  # of a recording, at most, before the replayed person does something else
# The words of datasets for what the simulated people do, too.
_SAME = {
    "walking_upstairs": "stairs up", "walking_downstairs": "stairs down", "upstairs": "stairs up",
    "downstairs": "stairs down", "jogging": "running",
}  # fmt: skip
REPLAYED = {"hapt": Placement.WAIST, "motionsense": Placement.POCKET}
"""Datasets with the channels of the simulated sensors, and where those were worn."""


class Person(Protocol):
    """Somebody with a device."""

    device: str

    def move(self, n: int) -> tuple[Float32Array, LabelArray]:
        """The next (n, 6) samples and their (n,) true activities, indices of ``LABEL_NAMES`` or -1."""
        ...


class SyntheticPerson:
    """A simulated one, who goes on where they were on their last day.

    Args:
        device: id.
        seed: same device and seed, same motion.
        placement: where the device is worn.
    """

    def __init__(self, device: str, seed: int, placement: Placement) -> None:
        self.device = device
        self._wearable = SyntheticWearable(device, seed, fs=FS, placement=placement)

    def move(self, n: int) -> tuple[Float32Array, LabelArray]:
        """See ``Person``."""
        return self._wearable.read(n)


class ReplayedPerson:
    """One of a dataset: stretches of their recordings, drawn anew every day.

    Args:
        device: id.
        recordings: of the person.
        seed: of the choice.
    """

    def __init__(self, device: str, recordings: Sequence[Recording], seed: int) -> None:
        self.device = device
        self._recordings = [(one.samples, common_labels(one)) for one in recordings]
        sizes = np.array([len(one.samples) for one in recordings], dtype=np.float64)
        self._odds = sizes / sizes.sum()
        self._random = np.random.default_rng([seed, *device.encode()])

    def move(self, n: int) -> tuple[Float32Array, LabelArray]:
        """See ``Person``."""
        samples, labels, left = [], [], n
        while left > 0:
            some, true = self._recordings[self._random.choice(len(self._odds), p=self._odds)]
            size = min(left, len(some), round(_CHUNK_S * FS))
            begin = int(self._random.integers(0, len(some) - size + 1))
            samples.append(some[begin : begin + size])
            labels.append(true[begin : begin + size])
            left -= size
        return np.concatenate(samples), np.concatenate(labels)


def common_labels(recording: Recording) -> LabelArray:
    """(n,) indices of ``LABEL_NAMES``; what simulated people never do counts as unlabelled."""
    words = [_SAME.get(name, name) for name in recording.label_names]
    index = [LABEL_NAMES.index(word) if word in LABEL_NAMES else UNLABELLED for word in words]
    return np.array([*index, UNLABELLED], dtype=np.int16)[recording.labels]


def people_of(
    dataset: str | None, data: Path | None, devices: int, placement: Placement, seed: int
) -> list[Person]:
    """The people of a week: a replayed one and a simulated one by turns, as long as there are replayed ones.

    Args:
        dataset: name of one of ``REPLAYED``; None for simulated people alone.
        data: folder of the datasets.
        devices: number of people.
        placement: of simulated devices.
        seed: of everything random.

    Raises:
        ConfigError: if the dataset has other channels than the simulated sensors.
        InputNotFoundError: if it is not there.
        DataError: if it cannot be read.
    """
    replayed: list[Person] = []
    if dataset is not None:
        if dataset not in REPLAYED:
            raise ConfigError(
                f"dataset {dataset!r} cannot be mixed with simulated people",
                remedy=f"Use one of: {', '.join(REPLAYED)}",
            )
        recordings = load_recordings(dataset, data, subjects=_subjects(dataset, (devices + 1) // 2))
        by_person: dict[int, list[Recording]] = {}
        for one in recordings:
            by_person.setdefault(one.subject, []).append(one)
        replayed = [ReplayedPerson(f"{dataset}-{who:02d}", ones, seed) for who, ones in by_person.items()]
    simulated: list[Person] = [
        SyntheticPerson(f"synthetic-{number:03d}", seed, placement)
        for number in range(1, devices - len(replayed) + 1)
    ]
    n = min(len(replayed), len(simulated))
    mixed = [one for pair in zip(replayed[:n], simulated[:n], strict=True) for one in pair]
    return mixed + replayed[n:] + simulated[n:]


def _subjects(dataset: str, n: int) -> list[int]:
    """So many people of a dataset, some of its test part among them."""
    train = [one for one in range(1, 100) if one not in get_reader(dataset).test_subjects]
    every = sorted({*train[:n], *get_reader(dataset).test_subjects})
    return every[:n]


def timetable(devices: int, days: int, presence: float, seed: int) -> list[list[int]]:
    """Who is there on each day.

    Of every ten, one comes for the first time on day 3, one on day 5, and one never comes back after day 2;
    the others are there on some days and on others not.

    Args:
        devices: number of them, at least 2.
        days: number of days.
        presence: share of those who could be there that are.
        seed: of the choice.

    Returns:
        For each day the numbers of the devices, at least 2.
    """
    random = np.random.default_rng(seed)
    few = max(1, devices // 10) if devices >= 5 else 0
    roles = random.permutation(devices)
    first, last = np.ones(devices, dtype=int), np.full(devices, days)
    first[roles[:few]], first[roles[few : 2 * few]], last[roles[2 * few : 3 * few]] = 3, 5, 2
    table = []
    for day in range(1, days + 1):
        can = [one for one in range(devices) if first[one] <= day <= last[one]]
        sure = [one for one in can if day == first[one] > 1 or (day == 1 and last[one] < days)]
        rest = random.permutation([one for one in can if one not in sure]).tolist()
        n = max(2, round(presence * len(can)))
        table.append(sorted([*sure, *rest[: max(0, n - len(sure))]]))
    return table


@dataclass(frozen=True, slots=True)
class DayStream:
    """What a device has stored on one day.

    Args:
        device: id.
        boot: number of the day, from 1.
        t0_us: device clock at the first sample.
        samples: (n, 6).
        labels: (n,) true activities.
    """

    device: str
    boot: int
    t0_us: int
    samples: Float32Array
    labels: LabelArray

    def majority(self, t0_us: int, n: int) -> int:
        """Activity of most of the ``n`` samples from a device time on; ``UNLABELLED`` if most have none."""
        first = round((t0_us - self.t0_us) * FS / 1e6)
        return majority_of(self.labels[first : first + n])


def majority_of(labels: npt.NDArray[np.int16]) -> int:
    """The most frequent label; ``UNLABELLED`` if most samples have none."""
    known = labels[labels != UNLABELLED]
    return UNLABELLED if 2 * len(known) <= len(labels) else int(np.bincount(known).argmax())


class BurstSource:
    """A part of a device's day, as a source of the edge's publisher that is sent as fast as it goes.

    Args:
        day: what the device has stored.
        part: number of the part, from 0.
        of: number of parts.
    """

    paced = False
    channels: tuple[Channel, ...] = CHANNELS

    def __init__(self, day: DayStream, part: int, of: int) -> None:
        self.device, self.boot, self._day = day.device, day.boot, day
        self.meta = DeviceMeta(FS, CHANNELS, model="week")
        self._part, self._of = part, of

    @property
    def total_samples(self) -> int | None:
        """Not known before it is cut into messages."""
        return None

    def batches(self, n_samples: BatchSize) -> Iterator[SampleBatch]:
        """The messages of this part; numbers and time stamps go on from the part before."""
        day, size = self._day, size_of(n_samples)
        starts = range(0, len(day.samples), size)
        first, last = (len(starts) * part // self._of for part in (self._part, self._part + 1))
        for seq in range(first, last):
            start = starts[seq]
            t0_us = day.t0_us + round(start * 1e6 / FS)
            samples = day.samples[start : start + size]
            yield SampleBatch(day.device, day.boot, seq, t0_us, FS, CHANNELS, samples)


def stream_of(person: Person, day: int, n: int, week_us: int) -> DayStream:
    """What a person's device stores on a day.

    Args:
        person: who.
        day: from 1.
        n: samples.
        week_us: midnight at the beginning of the first day, Unix microseconds.
    """
    samples, labels = person.move(n)
    t0_us = week_us + (day - 1) * DAY_US + _MORNING_US
    return DayStream(person.device, day, t0_us, samples, labels)
