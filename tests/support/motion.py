"""Small windows that fall into clear groups, for tests that train."""

from __future__ import annotations

import numpy as np

from disc_stream.types import Float32Array, IntArray

# cycles per window and amplitude of each group; the mean of the first channel tells them apart too
_GROUPS = ((1.0, 1.0, 2.0), (4.0, 2.0, 0.0), (0.0, 0.0, -2.0), (2.0, 3.0, 4.0))


def grouped_windows(
    n_groups: int = 3, per_group: int = 24, n_samples: int = 16, n_channels: int = 3, seed: int = 0
) -> tuple[Float32Array, IntArray]:
    """Windows (n, n_samples, n_channels) and the group (n,) of each, in a shuffled order."""
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.repeat(np.arange(n_groups), per_group))
    cycles, amplitude, mean = np.array(_GROUPS)[groups].T
    time = np.arange(n_samples) / n_samples
    phase = rng.uniform(0, 1, (len(groups), 1, n_channels))
    wave = np.sin(2 * np.pi * cycles[:, None, None] * time[None, :, None] + phase)
    x = amplitude[:, None, None] * wave + 0.1 * rng.normal(size=wave.shape)
    x[:, :, 0] += mean[:, None]
    return x.astype(np.float32), groups.astype(np.int64)


TINY = {"hidden": 6, "embedding": 4, "decoder_hidden": 6, "batch_size": 32, "frame": 1}
"""Settings of a network that trains in a fraction of a second."""


def walk_values(n: int) -> list[np.ndarray]:
    """Thirty pieces of n samples each, some like each of the tiny bundle's clusters."""
    rng = np.random.default_rng(3)
    means = np.array([[0, 0, 0], [10, 0, 0], [0, 10, 0]], dtype=np.float32)
    return [(means[(k // 5) % 3] + rng.normal(0, 2, (n, 3))).astype(np.float32) for k in range(30)]
