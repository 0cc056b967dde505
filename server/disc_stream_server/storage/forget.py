"""Erases one device from everything that is on disk, also while a server runs."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from disc_stream.errors import InputNotFoundError, StorageError
from disc_stream_server.storage.queries import explain
from disc_stream_server.storage.reader import SpoolReader
from disc_stream_server.storage.segments import (
    list_segments,
    maintenance,
    salvage_in_maintenance,
    segment_path,
)
from disc_stream_server.storage.sqlite import (
    check,
    connect,
    connect_to_read,
    damaged_copies,
    is_damaged,
    remove,
    roll_back,
    translate,
    translated,
    truncate_log,
)
from disc_stream_server.storage.state import FILE

_TABLES = ("parts", "labels", "dead_letters")
_PATIENCE_S = 30.0
_PAUSE_S = 0.01


@dataclass(frozen=True, slots=True)
class Erased:
    """What was erased.

    Args:
        messages: rows of the spool.
        labels: labels.
        others: dead letters, descriptions and states.
        damaged_files: copies of damaged files, which nobody can search, and which were removed.
    """

    messages: int
    labels: int
    others: int
    damaged_files: int = 0


def forget(state: Path, device: str, prefix: str) -> Erased:
    """Erase a device; its bytes are gone from the files when this returns.

    The messages go first and the rest of it after them, so a server that runs finds nothing to begin
    again from. It notices, drops what it has in memory, and writes nothing more of it.

    Args:
        state: the state folder.
        device: device id.
        prefix: of its topics.

    Raises:
        InputNotFoundError: if there is no state folder.
        StorageError: if a file cannot be changed, or is damaged and in use.
    """
    if not (state / FILE).exists():
        raise InputNotFoundError(f"{str(state)!r} is not a state folder", remedy="Give the server's --state")
    spool = state / "spool"
    messages, upto = 0, 0
    if spool.is_dir():
        with maintenance(spool):
            done: set[int] = set()
            while todo := [first for first in list_segments(spool) if first not in done]:  # new ones may come
                for first in todo:
                    _mend(spool, first)
                    messages += _forget_messages(segment_path(spool, first), f"{prefix}/{device}/")
                done.update(todo)
            upto = _head(spool)
            newest = max(done, default=0)
            for first in [one for one in list_segments(spool) if one >= newest]:  # what came meanwhile
                messages += _forget_messages(segment_path(spool, first), f"{prefix}/{device}/", upto)
    counts = _forget_state(state / FILE, device, upto)
    copies = [*damaged_copies(state), *(damaged_copies(spool) if spool.is_dir() else ())]
    for copy in copies:
        remove(copy)
    labels = counts.pop("labels")
    return Erased(messages, labels, sum(counts.values()), len(copies))


def _head(spool: Path) -> int:
    reader = SpoolReader(spool)
    try:
        return reader.head
    finally:
        reader.close()


def _mend(spool: Path, first: int) -> None:
    """Save what can be read of a damaged file: the rest of it cannot be searched, and must not stay.

    Raises:
        StorageError: if it is the newest file, to which a server may be writing.
    """
    path = segment_path(spool, first)
    try:
        connection, _ = connect_to_read(path)
        with contextlib.closing(connection):
            check(connection)
    except sqlite3.Error as error:
        if not is_damaged(error):
            raise translate(error, path) from error
    else:
        return
    if first == list_segments(spool)[-1]:
        raise StorageError(
            f"{str(path)!r} is damaged, so the device's messages cannot all be found",
            remedy="Start the server again, which mends the file, and run the same command again",
        )
    with translated(path):
        salvage_in_maintenance(path)


def _forget_messages(path: Path, topics: str, upto: int = 2**62) -> int:
    with _opened(path) as connection:
        removed = connection.execute(
            "DELETE FROM rows WHERE substr(topic, 1, ?) = ? AND position <= ?", (len(topics), topics, upto)
        ).rowcount
        (free,) = connection.execute("PRAGMA freelist_count").fetchone()
        if removed or free:
            connection.execute("DROP TABLE IF EXISTS usage")  # what retention has counted
            _scrub(connection, path)
    return removed


def _forget_state(path: Path, device: str, upto: int) -> dict[str, int]:
    counts: dict[str, int] = {}
    with _opened(path) as connection:
        try:
            check(connection)
        except sqlite3.DatabaseError as error:
            raise explain(error, path) from error
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO forgotten (device, upto) VALUES (?, ?)", (device, upto))
        for table in _TABLES:
            counts[table] = connection.execute(f"DELETE FROM {table} WHERE device = ?", (device,)).rowcount  # noqa: S608
        connection.execute("COMMIT")
        _scrub(connection, path)
    return counts


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection whose deletions overwrite; errors are translated."""
    with translated(path), contextlib.closing(connect(path, synchronous="FULL")) as connection:
        connection.execute("PRAGMA secure_delete=ON")
        try:
            yield connection
        except BaseException:
            roll_back(connection)
            raise


def _scrub(connection: sqlite3.Connection, path: Path) -> None:
    """Write the file anew, without what older changes left between its rows; then empty the log.

    Raises:
        StorageError: if readers keep the log in use.
    """
    connection.execute("VACUUM")
    until = time.monotonic() + _PATIENCE_S
    while not truncate_log(connection):
        if time.monotonic() > until:
            raise StorageError(
                f"{str(path)!r} is in use all the time, so old bytes may be left in its log",
                remedy="Run the same command again",
            )
        time.sleep(_PAUSE_S)  # SQLite itself does not wait for the checkpoint of another connection
