"""Events on their way out, who has got them, and those that nobody took.

One ordered journal, from which every sink (MQTT, each webhook) reads behind its own position. An event and
the position of what it came of are written in one transaction, so that a crash neither loses nor doubles it
here; a sink's position is written once the other side has confirmed, so that it gets every event at least
once.
"""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from disc_stream.text import printable
from disc_stream.wire.event import SCHEMA, Event, EventType
from disc_stream_server.storage.sqlite import connect, roll_back, translate

FILE = "events.sqlite"
"""Its name in the state folder."""

_TABLES = ("events", "presence", "dead")
_TAKEN = "taken"
_SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS events (
    number INTEGER PRIMARY KEY AUTOINCREMENT, device TEXT NOT NULL, at_us INTEGER NOT NULL,
    event BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS sinks (name TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS presence (device TEXT PRIMARY KEY, online INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dead (
    id INTEGER PRIMARY KEY AUTOINCREMENT, sink TEXT NOT NULL, device TEXT NOT NULL, at_us INTEGER NOT NULL,
    reason TEXT NOT NULL, event BLOB NOT NULL
);
COMMIT;
"""
_LONGEST_REASON = 500


class Draft(NamedTuple):
    """An event without its number."""

    type: EventType
    device: str
    at_us: int
    begin_us: int | None = None
    end_us: int | None = None
    label: int | None = None
    name: str = ""


class DeadEvent(NamedTuple):
    """An event that a sink has not taken.

    Args:
        id: of this record.
        sink: name of the sink.
        at_us: when it was given up, Unix microseconds.
        reason: why, one line.
        event: the event.
    """

    id: int
    sink: str
    at_us: int
    reason: str
    event: Event


class Journal:
    """The file; its methods may be called from any thread.

    Args:
        folder: the state folder.

    Raises:
        StorageError: if it cannot be used; from any method, too.
    """

    def __init__(self, folder: Path) -> None:
        self._path, self._lock = folder / FILE, threading.Lock()
        with self._translated():
            self._connection = connect(self._path, mode="rwc", synchronous="FULL")
            self._connection.execute("PRAGMA secure_delete=ON")
            self._connection.executescript(_SCHEMA)
            fresh = secrets.token_hex(4).encode()
            self._connection.execute("INSERT OR IGNORE INTO facts VALUES ('feed', ?)", (fresh,))
            self.feed = bytes(self._fact("feed") or fresh).decode()
            """Before the hyphen in the ids of all its events."""

    def close(self) -> None:
        """Close it."""
        with self._lock:
            self._connection.close()

    # -- what comes in ----------------------------------------------------------------------------------

    @property
    def taken(self) -> int | None:
        """Sequence number of the last episode event that is in here; None if none was ever asked for."""
        with self._lock, self._translated():
            value = self._fact(_TAKEN)
        return None if value is None else int(value)

    def add(
        self,
        drafts: Iterable[Draft],
        *,
        taken: int | None = None,
        presence: Mapping[str, bool] | None = None,
    ) -> int:
        """Write events, and what they came of, in one transaction; how many they were.

        Args:
            drafts: in order.
            taken: sequence number of the last episode event among them.
            presence: devices that are known to be online or offline now.
        """
        rows = [(one.device, one.at_us, msgspec.json.encode(one)) for one in drafts]
        with self._writing() as connection:
            connection.executemany("INSERT INTO events (device, at_us, event) VALUES (?, ?, ?)", rows)
            if taken is not None:
                connection.execute(
                    "INSERT OR REPLACE INTO facts VALUES (?, ?)", (_TAKEN, str(taken).encode())
                )
            connection.executemany("INSERT OR REPLACE INTO presence VALUES (?, ?)", (presence or {}).items())
        return len(rows)

    def presence(self) -> dict[str, bool]:
        """Whether each device was online when that was last heard."""
        with self._lock, self._translated():
            return {str(d): bool(on) for d, on in self._connection.execute("SELECT * FROM presence")}

    # -- what goes out ----------------------------------------------------------------------------------

    @property
    def newest(self) -> int:
        """Number of the newest event; 0 if there was none."""
        with self._lock, self._translated():
            query = "SELECT seq FROM sqlite_sequence WHERE name = 'events'"
            row = self._connection.execute(query).fetchone()
        return 0 if row is None else int(row[0])

    def position(self, sink: str) -> int:
        """Number of the last event that a sink has got; a new one begins behind the newest."""
        newest = self.newest
        with self._writing() as connection:
            connection.execute("INSERT OR IGNORE INTO sinks VALUES (?, ?)", (sink, newest))
            (number,) = connection.execute("SELECT number FROM sinks WHERE name = ?", (sink,)).fetchone()
        return int(number)

    def keep_sinks(self, names: Collection[str]) -> None:
        """Drop the positions of sinks that are in use no more; one that comes back begins anew."""
        with self._writing() as connection:
            known = [name for (name,) in connection.execute("SELECT name FROM sinks").fetchall()]
            gone = [(name,) for name in known if name not in names]
            connection.executemany("DELETE FROM sinks WHERE name = ?", gone)

    def read(self, after: int, limit: int) -> Sequence[Event]:
        """Events behind a number, in order."""
        query = "SELECT number, event FROM events WHERE number > ? ORDER BY number LIMIT ?"
        with self._lock, self._translated():
            rows = self._connection.execute(query, (after, limit)).fetchall()
        return [_decoded(self.feed, *row) for row in rows]

    def advance(self, sink: str, number: int) -> None:
        """A sink has got all events up to this one."""
        with self._writing() as connection:
            connection.execute("INSERT OR REPLACE INTO sinks VALUES (?, ?)", (sink, number))

    def bury(self, sink: str, event: Event, reason: str, now_us: int) -> None:
        """A sink does not take an event: keep it aside, and go on behind it."""
        row = (sink, event.device, now_us, printable(reason, _LONGEST_REASON), msgspec.json.encode(event))
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO dead (sink, device, at_us, reason, event) VALUES (?,?,?,?,?)", row
            )
            connection.execute("INSERT OR REPLACE INTO sinks VALUES (?, ?)", (sink, event.number))

    # -- what nobody took -------------------------------------------------------------------------------

    def dead(self, after: int = 0, limit: int = 100) -> Sequence[DeadEvent]:
        """Events that were given up, the oldest first."""
        query = "SELECT id, sink, at_us, reason, event FROM dead WHERE id > ? ORDER BY id LIMIT ?"
        with self._lock, self._translated():
            rows = self._connection.execute(query, (after, limit)).fetchall()
        return [
            DeadEvent(one, sink, at_us, reason, msgspec.json.decode(event, type=Event))
            for one, sink, at_us, reason, event in rows
        ]

    def remove_dead(self, one: int) -> None:
        """It was delivered after all, or is of no use."""
        with self._writing() as connection:
            connection.execute("DELETE FROM dead WHERE id = ?", (one,))

    def trim(self, before_us: int) -> int:
        """Remove what is older; how many events were removed that a sink had not got yet."""
        with self._writing() as connection:
            query = "SELECT count(*) FROM events WHERE at_us < ? AND number > (SELECT min(number) FROM sinks)"
            (lost,) = connection.execute(query, (before_us,)).fetchone()
            connection.execute("DELETE FROM events WHERE at_us < ?", (before_us,))
            connection.execute("DELETE FROM dead WHERE at_us < ?", (before_us,))
        return int(lost)

    def forget(self, device: str) -> None:
        """Drop a device that was erased."""
        with self._writing() as connection:
            forget_device(connection, device)

    # -- how --------------------------------------------------------------------------------------------

    def _fact(self, name: str) -> bytes | None:
        row = self._connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else bytes(row[0])

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise translate(error, self._path) from error

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._translated():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                roll_back(self._connection)
                raise


def forget_device(connection: sqlite3.Connection, device: str) -> int:
    """Delete all that is of a device; how many records."""
    queries = [f"DELETE FROM {table} WHERE device = ?" for table in _TABLES]  # noqa: S608 - names of ours
    return sum(connection.execute(query, (device,)).rowcount for query in queries)


def _decoded(feed: str, number: int, payload: bytes) -> Event:
    one = msgspec.json.decode(payload, type=Draft)
    return Event(
        SCHEMA, f"{feed}-{number}", number, one.type, one.device, one.at_us, one.begin_us, one.end_us,
        one.label, printable(one.name),
    )  # fmt: skip
