"""What ``disc-stream data info`` says of a dataset or a file of ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from disc_stream.data.parquet import is_export, read_export, require_export_path
from disc_stream.data.readers.base import ALL, Check, Dropped, Progress, no_progress
from disc_stream.data.readers.loading import PARQUET, read_dataset
from disc_stream.data.readers.registry import get_reader
from disc_stream.data.types import UNLABELLED, Recording
from disc_stream.data.uniform import read_uniform
from disc_stream.types import Channel


@dataclass(frozen=True, slots=True)
class Summary:
    """Facts of one dataset.

    Args:
        name: of the dataset.
        title: one line.
        kind: ``recordings`` or ``windows``.
        fs: sampling rate in Hz.
        channels: names and units.
        people: number of persons.
        recordings: name, person and seconds of each.
        hours: in all.
        samples_per_label: by label name, and ``unlabelled``.
        checks: comparisons with published figures.
        dropped: rows left out.
        citation: what to cite.
        terms: terms of use.
        notes: what a user should know.
    """

    name: str
    title: str
    kind: str
    fs: float
    channels: tuple[Channel, ...]
    people: int
    recordings: tuple[tuple[str, int, float], ...]
    hours: float
    samples_per_label: dict[str, int]
    checks: tuple[Check, ...]
    dropped: tuple[Dropped, ...]
    citation: str
    terms: str
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """The same as plain JSON values."""
        return {
            "name": self.name,
            "title": self.title,
            "kind": self.kind,
            "fs": self.fs,
            "channels": [{"name": c.name, "unit": c.unit} for c in self.channels],
            "people": self.people,
            "hours": self.hours,
            "samples_per_label": self.samples_per_label,
            "checks": [
                {"what": c.what, "found": c.found, "published": c.expected, "ok": c.ok} for c in self.checks
            ],
            "dropped": [{"rows": d.rows, "reason": d.reason} for d in self.dropped],
            "citation": self.citation,
            "terms": self.terms,
            "notes": list(self.notes),
            "recordings": [
                {"name": name, "subject": subject, "seconds": seconds}
                for name, subject, seconds in self.recordings
            ],
        }


def summarise(dataset: str, path: Path | None, progress: Progress = no_progress) -> Summary:
    """Read a dataset whole, with all its checks, and sum it up.

    Args:
        dataset: name of a registered dataset, a file that ``disc-stream data import`` wrote, or a folder
            that ``disc-stream data export`` wrote (or ``parquet``, ``path`` being that folder).
        path: where the dataset is.
        progress: told how far the reading is.

    Raises:
        ConfigError: if there is no such dataset.
        InputNotFoundError: if ``path`` does not exist.
        DataError: naming what is missing or malformed.
    """
    if dataset.endswith(".npz"):
        return _summarise_file(Path(dataset))
    if dataset == PARQUET or is_export(Path(dataset)):
        return _summarise_export(require_export_path(path) if dataset == PARQUET else Path(dataset), progress)
    reader = get_reader(dataset)
    contents = read_dataset(dataset, path, ALL, progress)
    return Summary(
        name=reader.name,
        title=reader.title,
        kind=reader.kind,
        fs=reader.fs,
        channels=reader.channels,
        checks=contents.checks,
        dropped=contents.dropped,
        citation=reader.citation,
        terms=reader.terms,
        notes=reader.notes,
        people=len({r.subject for r in contents.recordings}),
        recordings=tuple((r.name, r.subject, r.seconds) for r in contents.recordings),
        hours=sum(r.seconds for r in contents.recordings) / 3600,
        samples_per_label=count_labels(contents.recordings),
    )


def _summarise_file(file: Path) -> Summary:
    uniform = read_uniform(file)
    header, recordings = uniform.header, uniform.recordings
    return Summary(
        name=header.dataset,
        title=f"uniform file {file.name}",
        kind="recordings",
        fs=header.fs,
        channels=recordings[0].channels,
        checks=(),
        dropped=(),
        citation=header.provenance.citation,
        terms=header.provenance.terms,
        notes=tuple(header.provenance.notes),
        people=len({r.subject for r in recordings}),
        recordings=tuple((r.name, r.subject, r.seconds) for r in recordings),
        hours=sum(r.seconds for r in recordings) / 3600,
        samples_per_label=count_labels(recordings),
    )


def _summarise_export(folder: Path, progress: Progress) -> Summary:
    export = read_export(folder, progress)
    recordings, model = export.recordings, export.header.model
    return Summary(
        name=folder.stem,
        title=f"{export.n_windows:,} windows of 'disc-stream data export'",
        kind="recordings",
        fs=export.header.fs,
        channels=recordings[0].channels,
        checks=(),
        dropped=(),
        citation="",
        terms="",
        notes=() if model is None else (f"labelled by {model.name}, version {model.version}",),
        people=len({r.subject for r in recordings}),
        recordings=tuple((r.name, r.subject, r.seconds) for r in recordings),
        hours=sum(r.seconds for r in recordings) / 3600,
        samples_per_label=count_labels(recordings),
    )


def count_labels(recordings: Sequence[Recording]) -> dict[str, int]:
    """Samples per label name, and under ``unlabelled`` those without."""
    if not recordings:
        return {}
    names = recordings[0].label_names
    labels = np.concatenate([r.labels for r in recordings])
    counts = np.bincount(labels - UNLABELLED, minlength=len(names) + 1).tolist()
    return dict(zip(("unlabelled", *names), counts, strict=True))
