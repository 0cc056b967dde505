"""The spool: raw messages in the order of receipt, durable before they are acknowledged.

One process writes, any number read. It is also what a model is trained again on.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from disc_stream.clock import Clock, SystemClock
from disc_stream.errors import StorageError
from disc_stream_server.storage.segments import list_segments, open_segment, salvage, segment_path
from disc_stream_server.storage.sqlite import connect, is_damaged, roll_back, translate

log = logging.getLogger(__name__)

_INSERT = "INSERT INTO rows VALUES (?, ?, ?, ?, ?)"
_SELECT = "SELECT * FROM rows WHERE position > ? ORDER BY position LIMIT ?"
_WRITER_LOCK = "writer.lock"
_LOCK_WAIT_S = 10.0  # a process that was just killed may take a moment to go
_LOOK_AT_SIZE = 64  # commits between two looks at the file's size
_OPEN_FILES = 3


class Arrival(NamedTuple):
    """A message as it came.

    Args:
        received_us: server time, Unix microseconds.
        topic: in full.
        content_type: MQTT 5 content type, "" for none.
        payload: bytes as sent.
    """

    received_us: int
    topic: str
    content_type: str
    payload: bytes


class Row(NamedTuple):
    """A message in the spool.

    Args:
        position: ascending in the order of receipt, unique for ever.
        received_us: server time of its arrival, Unix microseconds.
        topic: in full.
        content_type: MQTT 5 content type, "" for none.
        payload: bytes as sent.
    """

    position: int
    received_us: int
    topic: str
    content_type: str
    payload: bytes


class SpoolWriter:
    """The one writer of a spool.

    Args:
        folder: made if it is not there.
        max_file_bytes: size from which on a new file is begun.
        max_file_s: age of a file's first row from which on a new one is begun.
        clock: time.
        floor: rows get positions above it, whatever is in the folder.

    Raises:
        StorageError: if the folder cannot be used, or another process writes there.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_file_bytes: int = 256 * 2**20,
        max_file_s: float = 86_400,
        clock: Clock | None = None,
        floor: int = 0,
    ) -> None:
        self._folder = folder
        self._max_file_bytes, self._max_file_us = max_file_bytes, max_file_s * 1e6
        self._clock = clock or SystemClock()
        self.head = 0
        """Position of the last durable row, 0 if there was never one."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(folder / _WRITER_LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StorageError(
                f"the spool {str(folder)!r} cannot be made: {error.strerror}",
                remedy="Check the permissions there",
            ) from error
        try:
            self._take_lock()
            self._open(floor)
        except BaseException:
            os.close(self._lock)
            raise

    def append(self, arrivals: Sequence[Arrival]) -> int:
        """Add messages in one transaction; all of them are on the disk when this returns, or none.

        Returns:
            Position of the last row.

        Raises:
            SpoolFullError: if the disk does not take them; trying again later may succeed.
            StorageError: if writing fails otherwise.
        """
        position = self.head
        rows = []
        for arrival in arrivals:
            position += 1
            rows.append((position, *arrival))
        try:
            self._roll_if_due()
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(_INSERT, rows)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._undo()
            raise translate(error, self._path) from error
        self.head = position
        self._commits += 1
        return position

    def close(self) -> None:
        """Put everything into the main file, and let another process write."""
        self._seal()
        os.close(self._lock)

    def _take_lock(self) -> None:
        deadline = time.monotonic() + _LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise StorageError(
                        f"another process writes to the spool {str(self._folder)!r}",
                        remedy="Stop it, or use another --state folder",
                    ) from None
                time.sleep(0.05)
            else:
                return

    def _open(self, floor: int) -> None:
        """Go on in the newest file, or begin the first."""
        segments = list_segments(self._folder)
        first = segments[-1] if segments else floor + 1
        try:
            self._open_file(first)
            self.head = max(self._last_position(), first - 1)
            if self.head < floor:
                log.warning(
                    "the spool ends at %d, before what was labelled (%d); going on from there",
                    self.head,
                    floor,
                )
                self.head = floor
                self._begin_file(floor + 1)
        except sqlite3.Error as error:
            raise translate(error, self._path) from error

    def _open_file(self, first: int) -> None:
        self._path = segment_path(self._folder, first)
        try:
            self._connection = open_segment(self._path)
            healthy = self._connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
            if not healthy:
                self._connection.close()
                self._connection = salvage(self._path)
        except sqlite3.DatabaseError as error:
            if not is_damaged(error):
                raise
            self._connection = salvage(self._path)
        self._first_us = self._first_time()
        self._commits = 0

    def _last_position(self) -> int:
        found: int | None = self._connection.execute("SELECT max(position) FROM rows").fetchone()[0]
        return found or 0

    def _first_time(self) -> int | None:
        found = self._connection.execute("SELECT received_us FROM rows ORDER BY position LIMIT 1").fetchone()
        return None if found is None else int(found[0])

    def _roll_if_due(self) -> None:
        if self._commits % _LOOK_AT_SIZE:
            return
        if self._first_us is None:
            self._first_us = self._first_time()
        old = self._first_us is not None and self._clock.unix_us() - self._first_us > self._max_file_us
        if (old or self._path.stat().st_size >= self._max_file_bytes) and self._last_position():
            self._begin_file(self.head + 1)

    def _begin_file(self, first: int) -> None:
        self._seal()
        self._open_file(first)

    def _seal(self) -> None:
        try:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:  # the log stays beside the file, nothing is lost
            log.warning("%s: %s", self._path.name, error)
        self._connection.close()

    def _undo(self) -> None:
        try:
            roll_back(self._connection)
        except sqlite3.Error:
            log.exception("a failed transaction could not be rolled back; opening the file again")
            self._connection.close()
            self._open_file(list_segments(self._folder)[-1])


class SpoolReader:
    """Reads a spool, also while another process writes.

    Args:
        folder: of the spool; need not be there yet.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: OrderedDict[int, sqlite3.Connection] = OrderedDict()
        self._segments: list[int] = []

    def read(self, after: int, limit: int) -> list[Row]:
        """Rows after a position, ascending.

        Raises:
            StorageError: if they cannot be read.
        """
        rows: list[Row] = []
        begun = self._at_or_before(after + 1)
        rows += self._select(begun, after, limit) if begun is not None else []
        if len(rows) < limit:
            self._segments = list_segments(self._folder)
            for first in self._segments:
                if first > max(after + 1, begun or 0) or begun is None:
                    rows += self._select(first, max(after, first - 1), limit - len(rows))
                if len(rows) >= limit:
                    break
        return rows

    def get(self, position: int) -> Row | None:
        """One row; None if it has been removed."""
        rows = self.read(position - 1, 1)
        return rows[0] if rows and rows[0].position == position else None

    @property
    def first(self) -> int:
        """Position of the oldest row, 0 if there is none."""
        rows = self.read(0, 1)
        return rows[0].position if rows else 0

    @property
    def head(self) -> int:
        """Position of the newest row, 0 if there is none."""
        self._segments = list_segments(self._folder)
        for first in reversed(self._segments):
            connection = self._open(first)
            found = connection.execute("SELECT max(position) FROM rows").fetchone()[0] if connection else None
            if found is not None:
                return int(found)
        return 0

    def close(self) -> None:
        """Close all files."""
        while self._files:
            self._files.popitem()[1].close()

    def _at_or_before(self, position: int) -> int | None:
        found = [first for first in self._segments if first <= position]
        return found[-1] if found else None

    def _open(self, first: int) -> sqlite3.Connection | None:
        """The file's connection; None if it has been removed."""
        if first in self._files:
            self._files.move_to_end(first)
            return self._files[first]
        path = segment_path(self._folder, first)
        try:
            connection = connect(path, synchronous="OFF", create=False)
        except sqlite3.Error as error:
            if not path.exists():
                return None
            raise translate(error, path) from error
        self._files[first] = connection
        if len(self._files) > _OPEN_FILES:
            self._files.popitem(last=False)[1].close()
        return connection

    def _select(self, first: int, after: int, limit: int) -> list[Row]:
        connection = self._open(first)
        if connection is None:
            return []
        try:
            return list(map(Row._make, connection.execute(_SELECT, (after, limit))))
        except sqlite3.Error as error:
            path = segment_path(self._folder, first)
            if "no such table" in str(error):  # it is being made at this moment
                return []
            if not is_damaged(error):
                raise translate(error, path) from error
            return self._select_around_damage(connection, path, after, limit)

    def _select_around_damage(
        self, connection: sqlite3.Connection, path: Path, after: int, limit: int
    ) -> list[Row]:
        """Rows one by one, passing over those that cannot be read."""
        rows: list[Row] = []
        try:
            last = int(connection.execute("SELECT max(position) FROM rows").fetchone()[0] or 0)
        except sqlite3.Error:
            last = after + limit
        missing = 0
        for position in range(after + 1, last + 1):
            try:
                found = connection.execute("SELECT * FROM rows WHERE position = ?", (position,)).fetchone()
            except sqlite3.Error:
                missing += 1
                continue
            if found is not None:
                rows.append(Row._make(found))
            if len(rows) >= limit:
                break
        log.error(
            "%s is damaged: %d rows after %d cannot be read and are passed over", path.name, missing, after
        )
        return rows
