"""Which candidate to take: the one that says most about other people's future."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from disc_stream.training.plus.config import PlusConfig
from disc_stream.training.plus.discriminant import DiscriminantFitter
from disc_stream.types import IntArray

Array = npt.NDArray[np.float64]


class CarryOver:
    """Scores labellings by the information that carries over, to other devices and to the next window.

    A discriminant that has seen only other devices predicts each window's label from its descriptors. The
    score is the mutual information, within each device, between a window's label and the prediction for the
    window ``lag`` later, in nats, averaged over windows. Labels that only tell devices apart score nothing
    (they do not vary within a device), nor do those that do not last, or that mean something else on others.

    Args:
        x: (n, F) standardised descriptors of single windows, not standardised by device.
        devices: (n,), rows of one device in time order.
        config: hyper-parameters.
        seed: of the folds.
    """

    def __init__(self, x: Array, devices: IntArray, config: PlusConfig, seed: int) -> None:
        self._x = x
        self._lag = config.lag
        self._rows = [np.flatnonzero(devices == device) for device in np.unique(devices)]
        order = np.random.default_rng(seed).permutation(len(self._rows))
        self._held_out = [
            np.concatenate([self._rows[i] for i in part])
            for part in np.array_split(order, min(config.folds, len(order)))
        ]
        self._fitters = []
        for rows in self._held_out:
            seen = np.setdiff1d(np.arange(len(x)), rows)
            self._fitters.append((seen, DiscriminantFitter(x[seen], config.shrinkage)))

    def score(self, labels: IntArray, n_clusters: int) -> float:
        """Nats per window that carry over; ``labels`` is (n,)."""
        return self.information(self.tables(labels, n_clusters))

    def tables(self, labels: IntArray, n_clusters: int) -> npt.NDArray[np.int64]:
        """How often each label meets each prediction for the window ``lag`` later, (devices, K, K)."""
        predicted = np.empty_like(labels)
        for held_out, (seen, fitter) in zip(self._held_out, self._fitters, strict=True):
            predicted[held_out] = fitter.fit(labels[seen], n_clusters).predict(self._x[held_out])
        tables = np.zeros((len(self._rows), n_clusters, n_clusters), dtype=np.int64)
        for number, rows in enumerate(self._rows):
            if len(rows) > self._lag:
                now, later = labels[rows[: len(rows) - self._lag]], predicted[rows[self._lag :]]
                counts = np.bincount(now * n_clusters + later, minlength=n_clusters**2)
                tables[number] = counts.reshape(n_clusters, n_clusters)
        return tables

    def information(self, tables: npt.NDArray[np.int64]) -> float:
        """What ``score`` makes of ``tables``."""
        total = 0.0
        for rows, table in zip(self._rows, tables, strict=True):
            if table.any():
                total += len(rows) * information_of(table)
        return total / len(self._x)


def mutual_information(a: IntArray, b: IntArray, n_clusters: int) -> float:
    """I(a; b) in nats of two labellings (n,) with labels 0 to K - 1."""
    return information_of(np.bincount(a * n_clusters + b, minlength=n_clusters**2).reshape(n_clusters, -1))


def information_of(table: npt.NDArray[np.int64]) -> float:
    """Mutual information in nats of a table of counts (K, K)."""
    joint = table / table.sum()
    independent = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    there = joint > 0
    return float((joint[there] * np.log(joint[there] / independent[there])).sum())
