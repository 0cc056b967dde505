"""What became of every cluster from one version to the next, in the words of MONIC and MEC.

Survive, split, absorb, appear, vanish (Spiliopoulou, Ntoutsi, Theodoridis and Schult, "MONIC: modeling and
monitoring cluster transitions", KDD 2006, doi:10.1145/1150402.1150491; Oliveira and Gama, "A framework to
monitor clusters evolution applied to economy and finance problems", Intelligent Data Analysis 16(1), 2012).
Both measure overlap on the objects that two clusterings have in common; here these are the anchors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from disc_stream.clustering.matching import Overlap

Kind = Literal["survive", "split", "absorb", "appear", "vanish"]


@dataclass(frozen=True, slots=True)
class Transition:
    """One of them.

    Args:
        kind: ``survive``: the id goes on in a row. ``split``: fresh rows came out of it, whether it goes on
            or not. ``absorb``: it has no row, and most of its anchors are in one row of something else.
            ``vanish``: it has no row, and its anchors are scattered, or it has none. ``appear``: a fresh row
            that came out of no one id.
        id: the old id; None for ``appear``.
        rows: of the new version: where it goes on, what was split from it, what absorbed it, what appeared.
        into: of ``absorb``, the id of the row; None if that row is fresh.
        share: of the id's anchors' weight in these rows; 0 for ``appear`` and for ``vanish`` without anchors.
    """

    kind: Kind
    id: int | None
    rows: tuple[int, ...]
    into: int | None
    share: float


def find_parents(
    ids: Sequence[int], overlap: Overlap, matched: npt.NDArray[np.int64], part: float
) -> dict[int, int]:
    """Fresh row -> position of the id it came out of.

    That is the id that has more than half of the row's weight, if this is at least ``part`` of the id's.
    """
    parents: dict[int, int] = {}
    for row in np.flatnonzero(matched < 0).tolist() if ids else []:
        position = int(overlap[:, row].argmax())
        weight = float(overlap[position, row])
        most = 2 * weight > float(overlap[:, row].sum())
        if most and weight >= part * float(overlap[position].sum()):
            parents[row] = position
    return parents


def find_transitions(
    ids: Sequence[int],
    overlap: Overlap,
    matched: npt.NDArray[np.int64],
    parents: Mapping[int, int],
    without_anchors: Sequence[int],
) -> tuple[Transition, ...]:
    """All transitions: of the old ids in ascending order, then of the fresh rows.

    Args:
        ids: with anchors, ascending.
        overlap: (n_ids, n_rows) weight of each id's anchors in each row.
        matched: (n_rows,) position of the id that each row goes on with, or -1.
        parents: see ``find_parents``.
        without_anchors: ids of the version before that have none.
    """
    rows = {position: row for row, position in enumerate(matched.tolist()) if position >= 0}
    found = [Transition("vanish", own, (), None, 0.0) for own in without_anchors]
    for position, own in enumerate(ids):
        share = overlap[position] / max(float(overlap[position].sum()), np.finfo(np.float64).tiny)
        children = tuple(row for row, parent in parents.items() if parent == position)
        if position in rows:
            row = rows[position]
            found.append(Transition("survive", own, (row,), None, float(share[row])))
        if children and (position in rows or len(children) > 1):
            found.append(Transition("split", own, children, None, float(share[list(children)].sum())))
        elif position not in rows:
            found.append(_gone(own, share, ids, matched))
    found.sort(key=lambda one: (one.id is None, one.id or 0))
    fresh = [row for row, position in enumerate(matched.tolist()) if position < 0 and row not in parents]
    return (*found, *(Transition("appear", None, (row,), None, 0.0) for row in fresh))


def _gone(own: int, share: Overlap, ids: Sequence[int], matched: npt.NDArray[np.int64]) -> Transition:
    """Absorbed by the row that has more than half of it, or vanished."""
    row = int(share.argmax())
    if not share[row] > 0.5:
        return Transition("vanish", own, (), None, 0.0)
    into = int(matched[row])
    return Transition("absorb", own, (row,), ids[into] if into >= 0 else None, float(share[row]))
