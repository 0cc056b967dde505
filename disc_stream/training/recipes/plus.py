"""disc-plus: labels that carry over to other devices, distilled into a network of fixed descriptors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from torch import Tensor, nn

from disc_stream.artifacts.manifest import ScalerInfo
from disc_stream.artifacts.run import RunInfo
from disc_stream.models.descriptors import DescriptorNet
from disc_stream.training.checkpoint import State
from disc_stream.training.plus.config import PlusConfig, resolve_plus
from disc_stream.training.plus.fitting import fit_plus
from disc_stream.training.plus.growing import grow_plus
from disc_stream.training.recipes.base import Learned, tensors_of
from disc_stream.training.task import FitOptions, Task
from disc_stream.types import IntArray


@dataclass(frozen=True, slots=True)
class LearnedPlus(Learned):
    """Also which labelling was distilled.

    Args:
        found: (n,) its labels, of the windows by device and time.
        span: windows on each side that it averages over.
        score: nats that carry over, or its log-likelihood where there are too few devices.
    """

    found: IntArray = field(default_factory=lambda: np.empty(0, dtype=np.int64), repr=False)
    span: int = 0
    score: float = 0.0


@dataclass(frozen=True, slots=True)
class PlusRecipe:
    """See ``Recipe`` and docs/adr/0011."""

    name: str = "disc-plus"
    recorded: str = "disc-plus"
    family: str = ""
    presets: tuple[str, ...] = ()
    default_preset: str = ""
    exportable: bool = True
    distributed: bool = False
    knows_devices: bool = True

    def resolve(self, preset: str, settings: Mapping[str, Any]) -> PlusConfig:  # noqa: ARG002 - it has none
        """The settings that were given, and the defaults of the others; see ``Recipe``."""
        return resolve_plus(settings)

    def fit(self, task: Task, config: PlusConfig, options: FitOptions) -> LearnedPlus:
        """Learn; see ``Recipe``.

        Raises:
            ConfigError: also if the task has a model to go on from that is no disc-plus of this shape.
        """
        n = len(task.windows)
        order = np.arange(n) if task.order is None else task.order
        devices = np.zeros(n, dtype=np.int64) if task.devices is None else task.devices
        if task.warm is not None:
            plus = grow_plus(task.windows[order], devices[order], task, config, task.warm)
        else:
            plus = fit_plus(task.windows[order], devices[order], task, config, options)
        net = plus.net
        return LearnedPlus(
            module=net,
            centroids=net.centroids,
            net=net,
            n_input=task.shape[0],
            scaler=net.scaler,
            config=config,
            history=plus.history,
            found=plus.found,
            span=plus.span,
            score=plus.score,
        )

    def save(self, learned: Learned) -> State:
        """The scaling of the descriptors and the affine map."""
        return tensors_of(learned.module)

    def load(self, info: RunInfo, state: State) -> nn.Module:
        """The network of a run; see ``Recipe``."""
        config = PlusConfig(**info.config)
        return DescriptorNet.of_state(state, info.window.input_samples, bands=config.bands, axes=config.axes)

    def network(self, module: nn.Module, centroids: Tensor, scaler: ScalerInfo) -> nn.Module:  # noqa: ARG002
        """The module itself, with these centroids; see ``Recipe``."""
        net = cast("DescriptorNet", module)
        net.centroids.copy_(centroids)
        return net


PLUS = PlusRecipe()
