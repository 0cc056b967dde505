"""What the database knows of versions and deployments."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable
from pathlib import Path

from pydantic import TypeAdapter

from disc_stream.artifacts.catalogue import Catalogue, ClusterInfo, is_machine_name, machine_name
from disc_stream.errors import ConfigError, RegistryError
from disc_stream.registry.groups import Groups
from disc_stream.registry.lineage import Lineage, NameProposal, RowIds
from disc_stream.registry.records import Deployment, RowInfo, VersionInfo
from disc_stream.text import printable

_PROPOSALS = TypeAdapter(tuple[NameProposal, ...])
_NUMBER = re.compile(r"\d{1,6}")
_HASH = re.compile(r"[0-9a-f]{4,12}")
_FOLDER = re.compile(r"(\d{4,})-[0-9a-f]{12}")
_COLUMNS = "number, version, folder, added_us, lineage, proposal, rejected, pruned_us, marked"
_DEPLOYMENTS = (
    "SELECT d.number, d.kind, d.version, v.version, d.at_us, d.who, d.why, d.replaced, d.gate "
    "FROM deployments d JOIN versions v ON v.number = d.version"
)


def all_versions(connection: sqlite3.Connection, folder: Path) -> list[VersionInfo]:
    """All versions, oldest first.

    Args:
        connection: to the database.
        folder: of all versions.
    """
    query = f"SELECT {_COLUMNS} FROM versions ORDER BY number"  # noqa: S608 - a constant
    rows = connection.execute(query).fetchall()
    return [_version(connection, folder, row) for row in rows]


def find_version(connection: sqlite3.Connection, folder: Path, ref: int | str) -> VersionInfo:
    """The version that is meant by its number, its hash or the beginning of it, its folder's name,
    ``current`` or ``previous``.

    Raises:
        ConfigError: if there is none, or the beginning of a hash is that of several; it says which there are.
    """  # noqa: D205
    number = _number_of(connection, ref)
    query = f"SELECT {_COLUMNS} FROM versions WHERE number = ?"  # noqa: S608 - a constant
    row = connection.execute(query, (number,)).fetchone()
    if row is None:
        known = [
            f"{n} ({v})"
            for n, v in connection.execute("SELECT number, version FROM versions ORDER BY number")
        ]
        shown = ", ".join(known[-8:]) + (f" and {len(known) - 8} older ones" if len(known) > 8 else "")
        remedy = f"The versions are: {shown}" if known else "Add one: disc-stream models add BUNDLE"
        raise ConfigError(f"there is no version {printable(str(ref), 80)!r}", remedy=remedy)
    return _version(connection, folder, row)


def _number_of(connection: sqlite3.Connection, ref: int | str) -> int | None:
    text = str(ref).strip().lower()
    stack = production_stack(connection)
    if text == "current":
        return _known(stack, 1, "nothing is in production yet")
    if text == "previous":
        return _known(stack, 2, "there is no version before the one in production")
    if match := _FOLDER.fullmatch(text):
        return int(match[1])
    if _NUMBER.fullmatch(text):
        return int(text)
    if not _HASH.fullmatch(text):
        return None
    found = connection.execute(
        "SELECT version, max(number) FROM versions WHERE version LIKE ? GROUP BY version", (f"{text}%",)
    ).fetchall()
    if len(found) > 1:
        names = ", ".join(sorted(version for version, _ in found))
        raise ConfigError(f"{text!r} is the beginning of several versions: {names}", remedy="Give more of it")
    return int(found[0][1]) if found else None


def _known(stack: list[int], depth: int, message: str) -> int:
    if len(stack) < depth:
        raise ConfigError(message, remedy="See: disc-stream models list")
    return stack[-depth]


def _version(connection: sqlite3.Connection, folder: Path, row: sqlite3.Row) -> VersionInfo:
    number, version, name, added_us, lineage, proposal, rejected, pruned_us, marked = row
    ids = [
        own for (own,) in connection.execute("SELECT id FROM rows WHERE version = ? ORDER BY row", (number,))
    ]
    return VersionInfo(
        number, version, folder / name, added_us, Lineage.model_validate_json(lineage),
        RowIds.model_validate_json(proposal), rejected, None if None in ids else tuple(ids), pruned_us,
        marked,
    )  # fmt: skip


def insert_version(connection: sqlite3.Connection, info: VersionInfo, catalogue: Catalogue) -> None:
    """Write a new version and its rows."""
    connection.execute(
        f"INSERT INTO versions ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - a constant
        (info.number, info.version, info.path.name, info.added_us, info.lineage.model_dump_json(),
         info.proposal.model_dump_json(), info.rejected, info.pruned_us, info.marked),
    )  # fmt: skip
    for row, (cluster, proposed) in enumerate(zip(catalogue.clusters, info.proposal.rows, strict=True)):
        name = "" if is_machine_name(cluster.name) else cluster.name
        connection.execute(
            "INSERT INTO rows VALUES (?, ?, NULL, ?, ?, ?, ?, ?, ?)",
            (info.number, row, name, cluster.size, cluster.distance_q95, cluster.unknown_above,
             proposed.description, dump_proposals(proposed.proposals)),
        )  # fmt: skip


def read_rows(connection: sqlite3.Connection, info: VersionInfo) -> tuple[RowInfo, ...]:
    """What is known of the rows of a version."""
    rows = connection.execute(
        "SELECT row, id, name, size, description, proposals FROM rows WHERE version = ? ORDER BY row",
        (info.number,),
    )
    return tuple(
        RowInfo(
            row, info.proposal.rows[row].id if own is None else own, name, size, text, load_proposals(names)
        )
        for row, own, name, size, text, names in rows
    )


def dump_proposals(proposals: Iterable[NameProposal]) -> str:
    """As they are kept in the table of rows."""
    return _PROPOSALS.dump_json(tuple(proposals)).decode()


def load_proposals(text: str) -> tuple[NameProposal, ...]:
    """The other way round."""
    return _PROPOSALS.validate_json(text)


def refuse_known(connection: sqlite3.Connection, version: str) -> None:
    """Check that a model may come in: it may not once its ids stand, unless its files were pruned.

    Raises:
        RegistryError: if it may not.
    """
    known = connection.execute(
        "SELECT max(v.number) FROM versions v JOIN rows r ON r.version = v.number "
        "WHERE v.version = ? AND r.id IS NOT NULL AND v.pruned_us IS NULL",
        (version,),
    ).fetchone()[0]
    if known is not None:
        raise RegistryError(
            f"model {version} is version {known} already, and was in production",
            remedy=f"Run: disc-stream models promote {known}",
        )


# -- deployments ----------------------------------------------------------------------------------------


def all_deployments(connection: sqlite3.Connection) -> list[Deployment]:
    """All of them, oldest first."""
    return [Deployment(*row) for row in connection.execute(f"{_DEPLOYMENTS} ORDER BY d.number")]


def last_deployment(connection: sqlite3.Connection) -> Deployment | None:
    """What is in production; None if nothing is."""
    row = connection.execute(f"{_DEPLOYMENTS} ORDER BY d.number DESC LIMIT 1").fetchone()
    return None if row is None else Deployment(*row)


def deployment_before(connection: sqlite3.Connection, unix_us: int) -> Deployment | None:
    """What was in production at a time; None if nothing was."""
    query = f"{_DEPLOYMENTS} WHERE d.at_us <= ? ORDER BY d.number DESC LIMIT 1"
    row = connection.execute(query, (unix_us,)).fetchone()
    return None if row is None else Deployment(*row)


def production_stack(connection: sqlite3.Connection) -> list[int]:
    """Numbers of the versions that rolling back leads to, the one in production last.

    A promotion puts a version on top, a rollback takes the top away: rolling back twice goes back by two.
    """
    stack: list[int] = []
    for kind, number in connection.execute("SELECT kind, version FROM deployments ORDER BY number"):
        if kind == "rollback":
            while stack and stack[-1] != number:
                stack.pop()
        else:
            stack.append(number)
    return stack


# -- the catalogue of a version -------------------------------------------------------------------------


def catalogue_of(connection: sqlite3.Connection, info: VersionInfo) -> Catalogue:
    """The clusters of a version by row, as people know them now.

    Raises:
        RegistryError: if it was never promoted, so that its rows have no ids.
    """
    if info.ids is None:
        raise RegistryError(
            f"version {info.number} ({info.version}) was never in production, so its clusters have no ids",
            remedy=f"Run: disc-stream models promote {info.number}",
        )
    groups = Groups.read(connection)
    people = {
        own: (name, colour, bool(muted))
        for own, name, colour, muted in connection.execute("SELECT id, name, colour, muted FROM clusters")
    }
    clusters = []
    for own, size, distance, unknown_above, description in connection.execute(
        "SELECT id, size, distance_q95, unknown_above, description FROM rows WHERE version = ? ORDER BY row",
        (info.number,),
    ):
        public = groups.public(own)
        name, colour, muted = people[public]
        clusters.append(
            ClusterInfo(
                id=own,
                name=name or machine_name(public),
                size=size,
                distance_q95=distance,
                unknown_above=unknown_above,
                merged_into=None if public == own else public,
                muted=muted,
                description=description,
                colour=colour,
            )
        )
    (registry,) = connection.execute("SELECT registry FROM state").fetchone()
    return Catalogue.of(info.version, clusters).model_copy(update={"registry": registry})
