"""disc-plus as an estimator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from disc_stream.training.estimators.base import WindowClusterer
from disc_stream.training.fitting import infer
from disc_stream.training.plus.config import PlusConfig
from disc_stream.training.pretrained import Pretrained
from disc_stream.training.recipes.plus import PLUS, PlusRecipe
from disc_stream.training.task import DEFAULT_OPTIONS, FitOptions, Task
from disc_stream.training.windows import check_seed
from disc_stream.types import Float32Array, IntArray


class DiscPlus(WindowClusterer):
    """Our own label-free method: labels that carry over to other people, distilled into a small network.

    Windows are described by level, variance, spectrum and correlation. Candidate labellings are mixtures
    found on descriptors that were made alike across devices and averaged over time. The candidate is taken
    whose labels, learned on other devices, say most about a device's next window. A discriminant then learns
    to tell its clusters apart by single windows (docs/adr/0011).

    Args:
        n_clusters: K.
        random_state: same seed, same labels on the same machine.
        settings: any field of ``PlusConfig``, by name.

    Attributes:
        labels_: (n_windows,) int64, cluster of every training window, from that window alone.
        found_labels_: (n_windows,) int64, the labelling that was distilled.
        cluster_centers_: (K, d) float32, in embedding space.
        net_: ``DescriptorNet``; takes raw whole windows.
        history_: one mapping per candidate.
        config_: every hyper-parameter as used.
        span_: windows on each side that the chosen candidate averages over.
        score_: of the chosen candidate.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(60, 16, 3)).astype(np.float32)
        >>> DiscPlus(2).fit_predict(x, devices=np.repeat([0, 1, 2], 20)).shape
        (60,)
    """

    recipe: ClassVar[PlusRecipe] = PLUS

    def __init__(
        self, n_clusters: int, *, random_state: int = 0, settings: Mapping[str, Any] | None = None
    ) -> None:
        self.n_clusters = n_clusters
        self.random_state = random_state
        self.settings = settings

    def facts(self) -> dict[str, Any]:
        """Also every hyper-parameter."""
        return {**super().facts(), **self._configuration().to_dict()}

    def _configuration(self) -> PlusConfig:
        return self.recipe.resolve("", self.settings or {})

    def fit(
        self,
        x: Any,
        y: Any = None,  # noqa: ARG002
        *,
        devices: Any = None,
        options: FitOptions = DEFAULT_OPTIONS,
        pretrained: Pretrained | None = None,  # noqa: ARG002
    ) -> Self:
        """Find labels with the help of ``devices`` and distil them; see ``WindowClusterer.fit``."""
        windows = self._checked_for_fit(x)
        seed = check_seed(self.random_state)
        self.config_ = self._configuration()
        task = Task(windows, int(self.n_clusters), seed, devices=check_devices(devices, len(windows)))
        fitted = self.recipe.fit(task, self.config_, options)
        self.fitted_ = fitted
        self.net_, self.history_ = fitted.net, fitted.history
        self.found_labels_, self.span_, self.score_ = fitted.found, fitted.span, fitted.score
        self.cluster_centers_ = fitted.centroids.numpy().copy()
        self.labels_ = self.predict(windows)
        return self

    def fit_predict(self, x: Any, y: Any = None, **kwargs: Any) -> IntArray:
        """``fit``, then ``labels_``."""
        return self.fit(x, y, **kwargs).labels_

    def predict_proba(self, x: Any) -> Float32Array:
        """Soft assignment q of equation 13, (n_windows, K)."""
        windows = self._checked(x)
        return infer(self.net_, windows)[1]

    def transform(self, x: Any) -> Float32Array:
        """Embeddings (n_windows, d), in which clusters have unit covariance."""
        windows = self._checked(x)
        return infer(self.net_, windows)[0]


def check_devices(devices: Any, n_windows: int) -> IntArray:
    """Devices as an array (n_windows,) of int64.

    Raises:
        ValueError: saying what they are and what was expected.
    """
    if devices is None:
        return np.zeros(n_windows, dtype=np.int64)
    array = np.asarray(devices)
    if array.shape != (n_windows,) or array.dtype.kind not in "iu":
        raise ValueError(
            f"devices has shape {array.shape} and dtype {array.dtype}; expected ({n_windows},) whole numbers"
        )
    return array.astype(np.int64)
