"""SQLite as the stores use it: WAL, and errors that say what to do."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal

from disc_stream.errors import SpoolFullError, StorageError
from disc_stream_server.storage.private import begin_private

_BUSY_MS = 10_000
# SQLite would keep 2 MiB per connection. Rows are appended, and what is read is read once: the system's
# cache of the file does as well, and does not count as ours.
_WRITE_CACHE_KIB = 512
_READ_CACHE_KIB = 256
_TOGETHER = 32  # rows of one statement; a statement for each row takes twice the time
# TOOBIG: no message comes near that size, so its length is garbled.
_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_IOERR_SHORT_READ", "SQLITE_TOOBIG")
# Errors without a name of their own: a text or the schema itself is garbled, since our queries are not.
_GARBLED = ("Could not decode to UTF-8", "no such table", "no such column", "unsupported file format")
# Quotas, file size limits and a full network drive are not reported as SQLITE_FULL but so:
_FULL = ("SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_FSYNC", "SQLITE_IOERR_DIR_FSYNC",
         "SQLITE_IOERR_TRUNCATE", "SQLITE_IOERR_SHM")  # fmt: skip
_BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED")
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_PARTS = ("", "-wal", "-shm")


def connect(
    path: Path, *, synchronous: str = "NORMAL", mode: Literal["rwc", "rw"] = "rw"
) -> sqlite3.Connection:
    """Open a database in autocommit mode; transactions are begun by hand.

    Raises:
        sqlite3.Error: if it cannot be opened or is damaged.
    """
    # The size of pages is that of new files. This one suits messages of some hundred bytes, and labels.
    if mode == "rwc":
        begin_private(path)  # the log, and what processes share, get the permissions of the file
    settings = (
        f"busy_timeout={_BUSY_MS}",
        "page_size=8192",
        "journal_mode=WAL",
        f"synchronous={synchronous}",
        f"cache_size=-{_WRITE_CACHE_KIB}",
    )
    return _connect(path, f"mode={mode}", settings)


def insert(
    connection: sqlite3.Connection, into: str, rows: Iterable[Sequence[Any]], *, then: str = ""
) -> None:
    """Insert many rows, several with one statement.

    Args:
        connection: in a transaction.
        into: what stands before the values, such as ``INSERT INTO t``.
        rows: all of one length.
        then: what stands behind the values, such as ``ON CONFLICT DO NOTHING``.

    Raises:
        sqlite3.Error: if they cannot be written.
    """
    left = iter(rows)
    while len(group := list(islice(left, _TOGETHER))) == _TOGETHER:
        connection.execute(_insertion(into, len(group[0]), _TOGETHER, then), list(chain.from_iterable(group)))
    if group:  # a statement for each number of rows would be kept prepared
        connection.executemany(_insertion(into, len(group[0]), 1, then), group)


@lru_cache
def _insertion(into: str, n_columns: int, n_rows: int, then: str) -> str:
    values = ", ".join([f"({', '.join('?' * n_columns)})"] * n_rows)
    return f"{into} VALUES {values} {then}"


def connect_to_read(path: Path, *, cut_off: bool = False) -> tuple[sqlite3.Connection, bool]:
    """Open a database to read it.

    Closing it leaves the log of a writer alone: it neither puts it into the main file nor deletes it.

    Args:
        path: its file.
        cut_off: also open a file that is shorter than it was; what is missing is found when it is read.

    Returns:
        The connection, and whether it sees later changes. It does not where the disk is too full for the
        file that processes share; that is done only where nobody writes.

    Raises:
        sqlite3.Error: if it cannot be opened or is damaged.
    """
    settings = [f"busy_timeout={_BUSY_MS}", f"cache_size=-{_READ_CACHE_KIB}"]
    if cut_off:
        settings.insert(0, "writable_schema=1")  # without it SQLite opens no such file; nothing is written
    try:
        return _connect(path, "mode=ro", settings), True
    except sqlite3.OperationalError as error:
        if is_damaged(error) or _size(path.with_name(path.name + "-wal")) or not path.exists():
            raise
    return _connect(path, "mode=ro&immutable=1", settings), False


def _connect(path: Path, options: str, settings: Iterable[str]) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{options}", uri=True, isolation_level=None, check_same_thread=False
    )
    try:
        for setting in settings:
            connection.execute(f"PRAGMA {setting}")
        connection.execute("SELECT sql FROM sqlite_schema").fetchall()  # or damage shows up later only
    except UnicodeDecodeError as error:  # in place of SQLite's error, where that quotes a garbled schema
        connection.close()
        raise MalformedError(f"its schema cannot be read: {error}") from error
    except BaseException:
        connection.close()
        raise
    return connection


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


class MalformedError(sqlite3.DatabaseError):
    """A database that can be opened but is not whole inside."""

    sqlite_errorname = "SQLITE_CORRUPT"


def check(connection: sqlite3.Connection) -> None:
    """Look at every page of a database.

    Raises:
        sqlite3.DatabaseError: one of which ``is_damaged`` is true, if something is wrong.
    """
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise MalformedError(found)


def check_version(connection: sqlite3.Connection, path: Path, known: int) -> None:
    """Check that a database is not from the future.

    Raises:
        StorageError: if it is.
    """
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found > known:
        raise StorageError(
            f"{str(path)!r} was written by a newer version (format {found}, this one knows {known})",
            remedy="Update disc-stream, or use another --state folder",
        )


def is_damaged(error: sqlite3.Error) -> bool:
    """Whether the file is not, or no longer, a database, or holds what nobody has written."""
    return _name(error).startswith(_DAMAGED) or str(error).startswith(_GARBLED)


def translate(error: sqlite3.Error | OSError, path: Path) -> StorageError:
    """The error for a person; ``SpoolFullError`` if the same may go well later."""
    name = _name(error)
    if name.startswith(_FULL) or (isinstance(error, OSError) and error.errno in _NO_SPACE):
        return _full(error, path)
    if name.startswith(_BUSY):
        return SpoolFullError(f"{str(path)!r} is held by another process ({error})", remedy="Wait for it")
    if name.startswith("SQLITE_CANTOPEN"):
        if _is_full(path.parent):
            return _full(error, path)
        return StorageError(f"{str(path)!r} cannot be opened", remedy="Check the permissions of the folder")
    return StorageError(f"{str(path)!r}: {error}", remedy="Check the disk and the permissions")


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise errors of SQLite and of the file system as ours, see ``translate``.

    Args:
        path: what is worked on.

    Raises:
        StorageError: for any of them.
    """
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise translate(error, path) from error


def roll_back(connection: sqlite3.Connection) -> None:
    """End a transaction that failed, if SQLite has not done so itself."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def truncate_log(connection: sqlite3.Connection) -> bool:
    """Put everything of the log into the main file and empty it; False if somebody else is in the way.

    Raises:
        sqlite3.Error: if the disk does not take it.
    """
    busy, _frames, _moved = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy


def remove(path: Path) -> None:
    """Delete a database with what belongs to it."""
    for suffix in _PARTS:
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def set_aside(path: Path) -> Path:
    """Rename a damaged database with what belongs to it; returns its new name."""
    aside = path.with_name(path.name + ".damaged")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.damaged{number}")
    for suffix in _PARTS:
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    sync_folder(path.parent)
    return aside


def damaged_copies(folder: Path) -> list[Path]:
    """The databases that have been set aside in a folder."""
    found = (path for path in folder.glob("*.damaged*") if path.is_file())
    return sorted(path for path in found if not path.name.endswith(_PARTS[1:]))


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable; the contents of files are SQLite's business.

    Raises:
        OSError: if that fails.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _full(error: Exception, path: Path) -> SpoolFullError:
    return SpoolFullError(
        f"{str(path)!r} cannot be written, the disk is full or a limit is reached ({error})",
        remedy="Free some space; nothing is lost meanwhile",
    )


def _is_full(folder: Path) -> bool:
    try:
        facts = os.statvfs(folder)
    except OSError:
        return False
    return facts.f_bavail == 0 or (facts.f_files > 0 and facts.f_favail == 0)


def _name(error: Exception) -> str:
    return str(getattr(error, "sqlite_errorname", ""))
