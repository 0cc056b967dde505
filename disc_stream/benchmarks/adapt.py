"""Centroids that follow each person: what they gain and whom they harm, on people never trained on.

The people of a dataset are left out fold by fold. A model learns from the others; those left out are streamed
in the order of their time, each from nothing known. Four ways to label the same windows are compared: as the
model says, smoothed, under centroids that follow the person, and both. Two more know a person's windows as a
whole, as ``disc-stream label`` does: smoothed both ways, and that under centroids that follow the person by
all of them. Activities are looked at to score.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from disc_stream.benchmarks.cells import hardware
from disc_stream.benchmarks.continuity_cells import settings_of
from disc_stream.benchmarks.continuity_stream import joined
from disc_stream.benchmarks.followed import adapt_recordings, adapt_sequences, hop_s, occurrences_of
from disc_stream.clustering.adaptation import AdaptationRule, Adapter
from disc_stream.clustering.metrics import accuracy, nmi
from disc_stream.clustering.smoothing import filter_sequence, forward_backward
from disc_stream.data.types import Split, WindowSet
from disc_stream.errors import UsageError
from disc_stream.training.fitting import infer
from disc_stream.training.novelty import unknown_above
from disc_stream.training.recipes import get_recipe
from disc_stream.training.task import FitOptions, Task
from disc_stream.training.trainer import derived_seed
from disc_stream.training.windows import check_training_windows
from disc_stream.types import Float32Array, IntArray

WAYS = ("raw", "smoothed", "adapted", "both", "whole", "whole_adapted")
PAIRS = {
    "smoothing": ("raw", "smoothed"),
    "adapting": ("raw", "adapted"),
    "adapting_too": ("smoothed", "both"),
    "adapting_whole": ("whole", "whole_adapted"),
}
"""Name of a gain -> the way without and the way with."""
HARM = 0.01
"""A person loses when less by this much is right."""

Soft = npt.NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured.

    Args:
        method: name of a recipe.
        folds: into which the people are dealt.
        seed: of the trainings.
        preset: of recipes that have presets.
        settings: that replace the preset's.
        updates: steps of training of recipes that have epochs.
        rule: of the adaptation.
        stay: of the smoothing.
    """

    method: str = "disc"
    folds: int = 3
    seed: int = 0
    preset: str = "small"
    settings: Mapping[str, Any] = field(default_factory=dict)
    updates: int = 600
    rule: AdaptationRule = field(default_factory=AdaptationRule)
    stay: float = 0.8


@dataclass(frozen=True, slots=True)
class _Streamed:
    """Windows of people left out, in order, under the model of a fold.

    Args:
        windows: n of them.
        z: (n, d).
        q: (n, K).
        centroids: (K, d).
        limits: K squared distances from which on a window is unknown.
        exponent: power of q that is the likelihood of a window.
        activity: (K,) the activity of most training windows of each cluster; -1 for none.
    """

    windows: WindowSet
    z: Float32Array
    q: Float32Array
    centroids: Float32Array
    limits: list[float | None]
    exponent: float
    activity: IntArray


def measure(
    name: str, split: Split, plan: Plan, on_step: Callable[[str], None] = lambda _what: None
) -> dict[str, Any]:
    """Measure one dataset with one method.

    Args:
        name: of the dataset.
        split: its windows; both parts are used together.
        plan: how.
        on_step: told what comes next.

    Returns:
        ``scores`` of each way by measure, ``gains`` of each pair of ways over folds and over people, and
        ``folds`` with everything they are computed from; shares are between 0 and 1.

    Raises:
        UsageError: if there are fewer people than folds.
        ConfigError: if the method or a setting is not known.
    """
    windows, started = joined(split), time.perf_counter()
    people = np.unique(windows.subject)
    if not 2 <= plan.folds <= len(people):
        raise UsageError(
            f"{len(people)} people of {name} cannot be dealt into {plan.folds} folds",
            remedy=f"Use --folds 2 to {len(people)}",
        )
    folds = []
    for fold in range(plan.folds):
        on_step(f"{name}, {plan.method}, fold {fold + 1} of {plan.folds}")
        left_out = np.isin(windows.subject, people[fold :: plan.folds])
        folds.append(_score(_train(windows, left_out, split.n_clusters, plan, fold), plan))
    return {
        "dataset": name,
        "method": plan.method,
        "people": len(people),
        "windows": len(windows),
        "n_clusters": split.n_clusters,
        "seed": plan.seed,
        "rule": asdict(plan.rule),
        "stay": plan.stay,
        "scores": {
            way: {one: _spread([fold["ways"][way][one] for fold in folds]) for one in ("nmi", "acc")}
            for way in WAYS
        },
        "gains": {name: _gains(folds, *pair) for name, pair in PAIRS.items()},
        "folds": folds,
        "seconds": round(time.perf_counter() - started, 1),
        "hardware": hardware(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def quick_plan(plan: Plan) -> Plan:
    """The same of a tiny network and few steps, for the simulated fleet."""
    tiny = {"hidden": 8, "decoder_hidden": 8, "embedding": 8, "refine_epochs": 1}
    small = get_recipe(plan.method).presets
    return replace(plan, folds=2, updates=40, settings={**tiny, **plan.settings} if small else plan.settings)


def helps(report: Mapping[str, Any]) -> bool:
    """Whether adaptation beside smoothing gains on average, in NMI and in what is right for people.

    Both in the stream and of whole recordings.
    """
    gains = [report["gains"][name] for name in ("adapting_too", "adapting_whole")]
    return all(one[measure]["mean"] > 0.0 for one in gains for measure in ("nmi", "right"))


def _train(
    windows: WindowSet, left_out: npt.NDArray[np.bool_], n_clusters: int, plan: Plan, fold: int
) -> _Streamed:
    known = windows.select(~left_out)
    recipe, settings = get_recipe(plan.method), settings_of(plan.method, plan.settings)
    if recipe.presets:
        batch = recipe.resolve(plan.preset, settings).batch_size
        settings = {"epochs": max(1, round(plan.updates * batch / len(known))), **settings}
    task = Task(
        check_training_windows(known.x, n_clusters),
        n_clusters,
        derived_seed(plan.seed, "fold", fold),
        devices=known.subject.astype(np.int64),
    )
    learned = recipe.fit(task, recipe.resolve(plan.preset, settings), FitOptions())
    z, q, distance = infer(learned.net, known.x[:, : learned.n_input])
    row: IntArray = q.argmax(1).astype(np.int64)
    limits = unknown_above(z, row, distance, known.subject, seed=plan.seed)
    new = windows.select(left_out)
    streamed_z, streamed_q, _ = infer(learned.net, new.x[:, : learned.n_input])
    return _Streamed(
        new, streamed_z, streamed_q, np.asarray(learned.centroids, dtype=np.float32), limits,
        learned.exponent,
        _most_often(row, known.y.astype(np.int64), q.shape[1]),
    )  # fmt: skip


def _score(streamed: _Streamed, plan: Plan) -> dict[str, Any]:
    """Scores of a fold: over all people left out, and of each."""
    windows, q = streamed.windows, streamed.q
    adapter = Adapter(streamed.centroids, streamed.limits, plan.rule, exponent=streamed.exponent)
    found = occurrences_of(windows.subject, _begins(windows), hop_s(windows))
    own = adapt_sequences(adapter, streamed.z, windows.subject, found).q
    whole = adapt_recordings(adapter, streamed.z, windows.subject, found).q
    smoothing = {"stay": plan.stay, "exponent": streamed.exponent}
    rows = {
        "raw": q.argmax(1),
        "smoothed": _smoothed(q, windows, filter_sequence, smoothing),
        "adapted": own.argmax(1),
        "both": _smoothed(own, windows, filter_sequence, smoothing),
        "whole": _smoothed(q, windows, forward_backward, smoothing),
        "whole_adapted": _smoothed(whole, windows, forward_backward, smoothing),
    }
    y = windows.y.astype(np.int64)
    people = np.unique(windows.subject)
    parts = [windows.subject == one for one in people]
    return {
        "people": people.tolist(),
        "ways": {
            way: {
                "nmi": nmi(y, row),
                "acc": accuracy(y, row),
                "right": [float((streamed.activity[row[part]] == y[part]).mean()) for part in parts],
                "nmi_of_people": [nmi(y[part], row[part]) for part in parts],
            }
            for way, row in rows.items()
        },
    }


def _gains(folds: Sequence[Mapping[str, Any]], without: str, having: str) -> dict[str, Any]:
    """What the second way has more than the first: over folds, and over people."""

    def per_fold(measure: str) -> list[float]:
        return [fold["ways"][having][measure] - fold["ways"][without][measure] for fold in folds]

    def per_person(measure: str) -> list[float]:
        return [
            there - before
            for fold in folds
            for before, there in zip(
                fold["ways"][without][measure], fold["ways"][having][measure], strict=True
            )
        ]

    right, own_nmi = per_person("right"), per_person("nmi_of_people")
    return {
        "nmi": _spread(per_fold("nmi")),
        "acc": _spread(per_fold("acc")),
        "right": _spread(right),
        "nmi_of_people": _spread(own_nmi),
        "people_who_lose": float(np.mean([one < -HARM for one in right])),
        "people_who_gain": float(np.mean([one > HARM for one in right])),
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {
        "mean": float(np.mean(values)),
        "sd": float(np.std(values, ddof=1)) if len(values) > 1 else 0.0,
        "least": float(min(values)),
        "most": float(max(values)),
    }


def _most_often(row: IntArray, y: IntArray, n_clusters: int) -> IntArray:
    """(K,): the most frequent activity among the windows of each cluster; -1 where it has none."""
    found = [np.bincount(y[row == k]).argmax() if (row == k).any() else -1 for k in range(n_clusters)]
    return np.array(found, dtype=np.int64)


def _smoothed(
    q: Soft, windows: WindowSet, how: Callable[..., Soft], smoothing: Mapping[str, float]
) -> IntArray:
    """Row of each window after a filter, which begins anew with every recording."""
    begins = np.flatnonzero(_begins(windows)[1:]) + 1
    parts = [how(part, **smoothing) for part in np.split(q, begins)]
    out: IntArray = np.concatenate(parts).argmax(1).astype(np.int64)
    return out


def _begins(windows: WindowSet) -> npt.NDArray[np.bool_]:
    """(n,), whether each window is the first of a recording."""
    changes = (np.diff(windows.subject) != 0) | (np.diff(windows.group) != 0)
    return np.concatenate([[True], changes])[: len(windows)]
