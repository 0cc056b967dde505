"""Clusters cut where their own motion changes slowly, and joined where little is lost: a search's last part.

A mixture cuts a cluster across its longest axis, which is often how people differ, or how vigorous they are.
What an activity is made of shows in time instead: of walking and stairs in one cluster, each lasts for a
while on every device.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from disc_stream.training.plus.candidates import average_over_time, reduced, standardise_by_device
from disc_stream.training.plus.config import PlusConfig
from disc_stream.training.plus.discriminant import DiscriminantFitter
from disc_stream.training.plus.persistence import Persistence
from disc_stream.training.plus.selection import CarryOver
from disc_stream.training.plus.slowness import lasting_directions
from disc_stream.types import IntArray

Array = npt.NDArray[np.float64]

_DIRECTIONS = 3  # of each cluster, that it is cut across
_SPAN = 2  # windows before and after, over which the place along a direction is averaged
_FEWEST = 100  # windows of a cluster that is cut
_LEAST_PART = 0.03
_TRIED = 12  # moves of a round that settle and are scored
_PER_CUT = 2  # of them, with the same cut
_GAIN = 1e-3  # nats; a round that gains less is the last one
_REG = 0.05  # of the mean variance: a cluster has fewer windows than all


@dataclass(frozen=True, slots=True)
class _Move:
    """One cluster cut in two, two others joined: its score, which cut it is, and the labels (n,)."""

    score: float
    cut: tuple[int, int]
    labels: IntArray


class Recutter:
    """Improves a labelling by cuts and joins, as long as more of it carries over.

    What carries over, and how labels settle, is told by descriptors that are standardised by device: a lean
    that one person always has then hides no posture.

    Args:
        components: (n, d) principal components; rows of one device in time order.
        x: (n, F) standardised descriptors of the same windows.
        devices: (n,).
        config: hyper-parameters.
        seed: of the folds.
    """

    def __init__(self, components: Array, x: Array, devices: IntArray, config: PlusConfig, seed: int) -> None:
        self._components, self._config = components, config
        self._names, self._device = np.unique(devices, return_inverse=True)
        alike = standardise_by_device(x, devices)
        fitter = DiscriminantFitter(alike, config.shrinkage)
        self._persistence = Persistence(alike, devices, fitter, config)
        self._carry_over = CarryOver(reduced(alike, config.most_scored), devices, config, seed)

    def rounds(self, labels: IntArray, n_clusters: int) -> Iterator[tuple[IntArray, float]]:
        """The labelling (n,) after each round and its score; none where the first one gains nothing."""
        best = self._carry_over.score(labels, n_clusters)
        for _ in range(self._config.recuts):
            found = self._best_move(labels, n_clusters)
            if found is None or found[1] < best + _GAIN:
                return
            labels, best = found
            yield found

    def _best_move(self, labels: IntArray, n_clusters: int) -> tuple[IntArray, float] | None:
        """Of the most promising moves, the one that carries over most once it has settled."""
        best: tuple[IntArray, float] | None = None
        tried: dict[tuple[int, int], int] = {}
        for move in sorted(self._moves(labels, n_clusters), key=lambda one: -one.score):
            if tried.get(move.cut, 0) == _PER_CUT:
                continue
            tried[move.cut] = tried.get(move.cut, 0) + 1
            if sum(tried.values()) > _TRIED:
                break
            settled = self._persistence.settle(move.labels, n_clusters)
            if settled is None:
                continue
            score = self._carry_over.score(settled, n_clusters)
            if best is None or score > best[1]:
                best = settled, score
        return best

    def _moves(self, labels: IntArray, n_clusters: int) -> Iterator[_Move]:
        """All moves, scored without being settled: a cut is predicted once, a join adds predictions up."""
        for cluster in range(n_clusters):
            for number, part in enumerate(self._cuts(labels == cluster)):
                cut = np.where(part, n_clusters, labels)
                tables = self._carry_over.tables(cut, n_clusters + 1)
                for a, b in combinations(range(n_clusters + 1), 2):
                    if (a, b) == (cluster, n_clusters):
                        continue
                    score = self._carry_over.information(_joined(tables, a, b))
                    yield _Move(score, (cluster, number), _relabelled(cut, a, b))

    def _cuts(self, inside: npt.NDArray[np.bool_]) -> Iterator[npt.NDArray[np.bool_]]:
        """Parts (n,) of a cluster (n,), across each of the directions that last longest within it."""
        if inside.sum() < _FEWEST:
            return
        n_devices = len(self._names)
        sums = np.zeros((n_devices, self._components.shape[1]))
        np.add.at(sums, self._device[inside], self._components[inside])
        counts = np.bincount(self._device[inside], minlength=n_devices)
        rows = self._components - (sums / np.maximum(counts, 1)[:, None])[self._device]
        found = lasting_directions(rows, self._device, self._config.slow_lags, inside=inside, floor=_REG)
        if found is None:
            return
        for axis in found[1].T[:_DIRECTIONS]:
            place = average_over_time((rows @ axis)[:, None], self._device, _SPAN)[:, 0]
            part = inside & (place > _threshold(place[inside]))
            if _LEAST_PART < part.sum() / inside.sum() < 1.0 - _LEAST_PART:
                yield part


def _threshold(values: Array) -> float:
    """Where two groups of values (n,) differ most in their means, for their sizes (Otsu 1979)."""
    ordered = np.sort(values)
    n, total = len(ordered), np.cumsum(ordered)
    below = np.arange(1, n)
    apart = total[:-1] / below - (total[-1] - total[:-1]) / (n - below)
    return float(ordered[np.argmax(below * (n - below) * np.square(apart))])


def _joined(tables: npt.NDArray[np.int64], a: int, b: int) -> npt.NDArray[np.int64]:
    """Tables (D, K, K) with cluster ``b`` added to ``a``, as (D, K - 1, K - 1)."""
    tables = tables.copy()
    tables[:, a] += tables[:, b]
    tables[:, :, a] += tables[:, :, b]
    return np.delete(np.delete(tables, b, 1), b, 2)


def _relabelled(labels: IntArray, a: int, b: int) -> IntArray:
    """Labels (n,) with cluster ``b`` joined to ``a``, and those above it one lower."""
    joined = np.where(labels == b, a, labels)
    return np.asarray(np.where(joined > b, joined - 1, joined), dtype=np.int64)
