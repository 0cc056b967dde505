"""What a promotion writes: ids of the rows, births, retirements, transitions and the deployment."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from typing import Any

from disc_stream.errors import RegistryConflictError, RegistryError
from disc_stream.registry.groups import Groups, live_ids
from disc_stream.registry.history import NewEvent, add_event, bump
from disc_stream.registry.lineage import RowProposal
from disc_stream.registry.records import Change, Deployment, Kind, VersionInfo
from disc_stream.registry.versions import last_deployment
from disc_stream.wire.limits import MAX_UINT32


@dataclass(frozen=True, slots=True)
class Decision:
    """Who puts a version into production, and why.

    Args:
        kind: how.
        who: a person, or the program.
        why: one line.
        at_us: when, in Unix microseconds.
    """

    kind: Kind
    who: str
    why: str
    at_us: int


def deploy(connection: sqlite3.Connection, info: VersionInfo, decision: Decision) -> Deployment:
    """Put a version into production; to be called within a transaction.

    Raises:
        RegistryConflictError: if another version came into production since its ids were worked out.
        RegistryError: if its ids do not fit the clusters that there are.
    """
    before = last_deployment(connection)
    live = live_ids(connection)
    born: list[Birth] = []
    is_new = False
    if info.ids is None and not _take_standing_ids(connection, info):
        _check_proposal(connection, info, before, live)
        born, is_new = _allocate(connection, info), True
    # Times ascend, whatever the clock does: else the log could not say what was in production at one.
    at_us = decision.at_us if before is None else max(decision.at_us, before.at_us + 1)
    cursor = connection.execute(
        "INSERT INTO deployments (kind, version, at_us, who, why, replaced, gate) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (decision.kind, info.number, at_us, decision.who, decision.why, before and before.version,
         info.lineage.gate_summary()),
    )  # fmt: skip
    number = int(cursor.lastrowid or 0)
    bump(connection)
    write = _Writer(connection, decision.who, at_us, number)
    if is_new:  # also where every id goes on: a cluster may be another than it was
        write.transitions(info)
        write.births(info, born)
    fresh = {birth.id for birth in born}
    write.presence(set(live), set(live_ids(connection)), fresh)
    deployment = last_deployment(connection)
    if deployment is None:  # it was inserted above
        raise AssertionError
    return deployment


@dataclass(frozen=True, slots=True)
class Birth:
    """A fresh id.

    Args:
        id: of the new cluster.
        row: of the version.
        name: that the bundle gave it; empty if none.
        proposed: what was known of it.
    """

    id: int
    row: int
    name: str
    proposed: RowProposal


def _take_standing_ids(connection: sqlite3.Connection, info: VersionInfo) -> bool:
    """The ids that the same model had before, if it was in production under another number."""
    earlier = connection.execute(
        "SELECT max(v.number) FROM versions v JOIN rows r ON r.version = v.number "
        "WHERE v.version = ? AND r.id IS NOT NULL",
        (info.version,),
    ).fetchone()[0]
    if earlier is None:
        return False
    connection.execute(
        "UPDATE rows SET id = (SELECT id FROM rows e WHERE e.version = ? AND e.row = rows.row) "
        "WHERE version = ?",
        (earlier, info.number),
    )
    return True


def _check_proposal(
    connection: sqlite3.Connection, info: VersionInfo, before: Deployment | None, live: dict[int, int]
) -> None:
    based_on, current = info.proposal.based_on, before.version if before else None
    if based_on != current:
        raise RegistryConflictError(
            f"the ids of version {info.number} ({info.version}) were worked out beside "
            f"{based_on or 'nothing'}, but {current or 'nothing'} is in production now",
            remedy="Retrain, or add it again, so that its clusters are compared with those in production",
        )
    groups = Groups.read(connection)
    known = {*live, *(groups.public(own) for own in live)}
    kept = {row.id for row in info.proposal.rows if row.id is not None}
    if strangers := sorted(kept - known):
        raise RegistryError(
            f"version {info.number} is to keep the id {strangers[0]}, which is not in use",
            remedy=f"The ids in use are: {', '.join(map(str, sorted(known))) or 'none'}",
        )
    for row in info.proposal.rows:
        for other in (row.parent, row.merged_into):
            if other is not None and other not in groups.merged_into:
                raise RegistryError(f"version {info.number} names a cluster {other} that there never was")


def _allocate(connection: sqlite3.Connection, info: VersionInfo) -> list[Birth]:
    """Give every row its id, fresh ones from the registry's counter."""
    (next_id,) = connection.execute("SELECT next_id FROM state").fetchone()
    names = dict(
        connection.execute("SELECT row, name FROM rows WHERE version = ?", (info.number,)).fetchall()
    )
    born = []
    for row, proposed in enumerate(info.proposal.rows):
        own = proposed.id
        if own is None:
            own, next_id = next_id, next_id + 1
            if own > MAX_UINT32:
                raise RegistryError(
                    "this registry has used all ids of clusters", remedy="Make another registry"
                )
            born.append(Birth(own, row, names[row], proposed))
            connection.execute(
                "INSERT INTO clusters (id, born, parent) VALUES (?, ?, ?)",
                (own, info.number, proposed.parent),
            )
        connection.execute("UPDATE rows SET id = ? WHERE version = ? AND row = ?", (own, info.number, row))
    connection.execute("UPDATE state SET next_id = ?", (next_id,))
    return born


@dataclass(frozen=True, slots=True)
class _Writer:
    """Writes the events of one deployment."""

    connection: sqlite3.Connection
    who: str
    at_us: int
    deployment: int

    def transitions(self, info: VersionInfo) -> None:
        """What became of the ids of the version before."""
        ids = self.connection.execute("SELECT row, id FROM rows WHERE version = ?", (info.number,)).fetchall()
        own = dict(ids)
        for one in info.proposal.transitions:
            rows = [own[row] for row in one.rows if row in own]
            detail = {"kind": one.kind, "from": one.id, "to": rows, "into": one.into, "share": one.share}
            concerned = {*rows, *(other for other in (one.id, one.into) if other is not None)}
            self._add("transition", ids=sorted(concerned), detail=json.loads(json.dumps(detail)))

    def births(self, info: VersionInfo, born: list[Birth]) -> None:
        """The fresh ids, with the names of the bundle and the groups that they are born into."""
        for birth in born:
            changes = [Change(birth.id, "born", None, info.number), Change(birth.id, "live", False, True)]
            if birth.name:
                changes.append(Change(birth.id, "name", "", birth.name))
            detail = {"row": birth.row, "parent": birth.proposed.parent}
            self._add("born", changes, detail=detail)
        for birth in born:
            into = birth.proposed.merged_into
            if into is None:
                continue
            if refusal := self._refusal(birth, into):
                self._add("born-apart", ids=(birth.id, into), detail={"reason": refusal})
            else:
                self._add("born-merged", [Change(birth.id, "merged_into", None, into)])

    def presence(self, before: set[int], after: set[int], fresh: set[int]) -> None:
        """Ids that went out of production, and that came back."""
        for own in sorted(before - after):
            self._add("retired", [Change(own, "live", True, False)])
        for own in sorted(after - before - fresh):
            self._add("returned", [Change(own, "live", False, True)])

    def _refusal(self, birth: Birth, into: int) -> str:
        """Why a fresh cluster is not born into a group: what people said since its ids were worked out."""
        groups = Groups.read(self.connection)
        if refusal := groups.refusal(birth.id, into):
            return refusal
        parent = birth.proposed.parent
        if parent is None or groups.public(parent) == groups.public(into):
            return ""
        return groups.refusal(parent, into)

    def _add(
        self, what: str, changes: list[Change] | None = None, *, ids: tuple[int, ...] | list[int] = (),
        detail: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        event = NewEvent(
            what, self.who, self.at_us, changes or (), ids, detail or {}, deployment=self.deployment
        )
        add_event(self.connection, event)
