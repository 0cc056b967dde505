"""The interface of a recipe: settings, training, persistence and inference network of one method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from torch import Tensor, nn

from disc_stream.artifacts.manifest import ScalerInfo
from disc_stream.artifacts.run import RunInfo
from disc_stream.clustering.smoothing import likelihood_exponent
from disc_stream.models.settings import Settings
from disc_stream.training.checkpoint import State
from disc_stream.training.task import FitOptions, Task
from disc_stream.types import Float32Array

Config = TypeVar("Config", bound=Settings)

DEFAULT_PRESET = "default"
"""Stands for a recipe's own."""


@dataclass(frozen=True, slots=True)
class Learned:
    """The result of a training, the same for every method.

    Args:
        module: the network as trained, decoders included; what is saved.
        centroids: (K, d).
        net: for inference; reads the first ``n_input`` samples of a window.
        n_input: see ``net``.
        n_longer: a second, larger number of samples that ``net`` was trained to read; 0 for none.
        likelihood_exponent: power of q that is the likelihood of a window, where it is not that of
            ``disc_stream.clustering.smoothing.likelihood_exponent``.
        scaler: normalisation.
        config: every hyper-parameter as used.
        history: one entry per epoch or candidate.
        before: the network for inference before refinement, where there was one.
        initial: the same with its first weights, where there are such.
        refining: (n, d) embeddings during refinement, where this process saw them.
    """

    module: nn.Module
    centroids: Tensor
    net: nn.Module
    n_input: int
    scaler: ScalerInfo
    config: Settings
    history: list[dict[str, Any]] = field(repr=False)
    before: nn.Module | None = None
    initial: nn.Module | None = None
    refining: Float32Array | None = field(default=None, repr=False)
    n_longer: int = 0
    likelihood_exponent: float | None = None

    @property
    def exponent(self) -> float:
        """Power of q that is the likelihood of a window."""
        own = self.likelihood_exponent
        return likelihood_exponent(self.centroids.shape[1]) if own is None else own


class Recipe(Protocol[Config]):
    """One method that trains a network; its estimator, ``train`` and run folders all use it.

    Attributes:
        name: as the command line names it, such as ``disc-plus``.
        recorded: as ``run.json`` names it.
        family: recipes of one family share an autoencoder; empty for none.
        presets: that it knows; empty where it has none.
        default_preset: of them; empty where it has none.
        exportable: whether ``disc-stream train`` offers it and its runs become bundles.
        distributed: whether several processes can train together.
        knows_devices: whether it takes into account which device a window came from.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - see the class
    @property
    def recorded(self) -> str: ...  # noqa: D102
    @property
    def family(self) -> str: ...  # noqa: D102
    @property
    def presets(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def default_preset(self) -> str: ...  # noqa: D102
    @property
    def exportable(self) -> bool: ...  # noqa: D102
    @property
    def distributed(self) -> bool: ...  # noqa: D102
    @property
    def knows_devices(self) -> bool: ...  # noqa: D102

    def resolve(self, preset: str, settings: Mapping[str, Any]) -> Config:
        """Every hyper-parameter: a preset with some of its values replaced; None leaves one as it is.

        ``DEFAULT_PRESET`` stands for the recipe's own.

        Raises:
            ConfigError: if the preset or a name is not known, or a value cannot be used.
        """
        ...

    def fit(self, task: Task, config: Config, options: FitOptions) -> Learned:
        """Learn.

        Raises:
            ConfigError: if the device is not there, or the checkpoint belongs to another training.
            TrainingError: if training cannot go on.
        """
        ...

    def save(self, learned: Learned) -> State:
        """The tensors of a run's ``model.safetensors``, without the centroids."""
        ...

    def load(self, info: RunInfo, state: State) -> nn.Module:
        """The module that ``save`` saved, in evaluation mode.

        Raises:
            ConfigError: if the run's settings are not known to this version.
            KeyError, RuntimeError: if the tensors do not fit the settings.
        """
        ...

    def network(self, module: nn.Module, centroids: Tensor, scaler: ScalerInfo) -> nn.Module:
        """The network as it is used: raw inputs in; embedding, q and squared distances out."""
        ...


def tensors_of(module: nn.Module) -> State:
    """All weights of a module, on the CPU."""
    return {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}
