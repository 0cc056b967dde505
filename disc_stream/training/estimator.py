"""DISC as a scikit-learn style estimator."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClusterMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from disc_stream.models.autoencoder import half
from disc_stream.training.events import Callback, ignore
from disc_stream.training.fitting import FitOptions, Fitted, fit_disc, infer
from disc_stream.training.presets import resolve
from disc_stream.training.windows import check_training_windows, check_windows
from disc_stream.types import Float32Array, IntArray


class DISC(TransformerMixin, ClusterMixin, BaseEstimator):  # type: ignore[misc]
    """Deep Inertial Sensory Clustering of motion windows.

    A bidirectional (convolutional) GRU encodes the first half of every window; two conditional decoders
    reconstruct that half, flipped in time, and predict the second half. Centroids found on the embeddings
    are then refined together with the network by cluster assignment hardening. (Amrani, Micucci, Napoletano:
    "Unsupervised Deep Learning-based clustering for Human Activity Recognition".)

    Args:
        n_clusters: K.
        preset: ``paper``, ``released`` or ``small``; see ``disc_stream.training.presets``.
        random_state: same seed, same labels on the same machine; torch's global state is not touched.
        epochs: of autoencoder training, if not the preset's.
        refine_epochs: most epochs of refinement, if not the preset's.
        init: ``kmeans`` or ``ward``, if not the preset's.
        device: ``auto``, ``cpu`` or ``cuda``.
        settings: any other field of ``TrainingConfig`` or ``NetworkConfig``, by name.

    Attributes:
        labels_: (n_windows,) int64, cluster of every training window.
        cluster_centers_: (K, d) float32, in embedding space.
        n_iter_: epochs run, both phases together.
        history_: one mapping per epoch, see ``EpochEvent``.
        config_: every hyper-parameter as used.
        net_: ``InferenceNet``; takes raw first halves of windows.
        n_samples_: T, samples of a window.
        n_channels_: C.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(40, 16, 3)).astype(np.float32)
        >>> disc = DISC(2, epochs=1, refine_epochs=1, settings={"hidden": 4, "embedding": 3})
        >>> disc.fit_predict(x).shape
        (40,)
    """

    def __init__(
        self,
        n_clusters: int,
        preset: str = "small",
        *,
        random_state: int = 0,
        epochs: int | None = None,
        refine_epochs: int | None = None,
        init: str | None = None,
        device: str = "auto",
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.preset = preset
        self.random_state = random_state
        self.epochs = epochs
        self.refine_epochs = refine_epochs
        self.init = init
        self.device = device
        self.settings = settings

    def fit(
        self,
        x: Any,
        y: Any = None,  # noqa: ARG002 - part of the convention; labels are never learned from
        *,
        callback: Callback = ignore,
        checkpoints: Path | None = None,
        resume: bool = False,
    ) -> Self:
        """Learn from windows without labels.

        Args:
            x: (n_windows, n_samples, n_channels), physical units; float32 is taken as it is.
            y: ignored.
            callback: told of every batch and every epoch.
            checkpoints: folder to keep a checkpoint in.
            resume: go on from that checkpoint if it is there.

        Raises:
            ValueError: if ``x`` is not what it should be; says what it is.
            ConfigError: if a setting is not usable.
            TrainingError: if training cannot go on.
        """
        windows = check_training_windows(x, self.n_clusters)
        named = {"epochs": self.epochs, "refine_epochs": self.refine_epochs, "init": self.init}
        self.config_ = resolve(self.preset, {**(self.settings or {}), **_given(named)})
        options = FitOptions(self.device, callback, checkpoints, resume)
        fitted = fit_disc(windows, self.n_clusters, self.config_, seed=self.random_state, options=options)
        self._take(fitted, windows)
        return self

    def _take(self, fitted: Fitted, windows: Float32Array) -> None:
        self.fitted_ = fitted
        self.net_ = fitted.net
        self.history_ = fitted.history
        self.n_iter_ = len(fitted.history)
        self.cluster_centers_: Float32Array = fitted.centroids.numpy().copy()
        self.n_samples_, self.n_channels_ = windows.shape[1:]
        self.labels_: IntArray = self.predict(windows)

    def predict(self, x: Any) -> IntArray:
        """Cluster of every window, (n_windows,).

        Args:
            x: as in ``fit``; or only the first halves, (n_windows, n_samples // 2, n_channels), which are
                all that is read.

        Raises:
            ValueError: if ``x`` does not fit what was learned from.
        """
        return np.asarray(self.predict_proba(x).argmax(1), dtype=np.int64)

    def predict_proba(self, x: Any) -> Float32Array:
        """Soft assignment q of equation 13, (n_windows, K); ``x`` as in ``predict``."""
        return self._infer(x)[1]

    def transform(self, x: Any) -> Float32Array:
        """Embeddings (n_windows, d); ``x`` as in ``predict``."""
        return self._infer(x)[0]

    def _infer(self, x: Any) -> tuple[Float32Array, ...]:
        """Embeddings, soft assignments and distances of whole windows or of their first halves."""
        check_is_fitted(self, "net_")
        windows = check_windows(x)
        n_input = half(self.n_samples_)
        if windows.shape[1] not in (n_input, self.n_samples_) or windows.shape[2] != self.n_channels_:
            raise ValueError(
                f"x has shape {windows.shape}; expected (n_windows, {self.n_samples_}, {self.n_channels_}) "
                f"as in fit, or first halves of {n_input} samples"
            )
        return infer(self.net_, windows[:, :n_input])


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
