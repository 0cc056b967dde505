"""The history of the clusters: events are added and never changed; undoing is an event too."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from disc_stream.registry.records import Change, Event

FIELDS = ("name", "colour", "note", "merged_into", "muted")
"""Of ``clusters``, as people can change them."""
SETS = ("not", "not_named")
"""Changes of these put something into a set (``before`` is None) or take it out (``after`` is None)."""


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to be added.

    Args:
        what: see ``Event``.
        who: see ``Event``.
        at_us: see ``Event``.
        changes: see ``Event``.
        ids: clusters that are concerned beside those that change.
        detail: see ``Event``.
        undoes: see ``Event``.
        deployment: see ``Event``.
        expected: see ``Event``.
    """

    what: str
    who: str
    at_us: int
    changes: Sequence[Change] = ()
    ids: Sequence[int] = ()
    detail: dict[str, Any] = field(default_factory=dict)
    undoes: int | None = None
    deployment: int | None = None
    expected: int | None = None


def bump(connection: sqlite3.Connection) -> int:
    """Count one more change; returns the new revision."""
    connection.execute("UPDATE state SET revision = revision + 1")
    return revision(connection)


def revision(connection: sqlite3.Connection) -> int:
    """The number of changes so far."""
    return int(connection.execute("SELECT revision FROM state").fetchone()[0])


def add_event(connection: sqlite3.Connection, event: NewEvent) -> Event:
    """Add an event, and apply its changes; to be called after ``bump``, within one transaction."""
    for change in event.changes:
        _apply(connection, change)
    changes = [[change.id, change.field, change.before, change.after] for change in event.changes]
    cursor = connection.execute(
        "INSERT INTO events (at_us, who, what, changes, detail, undoes, deployment, revision, expected) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (event.at_us, event.who, event.what, json.dumps(changes), json.dumps(event.detail), event.undoes,
         event.deployment, revision(connection), event.expected),
    )  # fmt: skip
    number = int(cursor.lastrowid or 0)
    ids = {*event.ids, *(change.id for change in event.changes)}
    ids |= {
        value for c in event.changes if c.field == "not" for value in (c.before, c.after) if value is not None
    }
    ids |= {
        value
        for change in event.changes
        if change.field == "merged_into"
        for value in (change.before, change.after)
        if value is not None
    }
    connection.executemany(
        "INSERT INTO event_clusters (id, event) VALUES (?, ?)", [(own, number) for own in sorted(ids)]
    )
    return one_event(connection, number)


def one_event(connection: sqlite3.Connection, number: int) -> Event:
    """The event of that number, which must be there."""
    return next(_events(connection, "WHERE number = ?", number))


def events(connection: sqlite3.Connection, cluster: int | None = None, after: int = 0) -> list[Event]:
    """All events, or those of one cluster, oldest first."""
    if cluster is None:
        return list(_events(connection, "WHERE number > ? ORDER BY number", after))
    where = "JOIN event_clusters c ON c.event = number WHERE c.id = ? AND number > ? ORDER BY number"
    return list(_events(connection, where, cluster, after))


def last_event(connection: sqlite3.Connection) -> int:
    """Number of the newest event; 0 if there is none."""
    return int(connection.execute("SELECT coalesce(max(number), 0) FROM events").fetchone()[0])


def undone(connection: sqlite3.Connection) -> dict[int, int]:
    """Event -> the event that undid it, for those that are without effect now."""
    rows = connection.execute(
        "SELECT number, undoes FROM events WHERE undoes IS NOT NULL ORDER BY number DESC"
    ).fetchall()
    found: dict[int, int] = {}
    for number, undoes in rows:
        if number not in found:  # what was undone itself undoes nothing
            found.setdefault(undoes, number)
    return found


def last_undoable(connection: sqlite3.Connection) -> int | None:
    """The newest event by people that is in effect and undoes nothing itself."""
    without_effect = undone(connection)
    rows = connection.execute(
        "SELECT number FROM events WHERE undoes IS NULL AND deployment IS NULL ORDER BY number DESC"
    )
    return next((number for (number,) in rows if number not in without_effect), None)


def later_effect(connection: sqlite3.Connection, event: Event) -> Event | None:
    """The newest event that changed the same after ``event`` and is in effect; None if there is none."""
    without_effect = undone(connection)
    keys = {_key(change) for change in event.changes}
    for cluster in sorted({change.id for change in event.changes}):
        for later in reversed(events(connection, cluster, event.number)):
            if later.number in without_effect or later.undoes is not None:
                continue
            if keys & {_key(change) for change in later.changes}:
                return later
    return None


def holds(connection: sqlite3.Connection, change: Change) -> bool:
    """Whether what a change brought about is still so."""
    if change.field in SETS:
        member = change.before if change.after is None else change.after
        return _is_member(connection, change, member) == (change.after is not None)
    return bool(value_of(connection, change.id, change.field) == change.after)


def value_of(connection: sqlite3.Connection, cluster: int, name: str) -> Any:
    """What a field of ``FIELDS`` is now."""
    query = f"SELECT {name} FROM clusters WHERE id = ?"  # noqa: S608 - one of FIELDS
    (value,) = connection.execute(query, (cluster,)).fetchone()
    return bool(value) if name == "muted" else value


def _key(change: Change) -> tuple[int, str, Any]:
    """Two changes with one key are of the same thing."""
    if change.field not in SETS:
        return change.id, change.field, None
    return change.id, change.field, change.before if change.after is None else change.after


def _is_member(connection: sqlite3.Connection, change: Change, member: Any) -> bool:
    if change.field == "not":
        query, values = "SELECT 1 FROM rejections WHERE a = ? AND b = ?", sorted((change.id, member))
    else:
        query, values = "SELECT 1 FROM rejected_names WHERE id = ? AND name = ?", [change.id, member]
    return connection.execute(query, values).fetchone() is not None


def _apply(connection: sqlite3.Connection, change: Change) -> None:
    if change.field in FIELDS:
        query = f"UPDATE clusters SET {change.field} = ? WHERE id = ?"  # noqa: S608 - one of FIELDS
        connection.execute(query, (change.after, change.id))
    elif change.field == "not":
        a, b = sorted((change.id, change.before if change.after is None else change.after))
        if change.after is None:
            connection.execute("DELETE FROM rejections WHERE a = ? AND b = ?", (a, b))
        else:
            connection.execute("INSERT INTO rejections (a, b) VALUES (?, ?)", (a, b))
    elif change.field == "not_named":
        if change.after is None:
            query = "DELETE FROM rejected_names WHERE id = ? AND name = ?"
            connection.execute(query, (change.id, change.before))
        else:
            query = "INSERT INTO rejected_names (id, name) VALUES (?, ?)"
            connection.execute(query, (change.id, change.after))
    # born and live follow from rows and deployments, which the same transaction writes


def _events(connection: sqlite3.Connection, where: str, *values: Any) -> Iterator[Event]:
    query = (
        "SELECT number, at_us, who, what, changes, detail, undoes, deployment, revision, expected, "  # noqa: S608
        f"(SELECT json_group_array(id) FROM event_clusters WHERE event = number) FROM events {where}"
    )
    for (
        number,
        at_us,
        who,
        what,
        changes,
        detail,
        undoes,
        deployment,
        seen,
        expected,
        ids,
    ) in connection.execute(query, values):
        yield Event(
            number, at_us, who, what, tuple(sorted(json.loads(ids))),
            tuple(Change(*change) for change in json.loads(changes)), json.loads(detail), undoes, deployment,
            seen, expected,
        )  # fmt: skip
