"""Readers of published datasets and of plain recording files.

Three functions are all that other code needs::

    load_split("hapt", path)                  windows, split into training and test parts
    load_recordings("hapt", path)             continuous recordings
    load_recordings_spec(["hapt:exp07*"])     single recordings, as the command line names them
"""

from __future__ import annotations

from disc_stream.data.readers.base import ALL, Check, Contents, Dropped, Progress, Reader, Selection
from disc_stream.data.readers.loading import load_recordings, load_split, read_dataset
from disc_stream.data.readers.registry import READERS, get_reader
from disc_stream.data.readers.spec import load_recordings_spec, open_recording

__all__ = [
    "ALL",
    "READERS",
    "Check",
    "Contents",
    "Dropped",
    "Progress",
    "Reader",
    "Selection",
    "get_reader",
    "load_recordings",
    "load_recordings_spec",
    "load_split",
    "open_recording",
    "read_dataset",
]
