"""Traditional clustering on the space of an autoencoder that was trained without clusters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from disc_stream.training.estimators.base import WindowClusterer
from disc_stream.training.families import Family
from disc_stream.training.fitting import infer, network_of, pretrain
from disc_stream.training.grouping import ALGORITHMS, cluster_means, group
from disc_stream.training.presets import TrainingConfig, resolve
from disc_stream.training.pretrained import Pretrained, stage_one
from disc_stream.training.recipes import get_family
from disc_stream.training.task import DEFAULT_OPTIONS, FitOptions
from disc_stream.training.windows import check_seed
from disc_stream.types import Float32Array, IntArray


class SpaceClusterer(WindowClusterer):
    """k-Means or agglomerative clustering of the embeddings of DSC's or DISC's autoencoder.

    Args:
        n_clusters: K.
        family: ``disc`` or ``dsc`` (``sae`` and ``cae`` work too).
        algorithm: ``kmeans``, ``average``, ``complete`` or ``ward``.
        preset: ``paper``, ``released`` or ``small``.
        random_state: same seed, same labels on the same machine.
        settings: any field of ``TrainingConfig`` or of its network, by name.

    Attributes:
        labels_: (n_windows,) int64, cluster of every training window.
        cluster_centers_: (K, d) float32, means of the clusters.
        history_: one mapping per epoch.
        config_: every hyper-parameter as used.
    """

    def __init__(
        self,
        n_clusters: int,
        family: str = "disc",
        algorithm: str = "kmeans",
        preset: str = "small",
        *,
        random_state: int = 0,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.family = family
        self.algorithm = algorithm
        self.preset = preset
        self.random_state = random_state
        self.settings = settings

    def configuration(self) -> TrainingConfig:
        """Every hyper-parameter of the autoencoder.

        Raises:
            ConfigError: if one is not usable.
        """
        return resolve(self.preset, self.settings, get_family(self.family).presets)

    def facts(self) -> dict[str, Any]:
        """Also what the space depends on, and the algorithm."""
        config = stage_one(self.configuration().to_dict())
        return {**super().facts(), "family": self.family, "algorithm": self.algorithm, **config}

    def first_stage(self) -> tuple[Family, TrainingConfig] | None:
        """The family's autoencoder."""
        return get_family(self.family), self.configuration()

    def fit(
        self,
        x: Any,
        y: Any = None,  # noqa: ARG002
        *,
        devices: Any = None,  # noqa: ARG002
        options: FitOptions = DEFAULT_OPTIONS,
        pretrained: Pretrained | None = None,
    ) -> Self:
        """Train the autoencoder, unless ``pretrained`` is given, and cluster its embeddings.

        See ``WindowClusterer.fit``.
        """
        windows = self._checked_for_fit(x)
        if self.algorithm not in ALGORITHMS:
            raise ValueError(f"algorithm must be one of {', '.join(ALGORITHMS)}, got {self.algorithm!r}")
        seed, family = check_seed(self.random_state), get_family(self.family)
        self.config_ = self.configuration()
        if pretrained is None:
            pretrained = pretrain(family, windows, self.config_, seed=seed, options=options)
        self.history_ = pretrained.history
        shape = (self.n_samples_, self.n_channels_)
        self.net_ = network_of(pretrained, family, self.config_, shape)
        z = self.transform(windows)
        self.labels_ = group(z, self.n_clusters, self.algorithm, seed)
        self.cluster_centers_ = cluster_means(z, self.labels_, self.n_clusters)
        if self.algorithm == "kmeans":
            self.labels_ = self.predict(windows)
        return self

    def transform(self, x: Any) -> Float32Array:
        """Embeddings (n_windows, d)."""
        windows = self._checked(x)
        n_input = get_family(self.family).input_samples(self.n_samples_)
        return infer(self.net_, windows[:, :n_input])[0]

    def group_again(self, x: Any) -> IntArray:
        """Labels (n,) of a clustering of other windows afresh in the same space."""
        return group(self.transform(x), self.n_clusters, self.algorithm, self.random_state)
