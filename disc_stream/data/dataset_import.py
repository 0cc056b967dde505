"""Bringing a dataset into the uniform format; ``importing`` does it with recordings of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from disc_stream.data.parquet import read_export, require_export_path
from disc_stream.data.readers.base import ALL, Progress, no_progress
from disc_stream.data.readers.loading import PARQUET, read_dataset
from disc_stream.data.readers.registry import get_reader
from disc_stream.data.types import Recording
from disc_stream.data.uniform import DatasetFacts, Provenance, UniformHeader, to_si, write_uniform


def import_dataset(
    dataset: str, path: Path | None, out: Path, *, si: bool = False, progress: Progress = no_progress
) -> UniformHeader:
    """Write a dataset's recordings to one uniform file.

    Args:
        dataset: name of a registered dataset, or ``parquet`` for what ``disc-stream data export`` wrote.
        path: where the dataset is.
        out: the file to write.
        si: convert to SI units instead of keeping the dataset's own.
        progress: told how far the reading is.

    Raises:
        ConfigError: if there is no such dataset.
        InputNotFoundError: if ``path`` does not exist.
        DataError: naming what is missing or malformed, or if ``out`` cannot be written.
    """
    if dataset == PARQUET:
        recordings, facts = _from_export(require_export_path(path), progress)
    else:
        recordings, facts = _from_dataset(dataset, path, progress)
    return write_uniform(out, [to_si(r) if si else r for r in recordings], facts)


def _from_dataset(
    dataset: str, path: Path | None, progress: Progress
) -> tuple[Sequence[Recording], DatasetFacts]:
    reader = get_reader(dataset)
    contents = read_dataset(dataset, path, ALL, progress)
    dropped = [f"left out {d.rows} rows: {d.reason}" for d in contents.dropped]
    provenance = Provenance(
        source=path.name if path else "",
        citation=reader.citation,
        terms=reader.terms,
        notes=[*reader.notes, *dropped],
    )
    return contents.recordings, DatasetFacts(
        reader.name, reader.n_clusters, reader.window_s, reader.test_subjects, reader.scored, provenance
    )


def _from_export(path: Path, progress: Progress) -> tuple[Sequence[Recording], DatasetFacts]:
    export = read_export(path, progress)
    devices = {r.subject: r.name.rpartition("-part")[0] for r in export.recordings}
    provenance = Provenance(
        source=path.name,
        notes=[
            f"{export.n_windows} windows of 'disc-stream data export'; the model's labels are left out",
            *(f"person {person} is the device {device}" for person, device in devices.items()),
        ],
    )
    name = path.stem or PARQUET
    return export.recordings, DatasetFacts(name, export.n_clusters, export.window_s, provenance=provenance)
