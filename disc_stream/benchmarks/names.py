"""For how many clusters does the first proposed name agree with what most of the people in it did?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from disc_stream.benchmarks.cells import hardware
from disc_stream.benchmarks.quick import METHOD, Motion, assign, load_motion, quick_clusters
from disc_stream.characteristics import (
    Characteristics,
    MotionWindows,
    Proposal,
    characterise,
    describe_all,
    propose_names,
)
from disc_stream.training.runs import load_run
from disc_stream.types import IntArray

DATASETS = ("hapt", "motionsense", "wisdm", "synthetic")

_CALLED = {
    "walking upstairs": ("walking_upstairs", "climbing_stairs", "upstairs", "stairs up"),
    "walking downstairs": ("walking_downstairs", "downstairs", "stairs down"),
    "running": ("jogging",),
    "jumping": ("jump",),
    "changing posture": (
        "stand_to_sit", "sit_to_stand", "sit_to_lie", "lie_to_sit", "stand_to_lie", "lie_to_stand",
    ),
}  # fmt: skip

SAME = {called: name for name, several in _CALLED.items() for called in several}
"""What a dataset calls an activity -> what a proposal calls it; other names are compared as they are."""


def measure_names(
    datasets: Sequence[str],
    data: Path | None,
    seed: int,
    *,
    runs: Sequence[Path] = (),
    on_step: Callable[[str], None] = lambda _what: None,
) -> dict[str, Any]:
    """Propose names for the clusters of each dataset, and compare them with the activities.

    Each dataset's people are halved by their order (the first, third and so on; the others), and each half is
    a fleet of its own with clusters of its own. Three partitions: ``oracle`` (a cluster for every activity,
    to tell naming from clustering), ``usual`` (as many clusters as the dataset has activities) and
    ``double``.

    Args:
        datasets: names as ``quick.load_motion`` takes them; not used if there are ``runs``.
        data: the folder that holds them.
        seed: of the clustering and the synthetic fleet.
        runs: folders of trained runs, whose clusters are taken instead: of everybody in their dataset.
        on_step: told what is measured next.

    Raises:
        ConfigError: if a dataset is not known.
        InputNotFoundError: if it is not there, or a run.
        TrainingError: if a folder holds no finished run.
    """
    results = []
    for folder in runs:
        on_step(f"run {folder.name}")
        run = load_run(folder)
        motion = load_motion(run.info.dataset, data, seed)
        rows, _ = assign(run, motion)
        results.append(_judged(motion, rows, int(run.net.centroids.shape[0]), "run"))
    for name in () if runs else datasets:
        on_step(f"reading {name}")
        whole = load_motion(name, data, seed)
        for half in (0, 1):
            motion = whole.of(whole.people[half::2])
            for partition in ("oracle", "usual", "double"):
                on_step(f"{name}, half {half + 1}, {partition}")
                result = _judged(motion, *_rows(motion, partition, seed), partition)
                results.append({**result, "half": half + 1})
    return {
        "clustering": "trained runs" if runs else METHOD,
        "seed": seed,
        "hardware": hardware(),
        "results": results,
        "total": {
            partition: _total(results, partition)
            for partition in dict.fromkeys(result["partition"] for result in results)
        },
    }


def _judged(motion: Motion, rows: IntArray, n_clusters: int, partition: str) -> dict[str, Any]:
    windows = motion.windows
    given = MotionWindows(
        windows.x, windows.fs, windows.channels, windows.subject, _times(motion), utc_offset_minutes=0
    )
    clusters = characterise(given, rows, n_clusters)
    found = [
        _compared(motion, rows, cluster, description, proposals)
        for cluster, description, proposals in zip(
            clusters, describe_all(clusters), propose_names(clusters), strict=True
        )
    ]
    judged = [one for one in found if one is not None]
    return {
        "dataset": motion.name,
        "people": len(motion.people),
        "partition": partition,
        "clusters": len(judged),
        "first_agrees": sum(one["agrees"] for one in judged),
        "one_of_three_agrees": sum(one["activity"] in one["proposals"] for one in judged),
        "of": judged,
    }


def _rows(motion: Motion, partition: str, seed: int) -> tuple[IntArray, int]:
    if partition == "oracle":
        return motion.windows.y.astype(np.int64), len(motion.windows.label_names)
    n_clusters = motion.n_clusters * (2 if partition == "double" else 1)
    return quick_clusters(motion, n_clusters, seed), n_clusters


def _compared(
    motion: Motion,
    rows: IntArray,
    cluster: Characteristics,
    description: str,
    proposals: Sequence[Proposal],
) -> dict[str, Any] | None:
    """A cluster's proposals beside its majority; None where it has no labelled window."""
    y = motion.windows.y[rows == cluster.row]
    counts = np.bincount(y[y >= 0], minlength=len(motion.windows.label_names))
    if not counts.any():
        return None
    called = motion.windows.label_names[int(counts.argmax())]
    activity = SAME.get(called, called)
    names = [proposal.name for proposal in proposals[:3]]
    return {
        "activity": activity,
        "purity": round(float(counts.max() / counts.sum()), 3),
        "windows": cluster.windows,
        "description": description,
        "proposals": names,
        "evidence": list(proposals[0].evidence) if proposals else [],
        "agrees": bool(names) and names[0] == activity,
    }


def _times(motion: Motion) -> IntArray:
    """Times as if each recording began on a day of its own: enough for durations."""
    day = motion.windows.group.astype(np.int64) * 86_400_000_000
    return day + (motion.windows.start * (1e6 / motion.windows.fs)).astype(np.int64)


def _total(results: Sequence[dict[str, Any]], partition: str) -> dict[str, Any]:
    mine = [one for one in results if one["partition"] == partition]
    clusters = sum(one["clusters"] for one in mine)
    agree = sum(one["first_agrees"] for one in mine)
    return {"clusters": clusters, "first_agrees": agree, "share": round(agree / clusters, 3)}
