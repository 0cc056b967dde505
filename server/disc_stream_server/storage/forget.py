"""Erases one device from everything that is on disk, also while a server runs."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from disc_stream.errors import InputNotFoundError, StorageError
from disc_stream.stream.sessions import PROGRESS, without_device
from disc_stream_server.storage.journal import FILE as EVENTS
from disc_stream_server.storage.journal import forget_device
from disc_stream_server.storage.lock import holder
from disc_stream_server.storage.overflow import FILE as WAITING
from disc_stream_server.storage.people import FILE as PEOPLE
from disc_stream_server.storage.queries import explain
from disc_stream_server.storage.reader import SpoolReader
from disc_stream_server.storage.resetting import RESET
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

_TABLES = (
    "parts", "labels", "dead_letters", "episodes", "episode_events", "episode_states", "episode_late",
    "episode_frozen", "label_chunks",
)  # fmt: skip
_PATIENCE_S = 30.0
_PAUSE_S = 0.01
_LOOK_S = 0.1  # between two looks whether the server has heard of it

RETRAINING = "retraining"
"""Folder, within the state folder, of what retrainings keep; see ``disc_stream.retraining.work``."""

DECISIONS = "decisions.jsonl"
"""File in there that says when retrainings were begun, and why; it names no device."""


@dataclass(frozen=True, slots=True)
class Erased:
    """What was erased.

    Args:
        messages: rows of the spool, and messages that waited.
        labels: labels.
        others: dead letters, descriptions and states.
        damaged_files: copies of damaged files, which nobody can search, and which were removed.
        receipt: by place that was looked at, how much of the device was there.
        server: whether a server ran, and has dropped what it had in memory; None if none ran.
    """

    messages: int
    labels: int
    others: int
    damaged_files: int = 0
    receipt: dict[str, int] = field(default_factory=dict)
    server: bool | None = None


def forget(state: Path, device: str, prefix: str) -> Erased:
    """Erase a device; its bytes are gone from the files when this returns.

    The messages go first and the rest of it after them, so a server that runs finds nothing to begin
    again from. It notices, drops what it has in memory, and writes nothing more of it.

    Args:
        state: the state folder.
        device: device id, or what stands in its place in a topic that is not of the grammar.
        prefix: of its topics.

    Raises:
        InputNotFoundError: if there is no state folder.
        StorageError: if a file cannot be changed, or is damaged and in use.
    """
    if not (state / FILE).exists():
        raise InputNotFoundError(f"{str(state)!r} is not a state folder", remedy="Give the server's --state")
    spool, topics = state / "spool", f"{prefix}/{device}/"
    receipt: dict[str, int] = {}
    upto = 0
    if spool.is_dir():
        # First what waits, or it would enter the spool meanwhile.
        receipt["spool/waiting.sqlite"] = _forget_waiting(spool / WAITING, device, topics)
        upto = _forget_spool(spool, topics, receipt)
        receipt["spool/waiting.sqlite"] += _forget_waiting(spool / WAITING, device, topics)
    counts = _forget_state(state / FILE, device, topics, upto)
    receipt |= {f"state.sqlite, {name}": count for name, count in counts.items()}
    receipt[EVENTS] = _forget_events(state / EVENTS, device)
    receipt["people.sqlite"] = said = _forget_said(state / PEOPLE, device)
    receipt["retraining"] = _forget_retraining(state / RETRAINING)
    copies = [*damaged_copies(state), *(damaged_copies(spool) if spool.is_dir() else ())]
    for copy in copies:
        remove(copy)
    receipt["copies of damaged files"] = len(copies)
    messages = sum(count for place, count in receipt.items() if place.startswith("spool/"))
    others = said + sum(count for name, count in counts.items() if name != "labels")
    return Erased(messages, counts["labels"], others, len(copies), receipt)


def _forget_events(path: Path, device: str) -> int:
    """Events on their way out, and those that nobody took."""
    if not path.exists():
        return 0
    with _opened(path) as connection:
        removed = forget_device(connection, device)
        _scrub(connection, path)
    return removed


def _forget_said(path: Path, device: str) -> int:
    """Erase what people said of it: tags and rejected labels. The audit log keeps who did something when."""
    if not path.exists():
        return 0
    removed = 0
    with _opened(path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        for table in ("tags", "tag_revisions", "rejected_labels"):
            removed += connection.execute(f"DELETE FROM {table} WHERE device = ?", (device,)).rowcount  # noqa: S608
        removed += connection.execute(
            "UPDATE audit SET target = 'erased', detail = '{}' "
            "WHERE instr(target || '/', ?) > 0 OR instr(detail, ?) > 0",
            (f"/{device}/", f'"{device}"'),
        ).rowcount
        connection.execute("COMMIT")
        _scrub(connection, path)
    return removed


def _forget_retraining(folder: Path) -> int:
    """Remove all that retrainings keep: windows of many devices, and what was learned from them.

    One that runs notices that its plan is gone, and adds no version.
    """
    if not folder.is_dir():
        return 0
    stays = {"lock", DECISIONS}
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in stays]
    (folder / "plan.json").unlink(missing_ok=True)
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name not in stays:
            path.unlink(missing_ok=True)
    return len(files)


def finish(state: Path, erased: Erased, device: str, prefix: str) -> Erased:
    """Wait until a server that runs has dropped the device too, and remove the mark that told it.

    Also what the clearing of retained messages has left: empty messages on the device's topics.

    Args:
        state: the state folder.
        erased: what ``forget`` returned.
        device: as there.
        prefix: as there.
    """
    with _opened(state / FILE) as connection:
        connection.execute("DELETE FROM parts WHERE device = ? AND length(state) = 0", (device,))
    if holder(state) is None:
        with _opened(state / FILE) as connection:
            connection.execute("DELETE FROM forgotten WHERE device = ?", (device,))
            _scrub(connection, state / FILE)
        told = None
    else:
        told = _await_server(state / FILE, device)
    spool, receipt = state / "spool", dict(erased.receipt)
    if spool.is_dir():
        _forget_empty(spool, device, f"{prefix}/{device}/", receipt)
    return replace(erased, receipt=receipt, server=told)


def _forget_empty(spool: Path, device: str, topics: str, receipt: dict[str, int]) -> None:
    """Remove empty messages of a device, also those that wait: they move from there into the newest file."""
    found = True
    while found:
        counts = {f"spool/{WAITING}": _forget_waiting(spool / WAITING, device, topics, only_empty=True)}
        for first in list_segments(spool):
            path = segment_path(spool, first)
            counts[f"spool/{path.name}"] = _forget_messages(path, topics, only_empty=True)
        found = counts[f"spool/{WAITING}"] > 0
        for name, count in counts.items():
            receipt[name] = receipt.get(name, 0) + count


def _await_server(path: Path, device: str) -> bool:
    """Whether the server has heard of it in time; its mark is scrubbed from the file then."""
    until = time.monotonic() + _PATIENCE_S
    while True:
        with _opened(path) as connection:
            query = "SELECT count(*) FROM forgotten WHERE device = ?"
            if not connection.execute(query, (device,)).fetchone()[0]:
                _scrub(connection, path)
                return True
        if time.monotonic() > until:
            return False
        time.sleep(_LOOK_S)


def _forget_spool(spool: Path, topics: str, receipt: dict[str, int]) -> int:
    """Erase from all files of the spool; returns its newest position."""

    def erase(first: int, upto: int = 2**62) -> None:
        name = f"spool/{segment_path(spool, first).name}"
        receipt[name] = receipt.get(name, 0) + _forget_messages(segment_path(spool, first), topics, upto)

    with maintenance(spool):
        # Only the newest file is written to; from here on that is this one, or one that comes after it.
        open_from = max(list_segments(spool), default=0)
        done: set[int] = set()
        while todo := [first for first in list_segments(spool) if first not in done]:  # new ones may come
            for first in todo:
                _mend(spool, first)
                erase(first)
            done.update(todo)
        upto = _head(spool)
        for first in [one for one in list_segments(spool) if one >= open_from]:  # what came meanwhile
            erase(first, upto)
    return upto


def _forget_waiting(path: Path, device: str, topics: str, *, only_empty: bool = False) -> int:
    if not path.exists():
        return 0
    longest = 0 if only_empty else 2**62
    with _opened(path) as connection:
        removed = connection.execute(
            "DELETE FROM waiting WHERE (device = ? OR substr(topic, 1, ?) = ?) AND length(payload) <= ?",
            (device, len(topics), topics, longest),
        ).rowcount
        if removed or not only_empty:
            _scrub(connection, path)
    return removed


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


def _forget_messages(path: Path, topics: str, upto: int = 2**62, *, only_empty: bool = False) -> int:
    longest = 0 if only_empty else 2**62
    with _opened(path) as connection:
        removed = connection.execute(
            "DELETE FROM rows WHERE substr(topic, 1, ?) = ? AND position <= ? AND length(payload) <= ?",
            (len(topics), topics, upto, longest),
        ).rowcount
        (free,) = connection.execute("PRAGMA freelist_count").fetchone()
        if removed or free:
            connection.execute("DROP TABLE IF EXISTS usage")  # what retention has counted
            _scrub(connection, path)
    return removed


def _forget_state(path: Path, device: str, topics: str, upto: int) -> dict[str, int]:
    counts: dict[str, int] = {}
    with _opened(path) as connection:
        try:
            check(connection)
        except sqlite3.DatabaseError as error:
            raise explain(error, path) from error
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO forgotten (device, upto) VALUES (?, ?)", (device, upto))
        there = {
            name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        }
        for table in [table for table in _TABLES if table in there]:  # an earlier version had fewer
            counts[table] = connection.execute(f"DELETE FROM {table} WHERE device = ?", (device,)).rowcount  # noqa: S608
        counts["dead_letters"] += connection.execute(  # of topics that are not of the grammar
            "DELETE FROM dead_letters WHERE substr(topic, 1, ?) = ?", (len(topics), topics)
        ).rowcount
        connection.execute("DELETE FROM facts WHERE name = ?", (f"{RESET}{device}",))
        _forget_progress(connection, device)
        connection.execute("COMMIT")
        _scrub(connection, path)
    return counts


def _forget_progress(connection: sqlite3.Connection, device: str) -> None:
    """What concerns no single device names those for which something is due."""
    query = "SELECT lane, state FROM parts WHERE part = 'session' AND device = ?"
    for lane, state in connection.execute(query, (PROGRESS,)).fetchall():
        if device.encode() in state:
            connection.execute(
                "UPDATE parts SET state = ? WHERE part = 'session' AND device = ? AND lane = ?",
                (without_device(state, device), PROGRESS, lane),
            )


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
