"""Agreement of clusters with known activities: ACC, NMI, ARI, AMI.

Every measure takes the true labels and the clusters of the same windows, in any numbering.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.integer]


def contingency(truth: Labels, clusters: Labels) -> npt.NDArray[np.int64]:
    """How often each label meets each cluster: (n_labels, n_clusters) counts, in sorted order of both.

    Raises:
        ValueError: if the two differ in length or are empty.
    """
    if truth.shape != clusters.shape or truth.ndim != 1 or len(truth) == 0:
        raise ValueError(
            f"truth and clusters must be equally long and not empty, got {truth.shape} and {clusters.shape}"
        )
    _, rows = np.unique(truth, return_inverse=True)
    _, columns = np.unique(clusters, return_inverse=True)
    table = np.zeros((rows.max() + 1, columns.max() + 1), dtype=np.int64)
    np.add.at(table, (rows, columns), 1)
    return table


def accuracy(truth: Labels, clusters: Labels) -> float:
    """ACC, equation 18: the share of windows that agree under the best one-to-one mapping.

    The mapping is found by the Hungarian algorithm (Kuhn 1955, doi:10.1002/nav.3800020109).

    Example:
        >>> accuracy(np.array([0, 0, 1, 1]), np.array([5, 5, 3, 5]))
        0.75
    """
    from scipy.optimize import linear_sum_assignment

    table = contingency(truth, clusters)
    rows, columns = linear_sum_assignment(table, maximize=True)
    return float(table[rows, columns].sum() / len(truth))


def nmi(truth: Labels, clusters: Labels) -> float:
    """Normalised mutual information, equation 19: 2 I(y, c) / (H(y) + H(c))."""
    from sklearn.metrics import normalized_mutual_info_score

    return float(normalized_mutual_info_score(truth, clusters, average_method="arithmetic"))


def ari(truth: Labels, clusters: Labels) -> float:
    """Adjusted Rand index (Hubert and Arabie 1985, doi:10.1007/BF01908075)."""
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(truth, clusters))


def ami(truth: Labels, clusters: Labels) -> float:
    """Mutual information adjusted for chance (Vinh et al. 2010, JMLR 11), arithmetic mean."""
    from sklearn.metrics import adjusted_mutual_info_score

    return float(adjusted_mutual_info_score(truth, clusters, average_method="arithmetic"))


def score(truth: Labels, clusters: Labels) -> dict[str, float]:
    """All four, by name."""
    return {
        "nmi": nmi(truth, clusters),
        "acc": accuracy(truth, clusters),
        "ari": ari(truth, clusters),
        "ami": ami(truth, clusters),
    }
