"""DEC, IDEC and BDEC: a stacked autoencoder of whole windows."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

import numpy as np

from disc_stream.clustering.distinct import count_distinct
from disc_stream.errors import ConfigError
from disc_stream.models.dense import StackedAutoencoder, StackedConfig
from disc_stream.training.families import (
    Family,
    WholeWindowNet,
    presets_of_whole_windows,
    whole_window,
)
from disc_stream.training.fitting import fit_clusters, infer, network_of, pretrain
from disc_stream.training.grouping import group
from disc_stream.training.presets import TrainingConfig
from disc_stream.training.pretrained import Pretrained
from disc_stream.training.recipes.base import Learned
from disc_stream.training.recipes.deep import DeepRecipe
from disc_stream.training.task import FitOptions, Task
from disc_stream.types import Float32Array, IntArray

_CELLS_PER_CLUSTER = 10

STACKED_FAMILY = Family(
    "sae",
    StackedAutoencoder,
    presets_of_whole_windows(StackedConfig(), StackedConfig(widths=(250, 250, 1000))),
    whole_window,
    WholeWindowNet,
)
_DEC_SETTINGS = {
    "gamma": 1.0, "reconstruction": 0.0, "refine_optimizer": "sgd", "refine_learning_rate": 0.01,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class LearnedFromSubset(Learned):
    """Also which windows were learned from.

    Args:
        subset: their indices.
    """

    subset: IntArray = field(default_factory=lambda: np.empty(0, dtype=np.int64), repr=False)


@dataclass(frozen=True, slots=True)
class BalancedRecipe(DeepRecipe):
    """DEC on a balanced subset of the windows; see ``BDEC`` for what is known of it."""

    def fit(
        self, task: Task, config: TrainingConfig, options: FitOptions, pretrained: Pretrained | None = None
    ) -> LearnedFromSubset:
        """Learn from the subset that the pretrained autoencoder's embeddings suggest; see ``DeepRecipe``.

        Raises:
            ConfigError: also if the task has a model to go on from: what it has learned from is not known.
        """
        if task.warm is not None:
            raise ConfigError(f"{self.name} cannot go on from a trained model", remedy="Start from scratch")
        family, windows = self.autoencoder, task.windows
        if pretrained is None:
            pretrained = pretrain(family, windows, config, seed=task.seed, options=options)
        z = infer(network_of(pretrained, family, config, task.shape), windows)[0]
        subset = balanced_subset(z, task.n_clusters, task.seed)
        # The autoencoder's checkpoint belongs to all windows, this one to the subset.
        own = options.checkpoints / "subset" if options.checkpoints else None
        part = replace(task, windows=np.ascontiguousarray(windows[subset]), devices=None, order=None)
        fitted = fit_clusters(family, part, config, replace(options, checkpoints=own), start=pretrained)
        learned = self.learned(fitted, task, config)
        return LearnedFromSubset(
            **{one.name: getattr(learned, one.name) for one in fields(learned)}, subset=subset
        )


def balanced_subset(z: Float32Array, n_clusters: int, seed: int) -> IntArray:
    """Windows that stand for all regions of the embedding space alike.

    Args:
        z: (n, d) embeddings.
        n_clusters: K.
        seed: of k-means.

    Returns:
        Sorted indices; at least K.
    """
    different = count_distinct(z, 2 * _CELLS_PER_CLUSTER * n_clusters)
    n_cells = max(min(_CELLS_PER_CLUSTER * n_clusters, different // 2), min(n_clusters, different))
    cells = group(z, n_cells, "kmeans", seed)
    quota = max(1, int(np.median(np.bincount(cells, minlength=n_cells))))
    chosen = []
    for cell in range(n_cells):
        members = np.flatnonzero(cells == cell)
        far = np.square(z[members] - z[members].mean(0)).sum(1)
        chosen.append(members[np.argsort(far, kind="stable")[:quota]])
    return np.sort(np.concatenate(chosen))


DEC = DeepRecipe("dec", "DEC", STACKED_FAMILY, _DEC_SETTINGS)
IDEC = DeepRecipe("idec", "IDEC", STACKED_FAMILY)
BDEC = BalancedRecipe("bdec", "BDEC", STACKED_FAMILY, _DEC_SETTINGS)
