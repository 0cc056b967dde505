"""What people say and who they are: a small database beside the labeller's, in the state folder.

It holds API tokens, logins, the audit log, tags of devices and rejected labels. The labeller never opens it,
so nothing that people do through the API waits for a checkpoint, nor a checkpoint for them.
"""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from disc_stream_server.storage.sqlite import check_version, connect, roll_back, translate, translated

FILE = "people.sqlite"
VERSION = 1

_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tokens (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, role TEXT NOT NULL, hash BLOB NOT NULL,
    created_us INTEGER NOT NULL, created_by TEXT NOT NULL,
    expires_us INTEGER, revoked_us INTEGER, used_us INTEGER
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS logins (
    hash BLOB PRIMARY KEY, token TEXT NOT NULL, created_us INTEGER NOT NULL, expires_us INTEGER NOT NULL
) WITHOUT ROWID;
-- status: of the answer; NULL while a change is under way, or if the server was killed over it.
CREATE TABLE IF NOT EXISTS audit (
    number INTEGER PRIMARY KEY AUTOINCREMENT, at_us INTEGER NOT NULL, who TEXT NOT NULL, role TEXT NOT NULL,
    address TEXT NOT NULL, action TEXT NOT NULL, target TEXT NOT NULL, detail TEXT NOT NULL, status INTEGER
);
CREATE TABLE IF NOT EXISTS tags (
    device TEXT NOT NULL, tag TEXT NOT NULL, PRIMARY KEY (device, tag)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tags_by_tag ON tags (tag, device);
CREATE TABLE IF NOT EXISTS tag_revisions (device TEXT PRIMARY KEY, revision INTEGER NOT NULL) WITHOUT ROWID;
-- Labels of a device that people said are wrong: those of one cluster whose windows begin within a time.
CREATE TABLE IF NOT EXISTS rejected_labels (
    number INTEGER PRIMARY KEY AUTOINCREMENT, device TEXT NOT NULL, from_us INTEGER NOT NULL,
    until_us INTEGER NOT NULL, cluster INTEGER NOT NULL, instead INTEGER, note TEXT NOT NULL,
    who TEXT NOT NULL, at_us INTEGER NOT NULL, withdrawn_us INTEGER
);
CREATE INDEX IF NOT EXISTS rejected_by_device ON rejected_labels (device, from_us);
PRAGMA user_version={VERSION};
COMMIT;
"""

_KEY = "key"


class PeopleStore:
    """The open database; any thread may use it, and other processes have it open, too.

    Args:
        folder: the state folder; the file is made in it when it is not there.

    Raises:
        StorageError: if it cannot be read or written, or is of a newer version; from any method.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._lock = threading.Lock()
        with translated(self.path):
            self._connection = connect(self.path, synchronous="FULL", mode="rwc")
        try:
            check_version(self._connection, self.path, VERSION)
            with translated(self.path):
                (found,) = self._connection.execute("PRAGMA user_version").fetchone()
                if found != VERSION:
                    self._connection.executescript(_SCHEMA)
                self.key = self._make_key()
                """Of this store alone; what is hashed here means nothing elsewhere."""
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Close it."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> PeopleStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        with self._lock, translated(self.path):
            return self._connection.execute(query, values).fetchall()

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction; whole or not at all."""
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                roll_back(self._connection)
                raise translate(error, self.path) from error
            except BaseException:
                roll_back(self._connection)
                raise

    def _make_key(self) -> bytes:
        self._connection.execute(
            "INSERT INTO facts VALUES (?, ?) ON CONFLICT DO NOTHING", (_KEY, secrets.token_bytes(32))
        )
        (key,) = self._connection.execute("SELECT value FROM facts WHERE name = ?", (_KEY,)).fetchone()
        return bytes(key)


def has_people(folder: Path) -> bool:
    """Whether there is such a database in a state folder; none is made by asking."""
    return (folder / FILE).exists()
