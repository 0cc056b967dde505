"""Centroids to start refinement from, found on the autoencoder's embeddings."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from disc_stream.clustering.distinct import count_distinct
from disc_stream.errors import TrainingError
from disc_stream.types import Float32Array, IntArray


def initial_centroids(
    z: Float32Array, n_clusters: int, *, init: str, seed: int, ward_sample: int
) -> Float32Array:
    """Centres of k-means, or means of Ward's clusters (Ward 1963, doi:10.1080/01621459.1963.10500845).

    Args:
        z: (n, d) embeddings.
        n_clusters: K.
        init: ``kmeans`` or ``ward``.
        seed: of k-means, and of Ward's sample.
        ward_sample: maximum number of embeddings that Ward's method is run on; K if that is more.

    Returns:
        (K, d).

    Raises:
        TrainingError: if fewer embeddings than clusters differ by more than rounding.
    """
    different = count_distinct(z, n_clusters)
    if different < n_clusters:
        raise TrainingError(
            f"the windows have only {different} different embeddings, too few for {n_clusters} clusters",
            remedy="Use fewer clusters, or more varied recordings",
        )
    points = z.astype(np.float64)
    if init == "kmeans":
        centroids = _kmeans(points, n_clusters, seed)
    else:
        chosen = np.random.default_rng(seed).permutation(len(points))[: max(ward_sample, n_clusters)]
        centroids = _ward_means(points[np.sort(chosen)], n_clusters)
    return centroids.astype(np.float32)


def nearest(z: Float32Array, centroids: Float32Array) -> IntArray:
    """Index of the nearest centroid for every row, (n, d) and (K, d) -> (n,)."""
    distance = np.square(z).sum(1)[:, None] - 2.0 * z @ centroids.T + np.square(centroids).sum(1)[None]
    return np.asarray(distance.argmin(1), dtype=np.int64)


def _kmeans(points: npt.NDArray[np.float64], n_clusters: int, seed: int) -> npt.NDArray[np.float64]:
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    # With several threads the order of summation, and so the last bit of the centres, changes between runs.
    with threadpool_limits(1, user_api="openmp"):
        model = KMeans(n_clusters, n_init=10, random_state=seed).fit(points)
    return np.asarray(model.cluster_centers_, dtype=np.float64)


def _ward_means(points: npt.NDArray[np.float64], n_clusters: int) -> npt.NDArray[np.float64]:
    from sklearn.cluster import AgglomerativeClustering

    if n_clusters == 1:
        return np.asarray(points.mean(0, keepdims=True))
    labels = AgglomerativeClustering(n_clusters, linkage="ward").fit_predict(points)
    return np.asarray([points[labels == k].mean(0) for k in range(n_clusters)], dtype=np.float64)


def farthest_region(z: Float32Array, labels: IntArray, centroids: Float32Array) -> Float32Array:
    """A centroid for a cluster that has lost its windows: where many windows are far from their own.

    Of the twentieth of all windows that are farthest from their centroid, those count that lie closest
    together: a lone outlier is far from everything and would be a cluster of one again.

    Args:
        z: (n, d) embeddings.
        labels: (n,).
        centroids: (K, d).

    Returns:
        (d,) mean of those windows.
    """
    far = np.square(z - centroids[labels]).sum(1)
    wanted = max(2, len(z) // (20 * len(centroids)))
    candidates = z[np.argsort(-far, kind="stable")[: max(2 * wanted, len(z) // 20)]].astype(np.float64)
    length = np.square(candidates).sum(1)
    apart = length[:, None] - 2.0 * candidates @ candidates.T + length
    nearest = np.argsort(apart, axis=1, kind="stable")[:, :wanted]
    densest = int(np.take_along_axis(apart, nearest, axis=1).sum(1).argmin())
    return np.asarray(candidates[nearest[densest]].mean(0), dtype=np.float32)
