"""SQLite as both stores use it: WAL, and errors that say what to do."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from disc_stream.errors import SpoolFullError, StorageError

_BUSY_MS = 10_000
_FULL = ("SQLITE_FULL", "SQLITE_IOERR")  # the second: quotas and file size limits are reported so
_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB")


def connect(path: Path, *, synchronous: str, create: bool = True) -> sqlite3.Connection:
    """Open a database in autocommit mode; transactions are begun by hand.

    Raises:
        sqlite3.Error: if it cannot be opened or is damaged.
    """
    mode = "rwc" if create else "rw"
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={synchronous}")
    except BaseException:
        connection.close()
        raise
    return connection


def is_full(error: sqlite3.Error) -> bool:
    """Whether the disk did not take what was written; the same may go well later."""
    return _name(error).startswith(_FULL)


def is_damaged(error: sqlite3.Error) -> bool:
    """Whether the file is not, or no longer, a database."""
    return _name(error).startswith(_DAMAGED)


def translate(error: sqlite3.Error, path: Path) -> StorageError:
    """The error for a person."""
    if is_full(error):
        return SpoolFullError(
            f"{str(path)!r} cannot be written, the disk is full or a limit is reached ({error})",
            remedy="Free some space; nothing is lost meanwhile",
        )
    if _name(error) == "SQLITE_CANTOPEN":
        return StorageError(f"{str(path)!r} cannot be opened", remedy="Check the permissions of the folder")
    return StorageError(f"{str(path)!r}: {error}", remedy="Check the disk and the permissions")


def roll_back(connection: sqlite3.Connection) -> None:
    """End a transaction that failed, if SQLite has not done so itself."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def remove(path: Path) -> None:
    """Delete a database with what belongs to it."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def set_aside(path: Path) -> Path:
    """Rename a damaged database with what belongs to it; returns its new name."""
    aside = path.with_name(path.name + ".damaged")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.damaged{number}")
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return aside


def _name(error: sqlite3.Error) -> str:
    return str(getattr(error, "sqlite_errorname", ""))
