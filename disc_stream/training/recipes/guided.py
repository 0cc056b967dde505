"""DISC with targets that carry over: its network, taught by a labelling that holds on other people too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from torch import Tensor, nn

from disc_stream.artifacts.manifest import ScalerInfo
from disc_stream.artifacts.run import RunInfo
from disc_stream.models.autoencoder import half
from disc_stream.models.described import DescribedAutoencoder, DescribedNet, exponent_of_targets
from disc_stream.models.inference import InferenceNet
from disc_stream.training.checkpoint import State
from disc_stream.training.guided.config import GuidedConfig, resolve_guided
from disc_stream.training.guided.fitting import fit_guided, new_autoencoder
from disc_stream.training.recipes.base import Learned, tensors_of
from disc_stream.training.task import FitOptions, Task
from disc_stream.types import IntArray


@dataclass(frozen=True, slots=True)
class LearnedGuided(Learned):
    """Also which labelling was learned.

    Args:
        found: (n,) its labels, in the order of the task's windows.
    """

    found: IntArray = field(default_factory=lambda: np.empty(0, dtype=np.int64), repr=False)


@dataclass(frozen=True, slots=True)
class GuidedRecipe:
    """See ``Recipe`` and docs/adr/0023."""

    name: str = "disc"
    recorded: str = "DISC"
    family: str = ""
    presets: tuple[str, ...] = ()
    default_preset: str = ""
    exportable: bool = True
    distributed: bool = True
    knows_devices: bool = True

    def resolve(self, preset: str, settings: Mapping[str, Any]) -> GuidedConfig:  # noqa: ARG002 - it has none
        """The settings that were given, and the defaults of the others; see ``Recipe``."""
        return resolve_guided(settings)

    def fit(self, task: Task, config: GuidedConfig, options: FitOptions) -> LearnedGuided:
        """Learn; see ``Recipe``."""
        fitted = fit_guided(task, config, options)
        first = new_autoencoder(config, (*task.shape, len(fitted.centroids)), seed=0)
        first.load_state_dict(fitted.initial)
        return LearnedGuided(
            module=fitted.autoencoder,
            centroids=fitted.centroids,
            net=self.network(fitted.autoencoder, fitted.centroids, fitted.scaler),
            n_input=half(task.shape[0]),
            n_longer=task.shape[0],
            scaler=fitted.scaler,
            config=config,
            history=fitted.history,
            likelihood_exponent=exponent_of_targets(len(fitted.centroids), config.doubt),
            initial=self.network(first.eval(), fitted.centroids, fitted.scaler),
            found=fitted.found,
        )

    def save(self, learned: Learned) -> State:
        """The weights of the autoencoder."""
        return tensors_of(learned.module)

    def load(self, info: RunInfo, state: State) -> nn.Module:
        """The autoencoder of a run; see ``Recipe``."""
        shape = (info.window.samples, len(info.channels), info.n_clusters)
        autoencoder = new_autoencoder(GuidedConfig(**info.config), shape, seed=0)
        autoencoder.load_state_dict(state)
        return autoencoder.eval()

    def network(self, module: nn.Module, centroids: Tensor, scaler: ScalerInfo) -> nn.Module:
        """The encoder as it is used, for inputs of either length; see ``Recipe``."""
        autoencoder = cast("DescribedAutoencoder", module)
        network = InferenceNet(autoencoder.encoder, autoencoder.own, scaler)
        return DescribedNet(network, autoencoder.described, centroids, autoencoder.doubt)


GUIDED = GuidedRecipe()
