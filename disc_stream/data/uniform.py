"""The uniform format: any dataset's recordings in one file, with names, units and provenance.

One npz, readable without pickles::

    header     JSON: UniformHeader
    samples    (n, n_channels) float32, the recordings one after the other
    labels     (n,) int16, index into label_names, or -1
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from disc_stream import __version__
from disc_stream.artifacts.manifest import ChannelInfo
from disc_stream.data.alike import require_alike
from disc_stream.data.archive import ArchiveHeader, read_archive, write_archive
from disc_stream.data.types import LabelArray, Recording
from disc_stream.errors import DataError
from disc_stream.signal.units import conversion_factor
from disc_stream.types import Channel, Float32Array

SCHEMA = "disc-stream.recordings"
VERSION = 2  # 1 had no stretches of one recording and no times
_SI = {"g": "m/s2", "mg": "m/s2", "deg/s": "rad/s", "mdps": "rad/s", "uT": "T"}


class RecordingInfo(BaseModel):
    """One recording's place in the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    subject: int = Field(ge=0, le=2**63 - 1)
    samples: int = Field(ge=0)
    start_us: int = Field(
        0, ge=-(2**63), le=2**63 - 1, description="time of the first sample, by its own clock"
    )
    clock_fs: float = Field(
        0.0, ge=0, allow_inf_nan=False, description="samples a second by that clock; 0 where it is the rate"
    )
    part_of: str = Field("", description="recording that this is an uninterrupted stretch of")


class Provenance(BaseModel):
    """Where the recordings come from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = Field(default="", description="file or folder they were read from, without its path")
    citation: str = ""
    terms: str = ""
    notes: list[str] = Field(default_factory=list)
    software: str = f"disc-stream {__version__}"


class UniformHeader(ArchiveHeader):
    """Everything but the numbers."""

    schema_name: str = SCHEMA
    schema_version: int = VERSION
    dataset: str
    fs: float = Field(gt=0, allow_inf_nan=False, description="sampling rate in Hz")
    channels: list[ChannelInfo] = Field(min_length=1)
    label_names: list[str]
    recordings: list[RecordingInfo] = Field(min_length=1)
    n_clusters: int = Field(ge=1, description="usual number of activities")
    window_s: float = Field(gt=0, allow_inf_nan=False, description="usual window length in seconds")
    test_subjects: list[int] = Field(default_factory=list, description="people to test on, if settled")
    scored: list[int] = Field(default_factory=list, description="labels that metrics count; empty for all")
    provenance: Provenance = Provenance()


@dataclass(frozen=True, slots=True)
class Uniform:
    """A uniform file in memory."""

    header: UniformHeader
    recordings: tuple[Recording, ...]


def to_si(recording: Recording) -> Recording:
    """The same recording in SI units (g and mg become m/s², deg/s and mdps become rad/s)."""
    targets = [_SI.get(channel.unit, channel.unit) for channel in recording.channels]
    factors = [conversion_factor(c.unit, unit) for c, unit in zip(recording.channels, targets, strict=True)]
    channels = tuple(Channel(c.name, unit) for c, unit in zip(recording.channels, targets, strict=True))
    samples = (recording.samples * np.array(factors, dtype=np.float64)).astype(np.float32)
    return replace(recording, channels=channels, samples=samples)


@dataclass(frozen=True, slots=True)
class DatasetFacts:
    """What a file says of its recordings together.

    Args:
        name: of the dataset.
        n_clusters: usual number of activities.
        window_s: usual window length in seconds.
        test_subjects: people to test on; if empty, the reader of the file chooses.
        scored: labels that metrics count; empty for all.
        provenance: where the recordings come from.
    """

    name: str
    n_clusters: int
    window_s: float = 2.56
    test_subjects: Sequence[int] = ()
    scored: Sequence[int] = ()
    provenance: Provenance = field(default_factory=Provenance)


def write_uniform(path: Path, recordings: Sequence[Recording], facts: DatasetFacts) -> UniformHeader:
    """Write recordings of one dataset to ``path``.

    Args:
        path: file to write, ending in ``.npz``.
        recordings: with the same channels, rate and label names.
        facts: of the dataset.

    Raises:
        DataError: if there are none, they differ in kind, or the file cannot be written.
    """
    if not recordings:
        raise DataError("there are no recordings to write")
    model = recordings[0]
    require_alike(recordings)
    infos = [
        RecordingInfo(
            name=r.name, subject=r.subject, samples=len(r.samples), start_us=r.start_us, clock_fs=r.clock_fs,
            part_of=r.part_of,
        )
        for r in recordings
    ]  # fmt: skip
    header = UniformHeader(
        dataset=facts.name,
        fs=model.fs,
        channels=[ChannelInfo(name=c.name, unit=c.unit) for c in model.channels],
        label_names=list(model.label_names),
        recordings=infos,
        n_clusters=facts.n_clusters,
        window_s=facts.window_s,
        test_subjects=list(facts.test_subjects),
        scored=list(facts.scored),
        provenance=facts.provenance,
    )
    for r in recordings:
        _check_numbers(r.name, r.samples, r.labels, len(r.label_names))
    one = len(recordings) == 1  # a long one is not copied
    arrays = {
        "samples": model.samples if one else np.concatenate([r.samples for r in recordings]),
        "labels": model.labels if one else np.concatenate([r.labels for r in recordings]),
    }
    write_archive(path, header, arrays)
    return header


def read_uniform(path: Path) -> Uniform:
    """Read a file that ``write_uniform`` wrote.

    Raises:
        InputNotFoundError: if there is no such file.
        DataError: if it is damaged, or its parts do not fit each other.
    """
    header, arrays = read_archive(path, UniformHeader, SCHEMA, VERSION)
    n = sum(info.samples for info in header.recordings)
    expected = {"samples": ((n, len(header.channels)), np.float32), "labels": ((n,), np.int16)}
    for name, (shape, dtype) in expected.items():
        if name not in arrays or arrays[name].shape != shape or arrays[name].dtype != dtype:
            found = f"{arrays[name].shape} {arrays[name].dtype}" if name in arrays else "nothing"
            raise DataError(f"{str(path)!r}: {name!r} must be {shape} {np.dtype(dtype)}, got {found}")
    samples, labels = arrays["samples"], arrays["labels"]
    _check_numbers(str(path), samples, labels, len(header.label_names))
    borders = np.cumsum([info.samples for info in header.recordings])[:-1]
    recordings = [
        Recording(
            name=info.name,
            subject=info.subject,
            fs=header.fs,
            channels=tuple(c.channel() for c in header.channels),
            samples=part,
            labels=part_labels,
            label_names=tuple(header.label_names),
            start_us=info.start_us,
            clock_fs=info.clock_fs,
            part_of=info.part_of,
        )
        for info, part, part_labels in zip(
            header.recordings, np.split(samples, borders), np.split(labels, borders), strict=True
        )
    ]
    return Uniform(header, tuple(recordings))


def _check_numbers(where: str, samples: Float32Array, labels: LabelArray, n_labels: int) -> None:
    if not np.isfinite(samples).all():
        raise DataError(f"{where!r}: 'samples' has values that are not finite")
    if len(labels) and not -1 <= labels.min() <= labels.max() < n_labels:
        raise DataError(f"{where!r}: 'labels' must be -1..{n_labels - 1}")
