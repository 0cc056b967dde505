"""The files of the spool: each holds the rows from its name's position on, until the next file's."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from disc_stream_server.storage.sqlite import connect, set_aside

log = logging.getLogger(__name__)

_SUFFIX = ".sqlite"
_DIGITS = 20
_SCHEMA = """
CREATE TABLE IF NOT EXISTS rows (
    position INTEGER PRIMARY KEY,
    received_us INTEGER NOT NULL,
    topic TEXT NOT NULL,
    content_type TEXT NOT NULL,
    payload BLOB NOT NULL
)"""
_COPY = "INSERT OR IGNORE INTO rows VALUES (?, ?, ?, ?, ?)"


def segment_path(folder: Path, first: int) -> Path:
    """File of the segment that begins at a position."""
    return folder / f"{first:0{_DIGITS}}{_SUFFIX}"


def list_segments(folder: Path) -> list[int]:
    """First positions of all segments, ascending; none if the folder is not there."""
    try:
        names = [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        return []
    stems = [name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)]
    return sorted(int(stem) for stem in stems if len(stem) == _DIGITS and stem.isdecimal())


def open_segment(path: Path) -> sqlite3.Connection:
    """Open a segment for writing, made if it is not there; every commit reaches the disk.

    Raises:
        sqlite3.Error: if that fails.
    """
    connection = connect(path, synchronous="FULL")
    try:
        connection.execute(_SCHEMA)
    except BaseException:
        connection.close()
        raise
    return connection


def salvage(path: Path) -> sqlite3.Connection:
    """Set a damaged segment aside and open a new one with every row of it that can be read.

    Raises:
        sqlite3.Error: if the new one cannot be written.
    """
    aside = set_aside(path)
    connection = open_segment(path)
    connection.execute("BEGIN IMMEDIATE")
    saved = 0
    for row in readable_rows(aside):
        connection.execute(_COPY, row)
        saved += 1
    connection.execute("COMMIT")
    log.error(
        "the spool's file %s was damaged; %d rows of it are saved, it is kept as %s",
        path.name,
        saved,
        aside.name,
    )
    return connection


def readable_rows(path: Path) -> Iterator[tuple[int, int, str, str, bytes]]:
    """Every row of a damaged file that can still be read: from the front, then from the back."""
    last = 0
    for order in ("ASC", "DESC"):
        try:
            connection = connect(path, synchronous="OFF", create=False)
        except sqlite3.Error:
            return
        try:
            query = f"SELECT * FROM rows WHERE position > ? ORDER BY position {order}"  # noqa: S608 - constants
            for row in connection.execute(query, (last,)):
                if order == "ASC":
                    last = row[0]
                yield row
        except sqlite3.Error:
            continue
        else:
            return  # read to its end
        finally:
            connection.close()
