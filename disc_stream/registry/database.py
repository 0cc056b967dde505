"""The registry's SQLite database: one writer at a time, readers beside it, and errors that say what to do."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from disc_stream.errors import DiscStreamError, RegistryConflictError, RegistryError
from disc_stream.registry.schema import APPLICATION, VERSION, schema

DATABASE = "registry.sqlite"
_BUSY_MS = 10_000
_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_IOERR_SHORT_READ", "SQLITE_TOOBIG")
_GARBLED = ("Could not decode to UTF-8", "no such table", "no such column", "unsupported file format")
_FULL = ("SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_FSYNC", "SQLITE_IOERR_DIR_FSYNC",
         "SQLITE_IOERR_TRUNCATE", "SQLITE_IOERR_SHM")  # fmt: skip
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_ENTRY = (errno.EACCES, errno.EPERM, errno.EROFS)
_RESTORE = (
    "Restore it from a backup; without one, make another registry and take over each folder of versions/ "
    "with: disc-stream models add"
)


class Database:
    """An open registry database; may be shared by threads, which take turns.

    Args:
        path: of the file.

    Raises:
        RegistryError: if it is damaged, of a newer version, no registry, or cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        with self._translated():
            self._connection, self._follows = _open(path)
            try:
                _check(self._connection, path)
            except BaseException:
                self._connection.close()
                raise

    @classmethod
    def create(cls, path: Path, registry: str) -> Database:
        """Make the file, and the first transaction with all tables.

        Args:
            path: of the file; an empty one that an interrupted call has left is used.
            registry: random name of the registry.

        Raises:
            RegistryError: if it cannot be written.
        """
        with translated(path):
            with contextlib.suppress(FileExistsError):
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
            with contextlib.closing(_connect(path, "rw")) as connection:
                connection.executescript(schema(registry))
        return cls(path)

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One consistent view of everything.

        Raises:
            RegistryError: if it cannot be read.
        """
        with self._lock, self._translated():
            if not self._follows:  # opened as it stood; whether somebody has written since is to be seen now
                self._connection.close()
                self._connection, self._follows = _open(self.path)
            if self._connection.in_transaction:  # a question within a change
                yield self._connection
                return
            self._connection.execute("BEGIN")
            try:
                yield self._connection
            finally:
                self._end()

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One change, whole or not at all; other writers wait for their turn meanwhile.

        Raises:
            RegistryError: if it cannot be written; nothing has changed then.
        """
        with self._lock, self._translated():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            finally:
                self._end()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _end(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _translated(self) -> contextlib.AbstractContextManager[None]:
        return translated(self.path)


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise errors of SQLite and of the file system as ours.

    Args:
        path: what is worked on.

    Raises:
        RegistryError: for any of them.
    """
    try:
        yield
    except DiscStreamError:
        raise
    except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
        raise _explain(error, path) from error


def _explain(error: Exception, path: Path) -> RegistryError:
    name = str(getattr(error, "sqlite_errorname", ""))
    number = error.errno if isinstance(error, OSError) else None
    if name.startswith(_DAMAGED) or str(error).startswith(_GARBLED) or isinstance(error, UnicodeDecodeError):
        return RegistryError(f"{str(path)!r} is damaged ({error})", remedy=_RESTORE)
    if name.startswith(_FULL) or number in _NO_SPACE:
        return RegistryError(
            f"{str(path)!r} cannot be written, the disk is full or a limit is reached ({error})",
            remedy="Free some space and do it again; nothing was changed",
        )
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return RegistryConflictError(
            f"{str(path)!r} has been held by another process for {_BUSY_MS // 1000} s",
            remedy="Wait for it and do it again; nothing was changed",
        )
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")) or number in _NO_ENTRY:
        place = error.filename if isinstance(error, OSError) and error.filename else path
        return RegistryError(
            f"the registry {str(path.parent)!r} cannot be written: {str(place)!r} is read-only, "
            "or you may not write to it",
            remedy="Check the permissions of the folder",
        )
    return RegistryError(f"{str(path)!r}: {error}", remedy="Check the disk and the permissions")


def _open(path: Path) -> tuple[sqlite3.Connection, bool]:
    """A connection, and whether it sees what others write later.

    Where the folder is read-only, what was written is read; SQLite can share the file with nobody there.
    """
    try:
        return _connect(path, "rw"), True
    except sqlite3.OperationalError as error:
        if not str(getattr(error, "sqlite_errorname", "")).startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN")):
            raise
    try:
        return _connect(path, "ro"), True
    except sqlite3.OperationalError:
        log = path.with_name(path.name + "-wal")
        if not path.exists() or (log.exists() and log.stat().st_size):
            raise
    return _connect(path, "ro&immutable=1"), False


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False
    )
    settings = [f"busy_timeout={_BUSY_MS}", "foreign_keys=ON", "synchronous=FULL"]
    if mode == "rw":
        settings.insert(1, "journal_mode=WAL")
    try:
        for setting in settings:
            connection.execute(f"PRAGMA {setting}")
        connection.execute("SELECT sql FROM sqlite_schema").fetchall()  # or damage shows up later only
    except BaseException:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection, path: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if application == APPLICATION and found > VERSION:
        raise RegistryError(
            f"{str(path)!r} was written by a newer disc-stream (format {found}, this one knows {VERSION})",
            remedy="Update disc-stream here",
        )
    if is_blank(connection):
        raise RegistryError(
            f"the registry {str(path.parent)!r} was begun and not finished",
            remedy=f"Run: disc-stream models init --models {path.parent}",
        )
    if application != APPLICATION:
        raise RegistryError(
            f"{str(path)!r} is a database, but no registry of models", remedy="Check the path"
        )
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise RegistryError(f"{str(path)!r} is damaged ({verdict.splitlines()[-1]})", remedy=_RESTORE)


def is_blank(connection: sqlite3.Connection) -> bool:
    """Whether a database has no table."""
    return connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone() is None


def is_begun_only(path: Path) -> bool:
    """Whether a database file is what an interrupted ``create`` leaves."""
    try:
        with contextlib.closing(_connect(path, "rw")) as connection:
            return is_blank(connection)
    except sqlite3.Error:
        return False
