"""The streams of the comparison: recordings of people to learn from, and of people held out, in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from disc_stream.data.readers import load_recordings
from disc_stream.data.readers.registry import READERS, get_reader
from disc_stream.data.synthetic import LABEL_NAMES, synthetic_recordings
from disc_stream.data.types import Recording, WindowSet
from disc_stream.data.uniform import read_uniform
from disc_stream.data.windows import WindowPlan, default_test_subjects, plan_windows, window_recordings
from disc_stream.errors import DataError
from disc_stream.types import IntArray

SYNTHETIC = "synthetic"
_FLEET, _QUICK_FLEET = (18, 300.0), (8, 180.0)


@dataclass(frozen=True, slots=True)
class Streams:
    """What every method gets.

    Args:
        name: of the dataset.
        train: windows of the people to learn from.
        held: recordings of the people held out, in order.
        windows: of ``held``; ``group`` is the position of the recording.
        plan: sizes of the windows.
        n_clusters: K, for methods that must be told.
        scored: activities that count.
        joined: the recordings of a person were laid end to end, since none of them has two activities.
    """

    name: str
    train: WindowSet = field(repr=False)
    held: Sequence[Recording] = field(repr=False)
    windows: WindowSet = field(repr=False)
    plan: WindowPlan
    n_clusters: int
    scored: tuple[int, ...]
    joined: bool

    @property
    def rows(self) -> list[IntArray]:
        """Of each recording held out, the rows of its windows."""
        return [np.flatnonzero(self.windows.group == number) for number in range(len(self.held))]

    @property
    def people(self) -> list[int]:
        """Those held out."""
        return sorted({recording.subject for recording in self.held})

    @property
    def hop_s(self) -> float:
        """Seconds from one window to the next."""
        return self.plan.hop / self.windows.fs


@dataclass(frozen=True, slots=True)
class _Facts:
    n_clusters: int
    window_s: float
    scored: tuple[int, ...]
    people: tuple[int, ...]


def load_streams(name: str, data: Path | None, people: int = 0, *, quick: bool = False) -> Streams:
    """Recordings of a dataset, dealt into people to learn from and people held out.

    Those held out are the dataset's test people; of two people, the second. Windows are as long as usual for
    the dataset and overlap by half; all of them are there, transitions and unlabelled motion too.

    Args:
        name: of a dataset, ``synthetic``, or a .npz file of recordings.
        data: the folder that holds the datasets.
        people: hold out no more than so many, the first; 0 for all.
        quick: a small synthetic fleet.

    Raises:
        ConfigError: if there is no such dataset.
        InputNotFoundError: if it is not there.
        DataError: if it has one person only, or cannot be used.
    """
    recordings = _recordings(name, data, quick=quick)
    facts = _facts(name, recordings)
    everybody = sorted({recording.subject for recording in recordings})
    test = facts.people or default_test_subjects(everybody) or tuple(everybody[1:])
    known = [recording for recording in recordings if recording.subject not in test]
    if not known or not test:
        raise DataError(
            f"{name!r} has one person only: nobody can be held out", remedy="Use recordings of two people"
        )
    chosen = test[:people] if people else test
    held = [recording for recording in recordings if recording.subject in chosen]
    plan = plan_windows(held[0].fs, facts.window_s, 0.5)
    joined = not any(_has_change(recording, facts.scored) for recording in held)
    held = _end_to_end(held) if joined else held
    held = [recording for recording in held if len(recording.samples) >= plan.length]
    return Streams(
        Path(name).name, window_recordings(known, plan), held, window_recordings(held, plan), plan,
        facts.n_clusters, facts.scored, joined,
    )  # fmt: skip


def scored_only(streams: Streams) -> Streams:
    """The same, to learn from windows of scored activities only."""
    keep = np.isin(streams.train.y, streams.scored)
    return replace(streams, train=streams.train.select(keep))


def _recordings(name: str, data: Path | None, *, quick: bool) -> list[Recording]:
    if name == SYNTHETIC:
        return synthetic_recordings(*(_QUICK_FLEET if quick else _FLEET), seed=0)
    return load_recordings(name, data)


def _facts(name: str, recordings: Sequence[Recording]) -> _Facts:
    labels = tuple(range(len(recordings[0].label_names)))
    if name == SYNTHETIC:
        return _Facts(len(LABEL_NAMES), 2.56, labels, ())
    if name not in READERS and name.endswith(".npz"):
        header = read_uniform(Path(name)).header
        return _Facts(
            header.n_clusters, header.window_s, tuple(header.scored) or labels, tuple(header.test_subjects)
        )
    reader = get_reader(name)
    return _Facts(
        reader.n_clusters, reader.window_s, tuple(reader.scored) or labels, tuple(reader.test_subjects)
    )


def _has_change(recording: Recording, scored: Sequence[int]) -> bool:
    return len(np.intersect1d(recording.labels, scored)) > 1


def _end_to_end(recordings: Sequence[Recording]) -> list[Recording]:
    """One recording for each person."""
    found = []
    for person in dict.fromkeys(recording.subject for recording in recordings):
        own = [recording for recording in recordings if recording.subject == person]
        samples = np.concatenate([recording.samples for recording in own])
        labels = np.concatenate([recording.labels for recording in own])
        found.append(replace(own[0], name=f"person-{person}", samples=samples, labels=labels))
    return found
