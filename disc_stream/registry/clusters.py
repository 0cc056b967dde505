"""The clusters as people know them: names, merges, rejections, and the history of all of it."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from disc_stream.artifacts.catalogue import checked_name, machine_name
from disc_stream.clock import Clock
from disc_stream.errors import ConfigError, RegistryConflictError
from disc_stream.registry import history
from disc_stream.registry.database import Database
from disc_stream.registry.groups import Groups, live_ids
from disc_stream.registry.history import SETS, NewEvent, add_event, bump
from disc_stream.registry.people import checked_text
from disc_stream.registry.records import Change, Cluster, Event
from disc_stream.registry.versions import load_proposals
from disc_stream.text import printable

MAX_NOTE = 1_000
_COLOUR = re.compile(r"#[0-9a-f]{6}")
_LOOK_AGAIN = "Look again (disc-stream clusters list), and repeat it if it is still meant"


@dataclass(frozen=True, slots=True)
class Author:
    """Who changes something, and what they had seen.

    Args:
        who: name of a person or a program.
        expected_revision: ``Registry.revision`` when they looked. If one of the clusters concerned has
            changed since, nothing is written; None to write in any case (the history has what was before).
    """

    who: str
    expected_revision: int | None = None


class Clusters:
    """Reads and changes the clusters of a registry; every change is one transaction with its event.

    All changes return the event, or None where everything was so already.

    Args:
        database: of the registry.
        clock: for the times of events.

    Raises:
        ConfigError: from any change that cannot be: an unknown or retired id, a circle, a bad name.
        RegistryConflictError: from any change of what somebody else has changed meanwhile.
        RegistryError: if the registry cannot be read or written.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock

    # -- questions --------------------------------------------------------------------------------------

    def list(self, *, retired: bool = False) -> tuple[Cluster, ...]:
        """The clusters in use by id; with ``retired``, all that there ever were."""
        with self._database.reading() as connection:
            found = _read_clusters(connection)
        return tuple(cluster for cluster in found if retired or not cluster.retired)

    def get(self, cluster: int) -> Cluster:
        """One cluster, which may be retired."""
        with self._database.reading() as connection:
            _require(connection, cluster, Groups.read(connection))
            return next(found for found in _read_clusters(connection) if found.id == cluster)

    def history(self, cluster: int | None = None) -> tuple[Event, ...]:
        """What happened to all clusters or to one, oldest first."""
        with self._database.reading() as connection:
            if cluster is not None:
                _require(connection, cluster, Groups.read(connection))
            return tuple(history.events(connection, cluster))

    # -- changes ----------------------------------------------------------------------------------------

    def name(self, cluster: int, name: str, author: Author) -> Event | None:
        """Give a cluster a name, or another one; an empty one takes the name away."""
        if name:
            checked_name(name, f"cluster {cluster}")
        return self._set(cluster, "name", name, author)

    def colour(self, cluster: int, colour: str, author: Author) -> Event | None:
        """Give it a colour, ``#rrggbb``; an empty one takes it away."""
        if colour and not _COLOUR.fullmatch(colour.lower()):
            raise ConfigError(f"'{printable(colour, 80)}' is not a colour", remedy="Write it like '#3366cc'")
        return self._set(cluster, "colour", colour.lower(), author)

    def note(self, cluster: int, note: str, author: Author) -> Event | None:
        """Write a note for people; an empty one takes it away."""
        checked_text(note, "the note", MAX_NOTE, empty=True)
        return self._set(cluster, "note", note, author)

    def mute(self, cluster: int, author: Author) -> Event | None:
        """Its labels are of no interest."""
        return self._set(cluster, "muted", True, author, what="mute")

    def unmute(self, cluster: int, author: Author) -> Event | None:
        """They are again."""
        return self._set(cluster, "muted", False, author, what="unmute")

    def merge(self, cluster: int, into: int, author: Author) -> Event | None:
        """Publish what is ``cluster`` under the id and name of ``into``, from the next label on."""

        def changes(connection: sqlite3.Connection) -> Sequence[Change]:
            groups = _require_live(connection, cluster, into)
            before = groups.merged_into[cluster]
            if before == into:
                return []
            if before is not None:
                raise ConfigError(
                    f"cluster {cluster} is merged into {before} already",
                    remedy=f"Take it back first: disc-stream clusters split {before} {cluster}",
                )
            _refuse(groups.refusal(cluster, into))
            return [Change(cluster, "merged_into", None, into)]

        return self._change("merge", author, (cluster, into), changes)

    def split(self, cluster: int, author: Author, ids: Sequence[int] = ()) -> Event | None:
        """Take back what was merged into ``cluster``: the ``ids``, or all of it."""

        def changes(connection: sqlite3.Connection) -> Sequence[Change]:
            groups = Groups.read(connection)
            _require(connection, cluster, groups)
            merged = groups.direct(cluster)
            for own in ids:
                _require(connection, own, groups)
            if strangers := sorted(set(ids) - set(merged)):
                raise ConfigError(
                    f"cluster {strangers[0]} is not merged into {cluster}",
                    remedy=f"Merged into it are: {', '.join(map(str, merged)) or 'none'}",
                )
            if not merged:
                into = groups.merged_into[cluster]
                hint = "See: disc-stream clusters list"
                raise ConfigError(
                    f"nothing is merged into cluster {cluster}",
                    remedy=hint if into is None else f"It is merged itself: clusters split {into} {cluster}",
                )
            return [Change(own, "merged_into", cluster, None) for own in sorted(set(ids) or merged)]

        return self._change("split", author, (cluster, *ids), changes)

    def reject(self, cluster: int, other: int, author: Author) -> Event | None:
        """Say that one is not the other: they are never merged, nor given one another's id."""

        def changes(connection: sqlite3.Connection) -> Sequence[Change]:
            if cluster == other:
                raise ConfigError(f"cluster {cluster} is itself", remedy="Name two clusters")
            groups = _require_live(connection, cluster, other)
            if groups.public(cluster) == groups.public(other):
                raise ConfigError(
                    f"{cluster} and {other} are merged",
                    remedy=f"Take them apart first: disc-stream clusters split {groups.public(cluster)}",
                )
            a, b = min(cluster, other), max(cluster, other)
            return [] if (a, b) in groups.rejections else [Change(a, "not", None, b)]

        return self._change("reject", author, (cluster, other), changes)

    def reject_name(self, cluster: int, name: str, author: Author) -> Event | None:
        """Say that a name is not its: it is never proposed for it again."""
        checked_name(name, f"cluster {cluster}")

        def changes(connection: sqlite3.Connection) -> Sequence[Change]:
            _require_live(connection, cluster)
            if history.value_of(connection, cluster, "name") == name:
                raise ConfigError(
                    f"cluster {cluster} is called {name!r}",
                    remedy="Give it another name before you reject this",
                )
            change = Change(cluster, "not_named", None, name)
            return [] if history.holds(connection, change) else [change]

        return self._change("reject-name", author, (cluster,), changes)

    def undo(self, author: Author, number: int | None = None) -> Event:
        """Undo an event, or the last one by anybody that is in effect; undoing an undo does it again.

        Raises:
            ConfigError: if there is no such event, it belongs to a promotion, is undone already, or something
                that was done later depends on it.
        """
        with self._database.writing() as connection:
            event = _undoable(connection, number)
            changes = [Change(c.id, c.field, c.after, c.before) for c in reversed(event.changes)]
            _expect(connection, author, event.ids)
            _check_undo(connection, event, changes)
            bump(connection)
            undo = NewEvent(
                "undo", checked_text(author.who, "who"), self._clock.unix_us(), changes, event.ids,
                {"of": event.what}, undoes=event.number, expected=author.expected_revision,
            )  # fmt: skip
            return add_event(connection, undo)

    # -- how --------------------------------------------------------------------------------------------

    def _set(
        self, cluster: int, field: str, value: str | bool, author: Author, what: str = ""
    ) -> Event | None:
        def changes(connection: sqlite3.Connection) -> Sequence[Change]:
            _require_live(connection, cluster)
            before = history.value_of(connection, cluster, field)
            return [] if before == value else [Change(cluster, field, before, value)]

        return self._change(what or field, author, (cluster,), changes)

    def _change(
        self,
        what: str,
        author: Author,
        ids: Sequence[int],
        changes_of: Callable[[sqlite3.Connection], Sequence[Change]],
    ) -> Event | None:
        who = checked_text(author.who, "who")
        with self._database.writing() as connection:
            changes = changes_of(connection)
            if not changes:
                return None
            _expect(connection, author, ids)
            bump(connection)
            event = NewEvent(
                what, who, self._clock.unix_us(), changes, ids, expected=author.expected_revision
            )
            return add_event(connection, event)


def _require(connection: sqlite3.Connection, cluster: int, groups: Groups) -> None:
    if cluster in groups.merged_into:
        return
    live = sorted(live_ids(connection))
    known = (
        f"The clusters in use are: {', '.join(map(str, live))}" if live else "No version is in production yet"
    )
    raise ConfigError(f"there is no cluster {cluster}", remedy=known)


def _require_live(connection: sqlite3.Connection, *clusters: int) -> Groups:
    """Check that a row of the version in production has each of these ids, or is published under it."""
    groups = Groups.read(connection)
    own = set(live_ids(connection))
    live = own | {groups.public(cluster) for cluster in own}
    for cluster in clusters:
        _require(connection, cluster, groups)
        if cluster not in live:
            shown = ", ".join(map(str, sorted(live)))
            raise ConfigError(
                f"cluster {cluster} is retired: the model in production does not have it",
                remedy=f"The clusters in use are: {shown}; see: disc-stream clusters history {cluster}",
            )
    return groups


def _refuse(reason: str) -> None:
    if reason:
        raise ConfigError(reason, remedy="See: disc-stream clusters list")


def _expect(connection: sqlite3.Connection, author: Author, ids: Sequence[int]) -> None:
    """Check that nobody has changed these clusters since the author looked."""
    expected = author.expected_revision
    if expected is None:
        return
    now = history.revision(connection)
    if expected > now:
        raise ConfigError(f"revision {expected} has not been yet, this is {now}", remedy=_LOOK_AGAIN)
    for cluster in ids:
        newer = [event for event in history.events(connection, cluster) if event.revision > expected]
        if newer:
            last = newer[-1]
            raise RegistryConflictError(
                f"cluster {cluster} has changed since revision {expected}: {last.who} did {last.what} "
                f"(event {last.number})",
                remedy=_LOOK_AGAIN,
            )


def _undoable(connection: sqlite3.Connection, number: int | None) -> Event:
    if number is None:
        number = history.last_undoable(connection)
        if number is None:
            raise ConfigError("there is nothing to undo", remedy="See: disc-stream clusters history")
    last = history.last_event(connection)
    if not 1 <= number <= last:
        raise ConfigError(f"there is no event {number}", remedy=f"They go from 1 to {last}")
    event = history.one_event(connection, number)
    if event.deployment is not None:
        raise ConfigError(
            f"event {number} belongs to a promotion",
            remedy="Take that back with: disc-stream models rollback",
        )
    if by := history.undone(connection).get(number):
        raise ConfigError(
            f"event {number} is undone already, by event {by}", remedy=f"Undo {by} to do it again"
        )
    return event


def _check_undo(connection: sqlite3.Connection, event: Event, changes: Sequence[Change]) -> None:
    """Check that nothing that was done later depends on an event.

    Raises:
        ConfigError: naming what does.
    """
    if later := history.later_effect(connection, event):
        raise ConfigError(
            f"event {event.number} ({event.what}) cannot be undone: event {later.number} ({later.what} by "
            f"{later.who}) has changed the same since",
            remedy=f"Undo {later.number} first",
        )
    for change in event.changes:
        if not history.holds(connection, change):
            field = "rejection" if change.field in SETS else change.field
            raise ConfigError(
                f"event {event.number} ({event.what}) cannot be undone: the {field} of cluster {change.id} "
                "has become another since",
                remedy=f"See: disc-stream clusters history {change.id}",
            )
    groups = Groups.read(connection)
    for change in changes:
        if change.field == "merged_into" and change.after is not None:
            _refuse(groups.refusal(change.id, change.after))
        if change.field == "not" and groups.public(change.id) == groups.public(change.after or change.id):
            _refuse(f"{change.id} and {change.after} have been merged since" if change.after else "")


def _read_clusters(connection: sqlite3.Connection) -> list[Cluster]:
    groups = Groups.read(connection)
    live = live_ids(connection)
    published = {groups.public(own) for own in live}
    machine = {
        own: (size, description, load_proposals(proposals))
        for own, size, description, proposals in connection.execute(
            "SELECT id, size, description, proposals FROM rows WHERE version = "
            "(SELECT version FROM deployments ORDER BY number DESC LIMIT 1)"
        )
    }
    refused: dict[int, list[str]] = {}
    for own, name in connection.execute("SELECT id, name FROM rejected_names ORDER BY name"):
        refused.setdefault(own, []).append(name)
    rows = connection.execute("SELECT id, name, colour, note, muted, born, parent FROM clusters ORDER BY id")
    facts = {row[0]: row for row in rows}
    found = []
    for own, name, colour, note, muted, born, parent in facts.values():
        public = groups.public(own)
        size, description, proposals = machine.get(own, (0, "", ()))
        names = tuple(refused.get(own, ()))
        found.append(
            Cluster(
                id=own,
                public_id=public,
                name=name,
                label=facts[public][1] or machine_name(public),
                colour=colour,
                note=note,
                merged_into=groups.merged_into[own],
                muted=bool(muted),
                retired=own not in live and own not in published,
                rows=(live[own],) if own in live else (),
                born=born,
                parent=parent,
                size=size,
                description=description,
                proposals=tuple(p for p in proposals if p.name not in names),
                rejections=tuple(sorted({a + b - own for a, b in groups.rejections if own in (a, b)})),
                rejected_names=names,
            )
        )
    return found
