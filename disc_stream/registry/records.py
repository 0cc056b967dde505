"""What a registry answers with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from disc_stream.registry.lineage import Lineage, NameProposal, RowIds

Kind = Literal["promote", "rollback"]


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """One version.

    Args:
        number: counts the versions of a registry, from 1; never used again.
        version: content hash of the graph, what labels carry.
        path: of its folder.
        added_us: when it came in, in Unix microseconds.
        lineage: where it comes from.
        proposal: ids that its rows are to get.
        rejected: why it was rejected; empty for a candidate.
        ids: own ids by row; None until it was promoted for the first time.
        pruned_us: when its files were removed; None if they are there.
        marked: why it should be replaced, such as data that were erased since; empty if nothing is known.
    """

    number: int
    version: str
    path: Path
    added_us: int
    lineage: Lineage
    proposal: RowIds
    rejected: str
    ids: tuple[int, ...] | None
    pruned_us: int | None
    marked: str


@dataclass(frozen=True, slots=True)
class RowInfo:
    """One row of a version: a column of its ``q``.

    Args:
        row: its position.
        id: its own id; of a version that was never promoted, the one that it is to keep. None if it has none
            yet, or is to get a fresh one.
        name: that its bundle gave it; empty if none.
        size: training windows.
        description: by the machine.
        proposals: names by the machine, the best first.
    """

    row: int
    id: int | None
    name: str
    size: int
    description: str
    proposals: tuple[NameProposal, ...]


@dataclass(frozen=True, slots=True)
class Deployment:
    """A version that went into production.

    Args:
        number: counts the deployments, from 1.
        kind: how it came about.
        version_number: number of the version.
        version: content hash of its graph.
        at_us: when, in Unix microseconds.
        who: a person, or the program.
        why: one line.
        replaced: version that was in production before; None if none was.
        gate: the acceptance gate's report in one line.
    """

    number: int
    kind: Kind
    version_number: int
    version: str
    at_us: int
    who: str
    why: str
    replaced: str | None
    gate: str


@dataclass(frozen=True, slots=True)
class Change:
    """One field of one cluster.

    Args:
        id: of the cluster.
        field: ``name``, ``merged_into``, ``muted``, ``colour``, ``note``, ``not`` (an id it is not),
            ``not_named`` (a name it does not have), ``born`` (number of the version), or ``live`` (whether a
            row of the version in production has this id).
        before: value before.
        after: value after.
    """

    id: int
    field: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of the history, which is only ever added to.

    Args:
        number: counts the events, from 1.
        at_us: when, in Unix microseconds.
        who: a person, or the program.
        what: name, merge, split, mute, unmute, colour, note, reject, reject-name, undo; or of a deployment
            born, born-merged, born-apart (what people said forbids the merge), retired, returned, transition.
        ids: of the clusters concerned.
        changes: of their fields.
        detail: what else there is to say; of a transition its ``kind`` (survive, split, absorb, appear,
            vanish), ``from``, ``to``, ``into`` and ``share``.
        undoes: number of the event that it undoes.
        deployment: number of the deployment that it belongs to.
        revision: of the catalogue after it.
        expected: revision that its author had seen, where given.
    """

    number: int
    at_us: int
    who: str
    what: str
    ids: tuple[int, ...]
    changes: tuple[Change, ...]
    detail: dict[str, Any]
    undoes: int | None
    deployment: int | None
    revision: int
    expected: int | None


@dataclass(frozen=True, slots=True)
class Cluster:
    """One cluster as people know it.

    Args:
        id: its own.
        public_id: what its labels carry: its own id, or that of what it is merged into.
        name: that somebody gave it; empty until then.
        label: what its labels are called: the name of its public id, or the machine's.
        colour: ``#rrggbb``, or empty.
        note: for people.
        merged_into: id that it was merged into, by hand or at its birth.
        muted: whether it was muted.
        retired: no row of the version in production is published under this id, nor has it.
        rows: of the version in production that have this id: one, or none.
        born: number of the version that it came with.
        parent: id that it was split from.
        size: training windows of its row; 0 if it has none.
        description: by the machine.
        proposals: names by the machine, without those that were rejected.
        rejections: ids of which somebody said that it is not them.
        rejected_names: names of which somebody said that they are not its.
    """

    id: int
    public_id: int
    name: str
    label: str
    colour: str
    note: str
    merged_into: int | None
    muted: bool
    retired: bool
    rows: tuple[int, ...]
    born: int
    parent: int | None
    size: int
    description: str
    proposals: tuple[NameProposal, ...]
    rejections: tuple[int, ...]
    rejected_names: tuple[str, ...]


def state_of(info: VersionInfo, current: Deployment | None) -> str:
    """What a version is at the moment, in a word or two."""
    if current is not None and current.version_number == info.number:
        return "in production"
    if info.pruned_us is not None:
        return "pruned"
    if info.rejected:
        return "rejected"
    return "candidate" if info.ids is None else "was in production"
