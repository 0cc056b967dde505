"""The training windows that a bundle keeps, of those that its run has kept."""

from __future__ import annotations

import numpy as np

from disc_stream.artifacts.examples import Examples
from disc_stream.artifacts.runtime import Encoded
from disc_stream.clustering.exemplars import choose_exemplars, fit_projection
from disc_stream.types import Float32Array

MAX_BYTES = 2 << 20
"""Of windows, before they are packed; more are fewer for each cluster."""


def examples_of(samples: Float32Array, encoded: Encoded, centroids: Float32Array) -> Examples | None:
    """Windows near the centres and at the borders of the clusters, and the plane of the map.

    Args:
        samples: (n, T, C) real windows, as much of each as is read.
        encoded: what the network says of them.
        centroids: (K, D).

    Returns:
        None if there is no window that can be kept.
    """
    good = np.flatnonzero(np.isfinite(encoded.embedding).all(1) & np.isfinite(samples).all((1, 2)))
    if not len(good):
        return None
    q, embedding = encoded.q[good], encoded.embedding[good]
    chosen = choose_exemplars(q, encoded.distance[good])
    if (size := 2 * samples[0].size * len(chosen.chosen)) > MAX_BYTES:
        chosen = choose_exemplars(q, encoded.distance[good], MAX_BYTES / size)
    if not len(chosen.chosen):
        return None
    # All windows make the plane, not those alone that are kept: at the borders there are too few.
    plane = fit_projection(embedding, q.argmax(1))
    return Examples(
        samples[good][chosen.chosen], embedding[chosen.chosen], chosen.rows.astype(np.uint16), chosen.border,
        plane.mean, plane.axes, plane.place(centroids.astype(np.float32)),
    )  # fmt: skip
