"""What all clusterers of windows have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClusterMixin, TransformerMixin, clone
from sklearn.utils.validation import check_is_fitted

from disc_stream.clustering.assignment import soft_assignment
from disc_stream.clustering.smoothing import likelihood_exponent
from disc_stream.training.families import Family
from disc_stream.training.presets import TrainingConfig
from disc_stream.training.pretrained import Pretrained
from disc_stream.training.task import DEFAULT_OPTIONS, FitOptions
from disc_stream.training.windows import check_training_windows, check_windows
from disc_stream.types import Float32Array, IntArray

_ROWS = 512


class WindowClusterer(TransformerMixin, ClusterMixin, BaseEstimator, ABC):  # type: ignore[misc]
    """Base of the clusterers: checks of the input, and labels from soft assignments.

    Windows are (n_windows, n_samples, n_channels), in physical units. After ``fit``:

    Attributes:
        labels_: (n_windows,) int64, cluster of every training window.
        cluster_centers_: (K, d) float32.
        n_samples_: T, samples of a window.
        n_channels_: C.
    """

    n_clusters: int
    labels_: IntArray
    cluster_centers_: Float32Array
    n_samples_: int
    n_channels_: int

    @abstractmethod
    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        devices: Any = None,
        options: FitOptions = DEFAULT_OPTIONS,
        pretrained: Pretrained | None = None,
    ) -> Self:
        """Learn from windows without labels.

        Args:
            x: (n_windows, n_samples, n_channels), physical units; float32 is taken as it is.
            y: ignored; part of the convention, labels are never learned from.
            devices: (n_windows,) whole numbers, which device each window came from; windows of one device in
                time order. Only methods that know devices look at them; None: all from one.
            options: device, callback and checkpoints of a training; not used where nothing is trained.
            pretrained: an autoencoder trained before on the same windows with the same settings and seed;
                only for methods that have one.

        Raises:
            ValueError: if ``x`` or ``devices`` is not what it should be; says what it is.
            ConfigError: if a setting is not usable.
            TrainingError: if training cannot go on.
        """

    def facts(self) -> dict[str, Any]:
        """Every hyper-parameter, for a record.

        Raises:
            ConfigError: if one is not usable.
        """
        return {"estimator": type(self).__name__}

    def training_facts(self) -> dict[str, Any] | None:
        """What the training depends on, where estimators that differ in other things share it; else None."""
        return None

    def first_stage(self) -> tuple[Family, TrainingConfig] | None:
        """The autoencoder that other methods of the family share, and its settings; None without one."""
        return None

    def group_again(self, x: Any) -> IntArray:
        """Labels (n,) of a clustering of other windows afresh, as the paper does for some test figures."""
        labels: IntArray = clone(self).fit(x).labels_
        return labels

    def predict(self, x: Any) -> IntArray:
        """Cluster of every window, (n_windows,).

        Args:
            x: as in ``fit``.

        Raises:
            ValueError: if ``x`` does not fit what was learned from.
        """
        return np.asarray(self.predict_proba(x).argmax(1), dtype=np.int64)

    def predict_proba(self, x: Any) -> Float32Array:
        """Soft assignment q of equation 13 to ``cluster_centers_``, (n_windows, K)."""
        z = self.transform(x)
        parts = np.array_split(z, -(-len(z) // _ROWS))  # the differences to all centres take much memory
        return np.concatenate([soft_assignment(part, self.cluster_centers_) for part in parts])

    @property
    def likelihood_exponent_(self) -> float:
        """Power of q that is the likelihood of a window."""
        return likelihood_exponent(self.cluster_centers_.shape[1])

    @abstractmethod
    def transform(self, x: Any) -> Float32Array:
        """What the windows are clustered by, (n_windows, d); ``x`` as in ``predict``."""

    def _checked_for_fit(self, x: Any) -> Float32Array:
        windows = check_training_windows(x, self.n_clusters)
        self.n_samples_, self.n_channels_ = windows.shape[1:]
        return windows

    def _checked(self, x: Any) -> Float32Array:
        check_is_fitted(self, "n_samples_")
        windows = check_windows(x)
        if windows.shape[1:] != (self.n_samples_, self.n_channels_):
            raise ValueError(
                f"x has shape {windows.shape}; "
                f"expected (n_windows, {self.n_samples_}, {self.n_channels_}) as in fit"
            )
        return windows
