"""The front door: recordings at a place, as they are, or brought to one form."""

from __future__ import annotations

from pathlib import Path

from disc_stream.data.importing.build import Loaded, Progress, load
from disc_stream.data.importing.common import to_common_form
from disc_stream.data.importing.plan import ImportPlan
from disc_stream.data.importing.settings import Settings
from disc_stream.data.types import Recording

AS_FOUND = Settings()
"""Nothing is decided."""

ENDINGS = (".csv", ".tsv", ".txt", ".gz", ".zip", ".json", ".cwa", ".gt3x", ".bin")
"""Of files that are taken for recordings."""


def read_recordings(
    path: Path, settings: Settings = AS_FOUND, progress: Progress = lambda _done, _all: None
) -> list[Recording]:
    """Recordings as they were made, each at its own rate and with its own channels.

    Args:
        path: a file, a gz, a zip or a folder.
        settings: what a person has decided.
        progress: called with (recordings read, in all).

    Returns:
        The uninterrupted stretches, those of one recording in a row with the same ``part_of``.

    Raises:
        InputNotFoundError: if there is nothing.
        DataError: naming the file, what is unclear or broken, and what to do.
    """
    loaded: Loaded = load(path, settings, progress)
    return [recording for parts in loaded.recordings for recording in parts]


def import_recordings(
    path: Path, settings: Settings = AS_FOUND, progress: Progress = lambda _done, _all: None
) -> tuple[ImportPlan, list[Recording]]:
    """Recordings brought to one form, and what was done to them.

    Args:
        path: a file, a gz, a zip or a folder.
        settings: what a person has decided.
        progress: called with (recordings read, in all).

    Raises:
        InputNotFoundError: if there is nothing.
        DataError: naming the file, what is unclear or broken, and what to do.
    """
    loaded = load(path, settings, progress)
    recordings = to_common_form(loaded, settings)
    return loaded.plan, recordings
