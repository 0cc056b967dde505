"""Traditional clustering on the space of an autoencoder that was trained without clusters."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from disc_stream.training.estimators.base import WindowClusterer
from disc_stream.training.events import Callback, ignore
from disc_stream.training.families import get_family
from disc_stream.training.fitting import FitOptions, infer, network_of, pretrain
from disc_stream.training.grouping import ALGORITHMS, cluster_means, group
from disc_stream.training.presets import resolve
from disc_stream.training.pretrained import Pretrained
from disc_stream.training.windows import check_seed
from disc_stream.types import Float32Array


class SpaceClusterer(WindowClusterer):
    """k-Means or agglomerative clustering of the embeddings of DSC's or DISC's autoencoder.

    Args:
        n_clusters: K.
        family: ``disc`` or ``dsc`` (``sae`` and ``cae`` work too).
        algorithm: ``kmeans``, ``average``, ``complete`` or ``ward``.
        preset: ``paper``, ``released`` or ``small``.
        random_state: same seed, same labels on the same machine.
        device: ``auto``, ``cpu`` or ``cuda``.
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
        device: str = "auto",
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.family = family
        self.algorithm = algorithm
        self.preset = preset
        self.random_state = random_state
        self.device = device
        self.settings = settings

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
        """Train the autoencoder, unless ``pretrained`` is given, and cluster its embeddings.

        Arguments and errors are those of ``DeepClusterer.fit``.
        """
        windows = self._checked_for_fit(x)
        if self.algorithm not in ALGORITHMS:
            raise ValueError(f"algorithm must be one of {', '.join(ALGORITHMS)}, got {self.algorithm!r}")
        seed, family = check_seed(self.random_state), get_family(self.family)
        self.config_ = resolve(self.preset, self.settings, family.presets)
        if pretrained is None:
            options = FitOptions(self.device, callback, checkpoints, resume)
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

    def group_again(self, x: Any) -> Any:
        """Cluster other windows afresh in the same space, as the paper does for its test figures, (n,)."""
        return group(self.transform(x), self.n_clusters, self.algorithm, self.random_state)
