"""How long labelled messages are kept, and what goes first."""

from __future__ import annotations

import contextlib
import itertools
import logging
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from disc_stream_server.storage.segments import list_segments, maintenance, segment_path, size_of
from disc_stream_server.storage.sqlite import (
    connect,
    connect_to_read,
    is_damaged,
    remove,
    roll_back,
    sync_folder,
    translate,
    translated,
    truncate_log,
)
from disc_stream_server.storage.state import FILE

log = logging.getLogger(__name__)

_LABELS_AT_ONCE = 20_000  # so that a checkpoint never waits long
_MOSTLY_EMPTY = 0.25  # share of free pages from which on a file is written anew

# What each topic takes in a file. Counted once: files that are complete change by our own hands only.
_COUNT = """
CREATE TABLE usage AS SELECT topic, sum(length(payload)) AS bytes FROM rows GROUP BY topic
"""


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
        max_device_bytes: of a topic of a device with more payload, the oldest rows go.
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
        if len(list_segments(spool)) < 2:
            return Removed()
        with translated(spool), maintenance(spool):
            return self._apply(spool, done, now_us)

    def _apply(self, spool: Path, done: int, now_us: int) -> Removed:
        segments = list_segments(spool)
        sealed = [first for first, following in itertools.pairwise(segments) if following - 1 <= done]
        sizes = {first: size_of(segment_path(spool, first)) for first in segments}
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
        if files:
            sync_folder(spool)
        return Removed(files, self._cap_devices(spool, kept), freed)

    def _cap_devices(self, spool: Path, sealed: list[int]) -> int:
        """From the newest file to the oldest: what goes beyond a share is removed."""
        used: dict[str, int] = {}
        removed = 0
        for first in reversed(sealed):
            path = segment_path(spool, first)
            with _opened(path) as connection:
                if connection is not None:
                    removed += self._cap_file(connection, used)
        return removed

    def _cap_file(self, connection: sqlite3.Connection, used: dict[str, int]) -> int:
        if not connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'usage'").fetchone()[0]:
            connection.execute(_COUNT)
        sizes = dict(connection.execute("SELECT topic, bytes FROM usage"))
        share = {topic: self.max_device_bytes - used.get(topic, 0) for topic in sizes}
        over = {topic: share[topic] for topic, size in sizes.items() if size > share[topic]}
        for topic, size in sizes.items():
            used[topic] = used.get(topic, 0) + size
        if not over:
            return 0
        doomed = list(_beyond(connection, over))
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("DELETE FROM rows WHERE position = ?", doomed)
        connection.execute("DROP TABLE usage")
        connection.execute(_COUNT)
        connection.execute("COMMIT")
        _shrink(connection)
        return len(doomed)


def trim_labels(state: Path, before: int) -> int:
    """Remove the labels of messages that are not in the spool any more.

    Args:
        state: the state folder.
        before: position of the oldest message that is.

    Returns:
        How many were removed.

    Raises:
        StorageError: if the file cannot be changed.
    """
    path = state / FILE
    removed = 0
    with translated(path), contextlib.closing(connect(path)) as connection:
        while True:
            row = connection.execute(
                "SELECT position FROM labels WHERE position < ? ORDER BY position LIMIT 1 OFFSET ?",
                (before, _LABELS_AT_ONCE),
            ).fetchone()
            upto = before if row is None else row[0]
            removed += connection.execute("DELETE FROM labels WHERE position < ?", (upto,)).rowcount
            if row is None:
                return removed


def _beyond(connection: sqlite3.Connection, left: dict[str, int]) -> Iterator[tuple[int]]:
    """Rows from the newest on that do not fit into what is left for their topics."""
    rows = connection.execute("SELECT position, topic, length(payload) FROM rows ORDER BY position DESC")
    for position, topic, size in rows:
        if topic in left:
            left[topic] -= size
            if left[topic] < 0:
                yield (position,)


def _shrink(connection: sqlite3.Connection) -> None:
    """Give space back where there is much of it."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    if free > _MOSTLY_EMPTY * pages:
        connection.execute("VACUUM")
    truncate_log(connection)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection | None]:
    """A connection; None if the file is damaged, which is a matter of its age and size only."""
    try:
        connection = connect(path)
    except sqlite3.Error as error:
        if not is_damaged(error):
            raise translate(error, path) from error
        yield None
        return
    try:
        connection.execute("PRAGMA secure_delete=ON")  # no leftovers for whoever is erased later
        yield connection
    except sqlite3.Error as error:
        if not is_damaged(error):
            raise translate(error, path) from error
        log.warning("%s is damaged: no device is capped there", path.name)
    finally:
        with contextlib.suppress(sqlite3.Error):
            roll_back(connection)
        connection.close()


def _newest_us(path: Path) -> int:
    """Arrival of a file's newest row; of a damaged file the time of its last change."""
    try:
        connection, _ = connect_to_read(path)
        with contextlib.closing(connection):
            row = connection.execute("SELECT received_us FROM rows ORDER BY position DESC LIMIT 1").fetchone()
    except sqlite3.Error as error:
        if not is_damaged(error):
            raise translate(error, path) from error
        return round(path.stat().st_mtime * 1e6)
    return 0 if row is None else int(row[0])
