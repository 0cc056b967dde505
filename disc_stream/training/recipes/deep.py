"""Deep clustering end to end: autoencoder, centroids on its embeddings, refinement of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from disc_stream.artifacts.manifest import ScalerInfo
from disc_stream.artifacts.run import RunInfo
from disc_stream.training.checkpoint import State
from disc_stream.training.families import Family, build_for
from disc_stream.training.fitting import Fitted, fit_clusters
from disc_stream.training.presets import TrainingConfig, resolve
from disc_stream.training.pretrained import Pretrained
from disc_stream.training.recipes.base import DEFAULT_PRESET, Learned, tensors_of
from disc_stream.training.task import FitOptions, Task


@dataclass(frozen=True, slots=True)
class DeepRecipe:
    """A recipe of ``fit_clusters``; see ``Recipe``.

    Args:
        name: as the command line names it.
        recorded: as ``run.json`` names it.
        autoencoder: shared by the recipes of one family.
        settings: that define the method; the user's settings override them.
        exportable: whether its runs become bundles.
    """

    name: str
    recorded: str
    autoencoder: Family
    settings: Mapping[str, Any] = field(default_factory=dict)
    exportable: bool = False

    @property
    def family(self) -> str:
        """Name of the autoencoder's family."""
        return self.autoencoder.name

    @property
    def presets(self) -> tuple[str, ...]:
        """Names of the family's presets."""
        return tuple(self.autoencoder.presets)

    @property
    def default_preset(self) -> str:
        """The one that fits a processor core."""
        return "small"

    @property
    def distributed(self) -> bool:
        """Every batch can be split between processes."""
        return True

    @property
    def knows_devices(self) -> bool:
        """Windows are independent samples for these methods."""
        return False

    def resolve(self, preset: str, settings: Mapping[str, Any]) -> TrainingConfig:
        """The preset with the method's settings and then the user's; see ``Recipe``."""
        given = {name: value for name, value in settings.items() if value is not None}
        preset = self.default_preset if preset == DEFAULT_PRESET else preset
        return resolve(preset, {**self.settings, **given}, self.autoencoder.presets)

    def fit(
        self, task: Task, config: TrainingConfig, options: FitOptions, pretrained: Pretrained | None = None
    ) -> Learned:
        """Learn; see ``Recipe``.

        Args:
            task: what to learn.
            config: every hyper-parameter.
            options: how to run.
            pretrained: an autoencoder trained before on the same windows with the same settings and seed.
        """
        fitted = fit_clusters(self.autoencoder, task, config, options, pretrained=pretrained)
        return self.learned(fitted, task, config)

    def learned(self, fitted: Fitted, task: Task, config: TrainingConfig) -> Learned:
        """The result of a training on ``task``."""
        first = build_for(self.autoencoder, config, task.shape, task.seed).eval()
        return Learned(
            module=fitted.autoencoder,
            centroids=fitted.centroids,
            net=fitted.net,
            n_input=self.autoencoder.input_samples(task.shape[0]),
            scaler=fitted.scaler,
            config=config,
            history=fitted.history,
            before=fitted.pretrained_net,
            initial=self.network(first, fitted.centroids, fitted.scaler),
            refining=fitted.refining,
        )

    def save(self, learned: Learned) -> State:
        """The weights of the autoencoder."""
        return tensors_of(learned.module)

    def load(self, info: RunInfo, state: State) -> nn.Module:
        """The autoencoder of a run; see ``Recipe``."""
        config = TrainingConfig(**info.config)
        shape = (info.window.samples, len(info.channels))
        autoencoder = build_for(self.autoencoder, config, shape, seed=0)
        autoencoder.load_state_dict(state)
        return autoencoder.eval()

    def network(self, module: nn.Module, centroids: Tensor, scaler: ScalerInfo) -> nn.Module:
        """The encoder as it is used; see ``Recipe``."""
        return self.autoencoder.network_for_use(module, centroids, scaler)
