"""The past of devices as people and programs read it: ``History``.

::

    with closing(History(state_folder, models=registry_folder)) as history:
        page = history.episodes("watch-17", since_us, until_us, limit=100)     # Page[Episode]
        page = history.episodes("watch-17", since_us, until_us, limit=100, after=page.after)
        history.labels("watch-17", since_us, until_us, newest_first=True)      # Page[WindowLabel]
        history.share("watch-17", since_us, until_us)                          # list[Share], longest first
        history.devices(limit=100)                                             # Page[DeviceSummary]
        history.events_since(sequence)                                         # EventPage

All times are UTC microseconds. ``since_us`` and ``until_us`` may be None for no bound; an episode is within
them if it overlaps, and is given whole; a label if its window starts within. ``after`` is what the page
before said (``Page.after``, an opaque text); a page that says None is the last. Items are those of
``historyrecords``.

Reading never waits for a server that writes, nor holds it up. An instance may be used from any thread; calls
take turns. Names and merges are those of the moment of the call: of ``models`` if it is given, else of the
catalogue by which the server labelled last. Neighbours of one cluster of today, such as after a merge, are
one episode. In the process of a server, ``observers.EpisodeObserver`` is told of events as they come about.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from disc_stream.episodes.fold import WEIGHT
from disc_stream.errors import ConfigError, InputNotFoundError, StorageError
from disc_stream_server.storage.activity import Activity, activity_of
from disc_stream_server.storage.clusterkeys import key_of, parts_of
from disc_stream_server.storage.clusternames import ClusterNames, space_number
from disc_stream_server.storage.episodes import decode_state, event_of, read_state
from disc_stream_server.storage.historyrecords import (
    DeviceSummary,
    Episode,
    EpisodeEvent,
    EventPage,
    Kind,
    Page,
    Share,
    WindowLabel,
)
from disc_stream_server.storage.joined import Group, Joiner
from disc_stream_server.storage.labelindex import find_labels
from disc_stream_server.storage.queries import FILE, explain
from disc_stream_server.storage.records import BRIDGED, DEFERRED, StoredLabel
from disc_stream_server.storage.schema import VERSION
from disc_stream_server.storage.sqlite import check_version, connect_to_read

__all__ = [
    "DeviceSummary", "Episode", "EpisodeEvent", "EventPage", "History", "Kind", "Page", "Share",
    "WindowLabel",
]  # fmt: skip

LIMIT = 500
"""Items of a page, unless told otherwise."""

MAX_LIMIT = 10_000
"""Items of a page, at most."""

_ALWAYS, _FOREVER = -(2**62), 2**62


class History:
    """Reads what a server has found out of the past of devices, also while it labels.

    Args:
        folder: the state folder.
        models: folder of the registry, for names and merges of the moment; None to go by those that the
            server has labelled by.

    Raises:
        InputNotFoundError: if there is no such folder.
        StateDamagedError: if the database is damaged; from any method, too.
        StorageError: if it cannot be read, or no server of this version has written it yet; likewise.
        RegistryError: if the registry cannot be read.
    """

    def __init__(self, folder: Path, models: Path | None = None) -> None:
        self._path = folder / FILE
        if not self._path.exists():
            raise InputNotFoundError(
                f"{str(folder)!r} is not a state folder", remedy="Give the server's --state"
            )
        try:
            self._connection, _ = connect_to_read(self._path)
        except sqlite3.Error as error:
            raise explain(error, self._path) from error
        try:
            check_version(self._connection, self._path, VERSION)
            _check_has_episodes(self._connection, self._path)
            self._names = ClusterNames(models)
        except BaseException:
            self._connection.close()
            raise
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close it."""
        with self._lock:
            self._connection.close()
            self._names.close()

    # -- questions --------------------------------------------------------------------------------------

    def episodes(
        self,
        device: str,
        since_us: int | None = None,
        until_us: int | None = None,
        *,
        limit: int = LIMIT,
        after: str | None = None,
        newest_first: bool = False,
    ) -> Page[Episode]:
        """Episodes of a device, in the order of time.

        Args:
            device: its id; one that is not known has none.
            since_us: those that end later.
            until_us: those that begin before.
            limit: of a page.
            after: of the page before.
            newest_first: in the opposite order.

        Raises:
            ConfigError: if ``limit`` or ``after`` is not usable.
        """
        _check_limit(limit)
        since, until = _ALWAYS if since_us is None else since_us, _FOREVER if until_us is None else until_us
        (at_us,) = _cursor(after, 1) or (None,)
        if at_us is not None:
            since, until = (since, min(until, at_us)) if newest_first else (max(since, at_us), until)
        found: list[Group] = []
        with self._reading() as connection:
            joiner = Joiner(connection, self._names)
            for group in joiner.groups(device, since, until, newest_first=newest_first):
                if at_us is not None and not newest_first and group.rows[0].begin_us <= at_us:
                    continue
                found.append(group)
                if len(found) > limit:
                    break
            shown = found[:limit]
            items = tuple(self._episode(device, group) for group in shown)
        return Page(items, str(shown[-1].rows[0].begin_us) if len(found) > limit else None)

    def labels(
        self,
        device: str,
        since_us: int | None = None,
        until_us: int | None = None,
        *,
        limit: int = LIMIT,
        after: str | None = None,
        newest_first: bool = False,
    ) -> Page[WindowLabel]:
        """Labels of a device's windows, in the order of time, as long as they are kept.

        Labels without a time, of which ``devices`` says how many there are, are left out.

        Args:
            device: its id; one that is not known has none.
            since_us: of windows that start from then on.
            until_us: of windows that start before.
            limit: of a page.
            after: of the page before.
            newest_first: in the opposite order.

        Raises:
            ConfigError: if ``limit`` or ``after`` is not usable.
        """
        _check_limit(limit)
        since, until = _ALWAYS if since_us is None else since_us, _FOREVER if until_us is None else until_us
        cursor = _cursor(after, 3)
        if cursor is not None:
            since, until = (
                (since, min(until, cursor[0] + 1)) if newest_first else (max(since, cursor[0]), until)
            )
        found: list[StoredLabel] = []
        with self._reading() as connection:
            state = read_state(connection, device)
            tail = None if state is None else state.tail
            for one in find_labels(connection, device, since, until, tail, newest_first=newest_first):
                if cursor is not None and _is_told(_place(one), cursor, newest_first):
                    continue
                found.append(one)
                if len(found) > limit:
                    break
            shown = found[:limit]
            items = tuple(self._label(connection, one) for one in shown)
        last = ":".join(map(str, _place(shown[-1]))) if len(found) > limit else None
        return Page(items, last)

    def share(self, device: str, since_us: int | None = None, until_us: int | None = None) -> list[Share]:
        """How long a device did what between two times, most of it first.

        Args:
            device: its id.
            since_us: what was before does not count.
            until_us: nor does what was after.
        """
        since, until = _ALWAYS if since_us is None else since_us, _FOREVER if until_us is None else until_us
        sums: dict[int, tuple[int, int]] = {}
        with self._reading() as connection:
            for rows, key in Joiner(connection, self._names).groups(device, since, until):
                took_us = min(until, rows[-1].end_us) - max(since, rows[0].begin_us)
                before_us, count = sums.get(key, (0, 0))
                sums[key] = (before_us + took_us, count + 1)
            found = [
                Share(parts_of(key)[1], self._names.name(key), took_us / 1e6, count)
                for key, (took_us, count) in sums.items()
            ]
        return sorted(found, key=lambda one: (-one.seconds, one.cluster))

    def activity(self, cluster: int, since_us: int, until_us: int, zone_us: int = 0) -> Activity:
        """When all devices together did something between two times, and which did it most.

        Args:
            cluster: public id; negative for a state.
            since_us: episodes that began before do not count.
            until_us: nor do those that began then or after it.
            zone_us: what local time is ahead of UTC, for the hours of the day.
        """
        with self._reading() as connection:
            return activity_of(connection, self._names, cluster, (since_us, until_us), zone_us)

    def devices(self, *, limit: int = LIMIT, after: str | None = None) -> Page[DeviceSummary]:
        """What each device does now, by their ids.

        Args:
            limit: of a page.
            after: of the page before: the last id in it.

        Raises:
            ConfigError: if ``limit`` is not usable.
        """
        _check_limit(limit)
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT device, state FROM episode_states WHERE device > ? ORDER BY device LIMIT ?",
                (after or "", limit + 1),
            ).fetchall()
            items = tuple(self._summary(connection, *row) for row in rows[:limit])
        return Page(items, items[-1].device if len(rows) > limit else None)

    def device(self, device: str) -> DeviceSummary | None:
        """What a device does now; None if there is no label of it."""
        with self._reading() as connection:
            query = "SELECT device, state FROM episode_states WHERE device = ?"
            row = connection.execute(query, (device,)).fetchone()
            return None if row is None else self._summary(connection, *row)

    def events_since(self, sequence: int, *, limit: int = LIMIT) -> EventPage:
        """Events behind a sequence number, in their order.

        Args:
            sequence: of the last one that is known; 0 for all that are kept.
            limit: of a page.

        Raises:
            ConfigError: if ``limit`` is not usable.
        """
        _check_limit(limit)
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT sequence, at_us, device, kind, begin_us, end_us, state FROM episode_events "
                "WHERE sequence > ? ORDER BY sequence LIMIT ?",
                (sequence, limit + 1),
            ).fetchall()
            row = connection.execute("SELECT value FROM episode_facts WHERE name = 'removed'").fetchone()
            events = tuple(event_of(row, self._names) for row in rows[:limit])
        removed = 0 if row is None else int(row[0])
        last = events[-1].sequence if events else max(sequence, removed)
        return EventPage(events, last, sequence >= removed, len(rows) > limit)

    @property
    def newest_event(self) -> int:
        """Sequence number of the newest event; 0 if there was none."""
        with self._reading() as connection:
            query = "SELECT seq FROM sqlite_sequence WHERE name = 'episode_events'"
            row = connection.execute(query).fetchone()
        return 0 if row is None else int(row[0])

    # -- how --------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """One consistent view, with the names of now."""
        with self._lock:
            try:
                self._connection.execute("BEGIN")
                try:
                    self._names.look(self._connection)
                    yield self._connection
                finally:
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
            except sqlite3.Error as error:
                raise explain(error, self._path) from error

    def _episode(self, device: str, group: Group) -> Episode:
        rows, key = group
        windows = sum(row.windows for row in rows)
        weight = sum(row.weight for row in rows)
        was = tuple(sorted({parts_of(row.key)[1] for row in rows}))
        return Episode(
            device, rows[0].begin_us, rows[-1].end_us, rows[-1].goes_on, parts_of(key)[1],
            self._names.name(key), windows, round(weight / WEIGHT / max(1, windows), 4), was,
        )  # fmt: skip

    def _label(self, connection: sqlite3.Connection, one: StoredLabel) -> WindowLabel:
        space = space_number(connection, one.model)
        key = self._names.public(key_of(space, one.smoothed))
        begin_us = one.t0_unix_us or 0
        return WindowLabel(
            one.device, begin_us, begin_us + one.t1_us - one.t0_us, parts_of(key)[1], self._names.name(key),
            one.smoothed_confidence, one.smoothed, one.label, one.confidence, one.distance, one.novelty,
            one.model, one.boot, one.window, one.position, bool(one.flags & DEFERRED),
            bool(one.flags & BRIDGED), one.labelled_us,
        )  # fmt: skip

    def _summary(self, connection: sqlite3.Connection, device: str, packed: bytes) -> DeviceSummary:
        state = decode_state(packed)
        fold, untimed = state.fold, state.untimed
        last_us = None if fold.last_us is None else fold.covered_us
        version = self._names.version(state.model)
        current = fold.current
        if current is None:
            return DeviceSummary(device, last_us, None, "", None, version, untimed)
        since_us = Joiner(connection, self._names).first_of(device, current.begin_us)
        key = self._names.public(current.state)
        return DeviceSummary(
            device, last_us, parts_of(key)[1], self._names.name(key), since_us, version, untimed
        )


def _check_has_episodes(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version < VERSION:
        raise StorageError(
            f"{str(path)!r} was written by an earlier version, which made no episodes",
            remedy="Start the server once: it makes those of the labels that are kept",
        )


def _check_limit(limit: int) -> None:
    if not 1 <= limit <= MAX_LIMIT:
        raise ConfigError(f"limit {limit} is not usable", remedy=f"Give 1 to {MAX_LIMIT}")


def _cursor(after: str | None, n: int) -> tuple[int, ...] | None:
    if after is None:
        return None
    try:
        numbers = tuple(map(int, after.split(":")))
    except ValueError:
        numbers = ()
    if len(numbers) != n or not all(abs(number) < 2**62 for number in numbers):
        raise ConfigError(f"after {after!r:.80} is not usable", remedy="Give what the page before has said")
    return numbers


def _place(one: StoredLabel) -> tuple[int, int, int]:
    return (one.t0_unix_us or 0, one.position, one.window)


def _is_told(place: tuple[int, ...], cursor: tuple[int, ...], newest_first: bool) -> bool:
    return place >= cursor if newest_first else place <= cursor
