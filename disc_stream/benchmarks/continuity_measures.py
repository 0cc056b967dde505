"""What a retraining has kept: windows' ids, and names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from disc_stream.clustering.matching import best_matching, kept_weight
from disc_stream.types import IntArray


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Kept(_Frozen):
    """Of some windows, the share whose id is the same before and after.

    ``best`` is that under the one-to-one relabelling of rows that is best for these very windows;
    ``unaligned`` that if each row had the id of the row of the same number before.
    """

    windows: int
    kept: float
    best: float
    unaligned: float

    @property
    def of_best(self) -> float:
        """Kept as a share of the best."""
        return self.kept / self.best if self.best else 1.0


class Names(_Frozen):
    """What became of the names that were given after the first training.

    A name is ``right`` if most windows with its id are of the activity that it says, ``gone`` if no row has
    its id. ``possible``: how many could be right at most, whatever the ids, with rows as they are;
    ``unaligned``: how many were right if rows kept their numbers.
    """

    given: int
    right: int
    wrong: list[str] = Field(description="NAME is ACTIVITY")
    gone: list[str]
    possible: int
    unaligned: int


class Appeared(_Frozen):
    """Of an activity that was held back, once it is there."""

    windows_seen: int = Field(description="of the activity, until this retraining")
    minutes_seen: float
    unknown: float = Field(description="share of its new windows that the model before called unknown")
    known_unknown: float = Field(description="the same of all other new windows")
    own_id: int | None = Field(description="a fresh id most of whose windows are of it")
    recall: float = Field(description="share of its windows that have this id")
    precision: float = Field(description="share of the id's windows that are of it")
    others_moved: float = Field(description="share of all other windows whose id has changed")


class Step(_Frozen):
    """One retraining."""

    stage: int
    n_clusters: int
    people: int
    windows: int
    anchors: int
    kept: dict[str, Kept] = Field(
        description="by windows: anchors, weighted_anchors (each for the windows that it stands for), "
        "held_out (stretches without anchors), all"
    )
    since_first: float = Field(description="windows of the first training whose id is still their first")
    names: Names
    fresh: int = Field(description="rows that continue no id")
    transitions: dict[str, int]
    appeared: Appeared | None = None
    nmi: float
    seconds: float


def kept_of(
    before: IntArray,
    after: IntArray,
    rows_before: IntArray,
    rows_after: IntArray,
    weights: npt.NDArray[np.float64] | None = None,
) -> Kept:
    """Compare ids and rows of the same windows, (n,) each.

    Args:
        before: ids by the model in use.
        after: ids by the new one.
        rows_before: rows of the model in use.
        rows_after: rows of the new one.
        weights: how much each window counts; None for 1 each.
    """
    weight = np.ones(len(before)) if weights is None else weights
    ids, index = np.unique(before, return_inverse=True)
    overlap = np.zeros((len(ids), int(rows_after.max()) + 1))
    np.add.at(overlap, (index, rows_after), weight)
    total = float(weight.sum())
    return Kept(
        windows=len(before),
        kept=float(weight[before == after].sum()) / total,
        best=kept_weight(overlap, best_matching(overlap)) / total,
        unaligned=float(weight[rows_before == rows_after].sum()) / total,
    )


def majority(clusters: IntArray, activities: IntArray) -> dict[int, int]:
    """Cluster -> its most frequent activity."""
    return {
        int(cluster): int(np.bincount(activities[clusters == cluster]).argmax())
        for cluster in np.unique(clusters)
    }


def named_by_most(clusters: IntArray, activities: IntArray) -> dict[int, int]:
    """The names a person would give: cluster -> activity, where more than half of its windows are of it."""
    return {
        cluster: activity
        for cluster, activity in majority(clusters, activities).items()
        if 2 * int((activities[clusters == cluster] == activity).sum()) > int((clusters == cluster).sum())
    }


def names_after(
    names: Mapping[int, int], ids: IntArray, rows: IntArray, activities: IntArray, words: Sequence[str]
) -> Names:
    """What became of names.

    Args:
        names: id -> activity, as given after the first training, when rows had these ids too.
        ids: (n,) after the retraining.
        rows: (n,) after the retraining.
        activities: (n,) true ones.
        words: for the activities.
    """
    now, by_row = majority(ids, activities), majority(rows, activities)
    there = list(by_row.values())
    wanted = list(names.values())
    return Names(
        given=len(names),
        right=sum(now.get(own) == activity for own, activity in names.items()),
        wrong=[
            f"{words[activity]} is {words[now[own]]}"
            for own, activity in names.items()
            if own in now and now[own] != activity
        ],
        gone=[words[activity] for own, activity in names.items() if own not in now],
        possible=sum(min(there.count(activity), wanted.count(activity)) for activity in set(wanted)),
        unaligned=sum(by_row.get(own) == activity for own, activity in names.items()),
    )


def own_id_of(
    activity: npt.NDArray[np.bool_], ids: IntArray, fresh: set[int]
) -> tuple[int | None, float, float]:
    """The fresh id that an activity has for itself, its recall and its precision.

    That is the id with most of the activity's windows, if it is among ``fresh`` and most of its windows are
    of the activity; None if there is none such (recall and precision are then those of the id with most).

    Args:
        activity: (n,) which windows are of it.
        ids: (n,).
        fresh: ids born since the activity is there.
    """
    values, counts = np.unique(ids[activity], return_counts=True)
    own = int(values[counts.argmax()])
    has = ids == own
    recall = float(counts.max() / activity.sum())
    precision = float((activity & has).sum() / has.sum())
    return (own if own in fresh and precision > 0.5 else None), recall, precision


def mean_of(steps: Sequence[Step], windows: str, which: str) -> float:
    """Mean over retrainings of ``kept``, ``best``, ``unaligned`` or ``of_best``."""
    return float(np.mean([getattr(step.kept[windows], which) for step in steps]))


def least_of(steps: Sequence[Step], windows: str, which: str) -> float:
    """The least over retrainings."""
    return float(min(getattr(step.kept[windows], which) for step in steps))


def counts_of(kinds: Sequence[Any]) -> dict[str, int]:
    """How often each occurs, in order of the first."""
    return {kind: list(kinds).count(kind) for kind in dict.fromkeys(kinds)}
