"""DISC with targets that carry over, as an estimator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from disc_stream.artifacts.run import LabelAt
from disc_stream.models.autoencoder import half
from disc_stream.models.described import exponent_of_targets
from disc_stream.training.estimators.base import WindowClusterer
from disc_stream.training.estimators.disc_plus import check_devices
from disc_stream.training.fitting import infer
from disc_stream.training.guided.config import GuidedConfig
from disc_stream.training.pretrained import Pretrained
from disc_stream.training.recipes.guided import GUIDED, GuidedRecipe
from disc_stream.training.task import DEFAULT_OPTIONS, FitOptions, Task
from disc_stream.training.windows import check_seed, check_windows
from disc_stream.types import Float32Array


class GuidedDISC(WindowClusterer):
    """DISC's network, guided by a labelling that carries over to other people and to the next window.

    disc-plus's search finds the labelling (``DiscPlus``). The network then learns it as its target
    distribution, from half windows and whole ones with the same weights, together with DISC's decoders
    (docs/adr/0023).

    Args:
        n_clusters: K.
        label_at: ``half``: only the first half of every window is read; ``whole``: all of it.
        random_state: same seed, same labels on the same machine.
        settings: any field of ``GuidedConfig``, of its network or its teacher, by name.

    Attributes:
        labels_: (n_windows,) int64, cluster of every training window, from that window alone.
        found_labels_: (n_windows,) int64, the labelling that was learned.
        cluster_centers_: (K, d) float32, in embedding space.
        net_: takes raw windows or their first halves.
        history_: one mapping per candidate and per epoch.
        config_: every hyper-parameter as used.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(60, 16, 3)).astype(np.float32)
        >>> small = {"restarts": 2, "moves": 0, "steps": 4, "hidden": 4, "frame": 2}
        >>> GuidedDISC(2, settings=small).fit_predict(x, devices=np.repeat([0, 1, 2], 20)).shape
        (60,)
    """

    recipe: ClassVar[GuidedRecipe] = GUIDED

    def __init__(
        self,
        n_clusters: int,
        label_at: LabelAt = "half",
        *,
        random_state: int = 0,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.label_at = label_at
        self.random_state = random_state
        self.settings = settings

    def facts(self) -> dict[str, Any]:
        """Also every hyper-parameter."""
        return {**super().facts(), "label_at": self.label_at, **self._configuration().to_dict()}

    def training_facts(self) -> dict[str, Any]:
        """The network is the same whenever it labels."""
        return {**super().facts(), **self._configuration().to_dict()}

    def _configuration(self) -> GuidedConfig:
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
        """Find labels with the help of ``devices`` and train with them; see ``WindowClusterer.fit``."""
        windows = self._checked_for_fit(x)
        if self.label_at not in ("half", "whole"):
            raise ValueError(f"label_at must be 'half' or 'whole', got {self.label_at!r}")
        seed = check_seed(self.random_state)
        self.config_ = self._configuration()
        task = Task(windows, int(self.n_clusters), seed, devices=check_devices(devices, len(windows)))
        fitted = self.recipe.fit(task, self.config_, options)
        self.fitted_ = fitted
        self.net_, self.history_, self.found_labels_ = fitted.net, fitted.history, fitted.found
        self.cluster_centers_ = fitted.centroids.numpy().copy()
        self.labels_ = self.predict(windows)
        return self

    @property
    def likelihood_exponent_(self) -> float:
        """Power of q that is the likelihood of a window."""
        return exponent_of_targets(len(self.cluster_centers_), self.config_.doubt)

    def predict_proba(self, x: Any) -> Float32Array:
        """Soft assignment q of equation 13, (n_windows, K)."""
        inputs = self._inputs(x)
        return infer(self.net_, inputs)[1]

    def transform(self, x: Any) -> Float32Array:
        """Embeddings (n_windows, d)."""
        inputs = self._inputs(x)
        return infer(self.net_, inputs)[0]

    def _inputs(self, x: Any) -> Float32Array:
        """Of whole windows (or, at half a window, of first halves) what is read."""
        check_is_fitted(self, "net_")
        windows, samples = check_windows(x), self.n_samples_
        n_input = half(samples) if self.label_at == "half" else samples
        if windows.shape[1] not in (n_input, samples) or windows.shape[2] != self.n_channels_:
            halves = f", or first halves of {n_input} samples" if n_input < samples else ""
            raise ValueError(
                f"x has shape {windows.shape}; expected (n_windows, {samples}, {self.n_channels_}) "
                f"as in fit{halves}"
            )
        return np.ascontiguousarray(windows[:, :n_input])
