"""Bringing a dataset, or one's own CSV files, into the uniform format."""

from __future__ import annotations

from pathlib import Path

from disc_stream.data.csvfile import read_csv_folder
from disc_stream.data.readers.base import ALL, Progress, no_progress
from disc_stream.data.readers.loading import read_dataset
from disc_stream.data.readers.registry import get_reader
from disc_stream.data.uniform import Provenance, UniformHeader, to_si, write_uniform
from disc_stream.errors import ConfigError

CSV = "csv"


def import_dataset(
    dataset: str, path: Path | None, out: Path, *, si: bool = False, progress: Progress = no_progress
) -> UniformHeader:
    """Write a dataset's recordings to one uniform file.

    Args:
        dataset: name of a registered dataset, or ``csv`` for one's own files.
        path: where the dataset is; with ``csv``, a file or a folder of files.
        out: the file to write.
        si: convert to SI units instead of keeping the dataset's own.
        progress: told how far the reading is.

    Raises:
        ConfigError: if there is no such dataset.
        InputNotFoundError: if ``path`` does not exist.
        DataError: naming what is missing or malformed, or if ``out`` cannot be written.
    """
    if dataset == CSV:
        return _import_csv(path, out, si, progress)
    reader = get_reader(dataset)
    contents = read_dataset(dataset, path, ALL, progress)
    dropped = [f"left out {d.rows} rows: {d.reason}" for d in contents.dropped]
    return write_uniform(
        out,
        [to_si(r) if si else r for r in contents.recordings],
        dataset=reader.name,
        n_clusters=reader.n_clusters,
        window_s=reader.window_s,
        test_subjects=reader.test_subjects,
        scored=reader.scored,
        provenance=Provenance(
            source=path.name if path else "",
            citation=reader.citation,
            terms=reader.terms,
            notes=[*reader.notes, *dropped],
        ),
    )


def _import_csv(path: Path | None, out: Path, si: bool, progress: Progress) -> UniformHeader:
    if path is None:
        raise ConfigError("where are the CSV files?", remedy="Give --path FILE.csv or a folder of them")
    recordings = read_csv_folder(path, progress)
    return write_uniform(
        out,
        [to_si(r) if si else r for r in recordings],
        dataset=path.stem or CSV,
        n_clusters=len(recordings[0].label_names) or 6,
        provenance=Provenance(source=path.name),
    )
