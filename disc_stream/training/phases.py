"""The two stages of deep clustering: autoencoder training, and refinement with centroids."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from disc_stream.errors import TrainingError
from disc_stream.models.autoencoder import Autoencoder
from disc_stream.models.cluster import ClusterHead, hardening_loss, soft_assignment, target_distribution
from disc_stream.models.collectives import all_reduce_sum, broadcast
from disc_stream.models.precision import full_float32
from disc_stream.training.centroids import farthest_region
from disc_stream.training.presets import TrainingConfig
from disc_stream.training.trainer import EpochEnd
from disc_stream.types import Float32Array

log = logging.getLogger(__name__)

_EVAL_BATCH = 1024
_COLLAPSED = 0.01  # of an equal share of the windows
_NO_SPREAD = 1e-3  # in units of Student's t: q is the same for all windows to six digits


class Pretraining:
    """Stage 1: minimise the autoencoder's loss (equation 12).

    Args:
        autoencoder: module to train.
        windows: (n, T, C) normalised, on the module's device.
        config: schedule.
    """

    name = "pretrain"

    def __init__(self, autoencoder: nn.Module, windows: Tensor, config: TrainingConfig) -> None:
        self._autoencoder = autoencoder
        self.n_windows = len(windows)
        self.n_epochs = config.epochs
        self.batch_size = config.batch_size
        self.clip_norm = config.clip_norm
        self.optimizer = "adam"
        self.weights: Mapping[str, float] = {}
        self._windows = windows
        self._config = config

    @property
    def module(self) -> nn.Module:
        """The autoencoder."""
        return self._autoencoder

    def learning_rate(self, epoch: int) -> float:
        """Constant, then decayed once."""
        config = self._config
        late = epoch >= round(config.decay_after * config.epochs)
        return config.learning_rate * (config.decay_factor if late else 1.0)

    def prepare(self) -> None:
        """Nothing to prepare."""

    def losses(self, index: Tensor) -> dict[str, Tensor]:
        """The autoencoder's own terms."""
        return cast("Autoencoder", self._autoencoder).encode_with_losses(self._windows[index])[1]

    def end_epoch(self, epoch: int, optimizer: torch.optim.Optimizer) -> EpochEnd:  # noqa: ARG002
        """Goes on to the last epoch."""
        return EpochEnd()


class ClusterModel(nn.Module):
    """Autoencoder and centroids, trained together.

    Where the target distribution serves for several epochs, it is kept here, so that a checkpoint has it.

    Args:
        autoencoder: pretrained.
        head: with its initial centroids.
        n_windows: rows of the target to keep; 0 for none.
    """

    labels: Tensor
    target: Tensor

    def __init__(self, autoencoder: nn.Module, head: ClusterHead, n_windows: int = 0) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.head = head
        device = head.centroids.device
        self.register_buffer("labels", torch.full((n_windows,), -1, dtype=torch.int64, device=device))
        self.register_buffer("target", torch.zeros(n_windows, len(head.centroids), device=device))

    @property
    def has_target(self) -> bool:
        """Whether a target was kept."""
        return bool(len(self.labels)) and int(self.labels[0]) >= 0

    def keep_target(self, labels: Tensor, target: Tensor) -> None:
        """Keep labels (n,) and target distribution (n, K)."""
        self.labels, self.target = labels, target


class Refinement:
    """Stage 2: minimise γ·KL(P‖Q) + L_AE (equation 16) until the labels settle.

    Args:
        model: to train.
        windows: (n, T, C) normalised, on the model's device.
        config: schedule.
    """

    name = "refine"

    def __init__(self, model: ClusterModel, windows: Tensor, config: TrainingConfig) -> None:
        self._model = model
        self.n_windows = len(windows)
        self.n_epochs = config.refine_epochs
        self.batch_size = config.batch_size
        self.clip_norm = config.clip_norm
        self.optimizer: str = config.refine_optimizer
        kept = config.reconstruction
        self.weights: Mapping[str, float] = {"cah": config.gamma, "rec": kept, "fut": kept}
        steps = -(-self.n_windows // self.batch_size)
        self._interval = max(1, round(config.refresh_steps / steps))
        self._windows = windows
        self._config = config
        self.after_first: Tensor | None = None  # embeddings after one epoch, for figures
        self._labels = torch.empty(0, dtype=torch.int64)
        self._p = torch.empty(0)

    @property
    def module(self) -> ClusterModel:
        """Autoencoder and centroids."""
        return self._model

    def learning_rate(self, epoch: int) -> float:  # noqa: ARG002
        """Constant."""
        return self._config.refine_learning_rate

    def prepare(self) -> None:
        """Labels and target distribution of the weights as they are, or as the checkpoint has them."""
        if self._interval == 1 or not self._model.has_target:
            self._assess()
        else:
            self._labels, self._p = self._model.labels, self._model.target

    def losses(self, index: Tensor) -> dict[str, Tensor]:
        """The autoencoder's terms and ``cah``, the unweighted clustering loss."""
        autoencoder = cast("Autoencoder", self._model.autoencoder)
        z, terms = autoencoder.encode_with_losses(self._windows[index])
        q = self._model.head(z.float())
        p = self._p[index] if self._config.target == "set" else self._batch_target(q.detach())
        return {**terms, "cah": hardening_loss(q, p)}

    def _batch_target(self, q: Tensor) -> Tensor:
        """P of this process's part (B, K) of a batch, by the cluster frequencies of the whole batch."""
        return target_distribution(q, all_reduce_sum(q.sum(0)))

    def end_epoch(self, epoch: int, optimizer: torch.optim.Optimizer) -> EpochEnd:
        """Compare the labels with those of the look before; revive clusters that have collapsed.

        Raises:
            TrainingError: if all embeddings have become one.
        """
        last = epoch + 1 == self.n_epochs
        if (epoch + 1) % self._interval and not last:
            return EpochEnd()
        before = self._labels
        z = self._assess()
        self.after_first = z if self.after_first is None else self.after_first
        change = float((self._labels != before).float().mean())
        reseeded = self._revive(z, optimizer)
        return EpochEnd(change < self._config.tolerance and not reseeded, change, reseeded)

    def _assess(self) -> Tensor:
        """Recompute labels and P over all windows, in evaluation mode; returns the embeddings."""
        z = broadcast(embed(self._model.autoencoder, self._windows))
        self._assign(z)
        return z

    def _assign(self, z: Tensor) -> None:
        q = assign(z, self._model.head.centroids.detach())
        self._labels = q.argmax(1)
        self._p = target_distribution(q)
        if self._interval > 1:
            self._model.keep_target(self._labels, self._p)

    def _revive(self, z: Tensor, optimizer: torch.optim.Optimizer) -> tuple[int, ...]:
        """Give clusters (nearly) without windows those that are farthest from their own centroids."""
        centroids = self._model.head.centroids
        n_clusters = len(centroids)
        counts = torch.bincount(self._labels, minlength=n_clusters)
        collapsed = (counts <= _COLLAPSED * self.n_windows / n_clusters).nonzero().flatten().tolist()
        if collapsed and float((z.amax(0) - z.amin(0)).max()) < _NO_SPREAD:
            raise TrainingError(
                "refinement has drawn all embeddings into one point",
                remedy="Use a lower refine_learning_rate or gamma, or the scaler zscore",
            )
        for cluster in collapsed:
            points, labels = as_numpy(z), self._labels.cpu().numpy()
            fresh = farthest_region(points, labels, as_numpy(centroids))
            with torch.no_grad():
                centroids[cluster] = torch.from_numpy(fresh).to(centroids)
            _forget_moments(optimizer, centroids, [cluster])
            log.warning("cluster %d had collapsed and was given the windows farthest from theirs", cluster)
            self._assign(z)
        return tuple(collapsed)


def _forget_moments(optimizer: torch.optim.Optimizer, parameter: nn.Parameter, rows: list[int]) -> None:
    for name in ("exp_avg", "exp_avg_sq"):
        if name in optimizer.state[parameter]:
            optimizer.state[parameter][name][rows] = 0.0


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode and no gradients inside, the mode before afterwards."""
    was_training = module.training
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(was_training)


def embed(autoencoder: nn.Module, windows: Tensor) -> Tensor:
    """Embeddings (n, d) of normalised windows (n, T, C), in evaluation mode and full precision."""
    encoder = cast("Autoencoder", autoencoder)
    with evaluating(autoencoder), full_float32():
        return torch.cat([encoder.encode(part) for part in torch.split(windows, _EVAL_BATCH)])


def assign(z: Tensor, centroids: Tensor) -> Tensor:
    """Soft assignment (n, K) of many embeddings, in parts."""
    return torch.cat([soft_assignment(part, centroids) for part in torch.split(z, _EVAL_BATCH)])


def as_numpy(x: Tensor) -> Float32Array:
    """On the CPU, float32."""
    return np.asarray(x.detach().cpu().numpy(), dtype=np.float32)
