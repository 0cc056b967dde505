"""Centroids to start refinement from, found on the autoencoder's embeddings."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

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
        ward_sample: most embeddings that Ward is run on; K if that is more.

    Returns:
        (K, d).

    Raises:
        TrainingError: if there are fewer different embeddings than clusters.
    """
    different = len(np.unique(z, axis=0))
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


def split_widest(z: Float32Array, labels: IntArray, seed: int) -> tuple[int, Float32Array]:
    """Cut the cluster with the largest sum of squares in two.

    Returns:
        The cluster, and two centroids (2, d) for its halves.
    """
    clusters = np.unique(labels)
    spread = [np.square(z[labels == k] - z[labels == k].mean(0)).sum() for k in clusters]
    widest = int(clusters[int(np.argmax(spread))])
    members = z[labels == widest]
    if len(np.unique(members, axis=0)) < 2:
        return widest, np.repeat(members[:1], 2, axis=0)
    return widest, _kmeans(members.astype(np.float64), 2, seed).astype(np.float32)
