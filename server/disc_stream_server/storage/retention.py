"""How long labelled messages are kept, and what goes first."""

from __future__ import annotations

import itertools
import logging
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from disc_stream_server.storage.segments import list_segments, segment_path
from disc_stream_server.storage.sqlite import connect, remove, roll_back, translate

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Removed:
    """What retention has removed.

    Args:
        files: of the spool.
        rows: of devices that had too many bytes.
        bytes: of the files.
    """

    files: int = 0
    rows: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Retention:
    """The rules. Only files that are complete and labelled to their end are touched.

    Args:
        max_age_s: files whose newest row is older go.
        max_bytes: while the spool is larger, its oldest file goes.
        max_device_bytes: of a device with more payload, the oldest rows go.
    """

    max_age_s: float
    max_bytes: int
    max_device_bytes: int

    def apply(self, spool: Path, done: int, now_us: int) -> Removed:
        """Remove what the rules say.

        Args:
            spool: folder of the spool.
            done: last position that is labelled.
            now_us: server time, Unix microseconds.

        Raises:
            StorageError: if a file cannot be read or changed.
        """
        segments = list_segments(spool)
        sealed = [first for first, following in itertools.pairwise(segments) if following - 1 <= done]
        sizes = {first: segment_path(spool, first).stat().st_size for first in segments}
        total, files, freed = sum(sizes.values()), 0, 0
        kept = []
        for first in sealed:
            path = segment_path(spool, first)
            if total > self.max_bytes or _newest_us(path) < now_us - self.max_age_s * 1e6:
                remove(path)
                total -= sizes[first]
                files, freed = files + 1, freed + sizes[first]
                log.info("removed %s from the spool", path.name)
            else:
                kept.append(first)
        return Removed(files, self._cap_devices(spool, kept), freed)

    def _cap_devices(self, spool: Path, sealed: list[int]) -> int:
        """From the newest file to the oldest: what goes beyond a device's share is removed."""
        used: dict[str, int] = {}
        removed = 0
        for first in reversed(sealed):
            path = segment_path(spool, first)
            try:
                connection = connect(path, synchronous="NORMAL", mode="rw")
            except sqlite3.Error as error:
                raise translate(error, path) from error
            try:
                removed += self._cap_file(connection, used)
            except sqlite3.Error as error:
                roll_back(connection)
                raise translate(error, path) from error
            finally:
                connection.close()
        return removed

    def _cap_file(self, connection: sqlite3.Connection, used: dict[str, int]) -> int:
        sizes = connection.execute("SELECT topic, sum(length(payload)) FROM rows GROUP BY topic").fetchall()
        over = [topic for topic, size in sizes if used.get(topic, 0) + size > self.max_device_bytes]
        removed = 0
        for topic in over:
            connection.execute("BEGIN IMMEDIATE")
            rows = connection.execute(
                "SELECT position, length(payload) FROM rows WHERE topic = ? ORDER BY position DESC", (topic,)
            ).fetchall()
            left = self.max_device_bytes - used.get(topic, 0)
            doomed = []
            for position, size in rows:
                left -= size
                if left < 0:
                    doomed.append((position,))
            connection.executemany("DELETE FROM rows WHERE position = ?", doomed)
            connection.execute("COMMIT")
            removed += len(doomed)
        for topic, size in sizes:
            used[topic] = used.get(topic, 0) + size
        return removed


def _newest_us(path: Path) -> int:
    try:
        connection = connect(path, synchronous="NORMAL", mode="rw")
        try:
            row = connection.execute("SELECT received_us FROM rows ORDER BY position DESC LIMIT 1").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise translate(error, path) from error
    return 0 if row is None else int(row[0])
