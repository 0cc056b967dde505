"""DISC as the command line knows it: targets that carry over, or the paper's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, nn

from disc_stream.artifacts.manifest import ScalerInfo
from disc_stream.artifacts.run import RunInfo
from disc_stream.errors import ConfigError
from disc_stream.models.config import NetworkConfig
from disc_stream.models.described import DescribedAutoencoder
from disc_stream.training.checkpoint import State
from disc_stream.training.guided.config import GuidedConfig, resolve_guided
from disc_stream.training.guided.sizes import SIZE_OF_PRESET, SIZES
from disc_stream.training.presets import PRESETS, TrainingConfig, resolve
from disc_stream.training.recipes.base import DEFAULT_PRESET, Learned
from disc_stream.training.recipes.deep import DeepRecipe
from disc_stream.training.recipes.guided import GUIDED, GuidedRecipe
from disc_stream.training.recipes.recurrent import DISC as SELF_TAUGHT
from disc_stream.training.task import FitOptions, Task

_GUIDED = "guided"
CARRY_OVER, SELF = "carry-over", "self"


@dataclass(frozen=True, slots=True)
class DiscRecipe:
    """One name for both; the setting ``targets`` decides, and by default the preset.

    Args:
        guided: learns with targets that carry over.
        own: learns with the paper's targets.
    """

    guided: GuidedRecipe = GUIDED
    own: DeepRecipe = SELF_TAUGHT
    name: str = "disc"
    recorded: str = "DISC"
    default_preset: str = _GUIDED
    exportable: bool = True
    distributed: bool = True
    knows_devices: bool = True

    @property
    def family(self) -> str:
        """Of the network."""
        return self.own.family

    @property
    def presets(self) -> tuple[str, ...]:
        """``guided`` and its smaller sizes (ADR 0029), and those of the paper's training."""
        return (*SIZE_OF_PRESET, *self.own.presets)

    def resolve(self, preset: str, settings: Mapping[str, Any]) -> TrainingConfig | GuidedConfig:
        """The preset with its targets or others; see ``Recipe``.

        ``guided`` with ``targets=self`` trains the guided network as the preset ``small`` does; another
        preset with ``targets=carry-over`` is that preset's network, guided.
        """
        given = {name: value for name, value in settings.items() if value is not None}
        preset = self.default_preset if preset == DEFAULT_PRESET else preset
        if preset not in self.presets:
            raise ConfigError(
                f"there is no preset {preset!r}", remedy=f"Use one of: {', '.join(self.presets)}"
            )
        shapes = {name: SIZES[size] for name, size in SIZE_OF_PRESET.items()}
        targets = given.pop("targets", CARRY_OVER if preset in shapes else SELF)
        if targets == CARRY_OVER:
            network = shapes.get(preset) or cast("NetworkConfig", PRESETS[preset].network)
            return resolve_guided(given, network)
        if targets != SELF:
            raise ConfigError(f"targets must be one of {CARRY_OVER}, {SELF}, got {targets!r}")
        small = PRESETS["small"]
        own = {name: small.but(network=network) for name, network in shapes.items()}
        return resolve(preset, given, {**PRESETS, **own})

    def fit(self, task: Task, config: TrainingConfig | GuidedConfig, options: FitOptions) -> Learned:
        """Learn; see ``Recipe``."""
        if isinstance(config, GuidedConfig):
            return self.guided.fit(task, config, options)
        return self.own.fit(task, config, options)

    def save(self, learned: Learned) -> State:
        """The weights of the autoencoder."""
        return self.own.save(learned)

    def load(self, info: RunInfo, state: State) -> nn.Module:
        """The autoencoder of a run; see ``Recipe``."""
        return self.guided.load(info, state) if "targets" in info.config else self.own.load(info, state)

    def network(self, module: nn.Module, centroids: Tensor, scaler: ScalerInfo) -> nn.Module:
        """The encoder as it is used; see ``Recipe``."""
        recipe = self.guided if isinstance(module, DescribedAutoencoder) else self.own
        return recipe.network(module, centroids, scaler)


DISC = DiscRecipe()
