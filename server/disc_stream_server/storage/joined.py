"""Rows of episodes that are one episode today: neighbours of one cluster, such as after a merge."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

from disc_stream_server.storage.clusternames import ClusterNames
from disc_stream_server.storage.episodes import RULES_FACT, read_state

_FOREVER = 2**62


class Row(NamedTuple):
    """A row of ``episodes``, with an end."""

    begin_us: int
    end_us: int
    goes_on: bool
    key: int
    windows: int
    weight: int


class Group(NamedTuple):
    """Rows that are one episode today."""

    rows: list[Row]
    key: int


class Joiner:
    """Finds them, within one view of the database.

    Args:
        connection: to the database, in a transaction.
        names: of clusters, as they are now.
    """

    def __init__(self, connection: sqlite3.Connection, names: ClusterNames) -> None:
        self._connection, self._names = connection, names
        query = "SELECT value FROM episode_facts WHERE name = ?"
        row = connection.execute(query, (RULES_FACT,)).fetchone()
        self._join_us = 0 if row is None else round(json.loads(row[0])["join_s"] * 1e6)

    def groups(
        self,
        device: str,
        since_us: int,
        until_us: int,
        *,
        newest_first: bool = False,
    ) -> Iterator[Group]:
        """Episodes of today that overlap a time."""
        state = read_state(self._connection, device)
        covered_us, now = (0, None) if state is None else (state.fold.covered_us, state.fold.current)
        join_us = self._join_us
        query = "SELECT begin_us, end_us, state, windows, weight FROM episodes WHERE device = ?"
        order = "DESC" if newest_first else "ASC"
        if newest_first:
            bounds, values = (
                "begin_us < ?",
                (device, self._last_before(device, until_us)),
            )
        else:
            bounds, values = "begin_us >= ?", (device, self.first_of(device, since_us))
        rows = self._connection.execute(f"{query} AND {bounds} ORDER BY begin_us {order}", values)
        group = Group([], 0)
        with contextlib.closing(rows):
            for begin_us, end_us, state_key, windows, weight in rows:
                if (goes_on := end_us is None) and now is not None:
                    windows, weight = now.windows, now.weight  # noqa: PLW2901 - the row says how it began
                row = Row(begin_us, covered_us if goes_on else end_us, goes_on, state_key, windows, weight)
                key = self._names.public(state_key)
                if group.rows and (key != group.key or not _touch(group.rows[-1], row, join_us)):
                    yield from _within(group, since_us, until_us, newest_first)
                    if _is_past(group, since_us, until_us, newest_first):
                        return
                    group = Group([], key)
                if not group.rows:
                    group = Group([], key)
                group.rows.append(row)
        if group.rows:
            yield from _within(group, since_us, until_us, newest_first)

    def first_of(self, device: str, at_us: int) -> int:
        """Begin of the row with which the episode of today begins that a time lies in or behind."""
        rows = self._connection.execute(
            "SELECT begin_us, end_us, state FROM episodes WHERE device = ? AND begin_us <= ? "
            "ORDER BY begin_us DESC",
            (device, at_us),
        )
        first_us: int = at_us
        key: int | None = None
        with contextlib.closing(rows):
            for begin_us, end_us, state in rows:
                public = self._names.public(state)
                if key is not None and (public != key or first_us - end_us > self._join_us):
                    break
                first_us, key = begin_us, public
        return first_us

    def _last_before(self, device: str, at_us: int) -> int:
        """Begin of the first row behind the episode of today that begins before a time."""
        query = "SELECT begin_us, end_us, state FROM episodes WHERE device = ? AND "
        row = self._connection.execute(
            f"{query} begin_us < ? ORDER BY begin_us DESC", (device, at_us)
        ).fetchone()
        if row is None or row[1] is None:
            return at_us
        end_us: int = row[1]
        key = self._names.public(row[2])
        rows = self._connection.execute(f"{query} begin_us >= ? ORDER BY begin_us", (device, at_us))
        with contextlib.closing(rows):
            for begin_us, next_end_us, state in rows:
                if self._names.public(state) != key or begin_us - end_us > self._join_us:
                    return max(at_us, int(begin_us))
                end_us = _FOREVER if next_end_us is None else next_end_us
        return _FOREVER


def _touch(one: Row, other: Row, join_us: int) -> bool:
    """Whether what lies between two rows, in either order, is no more than a gap that ends no episode."""
    first, second = (one, other) if one.begin_us < other.begin_us else (other, one)
    return second.begin_us - first.end_us <= join_us


def _within(group: Group, since_us: int, until_us: int, newest_first: bool) -> Iterator[Group]:
    """The group in the order of time, if it overlaps."""
    rows = group.rows[::-1] if newest_first else group.rows
    if rows[0].begin_us < until_us and rows[-1].end_us > since_us:
        yield Group(rows, group.key)


def _is_past(group: Group, since_us: int, until_us: int, newest_first: bool) -> bool:
    """Whether no further group overlaps."""
    last = group.rows[-1]
    return last.end_us <= since_us if newest_first else last.begin_us >= until_us
