"""The second act: an activity that nobody did before appears, is unknown, and gets an id by a retraining.

::

    live for a while ─▶ a cluster is named ─▶ the activity appears ─▶ enough windows are unknown
      ─▶ a retraining with one more cluster, beside the live labels ─▶ gate ─▶ registry ─▶ the server follows

Nothing of it uses the simulator's truth but the counts for the summary.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from disc_stream.artifacts.model import Model
from disc_stream.demo.fleet import SyntheticFleet
from disc_stream.demo.model import WHO, Plan
from disc_stream.demo.retrainer import Folders, Retrainer
from disc_stream.registry import Author, Registry
from disc_stream.stream.pipeline import Pipeline
from disc_stream.types import STATE_NAMES, UNKNOWN, Label
from disc_stream.wire.topics import DEFAULT_PREFIX
from disc_stream_server.dataset.replay import Replay, whole_windows

NOTICES_NEW = "disc-plus"
"""The recipe: with DISC's embedding hardly a window of a new activity is unknown (docs/benchmarks)."""

APPEARS_AFTER = 120  # live windows; those before show what is usual
ENOUGH_UNKNOWN = 120  # live windows that are unknown, from which on a retraining is worth it

Say = Callable[[str], None]
Key = tuple[str, int, int]  # device, boot, t0_us


@dataclass(slots=True)
class _Seen:
    """Windows of the new activity and of the others, by what they were labelled."""

    own: Counter[int] = field(default_factory=Counter)
    others: dict[Key, int] = field(default_factory=dict)


class NewActivity:
    """Follows the live labels, and lets one thing happen after the other; all methods from one thread.

    Args:
        folders: with a first version in production.
        fleet: holds an activity back.
        plan: of the first version.
        say: tells people.
    """

    def __init__(self, folders: Folders, fleet: SyntheticFleet, plan: Plan, say: Say) -> None:
        if fleet.held_back is None:
            raise ValueError("the fleet holds no activity back")
        self._folders, self._fleet, self._say = folders, fleet, say
        self._activity = fleet.held_back
        with Registry.open(folders.models) as registry:
            current = registry.current()
            if current is None:
                raise ValueError("nothing is in production")
            self._old = current.version
            self._old_ids = frozenset(registry.version(self._old).ids or ())
        self._retrainer = Retrainer(folders, plan, len(self._old_ids) + 1)
        self._live: Counter[int] = Counter()  # labels
        self._before, self._after = _Seen(), _Seen()
        self._named: tuple[int, str] | None = None
        self._appeared_at: float | None = None
        self._answered = False
        self._own_id_at: float | None = None

    # -- what is told -------------------------------------------------------------------------------------

    def label(self, label: Label) -> None:
        """A live label has arrived."""
        self._live[label.best.label] += 1
        fresh = label.best.label not in self._old_ids and label.best.label not in STATE_NAMES
        if fresh and self._own_id_at is None:
            self._own_id_at = time.monotonic()
            self._say(f"The first label with a new id: {label.best.name}, of {label.device}")

    def compared(self, truth: int, label: Label) -> None:
        """The true activity of a window has become known; for the summary alone."""
        if self._appeared_at is None:
            return
        seen = self._before if label.model == self._old else self._after
        if truth == self._activity:
            seen.own[label.best.label] += 1
        else:
            seen.others[label.device, label.boot, label.t0_us] = label.best.label

    # -- what happens -------------------------------------------------------------------------------------

    def step(self) -> None:
        """Let happen what is due."""
        if self._appeared_at is None:
            if self._live.total() >= APPEARS_AFTER:
                self._appear()
        elif not self._retrainer.begun:
            if self._live[UNKNOWN] >= ENOUGH_UNKNOWN:
                self._say(f"{self._live[UNKNOWN]} windows are unknown: retraining with one more cluster")
                self._retrainer.start()
        elif not self._answered and (words := self._retrainer.outcome()) is not None:
            self._answered = True
            self._say(words)

    def close(self) -> None:
        """End the retraining if it has not ended."""
        self._retrainer.stop()

    def _appear(self) -> None:
        """Name what is most usual, and let every second wearable begin."""
        usual = max(sorted(self._old_ids), key=lambda one: self._live[one])
        with Registry.open(self._folders.models) as registry:
            cluster = next(one for one in registry.clusters.list() if one.id == usual)
            name = f"{cluster.proposals[0].name} (demo)" if cluster.proposals else "the usual (demo)"
            registry.clusters.name(usual, name, Author(WHO))
        self._named = usual, name
        some = self._fleet.begin()
        self._live.clear()
        self._appeared_at = time.monotonic()
        words = f"Cluster {usual} is named {name!r}. Now {some} wearables begin with {self._activity_name}"
        self._say(f"{words}, which nobody did before")

    @property
    def _activity_name(self) -> str:
        return self._fleet.label_names[self._activity]

    # -- what came of it ----------------------------------------------------------------------------------

    def summary(self) -> dict[str, Any]:
        """What was seen; None where it did not come to it. Reads the spool once."""
        before, after = self._before, self._after
        fresh = {one: n for one, n in after.own.items() if one not in self._old_ids and one >= 0}
        own_id = max(fresh, key=fresh.__getitem__, default=None)
        appeared, found = self._appeared_at, self._own_id_at
        return {
            "activity": self._activity_name,
            "seconds_to_own_id": None if appeared is None or found is None else round(found - appeared, 1),
            "own_id": own_id,
            "before": {
                "windows": before.own.total(),
                "unknown": _share(before.own[UNKNOWN], before.own.total()),
                "others_unknown": _share(
                    sum(one == UNKNOWN for one in before.others.values()), len(before.others)
                ),
            },
            "after": {
                "windows": after.own.total(),
                "with_own_id": _share(0 if own_id is None else after.own[own_id], after.own.total()),
                "unknown": _share(after.own[UNKNOWN], after.own.total()),
                "others": len(after.others),
                "others_with_own_id": _share(
                    sum(one == own_id for one in after.others.values()), len(after.others)
                ),
                "others_changed": self._others_changed(),
            },
            "named": self._name_kept(),
            "retraining": self._retrainer.facts(),
        }

    def _name_kept(self) -> dict[str, Any] | None:
        if self._named is None:
            return None
        own, name = self._named
        with Registry.open(self._folders.models) as registry:
            live = {one.id: one.name for one in registry.clusters.list()}
        return {"id": own, "name": name, "kept": live.get(own) == name}

    def _others_changed(self) -> float | None:
        """Share of the other windows to which the model before would have given another cluster's id.

        Windows that either model calls unknown, or that were not worn, are no part of it.
        """
        new = {key: one for key, one in self._after.others.items() if one not in STATE_NAMES}
        if not new:
            return None
        with Registry.open(self._folders.models) as registry:
            old = Model.open(registry.bundle(self._old).path, provider="cpu")
            old = old.with_catalogue(registry.catalogue_of(self._old))
        n_input = old.manifest.window.input_samples
        source = Replay(self._folders.state, whole_windows(old.manifest), prefix=DEFAULT_PREFIX)
        try:
            chosen = [
                replace(one.window, samples=one.window.samples[:n_input].copy())
                for one in source.windows()
                if (one.window.device, one.window.boot, one.window.t0_us) in new
            ]
        finally:
            source.close()
        labels = [one.label for one in Pipeline(old).label(chosen)]
        pairs = [
            (label.best.label, new[label.device, label.boot, label.t0_us])
            for label in labels
            if label.best.label not in STATE_NAMES
        ]
        return _share(sum(before != after for before, after in pairs), len(pairs))


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
