"""Runs a bundle's graph, without torch."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from disc_stream.artifacts.bundle import Bundle
from disc_stream.artifacts.runtimes.buckets import run_padded
from disc_stream.artifacts.runtimes.choosing import choose
from disc_stream.artifacts.runtimes.cpus import usable_cpus
from disc_stream.artifacts.runtimes.opening import open_session
from disc_stream.artifacts.runtimes.session import OUTPUTS, Concrete, Provider
from disc_stream.errors import ConfigError, StreamMismatchError
from disc_stream.types import Float32Array, IntArray

__all__ = ["OUTPUTS", "Encoded", "OnnxEncoder", "Provider", "measures_from"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Encoded:
    """What the encoder says of B windows; D dimensions, K clusters.

    Args:
        embedding: (B, D) float32.
        q: (B, K) float32, Student-t soft assignment; rows sum to 1.
        distance: (B, K) float32, squared Euclidean distance to each centroid.
    """

    embedding: Float32Array
    q: Float32Array
    distance: Float32Array

    def __len__(self) -> int:
        return len(self.q)

    @property
    def labels(self) -> IntArray:
        """(B,) row of the most probable cluster of each window; its public id is the catalogue's to say."""
        best: IntArray = np.argmax(self.q, axis=1).astype(np.int64, copy=False)
        return best


class OnnxEncoder:
    """The encoder of a bundle, ready to run; safe to call from several threads.

    Windows are encoded independently of each other: one that holds NaN spoils its own row alone.

    Args:
        bundle: whose graph to run.
        provider: ``cpu`` and ``cuda`` are onnxruntime, ``openvino`` and ``openvino-bf16`` OpenVINO on the
            processor, ``numpy`` needs neither and runs graphs without a recurrence; one that cannot be had
            is an error, never a silent fall-back. ``auto`` measures once for each model and machine which of
            the others at hand is fastest (``runtimes.choosing``).
        threads: of one call on the processor; None for as many as this process may use.

    Raises:
        MissingExtraError: if the provider's runtime is not installed.
        ConfigError: if the provider is unknown or not available, or ``threads`` is not positive.
        BundleError: if the graph cannot be loaded or is not what the manifest says.
    """

    def __init__(self, bundle: Bundle, provider: Provider = "auto", threads: int | None = None) -> None:
        if provider not in get_args(Provider):
            raise ConfigError(
                f"provider {provider!r} is not known", remedy=f"Use one of: {', '.join(get_args(Provider))}"
            )
        if threads is not None and threads < 1:
            raise ConfigError(f"threads must be at least 1, got {threads}", remedy="Use 1 or more")
        self._window = bundle.manifest.window.input_samples
        self._channels = len(bundle.manifest.channels)
        self._sizes = (bundle.manifest.embedding_dim, bundle.manifest.n_clusters)
        self.threads = usable_cpus() if threads is None else threads
        self._session = (
            choose(bundle, self.threads)
            if provider == "auto"
            else open_session(bundle, provider, self.threads)
        )
        self.provider: Concrete = self._session.provider
        _log.info("model %s runs on %s with %d threads", bundle.version, self.provider, self.threads)

    def warm_up(self, max_batch: int) -> None:
        """Run zeros in every size that batches of at most ``max_batch`` windows are padded to.

        The first batch of a shape takes longer than later ones; a device should not wait for it.
        """
        self._session.warm_up((self._window, self._channels), max_batch)

    def encode(self, x: Float32Array) -> Encoded:
        """Encode windows.

        Args:
            x: (B, input_samples, C) float32 in the manifest's units and channel order; B may be 0.

        Raises:
            StreamMismatchError: with reason ``dtype``, ``channels`` or ``window`` if ``x`` does not fit.
        """
        self._check_input(x)
        if len(x) == 0:
            dim, k = self._sizes
            return Encoded(*(np.empty((0, n), dtype=np.float32) for n in (dim, k, k)))
        return Encoded(*run_padded(self._session, x))

    def _check_input(self, x: npt.NDArray[Any]) -> None:
        if x.dtype != np.float32:
            raise StreamMismatchError("dtype", f"the encoder takes float32 samples, not {x.dtype}")
        wanted = f"(B, {self._window}, {self._channels})"
        if x.ndim != 3 or x.shape[2] != self._channels:
            raise StreamMismatchError("channels", f"the encoder takes {wanted} samples, not {x.shape}")
        if x.shape[1] != self._window:
            raise StreamMismatchError("window", f"the encoder takes {wanted} samples, not {x.shape}")


def measures_from(
    encode: Callable[[Float32Array], Encoded], x: Float32Array, centroids: Float32Array
) -> bool:
    """Whether an encoder's distances are those from its embeddings to these centroids.

    Args:
        encode: the encoder.
        x: (B, input_samples, C), windows to try it with.
        centroids: (K, d).
    """
    found = encode(x)
    expected = np.square(found.embedding[:, None, :] - centroids).sum(2)
    scale = max(float(np.abs(expected).max(initial=0.0)), 1e-6)
    return bool(np.allclose(found.distance, expected, rtol=1e-3, atol=1e-4 * scale))
