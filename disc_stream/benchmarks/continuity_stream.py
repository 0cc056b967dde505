"""A dataset's people as a fleet that grows: half of them at first, the others group by group."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from disc_stream.data.types import Split, WindowSet
from disc_stream.errors import UsageError

_MIN_PEOPLE = 4
_STRETCH = 20  # windows in a row that give anchors, or are only measured on


@dataclass(frozen=True, slots=True)
class HeldBack:
    """An activity that is not there at first.

    Args:
        activity: index into the dataset's activities.
        from_stage: the first retraining that sees it; its windows before are left out.
    """

    activity: int
    from_stage: int = 2


@dataclass(frozen=True, slots=True)
class PeopleInOrder:
    """All windows of a dataset in the order in which they are streamed: person by person, each in time.

    Args:
        windows: of all people.
        stage: (n,) the training that each window is first there for: 0 for the first half of the people.
        gives_anchors: (n,) whether it may become an anchor: in every other stretch of a person's windows.
    """

    windows: WindowSet = field(repr=False)
    stage: npt.NDArray[np.int64] = field(repr=False)
    gives_anchors: npt.NDArray[np.bool_] = field(repr=False)

    def until(self, stage: int) -> npt.NDArray[np.int64]:
        """Positions of all windows that the training of a stage has, in order."""
        return np.flatnonzero(self.stage <= stage)

    def during(self, stage: int) -> npt.NDArray[np.int64]:
        """Positions of the windows that came between the training before and that of a stage."""
        return np.flatnonzero(self.stage == stage)


def in_order(split: Split, retrainings: int, held_back: HeldBack | None = None) -> PeopleInOrder:
    """Both parts of a split as one stream.

    Half of the people, by their numbers, are there at first; the others come in ``retrainings`` groups as
    equal as possible.

    Raises:
        UsageError: if there are too few people.
    """
    windows = joined(split)
    people, who = np.unique(windows.subject, return_inverse=True)
    n_first = len(people) // 2
    if len(people) < _MIN_PEOPLE or len(people) - n_first < retrainings:
        raise UsageError(
            f"{len(people)} people are too few for {retrainings} retrainings with new people in each",
            remedy="Use fewer --retrainings, or a dataset of more people",
        )
    borders = n_first + np.round(np.arange(1, retrainings + 1) * (len(people) - n_first) / retrainings)
    stage = np.searchsorted(borders, np.arange(len(people)), side="right") + 1
    stage[:n_first] = 0
    of_window, gives = stage[who].astype(np.int64), _place(who) // _STRETCH % 2 == 0
    if held_back is not None:
        kept = (windows.y != held_back.activity) | (of_window >= held_back.from_stage)
        windows, of_window, gives = windows.select(kept), of_window[kept], gives[kept]
    return PeopleInOrder(windows, of_window, gives)


def joined(split: Split) -> WindowSet:
    """All windows of both parts, person by person, each in the order of time."""
    one, other = split.train, split.test
    arrays = {
        name: np.concatenate([getattr(one, name), getattr(other, name)])
        for name in ("x", "y", "subject", "group", "start")
    }
    order = np.lexsort((arrays["start"], arrays["group"], arrays["subject"]))
    return WindowSet(
        **{name: array[order] for name, array in arrays.items()},
        fs=one.fs,
        channels=one.channels,
        label_names=one.label_names,
    )


def activity_of(split: Split, name: str) -> int:
    """Index of an activity.

    Raises:
        UsageError: naming those that there are.
    """
    names = split.train.label_names
    there = [names[i] for i in np.unique(np.concatenate([split.train.y, split.test.y])) if i >= 0]
    if name not in there:
        raise UsageError(f"there is no activity {name!r}", remedy=f"Use one of: {', '.join(there)}")
    return names.index(name)


def _place(who: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The how-manieth of its person's windows each is, (n,); those of a person stand together."""
    _, first, counts = np.unique(who, return_index=True, return_counts=True)
    return np.arange(len(who)) - np.repeat(first, counts)
