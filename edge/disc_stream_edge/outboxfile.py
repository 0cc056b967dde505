"""The SQLite file of an outbox: how it is opened, held and replaced when it is damaged."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from disc_stream.errors import SpoolFullError, StorageError

log = logging.getLogger(__name__)

_VERSION = 1
_SCHEMA = """
CREATE TABLE message (
  id INTEGER PRIMARY KEY AUTOINCREMENT, device TEXT NOT NULL, boot INTEGER NOT NULL, seq INTEGER NOT NULL,
  n INTEGER NOT NULL, type TEXT NOT NULL, payload BLOB NOT NULL, kind TEXT NOT NULL);
CREATE INDEX message_device ON message (device, id);
CREATE TABLE device (name TEXT PRIMARY KEY, boot INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE boot (
  device TEXT NOT NULL, boot INTEGER NOT NULL, meta BLOB NOT NULL, PRIMARY KEY (device, boot)) WITHOUT ROWID;
CREATE TABLE hole (
  id INTEGER PRIMARY KEY, device TEXT NOT NULL, boot INTEGER NOT NULL, first INTEGER NOT NULL,
  last INTEGER NOT NULL, samples INTEGER NOT NULL, kind TEXT NOT NULL);
CREATE INDEX hole_end ON hole (device, boot, last);
CREATE TABLE total (
  put INTEGER NOT NULL, confirmed INTEGER NOT NULL, refused INTEGER NOT NULL, dropped INTEGER NOT NULL,
  samples INTEGER NOT NULL);
INSERT INTO total VALUES (0, 0, 0, 0, 0);
"""
_SETTINGS = (
    "busy_timeout=10000",
    "page_size=4096",
    "journal_mode=WAL",
    "synchronous=FULL",  # a message that was kept survives a power cut
    "wal_autocheckpoint=500",
    "journal_size_limit=4194304",
    "cache_size=-512",
)
_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_IOERR_SHORT_READ", "SQLITE_TOOBIG")
_FULL = (
    "SQLITE_FULL",
    "SQLITE_IOERR_WRITE",
    "SQLITE_IOERR_FSYNC",
    "SQLITE_IOERR_SHM",
    "SQLITE_IOERR_TRUNCATE",
)
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_PARTS = ("", "-wal", "-shm")


def open_database(path: Path) -> tuple[sqlite3.Connection, int]:
    """Open the file, for this process alone, and make it if it is not there.

    A damaged one, as cheap cards leave it behind after a power cut, is put aside under another name.

    Returns:
        The connection, and the descriptor of the lock.

    Raises:
        StorageError: if it cannot be opened, another process uses it, or a newer version wrote it.
    """
    with translated(path):
        lock = _hold(path)
        try:
            try:
                return _open(path), lock
            except sqlite3.DatabaseError as error:
                if not _is_damaged(error):
                    raise
                _put_aside(path, error)
                return _open(path), lock
        except BaseException:
            os.close(lock)
            raise


def close_database(connection: sqlite3.Connection, lock: int) -> None:
    """Close what ``open_database`` opened; may be called twice."""
    try:
        connection.execute("SELECT 1")
    except sqlite3.ProgrammingError:
        return
    connection.close()
    os.close(lock)


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise errors of SQLite and of the file system as ours.

    Raises:
        SpoolFullError: if the disk is full.
        StorageError: for any other.
    """
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        name = str(getattr(error, "sqlite_errorname", ""))
        if name.startswith(_FULL) or getattr(error, "errno", None) in _NO_SPACE:
            raise SpoolFullError(f"the disk of {str(path)!r} is full", remedy="Make room on it") from error
        raise StorageError(
            f"the outbox {str(path)!r} cannot be used: {error}", remedy="Check the disk and the permissions"
        ) from error


def _hold(path: Path) -> int:
    lock = os.open(path.with_name("lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise StorageError(
            f"the outbox in {str(path.parent)!r} is in use by another process",
            remedy="Stop it, or name another folder with --outbox",
        ) from None
    return lock


def _open(path: Path) -> sqlite3.Connection:
    with contextlib.suppress(FileExistsError):  # readable by its owner only; the log gets the same rights
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        for setting in _SETTINGS:
            connection.execute(f"PRAGMA {setting}")
        _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables in a new file, check those of an old one."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > _VERSION:
        raise StorageError(
            f"the outbox {str(path)!r} was written by a newer version", remedy="Update disc-stream"
        )
    if version == 0:
        connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise _MalformedError(found)


class _MalformedError(sqlite3.DatabaseError):
    sqlite_errorname = "SQLITE_CORRUPT"


def _is_damaged(error: sqlite3.Error) -> bool:
    return str(getattr(error, "sqlite_errorname", "")).startswith(_DAMAGED)


def _put_aside(path: Path, error: sqlite3.Error) -> None:
    name = f"{path.name}.damaged-{int(time.time())}"
    log.error(
        "the outbox %s is damaged (%s); what waited in it is not sent, the file is kept as %s",
        path,
        error,
        name,
    )
    for part in _PARTS:
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + part).rename(path.with_name(name + part))
