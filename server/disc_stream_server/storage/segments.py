"""The files of the spool: each holds the rows from its name's position on, until the next file's.

A file appears under its name only when it is complete, so nobody ever meets one that is half made.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from disc_stream_server.storage.rows import Row
from disc_stream_server.storage.sqlite import (
    MalformedError,
    check_version,
    connect,
    connect_to_read,
    is_damaged,
    remove,
    set_aside,
    sync_folder,
)

log = logging.getLogger(__name__)

VERSION = 1
_SUFFIX, _NEW, _SAVED = ".sqlite", ".new", ".saved"
_DIGITS = 20
_MAINTENANCE = "maintenance.lock"
_LOG_PAGES = 1_000  # frames in the log from which on a commit moves them into the main file
_LOG_BYTES = 64 * 2**20  # the log file shrinks to this when it has been larger
FILE_BYTES = 256 * 2**20  # from which on a new file is begun, by default
_MOST_TRIED = 100_000  # positions tried in vain, one after another, before a file is given up
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE rows (
    position INTEGER PRIMARY KEY,
    received_us INTEGER NOT NULL,
    topic TEXT NOT NULL,
    content_type TEXT NOT NULL,
    payload BLOB NOT NULL
);
PRAGMA user_version={VERSION};
COMMIT;
"""
INSERT = "INSERT INTO rows VALUES (?, ?, ?, ?, ?)"
_SELECT = "SELECT position, received_us, topic, content_type, payload FROM rows WHERE position"
_FIND = f"{_SELECT} >= ? ORDER BY position LIMIT ?"
SELECT = f"{_SELECT} > ? ORDER BY position LIMIT ?"


def segment_path(folder: Path, first: int) -> Path:
    """File of the segment that begins at a position."""
    return folder / f"{first:0{_DIGITS}}{_SUFFIX}"


def list_segments(folder: Path) -> list[int]:
    """First positions of all segments, ascending; none if the folder is not there."""
    try:
        names = os.listdir(folder)  # noqa: PTH208 - several times faster, and this is asked often
    except FileNotFoundError:
        return []
    length = _DIGITS + len(_SUFFIX)
    found = [name[:_DIGITS] for name in names if len(name) == length and name.endswith(_SUFFIX)]
    return sorted(int(stem) for stem in found if stem.isdecimal())


def create_segment(folder: Path, first: int) -> Path:
    """Make an empty segment; it is there as a whole, and for good, or not at all.

    Raises:
        sqlite3.Error: if it cannot be written.
        OSError: likewise.
    """
    path = segment_path(folder, first)
    if not path.exists():
        with _new_file(path) as new:
            new.rename(path)
    sync_folder(folder)
    return path


@contextmanager
def _new_file(path: Path) -> Iterator[Path]:
    """An empty segment under a name that nobody looks at, to be renamed."""
    new = path.with_name(path.name + _NEW)
    remove(new)  # of an attempt that failed
    try:
        connection = connect(new, synchronous="FULL", mode="rwc")
        try:
            connection.executescript(_SCHEMA)
        finally:
            connection.close()
        yield new
    except BaseException:
        remove(new)
        raise


def open_segment(path: Path) -> sqlite3.Connection:
    """Open a segment for writing; every commit reaches the disk.

    Raises:
        sqlite3.Error: if that fails.
        StorageError: if another version of disc-stream has written it.
    """
    connection = connect(path, synchronous="FULL")
    try:
        connection.execute(f"PRAGMA wal_autocheckpoint={_LOG_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit={_LOG_BYTES}")
        check_version(connection, path, VERSION)
    except BaseException:
        connection.close()
        raise
    return connection


def size_of(path: Path) -> int:
    """Bytes of a segment and its log."""
    parts = (path, path.with_name(path.name + "-wal"))
    return sum(part.stat().st_size for part in parts if part.exists())


def bound_of(path: Path) -> int:
    """A position above those of all rows that a segment has or had; its size may have shrunk since."""
    first = int(path.name[:_DIGITS])
    later = [other for other in list_segments(path.parent) if other > first]
    return later[0] if later else first + max(size_of(path), FILE_BYTES)  # a row takes more than a byte


@contextmanager
def maintenance(folder: Path) -> Iterator[None]:
    """Held while a segment is changed other than by appending: one process at a time does so.

    Raises:
        OSError: if the lock cannot be made.
    """
    handle = os.open(folder / _MAINTENANCE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def salvage(path: Path) -> int:
    """Put every row of a damaged segment that can be read into a new one, which takes its place.

    Nobody may have it open for writing.

    Returns:
        A position that is certainly above those of all its rows, also of those that are lost.

    Raises:
        sqlite3.Error: if the new one cannot be written.
        OSError: likewise.
    """
    with maintenance(path.parent):
        return salvage_in_maintenance(path)


def salvage_in_maintenance(path: Path) -> int:
    """``salvage`` for whoever holds ``maintenance`` already."""
    beyond = bound_of(path)
    with _new_file(path) as new:
        account = _copy_readable(path, new, beyond)
        new.rename(path.with_name(path.name + _SAVED))
    finish_salvage(path.parent)
    log.error("the spool's file %s was damaged: %s; it is kept as %s.damaged", path.name, account, path.name)
    return beyond


def finish_salvage(folder: Path) -> None:
    """Put saved rows in the place of the damaged file, also after a crash that came between.

    Raises:
        OSError: if a file cannot be renamed.
    """
    for saved in folder.glob(f"*{_SUFFIX}{_SAVED}"):
        sync_folder(folder)
        path = saved.with_name(saved.name.removesuffix(_SAVED))
        set_aside(path)
        saved.rename(path)
        sync_folder(folder)


def _copy_readable(path: Path, new: Path, beyond: int) -> str:
    """Copy what can be read; returns the account for the log."""
    saved, gaps, last = 0, [], int(path.name[:_DIGITS]) - 1
    finder = RowFinder(path, last, beyond)
    connection = connect(new, synchronous="FULL")
    try:
        connection.execute("BEGIN IMMEDIATE")
        for row in finder:
            connection.execute(INSERT, row)
            if row.position > last + 1:
                gaps.append((last + 1, row.position - 1))
            saved, last = saved + 1, row.position
        connection.execute("COMMIT")
    finally:
        connection.close()
        finder.close()
    return f"{saved} rows are saved, the last at {last}; missing are {_ranges(gaps)} and whatever came after"


class RowFinder:
    """Every row of a damaged file that can still be read, ascending.

    Args:
        path: the file.
        after: position before the first wanted one.
        beyond: position above all of its rows.
    """

    def __init__(self, path: Path, after: int, beyond: int) -> None:
        self._after, self._beyond = after, beyond
        self.lost = 0
        """Positions without a row so far; some may never have been there, or have been erased."""
        self._connection: sqlite3.Connection | None = None
        try:
            self._connection, _ = connect_to_read(path, cut_off=True)
        except sqlite3.Error as error:
            if not is_damaged(error):
                raise

    def __iter__(self) -> Iterator[Row]:
        if self._connection is None:
            return
        position, tried, careful = self._after + 1, 0, False
        while position < self._beyond and tried < _MOST_TRIED:
            count = 0
            try:
                for found in self._connection.execute(_FIND, (position, 1 if careful else -1)):
                    row = Row._make(found)
                    if not (row.is_sound and position <= row.position < self._beyond):
                        raise MalformedError(f"no row of ours at {row.position}")
                    self.lost += row.position - position
                    yield row
                    count, position, tried = count + 1, row.position + 1, 0
            except sqlite3.Error as error:
                if not is_damaged(error):
                    raise
                if careful:  # the page of this position cannot be read: step over it, row by row
                    position, tried, self.lost = position + 1, tried + 1, self.lost + 1
                careful = True  # sqlite3 reads ahead: the row before the damage is still to be had alone
            else:
                if not careful or not count:
                    return
                careful = False

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()


def _ranges(missing: list[tuple[int, int]]) -> str:
    shown = ", ".join(f"{a}" if a == b else f"{a} to {b}" for a, b in missing[:10])
    return f"{shown}{' and more' if len(missing) > 10 else ''}" if missing else "none between them"
