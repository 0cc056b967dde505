"""Retraining again and again on what accumulates: how much of what was said keeps its meaning.

One cell is a dataset, a method, a way to start and a seed. The first training has half of the people; its
clusters get ids, and each the name of its majority activity. Then the other people come in groups: the model
in use labels them, a new one is trained on everything so far, from another seed and with another number of
clusters, and its rows get their ids by anchors alone (``clustering.continuity``). Activities are looked at to
give names and to score, and for nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from disc_stream.benchmarks.continuity_measures import (
    Appeared,
    Kept,
    Step,
    counts_of,
    kept_of,
    named_by_most,
    names_after,
    own_id_of,
)
from disc_stream.benchmarks.continuity_stream import HeldBack, PeopleInOrder
from disc_stream.clustering.anchors import AnchorSet, Bounds
from disc_stream.clustering.continuity import Alignment, Evidence, Wishes, align
from disc_stream.clustering.metrics import nmi
from disc_stream.training.events import Callback, ignore
from disc_stream.training.fitting import infer
from disc_stream.training.known import Known
from disc_stream.training.recipes import Learned, get_recipe
from disc_stream.training.task import FitOptions, Task
from disc_stream.training.trainer import derived_seed
from disc_stream.training.warm import WarmStart
from disc_stream.training.windows import check_training_windows
from disc_stream.types import Float32Array, IntArray

Start = Literal["scratch", "warm"]
STARTS: tuple[Start, ...] = ("scratch", "warm")
K_STEPS = (1, 2, 0, 2, 1)
"""Added to the usual number of activities at each retraining, and again from the beginning."""
SMALL: dict[str, Any] = {
    "frame": 8, "hidden": 48, "decoder_hidden": 48, "batch_size": 64, "init": "ward", "refine_epochs": 3,
}  # fmt: skip
"""A network that learns in seconds, of the preset ``small``: what matters here is how trainings differ."""
GENTLE = {"learning_rate": 1e-4, "refine_learning_rate": 3e-5, "refine_epochs": 1}
"""Of trainings that go on: a thirtieth of the rates from scratch, so that clusters stay where they are."""
_UNKNOWN = 0.99  # quantile of a cluster's own distances, beyond which a window is unknown


@dataclass(frozen=True, slots=True)
class Schedule:
    """How trainings go on; see ``Plan.settings`` for everything else.

    Args:
        updates: steps of the autoencoder's training from scratch.
        warm_updates: the same, of a training that goes on from the model before.
        warm_settings: settings of such a training that differ from those from scratch.
    """

    updates: int = 600
    warm_updates: int = 40
    warm_settings: Mapping[str, Any] = field(default_factory=lambda: dict(GENTLE))


@dataclass(frozen=True, slots=True)
class Plan:
    """One cell.

    Args:
        method: name of a recipe.
        start: of every retraining: from ``scratch``, or ``warm`` from the model in use.
        seed: of the first training; every other one follows from it.
        retrainings: how many.
        n_clusters: the dataset's usual number of activities.
        preset: of the recipe.
        settings: that replace the preset's.
        schedule: lengths of the trainings.
        bounds: of the anchors.
        held_back: an activity that is not there at first.
        grow: K stays what it was at first, but for a cluster more for every group of new motion that a
            retraining finds.
    """

    method: str
    start: Start
    seed: int
    retrainings: int
    n_clusters: int
    preset: str
    settings: Mapping[str, Any]
    schedule: Schedule
    bounds: Bounds
    held_back: HeldBack | None = None
    grow: bool = False

    def clusters_of(self, stage: int, now: int) -> int:
        """K of a training; with an activity held back, one less at first and one more from when it comes.

        With ``grow`` it is the least that there can be.

        Args:
            stage: 0 for the first training.
            now: clusters of the model in use.
        """
        if self.grow and stage:
            return now
        if self.held_back is not None:
            return self.n_clusters - 1 + max(0, stage + 1 - self.held_back.from_stage)
        return self.n_clusters + (K_STEPS[(stage - 1) % len(K_STEPS)] if stage else 0)


@dataclass(frozen=True, slots=True)
class Seen:
    """All windows so far as one model labels them, (n,) each."""

    rows: IntArray
    ids: IntArray
    distance: Float32Array


@dataclass(frozen=True, slots=True)
class Version:
    """A model in use.

    Args:
        learned: the training's result.
        ids: own id of each row.
        radius: (K,) squared distance beyond which a window of the row is unknown.
        known: the motion that it has clusters for.
    """

    learned: Learned
    ids: IntArray
    radius: Float32Array
    known: Known

    def labels(self, x: Float32Array) -> Seen:
        """Label windows (n, T, C)."""
        rows, distance = _rows(self.learned, x)
        return Seen(rows, self.ids[rows], distance)

    def knows(self, seen: Seen) -> npt.NDArray[np.bool_]:
        """(n,) which windows have an id; the others are published as unknown."""
        return np.asarray(seen.distance <= self.radius[seen.rows])


def run(
    stream: PeopleInOrder,
    plan: Plan,
    callback: Callback = ignore,
    on_stage: Callable[[int], None] = lambda _stage: None,
) -> tuple[list[str], list[Step]]:
    """Train and retrain.

    Args:
        stream: the people.
        plan: the cell.
        callback: told of the training under way.
        on_stage: told the number of each training before it begins.

    Returns:
        The names given after the first training, and one step per retraining.
    """
    trial = _Trial(stream, plan, callback)
    on_stage(0)
    trial.begin()
    steps = []
    for stage in range(1, plan.retrainings + 1):
        on_stage(stage)
        steps.append(trial.retrain(stage))
    return [stream.windows.label_names[one] for one in trial.names.values()], steps


class _Trial:
    """What is kept from one training to the next: the model, ids, names and anchors."""

    def __init__(self, stream: PeopleInOrder, plan: Plan, callback: Callback) -> None:
        self._stream, self._plan, self._callback = stream, plan, callback
        self._activities = stream.windows.y.astype(np.int64)
        self._devices = np.array([f"person-{one}" for one in stream.windows.subject])

    def begin(self) -> None:
        """The first training: ids and names."""
        seen = self._stream.until(0)
        learned = self._train(0, seen, None)
        self._version = self._in_use(0, learned, np.arange(len(learned.centroids)), None)
        labels = self._version.labels(self._stream.windows.x[seen])
        self.names = named_by_most(labels.ids, self._activities[seen])
        self._first = labels.ids
        self._next_id = len(self._version.ids)
        self._born: set[int] = set()
        self._retired: set[int] = set()
        self._anchors = self._candidates(seen, labels).reduced(self._plan.bounds, seed=self._plan.seed)

    def retrain(self, stage: int) -> Step:
        """Label what came, train on everything, carry the ids over, measure."""
        started = time.perf_counter()
        plan, version = self._plan, self._version
        came, seen = self._stream.during(stage), self._stream.until(stage)
        published = version.labels(self._stream.windows.x[came])
        candidates = self._anchors.joined(self._candidates(came, published))
        anchors = candidates.reduced(plan.bounds, seed=derived_seed(plan.seed, "anchors", stage))

        warm = self._warm() if plan.start == "warm" else None
        learned = self._train(stage, seen, warm)
        alignment = self._align(anchors, learned)
        ids = self._given(alignment)
        self._version = self._in_use(stage, learned, ids, version.known)
        step = self._measure(stage, version, anchors, alignment, came=came, published=published)
        renewed = self._version.labels(anchors.windows)
        self._anchors = anchors.labelled(renewed.ids, renewed.distance)
        return step.model_copy(update={"seconds": round(time.perf_counter() - started, 1)})

    def _train(self, stage: int, seen: IntArray, warm: WarmStart | None) -> Learned:
        plan, windows = (
            self._plan,
            self._stream.windows.select(np.isin(np.arange(len(self._stream.stage)), seen)),
        )
        recipe, settings = get_recipe(plan.method), dict(plan.settings)
        if recipe.presets:
            updates = plan.schedule.updates if warm is None else plan.schedule.warm_updates
            config = recipe.resolve(plan.preset, settings)
            settings["epochs"] = max(1, round(updates * config.batch_size / len(windows)))
            settings |= plan.schedule.warm_settings if warm is not None else {}
        n_clusters = plan.clusters_of(stage, 0 if warm is None else len(warm.centroids))
        task = Task(
            check_training_windows(windows.x, n_clusters),
            n_clusters,
            derived_seed(plan.seed, "retraining", stage),
            devices=windows.subject.astype(np.int64),
            warm=warm,
            grow=plan.grow and warm is not None,
        )
        options = FitOptions(callback=self._callback)
        return recipe.fit(task, recipe.resolve(plan.preset, settings), options)

    def _warm(self) -> WarmStart:
        version, learned = self._version, self._version.learned
        return WarmStart.of(learned.module, learned.centroids, learned.scaler, version.radius, version.known)

    def _in_use(self, stage: int, learned: Learned, ids: IntArray, known: Known | None) -> Version:
        windows, seen = self._stream.windows, self._stream.until(stage)
        rows, distance = _rows(learned, windows.x[seen])
        if self._plan.start == "scratch":
            known = None
        seed = derived_seed(self._plan.seed, "known", stage)
        devices = windows.subject[seen].astype(np.int64)
        motion = Known.of(windows.x[seen], rows, devices, n_clusters=len(ids), seed=seed, before=known)
        return Version(learned, ids, _radius(rows, distance, len(ids)), motion)

    def _candidates(self, index: IntArray, labels: Seen) -> AnchorSet:
        gives = self._stream.gives_anchors[index] & self._version.knows(labels)
        chosen = index[gives]
        return AnchorSet.published(
            self._stream.windows.x[chosen],
            labels.ids[gives],
            self._devices[chosen],
            when_us=chosen.astype(np.int64),  # their place in the stream stands for the time
            distance=labels.distance[gives],
        )

    def _align(self, anchors: AnchorSet, learned: Learned) -> Alignment:
        rows, _ = _rows(learned, anchors.windows)
        evidence = Evidence(anchors.ids, rows, len(learned.centroids), weights=anchors.weights)
        words = self._stream.windows.label_names
        names = {own: words[activity] for own, activity in self.names.items()}
        return align(evidence, Wishes(live=self._version.ids.tolist(), names=names, retired=self._retired))

    def _given(self, alignment: Alignment) -> IntArray:
        """Own ids of the new rows; fresh ones are never used again, and the others retire."""
        ids = np.array([-1 if own is None else own for own in alignment.ids], dtype=np.int64)
        self._retired |= set(self._version.ids.tolist()) - set(ids.tolist())
        fresh = np.flatnonzero(ids < 0)
        ids[fresh] = self._next_id + np.arange(len(fresh))
        self._born |= set(ids[fresh].tolist())
        self._next_id += len(fresh)
        return ids

    def _measure(
        self, stage: int, before: Version, anchors: AnchorSet, alignment: Alignment,
        *, came: IntArray, published: Seen,
    ) -> Step:  # fmt: skip
        windows, seen = self._stream.windows, self._stream.until(stage)
        x, activities = windows.x[seen], self._activities[seen]
        old, new = before.labels(x), self._version.labels(x)
        old_anchors, new_anchors = before.labels(anchors.windows), self._version.labels(anchors.windows)
        held_out = ~self._stream.gives_anchors[seen]
        first = np.flatnonzero(self._stream.stage[seen] == 0)
        held_back = self._plan.held_back
        appeared = None
        if held_back is not None and stage >= held_back.from_stage:
            unknown = ~before.knows(published)
            appeared = self._appearance(held_back.activity, old, new, came=came, unknown=unknown)
        return Step(
            stage=stage,
            n_clusters=len(self._version.ids),
            people=len(np.unique(windows.subject[seen])),
            windows=len(seen),
            anchors=len(anchors),
            kept={
                "anchors": _kept(old_anchors, new_anchors, np.arange(len(anchors))),
                "weighted_anchors": kept_of(
                    old_anchors.ids, new_anchors.ids, old_anchors.rows, new_anchors.rows, anchors.weights
                ),
                "held_out": _kept(old, new, held_out),
                "all": _kept(old, new, np.arange(len(seen))),
            },
            since_first=float((new.ids[first] == self._first).mean()),
            names=names_after(self.names, new.ids, new.rows, activities, windows.label_names),
            fresh=sum(own is None for own in alignment.ids),
            transitions=counts_of([one.kind for one in alignment.transitions]),
            appeared=appeared,
            nmi=nmi(activities, new.rows),
            seconds=0.0,
        )

    def _appearance(
        self, activity: int, old: Seen, new: Seen, *, came: IntArray, unknown: npt.NDArray[np.bool_]
    ) -> Appeared:
        windows, seen = self._stream.windows, self._stream.until(int(self._stream.stage[came].max()))
        is_new, others = windows.y[seen] == activity, windows.y[seen] != activity
        own, recall, precision = own_id_of(is_new, new.ids, self._born)
        came_new = windows.y[came] == activity
        hop = np.median(np.diff(windows.start)[np.diff(windows.group) == 0])
        return Appeared(
            windows_seen=int(is_new.sum()),
            minutes_seen=round(float(is_new.sum() * hop / windows.fs / 60), 2),
            unknown=float(unknown[came_new].mean()) if came_new.any() else 0.0,
            known_unknown=float(unknown[~came_new].mean()),
            own_id=own,
            recall=recall,
            precision=precision,
            others_moved=float((old.ids[others] != new.ids[others]).mean()),
        )


def _kept(old: Seen, new: Seen, index: npt.NDArray[Any]) -> Kept:
    return kept_of(old.ids[index], new.ids[index], old.rows[index], new.rows[index])


def _rows(learned: Learned, x: Float32Array) -> tuple[IntArray, Float32Array]:
    """Row of each window, and its squared distance to the row's centroid."""
    _, q, distance = infer(learned.net, x[:, : learned.n_input])
    rows = q.argmax(1).astype(np.int64)
    return rows, distance[np.arange(len(rows)), rows]


def _radius(rows: IntArray, distance: Float32Array, n_clusters: int) -> Float32Array:
    """Per row, the distance beyond which a window is unknown; over all windows where a row has none."""
    own = [distance[rows == row] for row in range(n_clusters)]
    return np.array([np.quantile(d if len(d) else distance, _UNKNOWN) for d in own], dtype=np.float32)
