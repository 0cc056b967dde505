"""The spool: raw messages in the order of receipt, durable before they are acknowledged.

One process writes (``SpoolWriter``), any number read (``SpoolReader``). It is also what a model is trained
again on.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from disc_stream.clock import Clock, SystemClock
from disc_stream.errors import StorageError
from disc_stream_server.storage.reader import SpoolReader
from disc_stream_server.storage.rows import Arrival, Row
from disc_stream_server.storage.segments import (
    FILE_BYTES,
    INSERT,
    create_segment,
    finish_salvage,
    list_segments,
    open_segment,
    salvage,
    segment_path,
    size_of,
)
from disc_stream_server.storage.sqlite import (
    check,
    is_damaged,
    roll_back,
    sync_folder,
    translate,
    truncate_log,
)

__all__ = ["Arrival", "Row", "SpoolReader", "SpoolWriter"]

log = logging.getLogger(__name__)

_WRITER_LOCK = "writer.lock"
_LOCK_WAIT_S = 10.0  # a process that was just killed may take a moment to go
_SEAL_WAIT_MS = 200
_ROW_BYTES = 80  # what a row takes beside its payload, about


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
        max_file_bytes: int = FILE_BYTES,
        max_file_s: float = 86_400,
        clock: Clock | None = None,
        floor: int = 0,
    ) -> None:
        self._folder = folder
        self._max_file_bytes, self._max_file_us = max_file_bytes, max_file_s * 1e6
        self._clock = clock or SystemClock()
        self._connection: sqlite3.Connection | None = None
        self._first_us: int | None = None  # arrival of the present file's first row
        self._size = 0  # of the present file, about
        self.head = 0
        """Position of the last durable row, 0 if there was never one."""
        try:
            _make_durably(folder)
            self._lock = os.open(folder / _WRITER_LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StorageError(
                f"the spool {str(folder)!r} cannot be made: {error.strerror}",
                remedy="Check the permissions there",
            ) from error
        try:
            self._take_lock()
            self._begin(floor)
        except BaseException:
            self._let_go()
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
        if not arrivals:
            return self.head
        try:
            try:
                self._append(arrivals)
            except sqlite3.DatabaseError as error:
                if not is_damaged(error):
                    raise
                self._let_go()
                salvage(self._path)  # the new file is opened by the second attempt
                self._append(arrivals)
        except (sqlite3.Error, OSError) as error:
            self._undo()
            raise translate(error, self._path) from error
        return self.head

    def close(self) -> None:
        """Put everything into the main file, and let another process write."""
        self._seal()
        os.close(self._lock)

    # -- at the start -----------------------------------------------------------------------------------

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

    def _begin(self, floor: int) -> None:
        """Go on in the newest file, or begin the first."""
        self._path = self._folder
        try:
            finish_salvage(self._folder)
            segments = list_segments(self._folder)
            if not segments:
                self._next = floor + 1
                self._roll()
                return
            first = segments[-1]
            beyond = self._open_or_mend(first)
            self.head = self._last_position() or self._last_before()
            self._next = max(first, self.head + 1, beyond)
            if floor >= self._next:
                log.warning("the spool ends at %d, before what is labelled, %d", self.head, floor)
                self._next = floor + 1
            if self._next > max(first, self.head + 1):
                self._roll()
        except (sqlite3.Error, OSError) as error:
            raise translate(error, self._path) from error

    def _open_or_mend(self, first: int) -> int:
        """Open the newest file; returns the least position for new rows.

        Where rows are lost, their positions are not given away again: they may have been read.
        """
        try:
            check(self._open(first))
        except sqlite3.DatabaseError as error:
            if not is_damaged(error):
                raise
        else:
            return first
        self._let_go()
        beyond = salvage(self._path)
        self._open(first)
        return beyond

    def _last_position(self) -> int:
        return int(self._execute("SELECT max(position) FROM rows") or 0)

    def _last_before(self) -> int:
        """The head where the newest file has no rows yet."""
        reader = SpoolReader(self._folder)
        try:
            return reader.head
        finally:
            reader.close()

    # -- the file ---------------------------------------------------------------------------------------

    def _append(self, arrivals: Sequence[Arrival]) -> None:
        connection = self._connection
        if connection is None:  # it was closed after a failure, and could not be opened again so far
            connection = self._open(list_segments(self._folder)[-1])
        elif self._is_due():
            connection = self._roll()
        rows = [(position, *arrival) for position, arrival in enumerate(arrivals, self._next)]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(INSERT, rows)
        connection.execute("COMMIT")
        if self._first_us is None:
            self._first_us = self._clock.unix_us()
        self.head = rows[-1][0]
        self._next = self.head + 1
        self._size += sum([len(arrival[3]) for arrival in arrivals]) + _ROW_BYTES * len(rows)

    def _is_due(self) -> bool:
        if self._first_us is None:
            return False
        return (
            self._size >= self._max_file_bytes or self._clock.unix_us() - self._first_us > self._max_file_us
        )

    def _roll(self) -> sqlite3.Connection:
        """Begin a new file. Where that fails the old one stays in use, and the next append tries again."""
        create_segment(self._folder, self._next)
        self._seal()
        return self._open(self._next)

    def _open(self, first: int) -> sqlite3.Connection:
        self._path = segment_path(self._folder, first)
        self._connection = open_segment(self._path)
        self._size = size_of(self._path)
        self._first_us = self._execute("SELECT received_us FROM rows ORDER BY position LIMIT 1")
        return self._connection

    def _execute(self, query: str) -> Any:
        """The first value of the first row."""
        assert self._connection is not None  # noqa: S101 - asked of an open file only
        row = self._connection.execute(query).fetchone()
        return None if row is None else row[0]

    def _seal(self) -> None:
        if self._connection is None:
            return
        try:
            self._connection.execute(f"PRAGMA busy_timeout={_SEAL_WAIT_MS}")
            truncate_log(self._connection)
        except sqlite3.Error as error:  # the log stays beside the file, nothing is lost
            log.warning("%s: %s", self._path.name, error)
        self._let_go()

    def _undo(self) -> None:
        """After a failure: nothing of it stays; the file is opened again where that is in doubt."""
        try:
            if self._connection is not None:
                roll_back(self._connection)
        except sqlite3.Error:
            log.exception("a failed transaction could not be rolled back; opening the file again")
            self._let_go()

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _make_durably(folder: Path) -> None:
    """Make a folder, its name durable as well."""
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        sync_folder(folder.parent)
