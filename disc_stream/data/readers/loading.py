"""Loading whole datasets: recordings, or windows split into training and test parts."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from disc_stream.data.readers.base import ALL, Contents, Progress, Reader, Selection, no_progress
from disc_stream.data.readers.registry import get_reader
from disc_stream.data.readers.source import open_source
from disc_stream.data.types import Recording, Split
from disc_stream.data.windows import WindowPlan, drop_unscored, plan_windows, split_recordings
from disc_stream.errors import ConfigError, DataError


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
    return reader.read(open_source(_require(path, reader), reader.layout), selection, progress)


def load_recordings(
    dataset: str,
    path: Path | None,
    *,
    subjects: Collection[int] | None = None,
    progress: Progress = no_progress,
) -> list[Recording]:
    """The recordings of a dataset, in its own order.

    Args:
        dataset: name of a registered dataset, such as ``hapt``.
        path: its zip or folder, or a folder that holds either.
        subjects: only these people; all by default.
        progress: told how far the reading is.

    Raises:
        ConfigError: if there is no such dataset or ``path`` is None.
        InputNotFoundError: if ``path`` does not exist.
        DataError: naming the file and line that is missing or malformed.
    """
    selection = ALL if subjects is None else Selection(subjects=frozenset(subjects))
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
        dataset: name of a registered dataset.
        path: its zip or folder, or a folder that holds either.
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
    reader = get_reader(dataset)
    plan = plan_windows(reader.fs, reader.window_s if window_s is None else window_s, overlap)
    if reader.read_windows is None:
        contents = read_dataset(dataset, path, ALL, progress)
        train, test, protocol = split_recordings(contents.recordings, plan, reader.test_subjects)
        protocol += f" ({reader.split_note})" if reader.split_note else ""
    else:
        _require_official(reader, plan)
        official = reader.read_windows(open_source(_require(path, reader), reader.layout), progress)
        train, test, protocol = official.train, official.test, official.protocol
    split = Split(train, test, protocol, reader.n_clusters, tuple(reader.scored))
    return split if include_unlabelled else drop_unscored(split)


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
            remedy="Give --path, or set DISC_STREAM_DATA to the folder that holds the datasets",
        )
    return path
