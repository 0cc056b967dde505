"""Agreement of clusters with known activities on a stream: the streaming twin of ``metrics.score``.

NMI, ACC and ARI depend on the contingency table alone, so a stream of any length needs no more memory than
that table. ``score_table`` computes them from a table, ``Agreement`` keeps one. AMI is left out: its
correction for chance takes time and memory in proportion to the number of windows.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from disc_stream.clustering.metrics import Labels

CountTable = npt.NDArray[np.int64]


def score_table(table: CountTable) -> dict[str, float]:
    """NMI, ACC and ARI of a contingency table; the same values as ``metrics.score`` of the pairs in it.

    Args:
        table: (n_activities, n_clusters) counts; rows and columns without counts do not matter.

    Returns:
        By name: ``nmi``, ``acc``, ``ari``.

    Raises:
        ValueError: if the table is not two-dimensional or holds no counts.

    Example:
        >>> score_table(np.array([[0, 2], [1, 1]]))["acc"]
        0.75
    """
    if table.ndim != 2 or not table.any():
        raise ValueError(f"a contingency table with counts is needed, got shape {table.shape}")
    used = table[table.any(axis=1)][:, table.any(axis=0)].astype(np.int64)
    return {"nmi": _nmi(used), "acc": _accuracy(used), "ari": _ari(used)}


class Agreement:
    """Counts how often each activity meets each cluster; memory does not grow with the stream.

    Args:
        n_activities: number of true activities.
        n_clusters: K.
    """

    def __init__(self, n_activities: int, n_clusters: int) -> None:
        self.table: CountTable = np.zeros((n_activities, n_clusters), dtype=np.int64)
        """(n_activities, n_clusters) counts."""

    def add(self, truth: int, cluster: int) -> None:
        """Count one window; O(1)."""
        self.table[truth, cluster] += 1

    def update(self, truth: Labels, clusters: Labels) -> None:
        """Count many windows: two arrays of the same length, (n,)."""
        np.add.at(self.table, (truth, clusters), 1)

    @property
    def windows(self) -> int:
        """How many were counted."""
        return int(self.table.sum())

    def score(self) -> dict[str, float] | None:
        """See ``score_table``; None if nothing was counted."""
        return score_table(self.table) if self.table.any() else None


def _accuracy(table: CountTable) -> float:
    """Share of windows on the best one-to-one mapping (Hungarian algorithm, doi:10.1002/nav.3800020109)."""
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(table, maximize=True)
    return float(table[rows, columns].sum() / table.sum())


def _entropy(counts: CountTable) -> float:
    """Shannon entropy in nats of a distribution given by positive counts."""
    share = counts / counts.sum()
    return float(-(share * np.log(share)).sum())


def _mutual_information(table: CountTable) -> float:
    """In nats; H(activities) + H(clusters) - H(both)."""
    both = _entropy(table[table > 0])
    return max(0.0, _entropy(table.sum(axis=1)) + _entropy(table.sum(axis=0)) - both)


def _nmi(table: CountTable) -> float:
    """2 I / (H(activities) + H(clusters)); 1 where both are constant."""
    if table.shape == (1, 1):
        return 1.0
    if 1 in table.shape:
        return 0.0
    return 2 * _mutual_information(table) / (_entropy(table.sum(axis=1)) + _entropy(table.sum(axis=0)))


def _pairs(counts: CountTable) -> int:
    """Number of pairs within each count, summed; Python integers do not overflow."""
    return sum(n * (n - 1) // 2 for n in counts.ravel().tolist())


def _ari(table: CountTable) -> float:
    """Adjusted Rand index (Hubert and Arabie 1985, doi:10.1007/BF01908075)."""
    together, rows, columns = _pairs(table), _pairs(table.sum(axis=1)), _pairs(table.sum(axis=0))
    n = int(table.sum())
    every = n * (n - 1) // 2
    if every == 0 or together == rows == columns:
        return 1.0
    expected = rows * columns / every
    return float((together - expected) / ((rows + columns) / 2 - expected))
