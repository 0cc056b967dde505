"""The end-to-end methods: autoencoder, centroids on its embeddings, refinement of both."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from disc_stream.training.estimators.base import WindowClusterer
from disc_stream.training.events import Callback, ignore
from disc_stream.training.families import FAMILIES, Family
from disc_stream.training.fitting import FitOptions, Fitted, fit_clusters, infer
from disc_stream.training.presets import TrainingConfig, resolve
from disc_stream.training.pretrained import Pretrained
from disc_stream.training.windows import check_seed, check_windows
from disc_stream.types import Float32Array


class DeepClusterer(WindowClusterer):
    """Base of the deep methods.

    Args:
        n_clusters: K.
        preset: ``paper``, ``released`` or ``small``; see ``disc_stream.training.families``.
        random_state: same seed, same labels on the same machine; torch's global state is not touched.
        epochs: of autoencoder training, if not the preset's.
        refine_epochs: most epochs of refinement, if not the preset's.
        init: ``kmeans`` or ``ward``, if not the preset's.
        device: ``auto``, ``cpu`` or ``cuda``.
        settings: any other field of ``TrainingConfig`` or of its network, by name.

    Attributes:
        labels_: (n_windows,) int64, cluster of every training window.
        cluster_centers_: (K, d) float32, in embedding space.
        n_iter_: epochs run, both phases together.
        history_: one mapping per epoch, see ``EpochEvent``.
        config_: every hyper-parameter as used.
        net_: takes raw windows, or their first halves where the method encodes no more.
        n_samples_: T, samples of a window.
        n_channels_: C.
    """

    family_name: ClassVar[str]
    method_settings: ClassVar[Mapping[str, Any]] = {}  # what makes the method, before the user's settings

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

    @property
    def family(self) -> Family:
        """What it shares its autoencoder with."""
        return FAMILIES[self.family_name]

    def configuration(self) -> TrainingConfig:
        """Every hyper-parameter, from preset, method and settings.

        Raises:
            ConfigError: if one is not usable.
        """
        named = {"epochs": self.epochs, "refine_epochs": self.refine_epochs, "init": self.init}
        given = {name: value for name, value in named.items() if value is not None}
        chosen = {**self.method_settings, **(self.settings or {}), **given}
        return resolve(self.preset, chosen, self.family.presets)

    def fit(
        self,
        x: Any,
        y: Any = None,  # noqa: ARG002 - part of the convention; labels are never learned from
        *,
        devices: Any = None,  # noqa: ARG002 - for methods that know devices
        callback: Callback = ignore,
        checkpoints: Path | None = None,
        resume: bool = False,
        pretrained: Pretrained | None = None,
    ) -> Self:
        """Learn from windows without labels.

        Args:
            x: (n_windows, n_samples, n_channels), physical units; float32 is taken as it is.
            y: ignored.
            devices: ignored.
            callback: told of every batch and every epoch.
            checkpoints: folder to keep a checkpoint in.
            resume: go on from that checkpoint if it is there.
            pretrained: an autoencoder trained before on the same windows with the same settings and seed.

        Raises:
            ValueError: if ``x`` is not what it should be; says what it is.
            ConfigError: if a setting is not usable.
            TrainingError: if training cannot go on.
        """
        windows = self._checked_for_fit(x)
        check_seed(self.random_state)
        self.config_ = self.configuration()
        options = FitOptions(self.device, callback, checkpoints, resume)
        fitted = self._train(windows, options, pretrained)
        self._take(fitted, windows)
        return self

    def _train(self, windows: Float32Array, options: FitOptions, pretrained: Pretrained | None) -> Fitted:
        return fit_clusters(
            self.family, windows, self.n_clusters, self.config_, seed=self.random_state, options=options,
            pretrained=pretrained,
        )  # fmt: skip

    def _take(self, fitted: Fitted, windows: Float32Array) -> None:
        self.fitted_ = fitted
        self.net_ = fitted.net
        self.history_ = fitted.history
        self.n_iter_ = len(fitted.history)
        self.cluster_centers_ = fitted.centroids.numpy().copy()
        self.labels_ = self.predict(windows)

    def predict_proba(self, x: Any) -> Float32Array:
        """Soft assignment q of equation 13, (n_windows, K); ``x`` as in ``predict``."""
        return self._infer(x)[1]

    def transform(self, x: Any) -> Float32Array:
        """Embeddings (n_windows, d); ``x`` as in ``predict``."""
        return self._infer(x)[0]

    def _infer(self, x: Any) -> tuple[Float32Array, ...]:
        """Embeddings, soft assignments and distances of whole windows or of what is read of them."""
        inputs = self._inputs(x)
        return infer(self.net_, inputs)

    def _inputs(self, x: Any) -> Float32Array:
        check_is_fitted(self, "net_")
        n_input = self.family.input_samples(self.n_samples_)
        windows = check_windows(x)
        if windows.shape[1] not in (n_input, self.n_samples_) or windows.shape[2] != self.n_channels_:
            halves = f", or first halves of {n_input} samples" if n_input < self.n_samples_ else ""
            raise ValueError(
                f"x has shape {windows.shape}; expected (n_windows, {self.n_samples_}, {self.n_channels_}) "
                f"as in fit{halves}"
            )
        return np.ascontiguousarray(windows[:, :n_input])


class DISC(DeepClusterer):
    """Deep Inertial Sensory Clustering of motion windows.

    A bidirectional (convolutional) GRU encodes the first half of every window; two conditional decoders
    reconstruct that half, flipped in time, and predict the second half. Centroids found on the embeddings
    are then refined together with the network by cluster assignment hardening. (Amrani, Micucci, Napoletano:
    "Unsupervised Deep Learning-based clustering for Human Activity Recognition".) ``predict`` also takes
    first halves, (n_windows, n_samples // 2, n_channels), which are all that is read. Arguments and
    attributes are ``DeepClusterer``'s.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(40, 16, 3)).astype(np.float32)
        >>> disc = DISC(2, epochs=1, refine_epochs=1, settings={"hidden": 4, "embedding": 3})
        >>> disc.fit_predict(x).shape
        (40,)
    """

    family_name = "disc"


class DSC(DeepClusterer):
    """Deep Sensory Clustering (Abedin et al. 2020): DISC's networks with decoders that read nothing.

    Arguments and attributes are ``DeepClusterer``'s.
    """

    family_name = "dsc"


class DEC(DeepClusterer):
    """Deep Embedded Clustering (Xie et al. 2016).

    A stacked autoencoder, then the clustering loss alone: SGD at 0.01 with a momentum of 0.9, the target
    refreshed every 140 steps, until less than 0.1 % of the labels change (values of the public
    implementations). Arguments and attributes are ``DeepClusterer``'s.
    """

    family_name = "sae"
    method_settings: ClassVar[Mapping[str, Any]] = {
        "gamma": 1.0, "reconstruction": 0.0, "refine_optimizer": "sgd", "refine_learning_rate": 0.01,
    }  # fmt: skip


class IDEC(DeepClusterer):
    """Improved Deep Embedded Clustering (Guo et al. 2017): DEC that keeps its decoder, γ = 0.1, Adam at 1e-3.

    Arguments and attributes are ``DeepClusterer``'s.
    """

    family_name = "sae"


class DCEC(DeepClusterer):
    """Deep Convolutional Embedded Clustering (Guo et al. 2017): IDEC with a convolutional autoencoder.

    Takes windows of any length from 4 samples. Arguments and attributes are ``DeepClusterer``'s.
    """

    family_name = "cae"
