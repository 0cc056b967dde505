"""The labeller's state: everything it needs to go on, and everything it has found out, in one database.

A checkpoint is one transaction. ``synchronous=NORMAL`` is enough: a power cut may undo the last checkpoints
but cannot tear one, and what they held is computed again from the spool, which loses nothing.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from disc_stream_server.storage.sqlite import connect, is_damaged, roll_back, set_aside, translate

log = logging.getLogger(__name__)

FILE = "state.sqlite"
MOST_DEAD_LETTERS = 100_000
MOST_DEAD_BYTES = 256 * 2**20

_SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS checkpoint (id INTEGER PRIMARY KEY CHECK (id = 1), position INTEGER NOT NULL);
INSERT OR IGNORE INTO checkpoint VALUES (1, 0);
CREATE TABLE IF NOT EXISTS sessions (device TEXT PRIMARY KEY, state BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS labels (
    position INTEGER NOT NULL, device TEXT NOT NULL, boot INTEGER NOT NULL, window INTEGER NOT NULL,
    t0_us INTEGER NOT NULL, t1_us INTEGER NOT NULL, t0_unix_us INTEGER, label INTEGER NOT NULL,
    name TEXT NOT NULL, confidence REAL NOT NULL, smoothed INTEGER NOT NULL,
    smoothed_confidence REAL NOT NULL, q BLOB NOT NULL, distance REAL NOT NULL, novelty REAL,
    model TEXT NOT NULL, flags INTEGER NOT NULL,
    labelled_us INTEGER NOT NULL, PRIMARY KEY (position, window, model)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS deferred (
    position INTEGER NOT NULL, device TEXT NOT NULL, boot INTEGER NOT NULL, window INTEGER NOT NULL,
    t0_us INTEGER NOT NULL, seq INTEGER NOT NULL, segment INTEGER NOT NULL, blob BLOB NOT NULL,
    PRIMARY KEY (position, window)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dead_letters (
    position INTEGER PRIMARY KEY, received_us INTEGER NOT NULL, topic TEXT NOT NULL, device TEXT NOT NULL,
    reason TEXT NOT NULL, message TEXT NOT NULL, content_type TEXT NOT NULL, payload BLOB NOT NULL,
    size INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS forgotten (id INTEGER PRIMARY KEY AUTOINCREMENT, device TEXT NOT NULL);
COMMIT;
"""


class StoredLabel(NamedTuple):
    """A label as it is kept; see ``disc_stream.types.Label``.

    ``q`` holds K little-endian float32 values; ``flags`` is 1 for deferred plus 2 for bridged. Unique by
    (device, boot, window start, model version): by the rules of the labeller these follow from the
    position, the window and the model, which are the key on disk, for rows are then only ever appended.
    """

    position: int
    device: str
    boot: int
    window: int
    t0_us: int
    t1_us: int
    t0_unix_us: int | None
    label: int
    name: str
    confidence: float
    smoothed: int
    smoothed_confidence: float
    q: bytes
    distance: float
    novelty: float | None
    model: str
    flags: int
    labelled_us: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that could not be used; its payload may be cut, ``size`` is that of all of it."""

    position: int
    received_us: int
    topic: str
    device: str
    reason: str
    message: str
    content_type: str
    payload: bytes
    size: int


@dataclass(frozen=True, slots=True)
class DeferredWindow:
    """A window whose label was put off; ``blob`` is the business of whoever put it off."""

    position: int
    device: str
    boot: int
    window: int
    t0_us: int
    seq: int
    segment: int
    blob: bytes


@dataclass(slots=True)
class Commit:
    """One checkpoint.

    Args:
        position: last row of the spool that it covers.
        sessions: new states of devices.
        gone: devices whose state is to be removed.
        labels: labels up to there; those on disk already are passed over.
        dead_letters: messages that could not be used.
        deferred: windows put off.
        caught_up: (device, boot, window) of windows labelled after all.
        facts: small named values; an empty one is removed.
    """

    position: int
    sessions: dict[str, bytes]
    gone: set[str]
    labels: list[StoredLabel]
    dead_letters: list[DeadLetter]
    deferred: list[DeferredWindow]
    caught_up: list[tuple[str, int, int]]
    facts: dict[str, bytes]


def _insert(how: str, table: str, n: int) -> str:
    marks = ", ".join("?" * n)
    return f"INSERT OR {how} INTO {table} VALUES ({marks})"  # noqa: S608 - names of this file


_LABEL = _insert("IGNORE", "labels", len(StoredLabel._fields))
_DEAD = _insert("REPLACE", "dead_letters", len(fields(DeadLetter)))
_DEFERRED = _insert("IGNORE", "deferred", len(fields(DeferredWindow)))


class StateStore:
    """The labeller's database; a damaged one is set aside and begun anew.

    Args:
        folder: the state folder.

    Raises:
        StorageError: if it cannot be opened.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._connection = self._open()
        except sqlite3.Error as error:
            if not is_damaged(error):
                raise translate(error, self._path) from error
            aside = set_aside(self._path)
            text = "%s is damaged and kept as %s; all rows of the spool are labelled again"
            log.error(text, FILE, aside.name)  # noqa: TRY400 - the file is at fault, not a line of ours
            self._connection = self._open()
        self.position = int(self._value("SELECT position FROM checkpoint"))
        """Last row of the spool that the newest checkpoint covers."""

    def _open(self) -> sqlite3.Connection:
        connection = connect(self._path)
        try:
            connection.executescript(_SCHEMA)
            connection.execute("SELECT count(*) FROM sessions").fetchone()
        except BaseException:
            connection.close()
            raise
        return connection

    # -- the checkpoint -----------------------------------------------------------------------------

    def commit(self, commit: Commit) -> None:
        """Write a checkpoint, all of it or nothing.

        Raises:
            StorageError: if it cannot be written; trying again later may succeed.
        """
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            self._write(connection, commit)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            roll_back(connection)
            raise translate(error, self._path) from error
        self.position = commit.position

    def _write(self, connection: sqlite3.Connection, commit: Commit) -> None:
        erased = self._erased(connection)
        sessions = [item for item in commit.sessions.items() if item[0] not in erased]
        connection.executemany("INSERT OR REPLACE INTO sessions VALUES (?, ?)", sessions)
        connection.executemany("DELETE FROM sessions WHERE device = ?", [(name,) for name in commit.gone])
        labels = [label for label in commit.labels if label.device not in erased] if erased else commit.labels
        connection.executemany(_LABEL, labels)
        letters = [astuple(letter) for letter in commit.dead_letters if letter.device not in erased]
        connection.executemany(_DEAD, letters)
        connection.executemany(
            _DEFERRED, [astuple(one) for one in commit.deferred if one.device not in erased]
        )
        connection.executemany(
            "DELETE FROM deferred WHERE device = ? AND boot = ? AND window = ?", commit.caught_up
        )
        connection.executemany(
            "INSERT OR REPLACE INTO facts VALUES (?, ?)", [item for item in commit.facts.items() if item[1]]
        )
        connection.executemany(
            "DELETE FROM facts WHERE name = ?", [(name,) for name, value in commit.facts.items() if not value]
        )
        connection.execute("UPDATE checkpoint SET position = ?", (commit.position,))
        if letters:
            self._bound_dead_letters(connection)

    def _erased(self, connection: sqlite3.Connection) -> set[str]:
        """Devices erased since we last looked: what we still hold of them is not written."""
        rows = connection.execute("SELECT device FROM forgotten WHERE id > ?", (self._seen_forgotten,))
        return {device for (device,) in rows}

    def _bound_dead_letters(self, connection: sqlite3.Connection) -> None:
        count, size = connection.execute("SELECT count(*), sum(length(payload)) FROM dead_letters").fetchone()
        if count <= MOST_DEAD_LETTERS and size <= MOST_DEAD_BYTES:
            return
        connection.execute(
            "DELETE FROM dead_letters WHERE position IN "
            "(SELECT position FROM dead_letters ORDER BY position LIMIT ?)",
            (max(count - MOST_DEAD_LETTERS, count // 10),),
        )

    # -- what the labeller reads ----------------------------------------------------------------------

    def session(self, device: str) -> bytes | None:
        """A device's saved state."""
        return self._find("SELECT state FROM sessions WHERE device = ?", device)

    def sessions(self) -> Iterator[tuple[str, bytes]]:
        """All saved states."""
        yield from self._connection.execute("SELECT device, state FROM sessions")

    def fact(self, name: str) -> bytes | None:
        """A small named value."""
        return self._find("SELECT value FROM facts WHERE name = ?", name)

    def facts(self) -> dict[str, bytes]:
        """All small named values but the devices' descriptions, which may be many."""
        return dict(self._connection.execute("SELECT name, value FROM facts WHERE name NOT LIKE 'meta/%'"))

    def deferred(self, limit: int) -> list[DeferredWindow]:
        """The oldest windows that were put off."""
        rows = self._connection.execute("SELECT * FROM deferred ORDER BY position, window LIMIT ?", (limit,))
        return [DeferredWindow(*row) for row in rows]

    @property
    def deferred_count(self) -> int:
        """How many there are."""
        return int(self._value("SELECT count(*) FROM deferred"))

    @property
    def last_forgotten(self) -> int:
        """Number of the last device that was erased."""
        self._seen_forgotten = int(self._value("SELECT coalesce(max(id), 0) FROM forgotten"))
        return self._seen_forgotten

    def forgotten(self, after: int) -> list[tuple[int, str]]:
        """Devices erased by another process since number ``after``."""
        rows = self._connection.execute("SELECT id, device FROM forgotten WHERE id > ? ORDER BY id", (after,))
        found = [(int(number), str(device)) for number, device in rows]
        self._seen_forgotten = found[-1][0] if found else after
        return found

    _seen_forgotten = 0

    # -- what people read -----------------------------------------------------------------------------

    def labels(self, *, device: str | None = None, after: int = 0, limit: int) -> list[StoredLabel]:
        """Labels whose position is above ``after``, ascending."""
        where, values = _where(position=after, device=device)
        query = f"SELECT * FROM labels WHERE {where} ORDER BY position, window LIMIT ?"  # noqa: S608 - see _where
        return [StoredLabel(*row) for row in self._connection.execute(query, (*values, limit))]

    def label_count(self) -> int:
        """How many labels there are."""
        return int(self._value("SELECT count(*) FROM labels"))

    def dead_letters(
        self, *, reason: str | None = None, device: str | None = None, after: int = 0, limit: int = 100
    ) -> list[DeadLetter]:
        """Dead letters whose position is above ``after``, ascending."""
        where, values = _where(position=after, reason=reason, device=device)
        query = f"SELECT * FROM dead_letters WHERE {where} ORDER BY position LIMIT ?"  # noqa: S608 - see _where
        return [DeadLetter(*row) for row in self._connection.execute(query, (*values, limit))]

    def dead_letter(self, position: int) -> DeadLetter | None:
        """One dead letter."""
        row = self._connection.execute(
            "SELECT * FROM dead_letters WHERE position = ?", (position,)
        ).fetchone()
        return None if row is None else DeadLetter(*row)

    def dead_letter_counts(self) -> dict[str, int]:
        """How many there are, by reason."""
        return dict(self._connection.execute("SELECT reason, count(*) FROM dead_letters GROUP BY reason"))

    def purge_dead_letters(self, *, reason: str | None = None) -> int:
        """Remove them; returns how many."""
        where, values = _where(position=0, reason=reason)
        return self._connection.execute(f"DELETE FROM dead_letters WHERE {where}", values).rowcount  # noqa: S608

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    def _find(self, query: str, key: str) -> bytes | None:
        row = self._connection.execute(query, (key,)).fetchone()
        return None if row is None else bytes(row[0])

    def _value(self, query: str) -> Any:
        return self._connection.execute(query).fetchone()[0]


def _where(*, position: int, **equal: str | None) -> tuple[str, tuple[Any, ...]]:
    """A condition with its values; the names of columns are those of this file's calls."""
    given = {name: value for name, value in equal.items() if value is not None}
    conditions: Sequence[str] = ["position > ?", *(f"{name} = ?" for name in given)]
    return " AND ".join(conditions), (position, *given.values())
