"""How long labelled messages are kept, and what goes first."""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
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
_HEAVY = 4  # times the equal share: whoever has more gives before anybody else loses a file
_FILLED = 0.9  # of the limit: shares are not met to the byte


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

    They and the newest file count. What else is not labelled yet may be much, if one device has sent it: it
    is no reason to remove the history of the others.

    Args:
        max_age_s: files whose newest row is older go.
        max_bytes: while they are larger, first the oldest rows of devices go that have much more than an
            equal share, then the oldest file.
        max_device_bytes: of a device with more payload, the oldest rows go.
        max_dead_age_s: messages that could not be used and are older go.
        max_episode_age_s: episodes that ended before go.
    """

    max_age_s: float
    max_bytes: int
    max_device_bytes: int
    max_dead_age_s: float = math.inf
    max_episode_age_s: float = math.inf

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
        aged = [
            first
            for first in sealed
            if _newest_us(segment_path(spool, first)) < now_us - self.max_age_s * 1e6
        ]
        freed = _remove(spool, aged)
        kept = [first for first in sealed if first not in set(aged)]
        rows, empty = self._cap_devices(spool, kept, self.max_device_bytes)
        limit = max(0, self.max_bytes - size_of(segment_path(spool, segments[-1])))  # beside the newest file
        if (size := sum(_sizes(spool, kept))) > limit:
            used = list(self._use(spool, kept).values())
            payload = round(_FILLED * limit * sum(used) / size)  # files are larger than what is in them
            if (share := _share_of_heavy(used, payload)) is not None:
                more, empty = self._cap_devices(spool, kept, share)
                rows += more
        freed += _remove(spool, empty)
        kept = [first for first in kept if first not in set(empty)]
        surplus = _oldest_beyond(kept, _sizes(spool, kept), limit)
        freed += _remove(spool, surplus)
        if gone := [*aged, *empty, *surplus]:
            sync_folder(spool)
        return Removed(len(gone), rows, freed)

    def _use(self, spool: Path, sealed: list[int]) -> dict[str, int]:
        """Bytes of payload by device."""
        used: dict[str, int] = {}
        for first in sealed:
            with _opened(segment_path(spool, first)) as connection:
                if connection is not None:
                    for device, size in _usage(connection).items():
                        used[device] = used.get(device, 0) + size
        return used

    def _cap_devices(self, spool: Path, sealed: list[int], share: int) -> tuple[int, list[int]]:
        """From the newest file to the oldest: what goes beyond a share is removed.

        Returns:
            How many rows were, and the files that have none left.
        """
        used: dict[str, int] = {}
        removed, empty = 0, []
        for first in reversed(sealed):
            path = segment_path(spool, first)
            with _opened(path) as connection:
                if connection is None:
                    continue
                removed += _cap_file(connection, used, share)
                if connection.execute("SELECT position FROM rows LIMIT 1").fetchone() is None:
                    empty.append(first)
        return removed, empty


def _share_of_heavy(used: list[int], limit: int) -> int | None:
    """What devices with much more than an equal share may keep, so that all fit; None if there are none."""
    equal = limit // max(1, len(used))
    heavy = [size for size in used if size > _HEAVY * equal]
    if not heavy:
        return None
    return max(equal, (limit - (sum(used) - sum(heavy))) // len(heavy))


def _oldest_beyond(files: list[int], sizes: list[int], limit: int) -> list[int]:
    """The oldest files, so many that the others fit."""
    total, n = sum(sizes), 0
    while total > limit and n < len(files):
        total -= sizes[n]
        n += 1
    return files[:n]


def _sizes(spool: Path, files: list[int]) -> list[int]:
    return [size_of(segment_path(spool, first)) for first in files]


def _remove(spool: Path, files: list[int]) -> int:
    """Delete files; returns their size."""
    freed = sum(_sizes(spool, files))
    for first in files:
        path = segment_path(spool, first)
        remove(path)
        log.info("removed %s from the spool", path.name)
    return freed


def _usage(connection: sqlite3.Connection) -> dict[str, int]:
    """Bytes of payload in a file, by device: what stands before the last level of its topics."""
    if not connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'usage'").fetchone()[0]:
        connection.execute(_COUNT)
    sizes: dict[str, int] = {}
    for topic, size in connection.execute("SELECT topic, bytes FROM usage"):
        sizes[_device(topic)] = sizes.get(_device(topic), 0) + size
    return sizes


def _device(topic: str) -> str:
    return topic.rpartition("/")[0]


def _cap_file(connection: sqlite3.Connection, used: dict[str, int], most: int) -> int:
    sizes = _usage(connection)
    share = {device: most - used.get(device, 0) for device in sizes}
    over = {device: share[device] for device, size in sizes.items() if size > share[device]}
    for device, size in sizes.items():
        used[device] = used.get(device, 0) + size
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
    """Remove the labels of messages that are not in the spool any more; the episodes of them stand.

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
        _freeze(connection, before)
        while True:
            row = connection.execute(
                "SELECT position FROM labels WHERE position < ? ORDER BY position LIMIT 1 OFFSET ?",
                (before, _LABELS_AT_ONCE),
            ).fetchone()
            upto = before if row is None else row[0]
            removed += connection.execute("DELETE FROM labels WHERE position < ?", (upto,)).rowcount
            if row is None:
                return removed


def _freeze(connection: sqlite3.Connection, before: int) -> None:
    """Remove where labels are that go, and write down that nothing can be made of them anew."""
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(
        "INSERT INTO episode_frozen SELECT device, max(last_us) FROM label_chunks WHERE first_position < ? "
        "GROUP BY device ON CONFLICT (device) DO UPDATE SET upto_us = max(upto_us, excluded.upto_us)",
        (before,),
    )
    connection.execute("DELETE FROM label_chunks WHERE first_position < ?", (before,))
    connection.execute("COMMIT")


def trim_episodes(state: Path, before_us: int, events_before_us: int) -> int:
    """Remove the episodes that ended before a time, and events from before another, in Unix microseconds.

    Returns:
        How many episodes were removed.

    Raises:
        StorageError: if the file cannot be changed.
    """
    path = state / FILE
    removed = 0
    with translated(path), contextlib.closing(connect(path)) as connection:
        for (device,) in connection.execute("SELECT device FROM episode_states").fetchall():
            removed += connection.execute(
                "DELETE FROM episodes WHERE device = ? AND begin_us < ? AND end_us < ?",
                (device, before_us, before_us),
            ).rowcount
        last = 0
        with contextlib.closing(connection.execute("SELECT sequence, at_us FROM episode_events")) as rows:
            for sequence, at_us in rows:  # in the order in which they came
                if at_us >= events_before_us:
                    break
                last = sequence
        if last:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("DELETE FROM episode_events WHERE sequence <= ?", (last,))
            connection.execute("INSERT OR REPLACE INTO episode_facts VALUES ('removed', ?)", (b"%d" % last,))
            connection.execute("COMMIT")
    return removed


def trim_dead_letters(state: Path, before_us: int) -> int:
    """Remove the dead letters of messages that came before a time, in Unix microseconds.

    Returns:
        How many were removed.

    Raises:
        StorageError: if the file cannot be changed.
    """
    path = state / FILE
    with translated(path), contextlib.closing(connect(path)) as connection:
        return connection.execute("DELETE FROM dead_letters WHERE received_us < ?", (before_us,)).rowcount


def _beyond(connection: sqlite3.Connection, left: dict[str, int]) -> Iterator[tuple[int]]:
    """Rows from the newest on that do not fit into what is left for their devices."""
    rows = connection.execute("SELECT position, topic, length(payload) FROM rows ORDER BY position DESC")
    for position, topic, size in rows:
        device = _device(topic)
        if device in left:
            left[device] -= size
            if left[device] < 0:
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
