"""A real bundle small enough to reason about: the embedding is the mean of the window."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from disc_stream.artifacts.manifest import ClusterInfo, Manifest, WindowInfo
from disc_stream.load.trivial import InputSpec, write_mean_bundle
from disc_stream.types import Channel

FS = 50.0
WINDOW = WindowInfo(samples=16, hop=8, input_samples=8)
CHANNELS = tuple(Channel(name, "m/s2") for name in ("acc_x", "acc_y", "acc_z"))
CENTROIDS = np.array([[0, 0, 0], [10, 0, 0], [0, 10, 0]], dtype=np.float32)
NAMES = ("rest", "left", "right")


def write_tiny_bundle(
    path: Path, names: Sequence[str] = NAMES, *, unknown_above: float | None = None
) -> Manifest:
    """Three clusters around (0, 0, 0), (10, 0, 0) and (0, 10, 0); q is Student's t."""
    clusters = [
        ClusterInfo(id=k, name=name, size=10, distance_q95=4.0 if k else None, unknown_above=unknown_above)
        for k, name in enumerate(names)
    ]
    return write_mean_bundle(path, "tiny", InputSpec(CHANNELS, FS, WINDOW), CENTROIDS, clusters)
