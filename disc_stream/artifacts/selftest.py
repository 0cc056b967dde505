"""The windows that a bundle carries to test itself, and what its network said of them in double precision.

``selftest.f32`` is little-endian float32, window after window: the samples (input_samples · C), the embedding
(D), q (K) and the squared distances (K). The sizes are the manifest's, so the file has no header to be
believed. The windows are synthetic: a bundle goes to many places, and nobody's motion goes with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from disc_stream.artifacts.agreement import Differences, radius
from disc_stream.artifacts.catalogue import Catalogue
from disc_stream.artifacts.manifest import Manifest
from disc_stream.artifacts.runtime import OUTPUTS, Encoded
from disc_stream.errors import BundleError
from disc_stream.types import Float32Array

SELFTEST_FILE = "selftest.f32"
MAX_WINDOWS = 4096

TOLERANCE = 2e-3
"""Of a cluster's radius (``agreement.Differences``), and of q: twice what an export is held to, for this
machine's kernels round otherwise than those of the export."""


@dataclass(frozen=True, slots=True)
class SelfTest:
    """Windows, and what is expected of them.

    Args:
        windows: (N, input_samples, C).
        expected: outputs in double precision, rounded once.
    """

    windows: Float32Array
    expected: Encoded

    def to_bytes(self) -> bytes:
        """The content of ``selftest.f32``."""
        outputs = [getattr(self.expected, name) for name in OUTPUTS]
        rows = np.concatenate([self.windows.reshape(len(self.windows), -1), *outputs], axis=1)
        return rows.astype("<f4").tobytes()

    @classmethod
    def of_bytes(cls, data: bytes, manifest: Manifest, what: str) -> SelfTest:
        """Read ``selftest.f32``.

        Raises:
            BundleError: if its length is not that of so many windows, or a value is not finite.
        """
        shape = (manifest.window.input_samples, len(manifest.channels))
        sizes = [shape[0] * shape[1], manifest.embedding_dim, manifest.n_clusters, manifest.n_clusters]
        n, rest = divmod(len(data), 4 * sum(sizes))
        if rest or not 1 <= n <= MAX_WINDOWS:
            raise BundleError(
                f"{SELFTEST_FILE} of {what} has {len(data)} bytes, which are not those of whole windows",
                remedy="Export it again",
            )
        rows = np.frombuffer(data, dtype="<f4").astype(np.float32).reshape(n, -1)
        if not np.isfinite(rows).all():
            raise BundleError(
                f"{SELFTEST_FILE} of {what} holds a value that is not finite", remedy="Export it again"
            )
        x, *outputs = np.split(rows, np.cumsum(sizes)[:-1], axis=1)
        return cls(np.ascontiguousarray(x.reshape(n, *shape)), Encoded(*outputs))

    def differences(self, got: Encoded, catalogue: Catalogue) -> Differences:
        """How an answer to the windows differs from what is expected.

        The radius is that of the training windows, by the catalogue where that knows it.
        """
        known = [c.distance_q95 for c in catalogue.clusters if c.distance_q95 is not None]
        unit = 0.5 * float(np.sqrt(np.median(known))) if known else radius(self.expected)
        return Differences.between(got, self.expected, max(unit, float(np.finfo(np.float32).tiny)))


def synthetic_windows(
    n: int, shape: tuple[int, int], level: Float32Array, spread: Float32Array
) -> Float32Array:
    """Windows (n, T, C) from stillness to three times the usual motion, slow and fast; alike every time.

    Args:
        n: how many.
        shape: (T, C).
        level: (C,) usual mean of each channel.
        spread: (C,) usual deviation of each channel.
    """
    random = np.random.default_rng(0)
    length, channels = shape
    time = np.arange(length)[:, None] / length
    windows = []
    for strength in np.resize([0.0, 0.03, 0.1, 0.3, 0.6, 1.0, 1.5, 3.0], n):
        turns = random.uniform(0.5, max(1.0, length / 4), channels)
        wave = np.sqrt(2.0) * np.sin(2 * np.pi * (turns * time + random.uniform(size=channels)))
        moving = 0.8 * wave + 0.6 * random.normal(size=(length, channels))
        windows.append(level + spread * (random.normal(size=channels) + strength * moving))
    return np.asarray(windows, dtype=np.float32)


def hard_windows(shape: tuple[int, int], like: Float32Array | None = None) -> Float32Array:
    """Windows (N, T, C) that sensors give when they rest, fail or saturate, for which outputs must be finite.

    Args:
        shape: (T, C).
        like: (n, T, C) usual windows, of which some are made with a dead channel or a spike.
    """
    limit = float(np.finfo(np.float32).max)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], shape)
    parts = [np.full(shape, value) for value in (0.0, 1.0, -1.0, 1e6, -1e6, limit, -limit)]
    parts += [signs * 1e-20, signs, signs * 1e6, signs * limit]
    for window in () if like is None else like[:8]:
        dead, spiked = window.copy(), window.copy()
        dead[:, len(parts) % shape[1]] = 0.0
        spiked[shape[0] // 2] = 1e6
        parts += [dead, spiked, np.broadcast_to(window[:1], shape)]
    return np.asarray(parts, dtype=np.float32)
