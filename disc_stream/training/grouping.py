"""k-means and agglomerative clustering of vectors, repeatable to the bit."""

from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from disc_stream.clustering.distinct import count_distinct
from disc_stream.types import Float32Array, IntArray

LINKAGES = ("average", "complete", "ward")
ALGORITHMS = ("kmeans", *LINKAGES)


def group(x: Float32Array, n_clusters: int, algorithm: str, seed: int) -> IntArray:
    """Cluster vectors.

    Args:
        x: (n, d).
        n_clusters: K.
        algorithm: ``kmeans`` (best of ten starts), or the linkage of agglomerative clustering.
        seed: of k-means.

    Returns:
        (n,) labels 0 to K - 1.

    Raises:
        ValueError: if fewer vectors than clusters differ by more than rounding, or there are too many for the
            linkage's memory.
    """
    from sklearn.cluster import AgglomerativeClustering, KMeans

    different = count_distinct(x, n_clusters)
    if different < n_clusters:
        raise ValueError(f"x has {different} different rows; expected at least n_clusters={n_clusters}")
    if algorithm == "kmeans":
        # With several threads the order of summation, and so the last bit of the centres, changes.
        with threadpool_limits(1, user_api="openmp"):
            labels = KMeans(n_clusters, n_init=10, random_state=seed).fit_predict(x)
    else:
        labels = AgglomerativeClustering(n_clusters, linkage=algorithm).fit_predict(x)
    return np.asarray(labels, dtype=np.int64)


def cluster_means(x: Float32Array, labels: IntArray, n_clusters: int) -> Float32Array:
    """Mean of every cluster, (K, d)."""
    means = [x[labels == k].mean(0, dtype=np.float64) for k in range(n_clusters)]
    return np.asarray(means, dtype=np.float32)
