"""The traditional methods of Table I, on the raw windows; their algorithms are scikit-learn's."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Self

import numpy as np

from disc_stream.training.estimators.base import WindowClusterer
from disc_stream.training.grouping import LINKAGES, cluster_means, group
from disc_stream.training.pretrained import Pretrained
from disc_stream.training.task import DEFAULT_OPTIONS, FitOptions
from disc_stream.training.windows import check_seed
from disc_stream.types import Float32Array


class FlatWindows(WindowClusterer):
    """Base of the methods that take a window as one long vector, as it is, without normalisation.

    Table I's rows on UCI HAR are only met on unnormalised windows.
    """

    random_state: int

    @abstractmethod
    def _algorithm(self) -> str:
        """One of ``grouping.ALGORITHMS``."""

    def fit(
        self,
        x: Any,
        y: Any = None,  # noqa: ARG002
        *,
        devices: Any = None,  # noqa: ARG002
        options: FitOptions = DEFAULT_OPTIONS,  # noqa: ARG002
        pretrained: Pretrained | None = None,  # noqa: ARG002
    ) -> Self:
        """Cluster windows; see ``WindowClusterer.fit``."""
        windows = self._checked_for_fit(x)
        flat = windows.reshape(len(windows), -1)
        seed = check_seed(self.random_state)
        self.labels_ = group(flat, self.n_clusters, self._algorithm(), seed)
        self.cluster_centers_ = cluster_means(flat, self.labels_, self.n_clusters)
        if self._algorithm() == "kmeans":
            self.labels_ = self.predict(windows)
        return self

    def transform(self, x: Any) -> Float32Array:
        """The windows as vectors, (n_windows, n_samples · n_channels)."""
        windows = self._checked(x)
        return np.asarray(windows.reshape(len(windows), -1))


class KMeansWindows(FlatWindows):
    """k-Means of flattened windows, the best of ten starts.

    Args:
        n_clusters: K.
        random_state: same seed, same labels.
    """

    def __init__(self, n_clusters: int, *, random_state: int = 0) -> None:
        self.n_clusters = n_clusters
        self.random_state = random_state

    def _algorithm(self) -> str:
        return "kmeans"


class AgglomerativeWindows(FlatWindows):
    """Agglomerative clustering of flattened windows by Euclidean distance.

    ``labels_`` are the clustering's own; other windows go to the cluster with the nearest mean.

    Args:
        n_clusters: K.
        linkage: ``average``, ``complete`` or ``ward``.
        random_state: not used; there for the common interface.
    """

    def __init__(self, n_clusters: int, linkage: str = "ward", *, random_state: int = 0) -> None:
        self.n_clusters = n_clusters
        self.linkage = linkage
        self.random_state = random_state

    def facts(self) -> dict[str, Any]:
        """Also the linkage."""
        return {**super().facts(), "linkage": self.linkage}

    def _algorithm(self) -> str:
        if self.linkage not in LINKAGES:
            raise ValueError(f"linkage must be one of {', '.join(LINKAGES)}, got {self.linkage!r}")
        return self.linkage
