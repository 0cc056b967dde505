"""The majority of several labellings whose clusters have no common numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from disc_stream.types import IntArray

_ROUNDS = 4


def majority(labellings: Sequence[IntArray], n_clusters: int) -> IntArray:
    """Each window's most frequent cluster; clusters of different labellings are matched one to one.

    The first labelling is what the others are matched to, then the majority so far (Dudoit and Fridlyand
    2003, doi:10.1093/bioinformatics/btg038, vote likewise). Of equally frequent clusters the lowest wins.

    Args:
        labellings: each (n,), the best first.
        n_clusters: K.

    Returns:
        (n,), or the first labelling where the majority leaves a cluster without windows.
    """
    chosen = labellings[0]
    for _ in range(_ROUNDS):
        votes = np.zeros((len(chosen), n_clusters))
        for labels in labellings:
            votes[np.arange(len(chosen)), _matched(labels, chosen, n_clusters)] += 1.0
        before, chosen = chosen, votes.argmax(1).astype(np.int64)
        if np.array_equal(before, chosen):
            break
    return chosen if len(np.unique(chosen)) == n_clusters else labellings[0]


def _matched(labels: IntArray, to: IntArray, n_clusters: int) -> IntArray:
    from scipy.optimize import linear_sum_assignment

    both = np.bincount(labels * n_clusters + to, minlength=n_clusters**2).reshape(n_clusters, n_clusters)
    name = linear_sum_assignment(both, maximize=True)[1].astype(np.int64)
    matched: IntArray = name[labels]
    return matched
