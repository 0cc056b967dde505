"""Naming single recordings on the command line, for replay and labelling."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from disc_stream.data.csvfile import read_csv
from disc_stream.data.readers.base import Selection
from disc_stream.data.readers.loading import read_dataset
from disc_stream.data.readers.registry import READERS
from disc_stream.data.types import Recording
from disc_stream.data.uniform import read_uniform
from disc_stream.errors import ConfigError

_ARCHIVE = re.compile(r"(.+\.npz)(?::(.+))?")
_PERSON = re.compile(r"(?:user|subject|sub|person)[-_]?0*(\d+)")


def load_recordings_spec(specs: Sequence[str], path: Path | None = None) -> list[Recording]:
    """The recordings that some specifications name, in their order.

    A specification is one of::

        hapt:exp01-user01     one recording of a dataset, by the end of its name
        hapt:exp0*            all recordings whose names match a shell pattern
        hapt:user02           all recordings of one person (also subject02, sub02, person02)
        hapt:user02,user04    several of these
        hapt                  the whole dataset
        walk.csv              a plain file, see ``disc_stream.data.csvfile``
        mine.npz              all recordings of a file that ``disc-stream data import`` wrote
        mine.npz:NAME         those of its recordings whose names match NAME, a shell pattern

    Args:
        specs: at least one specification.
        path: the datasets' zip or folder, or a folder that holds them; not needed for files.

    Raises:
        ConfigError: if a specification names nothing, or one recording is named twice.
        InputNotFoundError: if a file or ``path`` does not exist.
        DataError: if a recording is malformed.
    """
    recordings = [recording for spec in specs for recording in _expand(spec, path)]
    names = [recording.name for recording in recordings]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"recording {twice[0]!r} is named twice", remedy="Name every recording once")
    return recordings


def open_recording(spec: str, path: Path | None = None) -> Recording:
    """The one recording that a specification names; see ``load_recordings_spec``.

    Raises:
        ConfigError: if it names none or several.
        InputNotFoundError: if a file or ``path`` does not exist.
        DataError: if the recording is malformed.
    """
    recordings = load_recordings_spec([spec], path)
    if len(recordings) > 1:
        raise ConfigError(
            f"{spec!r} names {len(recordings)} recordings", remedy=f"Name one, such as {recordings[0].name}"
        )
    return recordings[0]


def _expand(spec: str, path: Path | None) -> list[Recording]:
    if spec.lower().endswith(".csv"):
        return [read_csv(Path(spec))]
    archive = _ARCHIVE.fullmatch(spec)
    if archive:
        return _select_from_file(Path(archive[1]), archive[2])
    dataset, _, rest = spec.partition(":")
    if dataset not in READERS:
        raise ConfigError(
            f"{spec!r} is neither a recording file nor a dataset",
            remedy=f"Use DATASET:RECORDING with one of {', '.join(READERS)}, or a .csv or .npz file",
        )
    return [r for part in (rest or "*").split(",") for r in _select(dataset, part, path)]


def _select_from_file(file: Path, pattern: str | None) -> list[Recording]:
    recordings = read_uniform(file).recordings
    chosen = [r for r in recordings if pattern is None or fnmatchcase(r.name, pattern)]
    if not chosen:
        raise ConfigError(
            f"{str(file)!r} has no recording {pattern!r}",
            remedy=f"It has: {_some(r.name for r in recordings)}",
        )
    return chosen


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:5]) + (f" and {len(listed) - 5} more" if len(listed) > 5 else "")


def _select(dataset: str, part: str, path: Path | None) -> list[Recording]:
    person = _PERSON.fullmatch(part)
    if person:
        selection = Selection(subjects=frozenset({int(person[1])}))
    else:
        selection = Selection(pattern=part if part.startswith(f"{dataset}-") else f"{dataset}-{part}")
    recordings = read_dataset(dataset, path, selection).recordings
    if not recordings:
        raise ConfigError(
            f"{dataset!r} has no recording {part!r}",
            remedy=f"'disc-stream data info {dataset} --recordings' lists them",
        )
    return list(recordings)
