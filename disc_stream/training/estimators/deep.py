"""The end-to-end methods: autoencoder, centroids on its embeddings, refinement of both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from disc_stream.training.estimators.base import WindowClusterer
from disc_stream.training.families import Family
from disc_stream.training.fitting import infer
from disc_stream.training.presets import TrainingConfig
from disc_stream.training.pretrained import Pretrained
from disc_stream.training.recipes import convolutional, recurrent, stacked
from disc_stream.training.recipes.deep import DeepRecipe
from disc_stream.training.task import DEFAULT_OPTIONS, FitOptions, Task
from disc_stream.training.windows import check_seed, check_windows
from disc_stream.types import Float32Array


class DeepClusterer(WindowClusterer):
    """Base of the deep methods.

    Args:
        n_clusters: K.
        preset: ``paper``, ``released`` or ``small``; see ``disc_stream.training.presets``.
        random_state: same seed, same labels on the same machine; torch's global state is not touched.
        epochs: of autoencoder training, if not the preset's.
        refine_epochs: maximum number of refinement epochs, if not the preset's.
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

    recipe: ClassVar[DeepRecipe]

    def __init__(
        self,
        n_clusters: int,
        preset: str = "small",
        *,
        random_state: int = 0,
        epochs: int | None = None,
        refine_epochs: int | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.preset = preset
        self.random_state = random_state
        self.epochs = epochs
        self.refine_epochs = refine_epochs
        self.settings = settings

    @property
    def family(self) -> Family:
        """What it shares its autoencoder with."""
        return self.recipe.autoencoder

    def configuration(self) -> TrainingConfig:
        """Every hyper-parameter, from preset, method and settings.

        Raises:
            ConfigError: if one is not usable.
        """
        named = {"epochs": self.epochs, "refine_epochs": self.refine_epochs}
        given = {name: value for name, value in named.items() if value is not None}
        return self.recipe.resolve(self.preset, {**(self.settings or {}), **given})

    def facts(self) -> dict[str, Any]:
        """Also every hyper-parameter of the training."""
        return {**super().facts(), **self.configuration().to_dict()}

    def first_stage(self) -> tuple[Family, TrainingConfig] | None:
        """The family's autoencoder."""
        return self.family, self.configuration()

    def fit(
        self,
        x: Any,
        y: Any = None,  # noqa: ARG002
        *,
        devices: Any = None,  # noqa: ARG002
        options: FitOptions = DEFAULT_OPTIONS,
        pretrained: Pretrained | None = None,
    ) -> Self:
        """Train the autoencoder, unless ``pretrained`` is given, and refine; see ``WindowClusterer.fit``."""
        windows = self._checked_for_fit(x)
        task = Task(windows, self.n_clusters, check_seed(self.random_state))
        self.config_ = self.configuration()
        learned = self.recipe.fit(task, self.config_, options, pretrained)
        self.fitted_ = learned
        self.net_ = learned.net
        self.history_ = learned.history
        self.n_iter_ = len(learned.history)
        self.cluster_centers_ = learned.centroids.numpy().copy()
        self.labels_ = self.predict(windows)
        return self

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

    recipe = recurrent.DISC


class DSC(DeepClusterer):
    """Deep Sensory Clustering (Abedin et al. 2020): DISC's networks with decoders that read nothing.

    Arguments and attributes are ``DeepClusterer``'s.
    """

    recipe = recurrent.DSC


class DEC(DeepClusterer):
    """Deep Embedded Clustering (Xie et al. 2016).

    A stacked autoencoder, then the clustering loss alone: SGD at 0.01 with a momentum of 0.9, the target
    refreshed every 140 steps, until less than 0.1 % of the labels change (values of the public
    implementations). Arguments and attributes are ``DeepClusterer``'s.
    """

    recipe = stacked.DEC


class IDEC(DeepClusterer):
    """Improved Deep Embedded Clustering (Guo et al. 2017): DEC that keeps its decoder, γ = 0.1, Adam at 1e-3.

    Arguments and attributes are ``DeepClusterer``'s.
    """

    recipe = stacked.IDEC


class DCEC(DeepClusterer):
    """Deep Convolutional Embedded Clustering (Guo et al. 2017): IDEC with a convolutional autoencoder.

    Takes windows of any length from 4 samples. Arguments and attributes are ``DeepClusterer``'s.
    """

    recipe = convolutional.DCEC
