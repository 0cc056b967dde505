"""The labeller's state: everything it needs to go on, and everything it has found out, in one database.

A checkpoint is one transaction. ``synchronous=NORMAL`` is enough: a power cut may undo the last checkpoints
but cannot tear one, and what they held is computed again from the spool, which loses nothing.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import fields
from operator import attrgetter
from pathlib import Path
from typing import Any

from disc_stream.artifacts.catalogue import Catalogue
from disc_stream.episodes import RULES, EpisodeRules
from disc_stream.errors import StorageError
from disc_stream_server.shards import N_VIRTUAL_SHARDS, virtual_shard
from disc_stream_server.storage.episodes import PENDING, EpisodeBook
from disc_stream_server.storage.historyrecords import EpisodeEvent
from disc_stream_server.storage.lock import holder
from disc_stream_server.storage.queries import FILE, SUSPECT, StateQueries, explain, matching
from disc_stream_server.storage.records import Commit, DeadLetter, Lane, LaneState, StoredLabel
from disc_stream_server.storage.schema import SCHEMA, UPGRADE, VERSION
from disc_stream_server.storage.sqlite import (
    check,
    check_version,
    connect,
    insert,
    is_damaged,
    roll_back,
    set_aside,
    translated,
)

__all__ = ["FILE", "Commit", "DeadLetter", "Lane", "LaneState", "StateStore", "StoredLabel"]

log = logging.getLogger(__name__)

"""Flags of a stored label."""
MAX_DEAD_LETTERS = 100_000
MAX_DEAD_BYTES = 256 * 2**20

MAX_PAYLOAD = 65_536  # bytes of a dead letter's payload


_PART = "ON CONFLICT (lane, part, device) DO UPDATE SET state = excluded.state"
# A lane keeps what the live lane knew when it began: the old state is copied before it is replaced.
_KEEP = (
    "INSERT OR IGNORE INTO parts SELECT lanes.lane, ?1, ?2, ?3, "
    "coalesce((SELECT state FROM parts WHERE lane = 0 AND part = ?1 AND device = ?2), x'') "
    "FROM lanes WHERE lanes.lane > 0"
)
_MOST_LETTERS = "SELECT device, count(*), sum(length(payload)) FROM dead_letters GROUP BY device"
# Much faster than ``astuple``, which copies deeply.
_DEAD_FIELDS = attrgetter(*(field.name for field in fields(DeadLetter)))


_IsErased = Callable[..., bool]
"""Whether a device has been erased; with a position: whether what came of that row is not to be written."""


class StateStore(StateQueries):
    """The labeller's database; a damaged one is set aside and replaced by an empty one.

    Args:
        folder: the state folder.
        rules: what makes an episode.

    Raises:
        StorageError: if it cannot be opened.
    """

    def __init__(self, folder: Path, rules: EpisodeRules = RULES) -> None:
        self._path = folder / FILE
        self._suspect = folder / (FILE + SUSPECT)
        self._seen_forgotten = 0
        with translated(self._path):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            connection = self._open_or_begin_anew(folder)
        super().__init__(connection, self._path)
        with translated(self._path):
            self.episodes = EpisodeBook(connection, rules)
            self.episodes.adopt()
        # A device that is new costs no query: with ten thousand of them that is a good part of all work.
        self._devices = {str(device) for (device,) in self._rows("SELECT DISTINCT device FROM parts")}

    def state(self, lane: int, part: str, device: str) -> bytes | None:
        """What a part knows of a device; a lane without a state of its own for it shares the live one's."""
        return super().state(lane, part, device) if device in self._devices else None

    def _open_or_begin_anew(self, folder: Path) -> sqlite3.Connection:
        try:
            return self._open()
        except sqlite3.DatabaseError as error:
            if not is_damaged(error):
                raise
            server = holder(folder)
            if server not in {None, os.getpid()}:  # it has the file open
                raise StorageError(f"{str(self._path)!r} is damaged", remedy="Restart the server") from error
        aside = set_aside(self._path)
        self._suspect.unlink(missing_ok=True)
        log.error("%s is damaged and kept as %s; all rows of the spool are labelled again", FILE, aside.name)
        return self._open()

    def _open(self) -> sqlite3.Connection:
        connection = connect(self._path, mode="rwc")
        try:
            check_version(connection, self._path, VERSION)
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version < VERSION:
                connection.executescript(SCHEMA)
                self._leave_pending(connection)
            if version == 1:
                connection.executescript(UPGRADE)
                log.warning("%s was written by an earlier version; devices begin new windows", FILE)
            self._own_shards(connection)
            connection.execute("SELECT count(*) FROM parts").fetchone()
            if self._suspect.exists():
                check(connection)
                self._suspect.unlink()
        except BaseException:
            connection.close()
            raise
        return connection

    # -- the checkpoint -----------------------------------------------------------------------------

    def commit(self, commit: Commit) -> tuple[EpisodeEvent, ...]:
        """Write a checkpoint, all of it or nothing.

        Returns:
            Which episodes have begun, ended or been corrected by its labels.

        Raises:
            SpoolFullError: if the disk does not take it; trying again later may succeed.
            StateDamagedError: if the file is damaged; the next server to open it begins anew.
            StorageError: if it cannot be written otherwise.
        """
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            events = self._write(connection, commit)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            self.episodes.rolled_back()
            told = explain(error, self._path)
            with contextlib.suppress(sqlite3.Error):  # of a damaged file it may fail
                roll_back(connection)
            raise told from error
        self.position = commit.lanes[0].position
        for lane in commit.lanes:
            for states in lane.parts.values():
                self._devices.update(states)
        return events

    def note_catalogue(self, catalogue: Catalogue) -> None:
        """Keep what the clusters of a model are called that begins to label, for readers.

        Raises:
            StorageError: if it cannot be written.
        """
        try:
            self.episodes.note(catalogue)
        except sqlite3.Error as error:
            raise explain(error, self._path) from error

    def put_fact(self, name: str, value: bytes) -> None:
        """Write a small named value at once.

        Raises:
            StorageError: if it cannot be written.
        """
        try:
            self._connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))
        except sqlite3.Error as error:
            raise explain(error, self._path) from error

    @staticmethod
    def _own_shards(connection: sqlite3.Connection) -> None:
        """This process has all shards."""
        rows = [(0, shard, 0) for shard in range(N_VIRTUAL_SHARDS)]
        connection.executemany("INSERT OR IGNORE INTO progress VALUES (?, ?, ?)", rows)

    @staticmethod
    def _leave_pending(connection: sqlite3.Connection) -> None:
        """Remember that labels of an earlier version are in no episode yet."""
        (last,) = connection.execute("SELECT coalesce(max(position), 0) FROM labels").fetchone()
        if last:
            value = json.dumps([0, last]).encode()
            connection.execute("INSERT OR IGNORE INTO episode_facts VALUES (?, ?)", (PENDING, value))

    def _write(self, connection: sqlite3.Connection, commit: Commit) -> tuple[EpisodeEvent, ...]:
        is_erased = self._erased(connection)
        many = connection.executemany
        if commit.closes is not None:  # before the live lane moves on: it keeps what it needs of it
            connection.execute(
                "UPDATE lanes SET last = ? WHERE lane = ?", (commit.lanes[0].position, commit.closes)
            )
        for lane in commit.lanes:
            self._write_lane(connection, lane, is_erased)
        if commit.opens is not None:
            self._open_lane(connection, commit.opens, commit.lanes[0].position)
        counts = [(count, lane) for lane, count in commit.windows.items()]
        many("UPDATE lanes SET windows = ? WHERE lane = ?", counts)
        for table in ("lanes", "progress", "parts"):
            many(f"DELETE FROM {table} WHERE lane = ?", [(lane,) for lane in commit.ended])  # noqa: S608 - names of this file
        labels: Iterable[StoredLabel] = commit.labels
        if is_erased is not None:
            labels = (one for one in labels if not is_erased(one.device, one.position))
        gathered = self.episodes.gather()
        insert(connection, "INSERT OR IGNORE INTO labels", gathered.through(labels))
        events = self.episodes.take(gathered)
        letters = commit.dead_letters
        if is_erased is not None:
            letters = [one for one in letters if not is_erased(one.device, one.position)]
        insert(connection, "INSERT OR IGNORE INTO dead_letters", map(_dead_values, letters))
        many("INSERT OR REPLACE INTO facts VALUES (?, ?)", [item for item in commit.facts.items() if item[1]])
        many(
            "DELETE FROM facts WHERE name = ?", [(name,) for name, value in commit.facts.items() if not value]
        )
        connection.execute(
            "DELETE FROM forgotten WHERE id <= ? AND upto <= ?",
            (self._seen_forgotten, commit.lanes[0].position),
        )
        if letters:
            self._bound_dead_letters(connection)
        return events

    @staticmethod
    def _write_lane(connection: sqlite3.Connection, lane: LaneState, is_erased: _IsErased | None) -> None:
        others = connection.execute("SELECT count(*) FROM lanes WHERE lane > 0").fetchone()[0]
        for part, states in lane.parts.items():
            # In their order: neighbours share a page, and the small cache takes each page once.
            names = sorted(states)
            if is_erased is not None:
                names = [name for name in names if not is_erased(name)]
            rows = [(lane.lane, part, name, virtual_shard(name), states[name]) for name in names]
            if others and not lane.lane:
                connection.executemany(_KEEP, [(part, name, shard) for _, _, name, shard, _ in rows])
            if not others and not lane.lane:  # nobody needs to know that there is nothing
                gone = [row[:3] for row in rows if not row[-1]]
                connection.executemany("DELETE FROM parts WHERE lane = ? AND part = ? AND device = ?", gone)
                rows = [row for row in rows if row[-1]] if gone else rows
            insert(connection, "INSERT INTO parts", rows, then=_PART)
        connection.execute("UPDATE progress SET position = ? WHERE lane = ?", (lane.position, lane.lane))

    @staticmethod
    def _open_lane(connection: sqlite3.Connection, lane: int, position: int) -> None:
        connection.execute("INSERT INTO lanes VALUES (?, ?, NULL, 0)", (lane, position))
        rows = [(lane, shard, position) for shard in range(N_VIRTUAL_SHARDS)]
        connection.executemany("INSERT INTO progress VALUES (?, ?, ?)", rows)

    def _erased(self, connection: sqlite3.Connection) -> _IsErased | None:
        """Tells what is not to be written any more, for its device has been erased; None: everything is.

        That is everything until the labeller has heard of it, and later what comes of rows before it.
        """
        rows = connection.execute("SELECT device, id, upto FROM forgotten ORDER BY id").fetchall()
        if not rows:
            return None
        marks = {device: (number > self._seen_forgotten, upto) for device, number, upto in rows}

        def is_erased(device: str, position: int | None = None) -> bool:
            mark = marks.get(device)
            if mark is None:
                return False
            unheard, upto = mark
            return unheard or (position is not None and position <= upto)

        return is_erased

    def _bound_dead_letters(self, connection: sqlite3.Connection) -> None:
        """Remove the oldest while there are too many of them: of the devices that have most of them."""
        while True:
            count, size = connection.execute("SELECT rows, bytes FROM dead_tally").fetchone()
            if count <= MAX_DEAD_LETTERS and size <= MAX_DEAD_BYTES:
                return
            devices = connection.execute(_MOST_LETTERS).fetchall()
            column = 1 if count > MAX_DEAD_LETTERS else 2
            device, its_count, _ = max(devices, key=lambda row: (row[column], row[0]))
            next_count = max((row[1] for row in devices if row[0] != device), default=0)
            # As far as the next one, which then has most of them; but not one by one.
            surplus = max(1, its_count // 10, min(count - MAX_DEAD_LETTERS, its_count - next_count))
            connection.execute(
                "DELETE FROM dead_letters WHERE position IN "
                "(SELECT position FROM dead_letters WHERE device = ? ORDER BY position LIMIT ?)",
                (device, surplus),
            )
            connection.execute("UPDATE dead_tally SET dropped = dropped + ?", (surplus,))

    @property
    def last_forgotten(self) -> int:
        """Number of the last device that was erased."""
        self._seen_forgotten = int(self._value("SELECT coalesce(max(id), 0) FROM forgotten"))
        return self._seen_forgotten

    def forgotten(self, after: int) -> list[tuple[int, str]]:
        """Devices erased by another process since number ``after``."""
        rows = self._rows("SELECT id, device FROM forgotten WHERE id > ? ORDER BY id", after)
        found = [(int(number), str(device)) for number, device in rows]
        self._seen_forgotten = found[-1][0] if found else after
        self._devices.difference_update(device for _, device in found)
        self.episodes.forget(device for _, device in found)
        return found

    def drop_marks(self) -> None:
        """Remove the marks of erased devices that were heard of: nothing of theirs is in memory any more.

        Checkpoints do so too; this is for a server that makes none.
        """
        try:
            self._connection.execute("DELETE FROM forgotten WHERE id <= ?", (self._seen_forgotten,))
        except sqlite3.Error as error:
            raise explain(error, self._path) from error

    def purge_dead_letters(self, *, reason: str | None = None) -> int:
        """Remove them; returns how many."""
        where, values = matching(position=0, reason=reason)
        return self._connection.execute(f"DELETE FROM dead_letters WHERE {where}", values).rowcount  # noqa: S608


def _dead_values(letter: DeadLetter) -> tuple[Any, ...]:
    values: tuple[Any, ...] = _DEAD_FIELDS(letter)
    return (*values[:-2], letter.payload[:MAX_PAYLOAD], letter.size)
