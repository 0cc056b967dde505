"""How many clusters: as many as two halves of the people agree on."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from disc_stream.errors import TrainingError
from disc_stream.training.events import BatchEvent, Callback, EpochEvent, ignore
from disc_stream.training.plus.climbing import Climber
from disc_stream.training.plus.config import PlusConfig
from disc_stream.training.plus.discriminant import DiscriminantFitter
from disc_stream.training.plus.fitting import components_of, describe_windows, scored_by
from disc_stream.training.plus.search import Search
from disc_stream.training.plus.searchlog import SearchLog
from disc_stream.training.task import Task
from disc_stream.types import Float32Array, IntArray

Array = npt.NDArray[np.float64]

PHASE = "number of clusters"
MOST = 20
_SPLITS = 3
_WINDOWS = 8_000  # that are looked at; of more, evenly spread blocks
_BLOCK = 32  # successive windows of a device
_LEAST = 4  # windows of a half
_REPRODUCED = 0.5  # F1 of a cluster and its counterpart
_SEARCH: dict[str, Any] = {
    "spans": (1, 5), "restarts": 3, "moves": 16, "patience": 8, "rounds": 1, "voters": 1,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class CountRow:
    """What a number of clusters would be.

    Args:
        n_clusters: K.
        net: sum over clusters of 2 F1 - 1, F1 being that of a cluster of one half and its counterpart of the
            other; the mean over the splits. A cluster that both halves find alike counts 1, one that only
            one of them finds counts -1.
        reproduced: clusters with an F1 of at least a half, the mean over the splits.
        agreement: share of the windows to which the two halves give the same cluster.
        least: the smallest F1 of a cluster, the mean over the splits.
        carry_over: nats that carry over to other people's next window, the mean over the halves; with too
            few people, the log-likelihood.
    """

    n_clusters: int
    net: float
    reproduced: float
    agreement: float
    least: float
    carry_over: float


@dataclass(frozen=True, slots=True)
class ClusterCount:
    """A number of clusters, and why.

    Args:
        chosen: K with the largest ``net``.
        rows: one for each K that was tried.
        by_split: K that each split alone would have chosen.
        halves: what was halved: ``people`` or ``time``.
        windows: number that was looked at.
        seconds: that it took.
    """

    chosen: int
    rows: tuple[CountRow, ...]
    by_split: tuple[int, ...]
    halves: str
    windows: int
    seconds: float

    def why(self) -> str:
        """One sentence for people."""
        row = next(row for row in self.rows if row.n_clusters == self.chosen)
        who = "two halves of the people" if self.halves == "people" else "two halves of the recording"
        return (
            f"{self.chosen} clusters: learned on {who}, {row.reproduced:.1f} of them are found by both, "
            f"which agree on {row.agreement:.0%} of the windows; splits alone say "
            f"{', '.join(map(str, self.by_split))}"
        )


def count_clusters(
    windows: Float32Array,
    devices: IntArray,
    *,
    seed: int = 0,
    most: int = MOST,
    callback: Callback = ignore,
) -> ClusterCount:
    """Try numbers of clusters, and take the one whose clusters two halves of the people reproduce best.

    For each K, labellings are found on two halves of the devices on their own. Both are taught to a
    discriminant and both label all windows; clusters of the two are matched one to one. This is prediction
    strength (Tibshirani and Walther 2005, doi:10.1198/106186005X59243) with people instead of windows left
    out, and with clusters counted instead of the worst one taken. What carries over to other people grows
    with K without end; what is found again by others does not.

    Args:
        windows: (n, T, C), checked, in physical units; windows of one device in time order.
        devices: (n,).
        seed: of the splits and the searches.
        most: largest K.
        callback: told of every K.

    Raises:
        TrainingError: if the windows do not even fall into two clusters.
    """
    began = time.perf_counter()
    config = PlusConfig(**_SEARCH)
    rows = spread_blocks(devices, _WINDOWS)
    devices = devices[rows]
    with threadpool_limits(1):
        x = describe_windows(windows[rows], config)[1]
        halves = [half for half in _halves(devices, seed) if min(half.sum(), (~half).sum()) >= _LEAST]
        splits = [_Split.of(x, devices, half, config, seed) for half in halves]
        found = _try_each(splits, most, callback) if splits else []
    if not found:
        raise TrainingError(
            "the windows do not fall into clusters that two halves of them both have",
            remedy="Give --clusters, or more varied recordings",
        )
    nets = np.array([[row.net for row in of_k] for of_k in found])  # (numbers of clusters, splits)
    table = tuple(_mean(of_k) for of_k in found)
    seconds = time.perf_counter() - began
    chosen = table[int(nets.mean(1).argmax())].n_clusters
    callback(EpochEvent(PHASE, 1, 1, {"clusters": float(chosen)}, 0.0, None, (), seconds, 0.0))
    return ClusterCount(
        chosen,
        table,
        tuple(table[best].n_clusters for best in nets.argmax(0)),
        "people" if len(np.unique(devices)) > 1 else "time",
        len(x),
        seconds,
    )


def spread_blocks(devices: IntArray, most: int) -> IntArray:
    """Rows of all devices, at most about ``most``: evenly spread blocks of successive windows of each."""
    every = -(-len(devices) // most)
    chosen = []
    for device in np.unique(devices):
        rows = np.flatnonzero(devices == device)
        chosen.append(rows[np.arange(len(rows)) // _BLOCK % every == 0])
    return np.concatenate(chosen)


def _try_each(splits: Sequence[_Split], most: int, callback: Callback) -> list[list[CountRow]]:
    """Rows of each split, for every K until one is too many for the windows or nothing gets better."""
    found: list[list[CountRow]] = []
    for n_clusters in range(2, most + 1):
        rows = [split.row(n_clusters) for split in splits]
        kept = [row for row in rows if row is not None]
        if len(kept) < len(rows):
            break
        found.append(kept)
        callback(BatchEvent(PHASE, 1, 1, n_clusters - 1, most - 1))
    return found


def _halves(devices: IntArray, seed: int) -> list[npt.NDArray[np.bool_]]:
    """Which rows are in the first half, for each split: of the people, or of the time of a single one."""
    names = np.unique(devices)
    if len(names) == 1:
        place = np.arange(len(devices)) * 4 // len(devices)  # quarters
        return [place < 2, place % 2 == 0]
    random = np.random.default_rng(seed)
    halves, seen = [], set()
    for _ in range(_SPLITS):
        chosen = np.sort(random.permutation(len(names))[: len(names) // 2])
        key = frozenset((tuple(chosen), tuple(np.setdiff1d(np.arange(len(names)), chosen))))
        if key not in seen:
            seen.add(key)
            halves.append(np.isin(devices, names[chosen]))
    return halves


@dataclass(frozen=True, slots=True)
class _Half:
    """What a labelling of one half is found with."""

    fitter: DiscriminantFitter
    search: Callable[[int], Search]

    @classmethod
    def of(cls, x: Array, devices: IntArray, config: PlusConfig, seed: int) -> _Half:
        components = components_of(x, devices, config, MOST)
        settings, score = scored_by(x, devices, config, seed)
        empty = np.empty((len(x), 1, 1), dtype=np.float32)

        def search(n_clusters: int) -> Search:
            return Search(components, devices, Task(empty, n_clusters, seed), settings, score, SearchLog())

        return cls(DiscriminantFitter(x, config.shrinkage), search)


@dataclass(frozen=True, slots=True)
class _Split:
    """Two halves of the windows."""

    x: Array
    halves: tuple[_Half, _Half]

    @classmethod
    def of(
        cls, x: Array, devices: IntArray, half: npt.NDArray[np.bool_], config: PlusConfig, seed: int
    ) -> _Split:
        one, other = (_Half.of(x[rows], devices[rows], config, seed) for rows in (half, ~half))
        return cls(x, (one, other))

    def row(self, n_clusters: int) -> CountRow | None:
        """How far the halves agree on K clusters; None if one of them has not so many."""
        labels, scores = [], []
        for half in self.halves:
            try:
                best = Climber(half.search(n_clusters), lambda _candidate, _kind: None).climb().best
            except (TrainingError, ValueError):  # fewer windows than clusters
                return None
            labels.append(half.fitter.fit(best.labels, n_clusters).predict(self.x))
            scores.append(best.score)
        both = np.bincount(labels[0] * n_clusters + labels[1], minlength=n_clusters**2)
        f1, same = matched_f1(both.reshape(n_clusters, n_clusters))
        reproduced = float((f1 >= _REPRODUCED).sum())
        net = float((2.0 * f1 - 1.0).sum())
        return CountRow(n_clusters, net, reproduced, same, float(f1.min()), float(np.mean(scores)))


def matched_f1(both: npt.NDArray[Any]) -> tuple[Array, float]:
    """F1 (K,) of clusters and their counterparts, and the share of windows in both, from a table (K, K)."""
    from scipy.optimize import linear_sum_assignment

    size = both.sum(1)[:, None] + both.sum(0)
    f1 = 2.0 * both / np.maximum(size, 1)
    pairs = linear_sum_assignment(f1, maximize=True)
    return f1[pairs], float(both[pairs].sum() / max(1, both.sum()))


def _mean(rows: Sequence[CountRow]) -> CountRow:
    columns = np.array([[row.net, row.reproduced, row.agreement, row.least, row.carry_over] for row in rows])
    return CountRow(rows[0].n_clusters, *columns.mean(0).tolist())
