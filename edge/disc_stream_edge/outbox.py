"""Messages on disk until the broker has confirmed them, within a bound.

One SQLite file with a write-ahead log (docs/adr/0036). A message is in it before it is sent, and leaves it
when it is confirmed, so that neither an outage nor a power cut loses it. When the bound is reached, a rule
says what gives way, and every batch that does is counted and remembered by its number.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from disc_stream.errors import ConfigError, StorageError
from disc_stream.wire.topics import Kind
from disc_stream_edge.outboxfile import close_database, open_database, translated

log = logging.getLogger(__name__)

WhenFull = Literal["drop-oldest", "drop-newest"]

OVERHEAD = 64
"""Bytes that count for each message besides its payload."""

_MIB = 2**20
_TOGETHER = 64  # messages that give way at once: one look for the oldest serves the next puts, too
_MOST_HOLES = 1_000  # intervals of lost batches that are remembered one by one; of older ones only the sums
_INSERT = "INSERT INTO message (device, boot, seq, n, type, payload, kind) VALUES (?, ?, ?, ?, ?, ?, ?)"
_FORGET_HOLES = "DELETE FROM hole WHERE id <= (SELECT max(id) FROM hole) - ?"


class Entry(NamedTuple):
    """A message to be sent.

    Args:
        device: device id.
        boot: boot of the device.
        seq: number of the batch, or of the window that the message is about.
        n_samples: samples in it.
        content_type: of the payload; "" for those that are always JSON.
        payload: the encoded batch, label or embeddings.
        kind: last level of its topic.
    """

    device: str
    boot: int
    seq: int
    n_samples: int
    content_type: str
    payload: bytes
    kind: str = Kind.RAW.value

    @property
    def size(self) -> int:
        """Bytes that it counts for."""
        return len(self.payload) + OVERHEAD


class Stored(NamedTuple):
    """A message in the outbox: its place in the order of sending, and what it is."""

    id: int
    entry: Entry


class Hole(NamedTuple):
    """Messages of a kind that gave way: ``first`` to ``last`` of a boot, all of them."""

    device: str
    boot: int
    first: int
    last: int
    samples: int
    kind: str = Kind.RAW.value


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of the messages of an outbox, over all of its life.

    Every message that was put in is either waiting, confirmed, refused or dropped.

    Args:
        put: messages put in.
        confirmed: messages that the broker has confirmed.
        refused: messages that the broker has refused for good.
        dropped: messages that gave way to others because the outbox was full.
        dropped_samples: samples in them.
        waiting: messages in it now.
        waiting_samples: samples in them.
        waiting_bytes: bytes they count for.
    """

    put: int
    confirmed: int
    refused: int
    dropped: int
    dropped_samples: int
    waiting: int
    waiting_samples: int
    waiting_bytes: int


class Outbox:
    """A durable queue of messages; may be used from several threads.

    Args:
        path: of the file; made if it is not there, with its folder.
        max_bytes: payloads and ``OVERHEAD`` for each message; the file is a little larger.
        when_full: ``drop-oldest`` keeps what is recent, ``drop-newest`` what has been there for longest.
            Messages that are on their way to the broker never give way.

    Raises:
        StorageError: if it cannot be opened, or another process uses it.
    """

    def __init__(
        self, path: Path, *, max_bytes: int = 64 * _MIB, when_full: WhenFull = "drop-oldest"
    ) -> None:
        self.path, self.max_bytes, self.when_full = path, max_bytes, when_full
        self._lock = threading.RLock()
        self._connection, self._file = open_database(path)
        self._on_way: set[int] = set()
        self._read_totals()

    def _read_totals(self) -> None:
        with self._translated():
            row = self._connection.execute(
                "SELECT count(*), total(n), total(length(payload)) FROM message"
            ).fetchone()
            totals = self._connection.execute("SELECT put, confirmed, refused, dropped, samples FROM total")
            self._put, self._confirmed, self._refused, self._dropped, self._dropped_samples = (
                totals.fetchone()
            )
        self._waiting, self._samples = int(row[0]), int(row[1])
        self._bytes = int(row[2]) + OVERHEAD * self._waiting

    def close(self) -> None:
        """Close the file; what waits in it is sent by the next one who opens it."""
        with self._lock:
            close_database(self._connection, self._file)

    # -- boots ------------------------------------------------------------------------------------------

    def next_boot(self, device: str, proposed: int) -> int:
        """A boot id that the device has never had: the one proposed, or the one after its last.

        A machine without a clock of its own proposes the same time after each start.
        """
        with self._lock, self._translated():
            row = self._connection.execute("SELECT boot FROM device WHERE name = ?", (device,)).fetchone()
        return proposed if row is None else max(proposed, row[0] + 1)

    def begin_boot(self, device: str, boot: int, meta: bytes, *, again: bool = False) -> None:
        """From now on messages of this boot come.

        Args:
            device: device id.
            boot: higher than all before.
            meta: what the samples of this boot are; sent before them.
            again: the device numbers its batches itself, and may go on in its last boot.

        Raises:
            ConfigError: if the device had this boot, or a later one: a server would take it for repetitions.
            StorageError: if it cannot be written.
        """
        if self.next_boot(device, boot) != boot and not (again and self.last_boot(device) == boot):
            raise ConfigError(
                f"boot {boot} of {device!r} was used before", remedy="Leave out --boot, or name a higher one"
            )
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO device (name, boot) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET boot = ?",
                (device, boot, boot),
            )
            connection.execute("INSERT OR REPLACE INTO boot VALUES (?, ?, ?)", (device, boot, meta))
            connection.execute(  # descriptions of boots of which nothing waits any more
                "DELETE FROM boot WHERE device = ? AND boot != ? AND NOT EXISTS (SELECT 1 FROM message m "
                "WHERE m.device = boot.device AND m.boot = boot.boot)",
                (device, boot),
            )

    def meta(self, device: str, boot: int) -> bytes | None:
        """What the samples of a boot are, as it was given to ``begin_boot``."""
        with self._lock, self._translated():
            row = self._connection.execute(
                "SELECT meta FROM boot WHERE device = ? AND boot = ?", (device, boot)
            ).fetchone()
        return None if row is None else bytes(row[0])

    # -- messages ---------------------------------------------------------------------------------------

    def put(self, entries: Sequence[Entry]) -> int:
        """Keep messages, in this order, behind those that are there; they are on disk when this returns.

        Returns:
            How many messages, of these or older ones, gave way.

        Raises:
            StorageError: if they cannot be written; nothing has changed then.
        """
        dropped = 0
        with self._transaction() as connection:
            for entry in entries:
                dropped += self._make_room(connection, entry)
                self._put += 1
                if self._bytes + entry.size > self.max_bytes:
                    self._lose(connection, [entry])
                    dropped += 1
                    continue
                connection.execute(_INSERT, entry)
                self._waiting += 1
                self._samples += entry.n_samples
                self._bytes += entry.size
            self._write_totals(connection)
        return dropped

    def after(self, device: str, last: int, limit: int) -> list[Stored]:
        """The next messages of a device behind one, oldest first; they count as on their way from now on.

        Args:
            device: device id.
            last: id of the message before them; 0 for the first.
            limit: most messages.

        Raises:
            StorageError: if they cannot be read.
        """
        with self._lock, self._translated():
            rows = self._connection.execute(
                "SELECT id, device, boot, seq, n, type, payload, kind FROM message "
                "WHERE device = ? AND id > ? ORDER BY id LIMIT ?",
                (device, last, limit),
            ).fetchall()
            found = [Stored(row[0], Entry(*row[1:])) for row in rows]
            self._on_way.update(one.id for one in found)
        return found

    def settle(self, confirmed: Collection[Stored], refused: Collection[Stored] = ()) -> None:
        """The broker has answered messages: they leave the outbox.

        Args:
            confirmed: those that it has.
            refused: those that it will never take.

        Raises:
            StorageError: if that cannot be written; they are still there then.
        """
        both = [*confirmed, *refused]
        with self._transaction() as connection:
            connection.executemany("DELETE FROM message WHERE id = ?", [(one.id,) for one in both])
            self._confirmed += len(confirmed)
            self._refused += len(refused)
            self._take_off(one.entry for one in both)
            self._write_totals(connection)
        self._on_way.difference_update(one.id for one in both)

    def put_back(self, stored: Iterable[Stored]) -> None:
        """Messages are not on their way any more; they are sent again later."""
        with self._lock:
            self._on_way.difference_update(one.id for one in stored)

    # -- looking ----------------------------------------------------------------------------------------

    @property
    def tally(self) -> Tally:
        """What became of all messages so far."""
        with self._lock:
            return Tally(
                self._put, self._confirmed, self._refused, self._dropped, self._dropped_samples,
                self._waiting, self._samples, self._bytes,
            )  # fmt: skip

    def last_boot(self, device: str) -> int:
        """The latest boot of a device; 0 if it is not known."""
        with self._lock, self._translated():
            row = self._connection.execute("SELECT boot FROM device WHERE name = ?", (device,)).fetchone()
        return 0 if row is None else int(row[0])

    def waiting(self) -> Mapping[str, int]:
        """Messages that wait, by device."""
        with self._lock, self._translated():
            rows = self._connection.execute("SELECT device, count(*) FROM message GROUP BY device")
            return dict(rows.fetchall())

    def holes(self) -> list[Hole]:
        """The batches that gave way, as intervals, the last thousand; ``tally`` counts all of them."""
        with self._lock, self._translated():
            rows = self._connection.execute(
                "SELECT device, boot, first, last, samples, kind FROM hole ORDER BY id"
            )
            return [Hole(*row) for row in rows.fetchall()]

    # -- giving way -------------------------------------------------------------------------------------

    def _make_room(self, connection: sqlite3.Connection, entry: Entry) -> int:
        """Let the oldest messages give way, if that is the rule; how many did."""
        if self.when_full != "drop-oldest" or entry.size > self.max_bytes:
            return 0
        dropped = 0
        while self._bytes + entry.size > self.max_bytes:
            rows = connection.execute(
                "SELECT id, device, boot, seq, n, length(payload), kind FROM message ORDER BY id LIMIT ?",
                (_TOGETHER + len(self._on_way),),
            ).fetchall()
            free = [row for row in rows if row[0] not in self._on_way]
            if not free:
                break
            lost = []
            for number, device, boot, seq, n, size, kind in free:
                if self._bytes + entry.size <= self.max_bytes:
                    break
                connection.execute("DELETE FROM message WHERE id = ?", (number,))
                self._waiting -= 1
                self._samples -= n
                self._bytes -= size + OVERHEAD
                lost.append(Entry(device, boot, seq, n, "", b"", kind))
            self._lose(connection, lost)
            dropped += len(lost)
        return dropped

    def _lose(self, connection: sqlite3.Connection, lost: Iterable[Entry]) -> None:
        """Count batches that are given up, and remember which."""
        for entry in lost:
            self._dropped += 1
            self._dropped_samples += entry.n_samples
            extended = connection.execute(
                "UPDATE hole SET last = ?, samples = samples + ? "
                "WHERE device = ? AND boot = ? AND last = ? AND kind = ? RETURNING id",
                (entry.seq, entry.n_samples, entry.device, entry.boot, entry.seq - 1, entry.kind),
            ).fetchone()
            if extended is None:
                connection.execute(
                    "INSERT INTO hole (device, boot, first, last, samples, kind) VALUES (?, ?, ?, ?, ?, ?)",
                    (entry.device, entry.boot, entry.seq, entry.seq, entry.n_samples, entry.kind),
                )
                connection.execute(_FORGET_HOLES, (_MOST_HOLES,))

    def _take_off(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self._waiting -= 1
            self._samples -= entry.n_samples
            self._bytes -= entry.size

    def _write_totals(self, connection: sqlite3.Connection) -> None:
        connection.execute(
            "UPDATE total SET put = ?, confirmed = ?, refused = ?, dropped = ?, samples = ?",
            (self._put, self._confirmed, self._refused, self._dropped, self._dropped_samples),
        )

    # -- the file ---------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, also of the numbers in memory."""
        with self._lock, self._translated():
            connection = self._connection
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                self._read_totals()
                raise

    def _translated(self) -> contextlib.AbstractContextManager[None]:
        return translated(self.path)


def outbox_path(folder: Path) -> Path:
    """The file of the outbox in a folder."""
    return folder / "outbox.sqlite"


def open_outbox(folder: Path, megabytes: float, when_full: WhenFull) -> Outbox:
    """The outbox in a folder.

    Raises:
        StorageError: if it cannot be opened, or another process uses it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StorageError(
            f"the outbox folder {str(folder)!r} cannot be made: {os.strerror(error.errno or 0)}",
            remedy="Name one that can be written with --outbox",
        ) from error
    return Outbox(outbox_path(folder), max_bytes=round(megabytes * 1e6), when_full=when_full)
