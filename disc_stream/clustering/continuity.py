"""Which cluster of a new version is which of the old: own ids carried over by windows that both have seen.

A new training numbers its clusters anew. *Anchors* are windows that were published under an id and are
labelled by the new version too; how many anchors of each id fall into each new row is the evidence. The rule,
in this order:

1. **Evidence.** The overlap of an id and a row is the weight of the id's anchors in the row (their soft
   assignments added up where those are given). Anchors of retired ids count for nothing.
2. **What is never done.** No id goes to two rows. A retired id goes to none. An id goes to no row in which an
   id that people told apart from it has as much or more. An id with a name (of its own, or of what it is
   merged into) goes to no row of which less than ``Rule.floor`` was published under that name, by whichever
   id: two clusters that people gave one name mean the same. Below a third, such a name is wrong more often
   than right (docs/adr/0019-continuity.md).
3. **The most that can be kept.** Of all one-to-one relabellings that are left, the one with the most overlap
   (the Hungarian method; ties as in ``matching.best_matching``), where the overlap of a named id counts
   ``Rule.margin`` more: a near-tie is the name's.
4. **Fresh.** Rows without an id get a new one. If more than half of such a row's weight belongs to one merged
   group, the row is born merged into it.
5. **Names that stay behind.** A row that would be shown without a name, of which at least ``Rule.floor`` was
   published under one, carries it as a proposal: after a split, or when what absorbed a named cluster has no
   name.

Transitions are those of MONIC (Spiliopoulou et al. 2006, doi:10.1145/1150402.1150491) and MEC (Oliveira and
Gama 2012), see ``transitions``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from disc_stream.clustering.matching import Overlap, best_matching, kept_weight
from disc_stream.clustering.transitions import Transition, find_parents, find_transitions
from disc_stream.errors import ConfigError, DataError


@dataclass(frozen=True, slots=True)
class Evidence:
    """The anchors, as both versions see them.

    Args:
        ids: (n,) own id that each was published under.
        rows: (n,) row of the new version, 0 to ``n_rows`` - 1.
        n_rows: K of the new version.
        weights: (n,) how much each counts, 0 or more; None for 1 each. Anchors are chosen evenly by id, so
            weights in proportion to the windows each stands for give shares of windows, not of anchors.
        soft: (n, n_rows) soft assignment by the new version; counts instead of ``rows`` where it is given.

    Raises:
        DataError: if the arrays do not fit one another.
    """

    ids: npt.NDArray[np.integer] = field(repr=False)
    rows: npt.NDArray[np.integer] = field(repr=False)
    n_rows: int
    weights: npt.NDArray[np.floating] | None = field(default=None, repr=False)
    soft: npt.NDArray[np.floating] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Check the shapes and values."""
        n = len(self.ids)
        if self.n_rows < 1:
            raise DataError(f"a version has at least one row, got {self.n_rows}")
        if self.ids.shape != (n,) or self.rows.shape != (n,):
            raise DataError(f"ids {self.ids.shape} and rows {self.rows.shape} of the anchors differ")
        if n and (int(self.rows.min()) < 0 or int(self.rows.max()) >= self.n_rows):
            raise DataError(
                f"rows of the anchors go from {self.rows.min()} to {self.rows.max()}, "
                f"but the version has {self.n_rows}",
                remedy="Label the anchors with the same version whose rows are to get ids",
            )
        if self.weights is not None and not _usable(self.weights, (n,)):
            raise DataError(f"weights of {n} anchors must be {n} finite numbers of at least 0")
        if self.soft is not None and not _usable(self.soft, (n, self.n_rows)):
            raise DataError(
                f"soft assignments of {n} anchors must be {n} × {self.n_rows} finite numbers of at least 0, "
                f"got shape {self.soft.shape}"
            )


@dataclass(frozen=True, slots=True)
class Wishes:
    """What people said of the ids, and which of them are in use.

    Args:
        live: own ids of the rows of the version before, with or without anchors.
        names: id -> the name of its own that people gave it; ids of one name mean the same.
        merged_into: id -> the id it is merged into.
        rejected: pairs of which people said that one is not the other; each id stands for its merged group.
        retired: ids that no row may have again.

    Raises:
        ConfigError: if merges go in a circle.
    """

    live: Collection[int] = ()
    names: Mapping[int, str] = field(default_factory=dict)
    merged_into: Mapping[int, int] = field(default_factory=dict)
    rejected: Collection[tuple[int, int]] = ()
    retired: Collection[int] = ()

    def __post_init__(self) -> None:
        """Check the merges."""
        for start in self.merged_into:
            self.public(start)

    def public(self, own: int) -> int:
        """The id that people see: through all merges.

        Raises:
            ConfigError: if they go in a circle.
        """
        seen = [own]
        while (following := self.merged_into.get(seen[-1])) is not None:
            if following in seen:
                raise ConfigError(
                    f"merges go in a circle: {' into '.join(map(str, [*seen, following]))}",
                    remedy="Split one of them",
                )
            seen.append(following)
        return seen[-1]

    def name(self, own: int) -> str:
        """The name that an id is shown under, or has for itself; empty without one."""
        return self.names.get(self.public(own)) or self.names.get(own, "")


@dataclass(frozen=True, slots=True)
class Rule:
    """Thresholds of the alignment, as shares between 0 and 1.

    Args:
        floor: of a row's weight that must have been published under a name for the name to be put on it.
        margin: by how much more a named id's overlap counts than that of others, in whole percent.
        part: of an id's weight in a fresh row, from which on the row is split from the id.

    Raises:
        ConfigError: if one is not between 0 and 1.
    """

    floor: float = 1 / 3
    margin: float = 0.1
    part: float = 0.1

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ("floor", "margin", "part"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"{name} must be between 0 and 1, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class AlignedRow:
    """A row of the new version.

    Args:
        id: the own id it goes on with; None for a fresh one.
        parent: of a fresh row, the id it is split from, if any.
        merged_into: of a fresh row, the merged group it is born into, if any.
        share: of the row's weight that has the id (of a fresh row: the parent; 0 without).
        weight: of the row's anchors.
        left_name: of a row without a name, the one that the largest part of it was published under; empty if
            that is less than ``Rule.floor``.
        left_share: of the row's weight that was published under ``left_name``.
    """

    id: int | None
    parent: int | None
    merged_into: int | None
    share: float
    weight: float
    left_name: str = ""
    left_share: float = 0.0


@dataclass(frozen=True, slots=True)
class Alignment:
    """The result of ``align``.

    Args:
        rows: by row of the new version.
        transitions: what became of every old id and of every fresh row.
        kept: share of the anchors' weight whose row has their id; 1 without anchors.
        best: the most that any one-to-one relabelling could keep of it, whatever people said.
        contested: (row, id, other): other was told apart from the row's id, and yet has some of its weight.
    """

    rows: tuple[AlignedRow, ...]
    transitions: tuple[Transition, ...]
    kept: float
    best: float
    contested: tuple[tuple[int, int, int], ...]

    @property
    def ids(self) -> tuple[int | None, ...]:
        """Own id of each row, None for fresh."""
        return tuple(row.id for row in self.rows)


def align(evidence: Evidence, wishes: Wishes | None = None, rule: Rule | None = None) -> Alignment:
    """Give the rows of a new version the ids of the old one, or none; the rule is above.

    Args:
        evidence: anchors.
        wishes: names, merges and rejections; None for none.
        rule: thresholds; None for the usual ones.

    Returns:
        The same for the same arguments; O((I + K)³) in the worst case, for I ids and K rows.

    Example:
        >>> old, new = np.array([7, 7, 8, 8, 8]), np.array([1, 1, 0, 0, 2])
        >>> align(Evidence(old, new, n_rows=3)).ids
        (8, 7, None)
    """
    wishes, rule = wishes or Wishes(), rule or Rule()
    ids, overlap = _overlap(evidence, frozenset(wishes.retired))
    names = _Names.of(ids, overlap, wishes)
    allowed = _allowed(ids, overlap, wishes) & names.may_stand(overlap, rule.floor)
    matched = best_matching(names.preferred(overlap, rule.margin), allowed)

    parents = find_parents(ids, overlap, matched, rule.part)
    total = float(overlap.sum())
    return Alignment(
        rows=_rows(ids, overlap, matched, parents, wishes, names.left(rule.floor, overlap)),
        transitions=find_transitions(ids, overlap, matched, parents, sorted(_live(wishes) - set(ids))),
        kept=kept_weight(overlap, matched) / total if total else 1.0,
        best=kept_weight(overlap, best_matching(overlap)) / total if total else 1.0,
        contested=_contested(ids, overlap, matched, wishes),
    )


def _live(wishes: Wishes) -> set[int]:
    return {int(own) for own in wishes.live} - {int(own) for own in wishes.retired}


def _overlap(evidence: Evidence, retired: frozenset[int]) -> tuple[list[int], Overlap]:
    """The ids that have anchors, in ascending order, and their weight by row: (n_ids, n_rows)."""
    use = ~np.isin(evidence.ids, np.fromiter(retired, dtype=np.int64, count=len(retired)))
    ids, index = np.unique(evidence.ids[use].astype(np.int64), return_inverse=True)
    weights = np.ones(len(index)) if evidence.weights is None else evidence.weights[use].astype(np.float64)
    overlap = np.zeros((len(ids), evidence.n_rows))
    if evidence.soft is None:
        np.add.at(overlap, (index, evidence.rows[use]), weights)
    else:
        np.add.at(overlap, index, evidence.soft[use] * weights[:, None])
    return ids.tolist(), overlap


def _allowed(ids: Sequence[int], overlap: Overlap, wishes: Wishes) -> npt.NDArray[np.bool_]:
    """Which id may go to which row as far as rejections say, (n_ids, n_rows)."""
    allowed = overlap > 0
    for one, other in _rejected_positions(ids, wishes):
        allowed[one] &= overlap[one] > overlap[other]
    return np.asarray(allowed)


def _rejected_positions(ids: Sequence[int], wishes: Wishes) -> list[tuple[int, int]]:
    """Positions of ids that people told apart, both ways; each stands for its whole merged group."""
    own, public = list(ids), [wishes.public(one) for one in ids]
    found: set[tuple[int, int]] = set()
    for pair in wishes.rejected:
        groups = [wishes.public(one) for one in pair]
        # Two ids of one group can be told apart as well, before or after the merge: then it is these alone.
        seen, sought = (own, list(pair)) if groups[0] == groups[1] else (public, groups)
        first, second = ([i for i, one in enumerate(seen) if one == which] for which in sought)
        found |= {(a, b) for a in first for b in second if a != b}
    return sorted(found | {(b, a) for a, b in found})


@dataclass(frozen=True, slots=True)
class _Names:
    """What the rows were called before.

    Args:
        names: in use, in order of the first id that has each.
        of_id: (n_ids,) which of them each id is shown under; -1 for none.
        weight: (n_names, n_rows) weight that was published under each.
    """

    names: tuple[str, ...]
    of_id: npt.NDArray[np.int64]
    weight: Overlap

    @classmethod
    def of(cls, ids: Sequence[int], overlap: Overlap, wishes: Wishes) -> _Names:
        shown = [wishes.name(own) for own in ids]
        names = tuple(dict.fromkeys(name for name in shown if name))
        of_id = np.array([names.index(name) if name else -1 for name in shown], dtype=np.int64)
        weight = np.zeros((len(names), overlap.shape[1]))
        np.add.at(weight, of_id[of_id >= 0], overlap[of_id >= 0])
        return cls(names, of_id, weight)

    def may_stand(self, overlap: Overlap, floor: float) -> npt.NDArray[np.bool_]:
        """Which id would put no name on a row that it does not belong on, (n_ids, n_rows)."""
        enough = self.weight >= floor * overlap.sum(0)
        allowed = np.ones(overlap.shape, dtype=bool)
        named = self.of_id >= 0
        allowed[named] = enough[self.of_id[named]]
        return allowed

    def preferred(self, overlap: Overlap, margin: float) -> Overlap:
        """The overlaps with what names count more; whole numbers stay whole."""
        if not self.names:
            return overlap
        return np.asarray(overlap * np.where(self.of_id >= 0, 100 + round(100 * margin), 100)[:, None])

    def left(self, floor: float, overlap: Overlap) -> list[tuple[str, float]]:
        """By row, the name that most of it had, and its share; ("", 0.0) below ``floor``."""
        found = [("", 0.0)] * overlap.shape[1]
        total = overlap.sum(0)
        for row in np.flatnonzero(total > 0).tolist() if self.names else []:
            first = int(self.weight[:, row].argmax())
            share = float(self.weight[first, row] / total[row])
            if share >= floor:
                found[row] = (self.names[first], share)
        return found


def _rows(
    ids: Sequence[int],
    overlap: Overlap,
    matched: npt.NDArray[np.int64],
    parents: Mapping[int, int],
    wishes: Wishes,
    left: Sequence[tuple[str, float]],
) -> tuple[AlignedRow, ...]:
    weight = overlap.sum(0)
    groups = _merged_groups(ids, wishes)
    rows = []
    for row, position in enumerate(matched.tolist()):
        source = position if position >= 0 else parents.get(row, -1)
        share = float(overlap[source, row] / weight[row]) if source >= 0 else 0.0
        fresh = position < 0
        own = None if fresh else ids[position]
        merged_into = _born_into(groups, overlap[:, row]) if fresh else None
        shown = merged_into if fresh else own
        left_name, left_share = ("", 0.0) if shown is not None and wishes.name(shown) else left[row]
        rows.append(
            AlignedRow(
                id=own,
                parent=ids[parents[row]] if fresh and row in parents else None,
                merged_into=merged_into,
                share=share,
                weight=float(weight[row]),
                left_name=left_name,
                left_share=left_share,
            )
        )
    return tuple(rows)


def _merged_groups(ids: Sequence[int], wishes: Wishes) -> dict[int, list[int]]:
    """Public id -> positions of its members, where people have merged something into it."""
    heads = {wishes.public(own) for own in wishes.merged_into}
    groups: dict[int, list[int]] = {}
    for position, own in enumerate(ids):
        if (public := wishes.public(own)) in heads:
            groups.setdefault(public, []).append(position)
    return groups


def _born_into(groups: Mapping[int, list[int]], column: Overlap) -> int | None:
    for public, members in groups.items():
        if 2 * float(column[members].sum()) > float(column.sum()):
            return public
    return None


def _contested(
    ids: Sequence[int], overlap: Overlap, matched: npt.NDArray[np.int64], wishes: Wishes
) -> tuple[tuple[int, int, int], ...]:
    rows = {position: row for row, position in enumerate(matched.tolist()) if position >= 0}
    return tuple(
        sorted(
            (rows[a], ids[a], ids[b])
            for a, b in _rejected_positions(ids, wishes)
            if a in rows and overlap[b, rows[a]] > 0
        )
    )


def _usable(values: npt.NDArray[np.floating], shape: tuple[int, ...]) -> bool:
    return values.shape == shape and bool(np.isfinite(values).all()) and bool((values >= 0).all())
