"""Who publishes in the demo: simulated people, or recordings that are replayed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from disc_stream.data.synthetic import CHANNELS, LABEL_NAMES, Activity, SyntheticWearable, device_names
from disc_stream.data.types import UNLABELLED, LabelArray, Recording
from disc_stream.demo.truth import RecordedTruth, Truth, TruthTape
from disc_stream.errors import DataError
from disc_stream.types import Channel, Float32Array
from disc_stream_edge.sources import ReplaySource, Source, SyntheticSource

_FS = 50.0
_UNKNOWN_CLUSTERS = 6  # where the activities of recordings are not known


class Fleet(Protocol):
    """Some devices and what they truly do."""

    fs: float
    channels: tuple[Channel, ...]
    label_names: tuple[str, ...]
    n_clusters: int  # to find, by default
    devices: list[str]
    what: str  # the devices, in words
    truth_of: str  # source of the true activities
    identity: dict[str, object]  # what the streams depend on

    def training_sources(self, seconds: float) -> list[Source]:
        """The streams to learn from."""
        ...

    def sources(self, *, boot: int, start_us: int) -> list[Source]:
        """The streams to be labelled."""
        ...

    @property
    def truths(self) -> dict[str, Truth]:
        """By device, of the streams given out last."""
        ...


class _LabelledWearable(SyntheticWearable):
    """A wearable that writes down what is truly done, on a tape that only the demo's summary reads."""

    tape: TruthTape | None = None

    def read(self, n: int) -> tuple[Float32Array, LabelArray]:
        samples, labels = super().read(n)
        if self.tape is not None:
            self.tape.append(labels)
        return samples, labels


class SyntheticFleet:
    """Simulated people; each goes on with what they do from one stage of the demo to the next.

    Args:
        n: number of devices.
        seed: same seed, same people and same days.
        held_back: an activity that nobody does until ``begin`` is called; None for none.
    """

    fs = _FS
    channels = CHANNELS
    label_names = LABEL_NAMES
    truth_of = "simulator"

    def __init__(self, n: int, seed: int, held_back: Activity | None = None) -> None:
        self.devices = device_names(n)
        self.what = f"{n} simulated wearable{'s' if n > 1 else ''}"
        self.identity: dict[str, object] = {"devices": n, "seed": seed}
        self.n_clusters = len(LABEL_NAMES)
        if held_back is not None:
            self.identity["without"] = held_back.name
            self.n_clusters -= 1
        self.held_back = held_back
        self._people = [_LabelledWearable(name, seed, fs=_FS) for name in self.devices]
        if held_back is not None:
            for person in self._people:
                person.leave_out(held_back)

    def training_sources(self, seconds: float) -> list[Source]:
        """The first ``seconds`` of each."""
        return self._streams(boot=1, start_us=0, seconds=seconds)

    def begin(self) -> int:
        """Every second one begins with the activity that was held back; from any thread.

        Returns:
            How many do.
        """
        if self.held_back is None:
            return 0
        some = self._people[::2]
        for person in some:
            person.start(self.held_back)
        return len(some)

    def sources(self, *, boot: int, start_us: int) -> list[Source]:
        """Endless streams from where the training streams ended."""
        return self._streams(boot=boot, start_us=start_us, seconds=None)

    def _streams(self, *, boot: int, start_us: int, seconds: float | None) -> list[Source]:
        for person in self._people:
            person.tape = TruthTape(start_us, self.fs)
        return [SyntheticSource(p, boot=boot, start_us=start_us, seconds=seconds) for p in self._people]

    @property
    def truths(self) -> dict[str, Truth]:
        """See ``Fleet``."""
        return {person.device: person.tape for person in self._people if person.tape is not None}


class ReplayFleet:
    """Recordings; learned from as a whole, then replayed from their beginning.

    Args:
        specs: as in ``disc-stream edge publish --replay``.
        data: folder of the datasets, if the specs need one.

    Raises:
        ConfigError: if a specification names nothing.
        InputNotFoundError: if a file or folder is not there.
        DataError: if a recording is malformed, or they do not fit together.
    """

    truth_of = "recording"

    def __init__(self, specs: Sequence[str], data: Path | None) -> None:
        from disc_stream.data.readers import READERS, load_recordings_spec

        self._recordings = load_recordings_spec(specs, data)
        first = self._recordings[0]
        for other in self._recordings[1:]:
            _require_alike(first, other)
        self.fs, self.channels, self.label_names = first.fs, first.channels, first.label_names
        reader = READERS.get(specs[0].partition(":")[0])
        scored = list(reader.scored) if reader is not None else []
        self._truth = {r.name: _scored(r.labels, scored) for r in self._recordings}
        used = np.unique(np.concatenate(list(self._truth.values())))
        self.n_clusters = reader.n_clusters if reader is not None else int((used != UNLABELLED).sum())
        if self.n_clusters < 2:
            self.n_clusters = _UNKNOWN_CLUSTERS
        self.devices = [r.name for r in self._recordings]
        n = len(self._recordings)
        self.what = f"{n} replayed recording{'s' if n > 1 else ''}"
        self.identity: dict[str, object] = {
            "recordings": {r.name: len(r.samples) for r in self._recordings},
            "channels": [[c.name, c.unit] for c in self.channels],
            "fs": self.fs,
        }

    def training_sources(self, seconds: float) -> list[Source]:  # noqa: ARG002 - all there is
        """The whole recordings."""
        return [ReplaySource(recording) for recording in self._recordings]

    def sources(self, *, boot: int, start_us: int) -> list[Source]:  # noqa: ARG002 - their clock starts at 0
        """The recordings from their beginning."""
        return [ReplaySource(recording, boot=boot) for recording in self._recordings]

    @property
    def truths(self) -> dict[str, Truth]:
        """See ``Fleet``."""
        return {name: RecordedTruth(labels, self.fs) for name, labels in self._truth.items()}


def _scored(labels: LabelArray, scored: Sequence[int]) -> LabelArray:
    """The labels without those that the dataset's own protocol leaves out."""
    if not scored:
        return labels
    return np.where(np.isin(labels, scored), labels, UNLABELLED).astype(np.int16)


def _require_alike(first: Recording, other: Recording) -> None:
    if (first.fs, first.channels, first.label_names) != (other.fs, other.channels, other.label_names):
        raise DataError(
            f"recordings {first.name!r} and {other.name!r} differ in rate, channels or activities",
            remedy="Replay recordings of one dataset",
        )
