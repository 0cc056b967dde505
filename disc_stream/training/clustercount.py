"""Which number of clusters a training takes, and why."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from disc_stream.artifacts.run import CHECKPOINT_DIR, RunInfo
from disc_stream.data.types import UNLABELLED, Split
from disc_stream.data.windows import fingerprint
from disc_stream.errors import DataError, TrainingError
from disc_stream.training.events import Callback
from disc_stream.training.files import replace_file
from disc_stream.training.plus.counting import ClusterCount, count_clusters
from disc_stream.training.windows import check_training_windows

AUTO: Literal["auto"] = "auto"
METRIC = "number_of_clusters"
_FILE = "clusters.json"  # in the checkpoint, so that a resumed training does not count again


@dataclass(frozen=True, slots=True)
class Number:
    """A number of clusters.

    Args:
        chosen: K.
        facts: for the record: ``chosen``, ``why`` and, where it was looked for, a row of the table for every
            K; empty where the user has said how many.
    """

    chosen: int
    facts: Mapping[str, Any]


def number_of(
    split: Split,
    asked: int | Literal["auto"] | None,
    *,
    seed: int,
    out: Path,
    finished: RunInfo | None,
    callback: Callback,
) -> Number:
    """As many as asked for; by default as many as a labelled dataset has activities, otherwise looked for.

    Args:
        split: the windows.
        asked: K, ``auto`` or None.
        seed: of the search.
        out: run folder, whose checkpoint keeps the answer.
        finished: the run that is there already; its number is taken if it was looked for in these windows.
        callback: told of every K.

    Raises:
        DataError: if the windows cannot be used.
        TrainingError: if they do not fall into clusters, or the disk does not take the answer.
    """
    if isinstance(asked, int):
        return Number(asked, {})
    if asked is None and bool((split.train.y != UNLABELLED).any()):
        why = f"{split.n_clusters} clusters: the usual number of the dataset's activities"
        return Number(split.n_clusters, {"chosen": split.n_clusters, "why": why})
    mark = {"windows": fingerprint(split.train), "seed": seed}
    before = None if finished is None else finished.metrics.get(METRIC)
    if finished is not None and before and "rows" in before and finished.fingerprint == mark["windows"]:
        return Number(finished.n_clusters, before)
    file = out / CHECKPOINT_DIR / _FILE
    facts = _kept(file, mark)
    if facts is None:
        facts = _facts(_counted(split, seed, callback))
        _keep(file, {**mark, "facts": facts})
    return Number(int(facts["chosen"]), facts)


def _counted(split: Split, seed: int, callback: Callback) -> ClusterCount:
    train = split.train
    try:
        windows = check_training_windows(train.x, 2)
    except ValueError as error:
        raise DataError(f"the windows cannot be learned from: {error}") from error
    order = np.lexsort((train.start, train.group, train.subject))
    return count_clusters(windows[order], train.subject.astype(np.int64)[order], seed=seed, callback=callback)


def _facts(count: ClusterCount) -> dict[str, Any]:
    return {
        "chosen": count.chosen,
        "why": count.why(),
        "halves": count.halves,
        "by_split": list(count.by_split),
        "windows": count.windows,
        "seconds": round(count.seconds, 1),
        "rows": [asdict(row) for row in count.rows],
    }


def _kept(file: Path, mark: Mapping[str, Any]) -> dict[str, Any] | None:
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    same = isinstance(kept, dict) and all(kept.get(name) == value for name, value in mark.items())
    return dict(kept["facts"]) if same else None


def _keep(file: Path, content: Mapping[str, Any]) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_file(file, json.dumps(content).encode())
    except OSError as error:
        raise TrainingError(
            f"the number of clusters cannot be kept in {str(file.parent)!r}: {error.strerror}",
            remedy="Make room, or give another --out",
        ) from error
