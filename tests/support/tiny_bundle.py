"""A real bundle small enough to reason about: the embedding is the mean of the window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from disc_stream.artifacts.curves import CURVES_FILE, curves_of, encode_curves
from disc_stream.artifacts.examples import EXAMPLES_FILE, Examples
from disc_stream.artifacts.manifest import ClusterInfo, Manifest, WindowInfo
from disc_stream.clustering.exemplars import choose_exemplars, fit_projection
from disc_stream.load.trivial import InputSpec, write_mean_bundle
from disc_stream.types import Channel

FS = 50.0
WINDOW = WindowInfo(samples=16, hop=8, input_samples=8)
CHANNELS = tuple(Channel(name, "m/s2") for name in ("acc_x", "acc_y", "acc_z"))
CENTROIDS = np.array([[0, 0, 0], [10, 0, 0], [0, 10, 0]], dtype=np.float32)
NAMES = ("rest", "left", "right")


def write_tiny_bundle(
    path: Path,
    names: Sequence[str] = NAMES,
    files: Mapping[str, bytes] | None = None,
    *,
    unknown_above: float | None = None,
) -> Manifest:
    """Three clusters around (0, 0, 0), (10, 0, 0) and (0, 10, 0); q is Student's t."""
    clusters = [
        ClusterInfo(id=k, name=name, size=10, distance_q95=4.0 if k else None, unknown_above=unknown_above)
        for k, name in enumerate(names)
    ]
    return write_mean_bundle(path, "tiny", InputSpec(CHANNELS, FS, WINDOW), CENTROIDS, clusters, files)


def for_people(examples: bytes | None = None) -> dict[str, bytes]:
    """Files that an export adds for people to look at."""
    kept = tiny_examples().to_bytes() if examples is None else examples
    return {EXAMPLES_FILE: kept, CURVES_FILE: encode_curves(curves_of(HISTORY))}


HISTORY = [
    {"phase": phase, "epoch": n + 1, "losses": {"total": 1.0 / (n + 1)}, "seconds": 1.0}
    for phase in ("pretrain", "refine")
    for n in range(6)
]


def tiny_examples() -> Examples:
    """Windows around the centroids, and some between the first and the others."""
    rng = np.random.default_rng(0)
    means = np.repeat(CENTROIDS, 20, axis=0)
    means[18::20] = means[19::20] = 0.45 * means[18::20] + 0.55 * CENTROIDS[[1, 0, 0]]
    x = (means[:, None] + rng.normal(0, 0.6, (60, WINDOW.input_samples, 3))).astype(np.float32)
    z = x.mean(1)
    distance = np.square(z[:, None] - CENTROIDS).sum(2)
    q = 1 / (1 + distance)
    q /= q.sum(1, keepdims=True)
    one, plane = choose_exemplars(q, distance), fit_projection(z, q.argmax(1))
    return Examples(
        x[one.chosen], z[one.chosen], one.rows.astype(np.uint16), one.border, plane.mean, plane.axes,
        plane.place(CENTROIDS),
    )  # fmt: skip
