"""Loading whole datasets: recordings, or windows split into training and test parts."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path

from disc_stream.data.archive import schema_of
from disc_stream.data.parquet import is_export, read_export, require_export_path
from disc_stream.data.readers.base import ALL, Contents, Progress, Reader, Selection, no_progress
from disc_stream.data.readers.registry import READERS, get_reader
from disc_stream.data.readers.source import Source, open_source
from disc_stream.data.types import Recording, Split
from disc_stream.data.uniform import read_uniform
from disc_stream.data.windowfile import SCHEMA as WINDOWS_SCHEMA
from disc_stream.data.windowfile import read_windows
from disc_stream.data.windows import (
    WindowPlan,
    default_test_subjects,
    drop_unscored,
    plan_windows,
    split_recordings,
)
from disc_stream.errors import ConfigError, DataError

PARQUET = "parquet"

_log = logging.getLogger(__name__)


def read_dataset(
    dataset: str, path: Path | None, selection: Selection = ALL, progress: Progress = no_progress
) -> Contents:
    """Everything a reader finds: recordings, comparisons with published figures, dropped rows.

    Args:
        dataset: name of a registered dataset.
        path: its zip or folder, or a folder that holds either.
        selection: which recordings to read.
        progress: told how far the reading is.

    Raises:
        ConfigError: if there is no such dataset or ``path`` is None.
        InputNotFoundError: if ``path`` does not exist.
        DataError: naming the file and line that is missing or malformed, or the published total
            that a complete copy does not meet.
    """
    reader = get_reader(dataset)
    return _read(reader, open_source(_require(path, reader), reader.layout), selection, progress)


def _read(reader: Reader, source: Source, selection: Selection, progress: Progress) -> Contents:
    try:
        contents = reader.read(source, selection, progress)
    except DataError as error:
        error.remedy = error.remedy or f"Compare it with the official {reader.name}, or get that again"
        raise
    for check in contents.checks:
        if not check.ok:
            _log.warning("%s is not complete, or not the official copy: %s", reader.name, check)
    return contents


def load_recordings(
    dataset: str,
    path: Path | None,
    *,
    subjects: Collection[int] | None = None,
    progress: Progress = no_progress,
) -> list[Recording]:
    """The recordings of a dataset, in its own order.

    Args:
        dataset: name of a registered dataset, such as ``hapt``; or ``uniform``, ``path`` being a file that
            ``disc-stream data import`` wrote; or that file itself; or ``parquet``, ``path`` being a folder
            that ``disc-stream data export`` wrote; or that folder itself.
        path: the dataset's zip or folder, or a folder that holds either.
        subjects: only these people; all by default.
        progress: told how far the reading is.

    Raises:
        ConfigError: if there is no such dataset or ``path`` is None.
        InputNotFoundError: if ``path`` does not exist.
        DataError: naming the file and line that is missing or malformed.
    """
    selection = ALL if subjects is None else Selection(subjects=frozenset(subjects))
    file, folder = _as_file(dataset, path), _as_export(dataset, path)
    if folder is not None:
        found = read_export(folder, progress).recordings
        recordings = [r for r in found if selection.wants(r.name, r.subject)]
    elif file is not None:
        recordings = [r for r in read_uniform(file).recordings if selection.wants(r.name, r.subject)]
    else:
        recordings = list(read_dataset(dataset, path, selection, progress).recordings)
    if not recordings:
        raise DataError(f"{dataset!r} has no recordings of {sorted(subjects or ())}")
    return recordings


def load_split(
    dataset: str,
    path: Path | None = None,
    *,
    window_s: float | None = None,
    overlap: float = 0.5,
    include_unlabelled: bool = True,
    progress: Progress = no_progress,
) -> Split:
    """Windows of a dataset, split into training and test parts with no person in both.

    The label of a window is the majority of its samples, -1 where most are unlabelled.

    Args:
        dataset: name of a registered dataset; or ``uniform``, ``path`` being a file that ``disc-stream data
            import`` or ``data windows`` wrote; or that file itself; or ``parquet``, ``path`` being a folder
            that ``data export`` wrote; or that folder itself.
        path: the dataset's zip or folder, or a folder that holds either.
        window_s: window length in seconds; by default the one the DISC paper uses for the dataset.
        overlap: share of a window that the next one repeats.
        include_unlabelled: keep windows without a scored label (unlabelled, transitions), as learning
            without labels has them; False drops them from both parts.
        progress: told how far the reading is.

    Raises:
        ConfigError: if there is no such dataset, or it comes pre-cut and other windows are asked for.
        InputNotFoundError: if ``path`` does not exist.
        DataError: naming the file and line that is missing or malformed.
    """
    file, folder = _as_file(dataset, path), _as_export(dataset, path)
    if folder is not None:
        split = _split_export(folder, window_s, overlap, progress)
    elif file is not None:
        split = _split_file(file, window_s, overlap)
    else:
        split = _split_dataset(get_reader(dataset), path, window_s, overlap, progress)
    return split if include_unlabelled else drop_unscored(split)


def _as_file(dataset: str, path: Path | None) -> Path | None:
    """The file of ours that is meant, if it is one."""
    if dataset == "uniform":
        if path is None:
            raise ConfigError("'uniform' needs a file", remedy="Give --data FILE.npz")
        return path
    return Path(dataset) if dataset not in READERS and dataset.endswith(".npz") else None


def _as_export(dataset: str, path: Path | None) -> Path | None:
    """The folder of ``data export`` that is meant, if it is one."""
    if dataset == PARQUET:
        return require_export_path(path)
    place = Path(dataset)
    return place if dataset not in READERS and (place.suffix == ".parquet" or is_export(place)) else None


def _split_export(folder: Path, window_s: float | None, overlap: float, progress: Progress) -> Split:
    export = read_export(folder, progress)
    plan = plan_windows(export.header.fs, export.window_s if window_s is None else window_s, overlap)
    people = default_test_subjects([r.subject for r in export.recordings])
    train, test, protocol = split_recordings(export.recordings, plan, people)
    return Split(train, test, protocol, export.n_clusters)


def _split_file(file: Path, window_s: float | None, overlap: float) -> Split:
    if schema_of(file) == WINDOWS_SCHEMA:
        split = read_windows(file)
        length = split.train.x.shape[1]
        if window_s is not None and plan_windows(split.train.fs, window_s, overlap).length != length:
            raise ConfigError(
                f"{str(file)!r} holds windows of {length} samples, not of {window_s} s",
                remedy="Cut them again with 'disc-stream data windows'",
            )
        return split
    uniform = read_uniform(file)
    header = uniform.header
    plan = plan_windows(header.fs, header.window_s if window_s is None else window_s, overlap)
    people = header.test_subjects or default_test_subjects([r.subject for r in uniform.recordings])
    train, test, protocol = split_recordings(uniform.recordings, plan, people)
    return Split(train, test, protocol, header.n_clusters, tuple(header.scored))


def _split_dataset(
    reader: Reader, path: Path | None, window_s: float | None, overlap: float, progress: Progress
) -> Split:
    plan = plan_windows(reader.fs, reader.window_s if window_s is None else window_s, overlap)
    source = open_source(_require(path, reader), reader.layout)
    if reader.read_windows is None:
        contents = _read(reader, source, ALL, progress)
        train, test, protocol = split_recordings(contents.recordings, plan, reader.test_subjects)
        protocol += f" ({reader.split_note})" if reader.split_note else ""
    else:
        _require_official(reader, plan)
        official = reader.read_windows(source, progress)
        train, test, protocol = official.train, official.test, official.protocol
    return Split(train, test, protocol, reader.n_clusters, tuple(reader.scored))


def _require_official(reader: Reader, plan: WindowPlan) -> None:
    official = plan_windows(reader.fs, reader.window_s, 0.5)
    if plan != official:
        raise ConfigError(
            f"{reader.name!r} comes cut into windows of {official.length} samples every {official.hop}, "
            f"it cannot be cut into {plan.length} every {plan.hop}",
            remedy="Leave the window as it is, or use a dataset of continuous recordings such as hapt",
        )


def _require(path: Path | None, reader: Reader) -> Path:
    if path is None:
        raise ConfigError(
            f"where is {reader.name!r}?",
            remedy="Give --data, or set DISC_STREAM_DATA to the folder that holds the datasets",
        )
    return path
