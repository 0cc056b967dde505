"""The overflow queue: messages of devices that send too much, until there is room for them in the spool.

They are durable here and acknowledged, like those in the spool, and leave it in the order in which they
came. One process writes it: the receiver, which holds the spool's writer lock. A message that is on its way
into the spool when the power fails may be in both: it is then taken twice, like one that the broker sends
twice.
"""

from __future__ import annotations

import contextlib
import logging
import math
import sqlite3
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path

from disc_stream_server.storage.rows import Arrival
from disc_stream_server.storage.sqlite import (
    check,
    connect,
    is_damaged,
    roll_back,
    set_aside,
    translate,
    truncate_log,
)

log = logging.getLogger(__name__)

FILE = "waiting.sqlite"
"""Its name in the folder of the spool."""

ROW_BYTES = 160
"""What a message takes here beside its payload, about."""

_SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS waiting (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    device TEXT NOT NULL,
    received_us INTEGER NOT NULL,
    topic TEXT NOT NULL,
    content_type TEXT NOT NULL,
    payload BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS by_device ON waiting (device, id);
COMMIT;
"""
_INSERT = "INSERT INTO waiting (device, received_us, topic, content_type, payload) VALUES (?, ?, ?, ?, ?)"
_NEXT = (
    "SELECT id, received_us, topic, content_type, payload FROM waiting WHERE device = ? ORDER BY id LIMIT ?"
)
_REMOVE = "DELETE FROM waiting WHERE device = ? AND id <= ?"
_TALLY = "SELECT device, count(*), sum(length(payload) + ?) FROM waiting GROUP BY device ORDER BY min(id)"
_SHRINK_PAGES = 256  # an empty file of more pages is written anew


class Tally:
    """What waits of a device.

    Args:
        messages: their number.
        bytes: their size, with what they take beside their payloads.
    """

    __slots__ = ("bytes", "messages")

    def __init__(self, messages: int = 0, size: int = 0) -> None:
        self.messages, self.bytes = messages, size


class OverflowQueue:
    """Messages that wait, by device.

    The file is made when the first message comes.

    Args:
        folder: of the spool.

    Raises:
        StorageError: if it is there and cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._connection: sqlite3.Connection | None = None
        self.devices: OrderedDict[str, Tally] = OrderedDict()
        """What waits, by device; the one that is served next stands first."""
        if self._path.exists():
            try:
                self._begin()
            except (sqlite3.Error, OSError) as error:
                raise translate(error, self._path) from error

    def __len__(self) -> int:
        return sum(tally.messages for tally in self.devices.values())

    def put(self, arrivals: Sequence[tuple[str, Arrival]]) -> None:
        """Add messages (device, message) in one transaction; all of them are on the disk then, or none.

        Raises:
            SpoolFullError: if the disk does not take them; trying again later may succeed.
            StorageError: if writing fails otherwise.
        """
        try:
            connection = self._connection or self._begin()
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(_INSERT, [(device, *arrival) for device, arrival in arrivals])
            connection.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            self._undo()
            raise translate(error, self._path) from error
        for device, arrival in arrivals:
            tally = self.devices.setdefault(device, Tally())
            tally.messages += 1
            tally.bytes += len(arrival.payload) + ROW_BYTES

    def next_of(self, device: str, limit: int, size: float = math.inf) -> list[tuple[int, Arrival]]:
        """The first messages of a device, each with the number under which it is kept.

        Args:
            device: whose.
            limit: messages at most.
            size: bytes of payload after which no further message is read; the one that goes beyond is given.

        Raises:
            StorageError: if they cannot be read.
        """
        if self._connection is None:
            return []
        found: list[tuple[int, Arrival]] = []
        try:
            with contextlib.closing(self._connection.execute(_NEXT, (device, limit))) as rows:
                for number, *columns in rows:
                    arrival = Arrival(*columns)
                    found.append((number, arrival))
                    size -= len(arrival.payload)
                    if size <= 0:
                        break
        except sqlite3.Error as error:
            raise translate(error, self._path) from error
        if not found:  # they were erased
            self.devices.pop(device, None)
        return found

    def remove(self, taken: Mapping[str, Sequence[tuple[int, Arrival]]]) -> None:
        """The first messages of these devices are in the spool; one transaction.

        Raises:
            StorageError: if they cannot be removed.
        """
        assert self._connection is not None  # noqa: S101 - they came from there
        try:
            self._connection.execute("PRAGMA synchronous=NORMAL")  # undone by a power cut they come twice
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(_REMOVE, [(device, some[-1][0]) for device, some in taken.items()])
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._undo()
            raise translate(error, self._path) from error
        for device, some in taken.items():
            self._count_removed(device, [arrival for _, arrival in some])
        if not self.devices:
            self._shrink()

    def _count_removed(self, device: str, arrivals: Sequence[Arrival]) -> None:
        tally = self.devices.get(device)
        if tally is None:
            return
        tally.messages -= len(arrivals)
        tally.bytes -= sum(len(arrival.payload) + ROW_BYTES for arrival in arrivals)
        if tally.messages > 0:
            self.devices.move_to_end(device)
        else:
            del self.devices[device]

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _begin(self) -> sqlite3.Connection:
        try:
            self._connection = self._open()
        except sqlite3.DatabaseError as error:
            if not is_damaged(error):
                raise
            aside = set_aside(self._path)
            log.error("%s is damaged and kept as %s; what waited in it is lost", FILE, aside.name)  # noqa: TRY400
            self._connection = self._open()
        rows = self._connection.execute(_TALLY, (ROW_BYTES,))
        self.devices.clear()  # and not replaced: the rate limiter looks at it
        self.devices.update((device, Tally(count, size)) for device, count, size in rows)
        return self._connection

    def _open(self) -> sqlite3.Connection:
        connection = connect(self._path, synchronous="FULL", mode="rwc")
        try:
            connection.execute("PRAGMA secure_delete=ON")  # no leftovers for whoever is erased later
            connection.executescript(_SCHEMA)
            check(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _undo(self) -> None:
        if self._connection is not None:
            roll_back(self._connection)

    def _shrink(self) -> None:
        """Give the space of an empty file back, if nobody is in the way."""
        assert self._connection is not None  # noqa: S101 - something was removed
        try:
            if self._connection.execute("PRAGMA page_count").fetchone()[0] > _SHRINK_PAGES:
                self._connection.execute("VACUUM")
                truncate_log(self._connection)
        except sqlite3.Error as error:
            log.warning("%s keeps its size: %s", FILE, error)
