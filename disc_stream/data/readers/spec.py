"""Naming single recordings on the command line, for replay and labelling."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from disc_stream.data.importing.front import ENDINGS, read_recordings
from disc_stream.data.readers.base import Selection
from disc_stream.data.readers.loading import read_dataset
from disc_stream.data.readers.naming import names_recording
from disc_stream.data.readers.registry import READERS
from disc_stream.data.types import Recording
from disc_stream.data.uniform import read_uniform
from disc_stream.errors import ConfigError, did_you_mean

_ARCHIVE = re.compile(r"(.+\.npz)(?::(.+))?")


def load_recordings_spec(specs: Sequence[str], path: Path | None = None) -> list[Recording]:
    """The recordings that some specifications name, in their order.

    A specification is one of::

        hapt:exp01-user01     one recording of a dataset, by the end of its name
        hapt:exp0*            all recordings with a part or an end of the name that matches a shell pattern
        hapt:user02           all recordings of one person (also subject2, sub02, person02)
        hapt:user0*           all recordings of the people whose numbers match
        hapt:user02-05        those of a range, also hapt:exp01-exp10
        hapt:user02,user04    several of these
        hapt                  the whole dataset
        walk.csv              a file, gz or zip of a logger, or a folder of these, as ``data import`` reads it
        mine.npz              all recordings of a file that ``disc-stream data import`` wrote
        mine.npz:user0*       those of its recordings that are named so, in all the forms above

    Upper and lower case are the same. A word that is the full name of a recording names no other one.

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
    if spec.lower().endswith(ENDINGS) or (
        spec.partition(":")[0].lower() not in READERS and Path(spec).is_dir()
    ):
        return read_recordings(Path(spec))
    archive = _ARCHIVE.fullmatch(spec)
    if archive:
        return _select_from_file(Path(archive[1]), archive[2])
    dataset, _, rest = spec.partition(":")
    dataset = dataset.lower()
    if dataset not in READERS:
        raise ConfigError(
            f"{spec!r} is neither a recording file nor a dataset{did_you_mean(dataset, READERS)}",
            remedy=f"Use DATASET:RECORDING with one of {', '.join(READERS)}, a .csv or .npz, or a folder",
        )
    patterns = _patterns(rest)
    contents = read_dataset(dataset, path, Selection(patterns=patterns))
    lister = f"'disc-stream data info {dataset} --recordings' lists them"
    return _in_order(list(contents.recordings), patterns, dataset, lister)


def _select_from_file(file: Path, words: str | None) -> list[Recording]:
    recordings = list(read_uniform(file).recordings)
    return _in_order(
        recordings, _patterns(words or ""), str(file), f"It has: {_some([r.name for r in recordings])}"
    )


def _patterns(words: str) -> tuple[str, ...]:
    return tuple(word for part in words.split(",") if (word := part.strip()))


def _in_order(
    recordings: list[Recording], patterns: Sequence[str], where: str, remedy: str
) -> list[Recording]:
    """What each pattern names, in the order of the patterns; all of them where there is none.

    Raises:
        ConfigError: if a pattern names nothing.
    """
    if not patterns:
        return recordings
    chosen: list[Recording] = []
    for pattern in patterns:
        exact = [r for r in recordings if r.name in (pattern, f"{where}-{pattern}")]
        found = exact or [r for r in recordings if names_recording(pattern, r.name, r.subject)]
        if not found:
            raise ConfigError(f"{where!r} has no recording {pattern!r}", remedy=remedy)
        chosen += found
    return chosen


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
