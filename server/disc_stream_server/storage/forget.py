"""Erases one device from everything that is on disk, also while a server runs."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from disc_stream.errors import InputNotFoundError
from disc_stream_server.storage.segments import list_segments, segment_path
from disc_stream_server.storage.sqlite import connect, roll_back, translate
from disc_stream_server.storage.state import FILE

_TABLES = ("sessions", "labels", "deferred", "dead_letters")


@dataclass(frozen=True, slots=True)
class Erased:
    """What was erased.

    Args:
        messages: rows of the spool.
        labels: labels.
        others: windows put off, dead letters, descriptions and states.
    """

    messages: int
    labels: int
    others: int


def forget(state: Path, device: str, prefix: str) -> Erased:
    """Erase a device; its bytes are gone from the files when this returns.

    A server that runs in the folder notices, and drops what it has in memory.

    Args:
        state: the state folder.
        device: device id.
        prefix: of its topics.

    Raises:
        InputNotFoundError: if there is no state folder.
        StorageError: if a file cannot be changed.
    """
    if not (state / FILE).exists():
        raise InputNotFoundError(f"{str(state)!r} is not a state folder", remedy="Give the server's --state")
    database = state / FILE
    counts: dict[str, int] = {}
    connection = _open(database)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO forgotten (device) VALUES (?)", (device,))
        for table in _TABLES:
            counts[table] = connection.execute(f"DELETE FROM {table} WHERE device = ?", (device,)).rowcount  # noqa: S608
        counts["facts"] = connection.execute("DELETE FROM facts WHERE name = ?", (f"meta/{device}",)).rowcount
        connection.execute("COMMIT")
        _scrub(connection)
    except sqlite3.Error as error:
        roll_back(connection)
        raise translate(error, database) from error
    finally:
        connection.close()
    messages = sum(
        _forget_in(segment_path(state / "spool", first), f"{prefix}/{device}/")
        for first in list_segments(state / "spool")
    )
    labels = counts.pop("labels")
    return Erased(messages, labels, sum(counts.values()))


def _forget_in(path: Path, topics: str) -> int:
    connection = _open(path)
    try:
        removed = connection.execute(
            "DELETE FROM rows WHERE substr(topic, 1, ?) = ?", (len(topics), topics)
        ).rowcount
        _scrub(connection)
    except sqlite3.Error as error:
        raise translate(error, path) from error
    finally:
        connection.close()
    return removed


def _open(path: Path) -> sqlite3.Connection:
    try:
        connection = connect(path, synchronous="FULL", mode="rw")
        connection.execute("PRAGMA secure_delete=ON")
    except sqlite3.Error as error:
        raise translate(error, path) from error
    return connection


def _scrub(connection: sqlite3.Connection) -> None:
    """Freed pages are zeroed already; now the log, which still holds them as they were."""
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
