"""The phase of guided training: the network learns the targets from both lengths of its input."""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn

from disc_stream.models.autoencoder import MultiTaskAutoencoder, half
from disc_stream.models.cluster import ClusterHead, hardening_loss
from disc_stream.training.guided.augmentation import Augmentation
from disc_stream.training.guided.config import GuidedConfig
from disc_stream.training.trainer import EpochEnd

_RISE = 0.05  # of the epochs, in which the learning rate rises to its highest


class GuidedModel(nn.Module):
    """Autoencoder and centroids that are trained, and the running mean of their weights, which is the result.

    Args:
        autoencoder: to train.
        head: with its initial centroids.
        augmentation: of the windows.
    """

    steps: Tensor

    def __init__(
        self, autoencoder: MultiTaskAutoencoder, head: ClusterHead, augmentation: Augmentation
    ) -> None:
        super().__init__()
        self.autoencoder, self.head, self.augmentation = autoencoder, head, augmentation
        self.mean_autoencoder, self.mean_head = deepcopy(autoencoder), deepcopy(head)
        self.mean_autoencoder.requires_grad_(False)
        self.mean_head.requires_grad_(False)
        device = head.centroids.device
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64, device=device))

    def average(self, factor: float) -> None:
        """Take the weights as they are into the mean, which begins as that of few steps."""
        self.steps += 1
        steps = int(self.steps)
        kept = min(factor, steps / (steps + 9.0))
        pairs = ((self.mean_autoencoder, self.autoencoder), (self.mean_head, self.head))
        for mean, now in pairs:
            states = zip(mean.state_dict().values(), now.state_dict().values(), strict=True)
            for old, new in states:
                if old.is_floating_point():
                    old.lerp_(new, 1.0 - kept)
                else:
                    old.copy_(new)


class Guidance:
    """Minimise γ·KL(P‖Q) + L_AE (equation 16), with P given (a ``Phase`` of the trainer).

    Q is that of a part of half a window's length and that of the whole window, with the same weights: one
    network gives labels at either time. The part begins anywhere in the window's first half; the decoders
    reconstruct it and predict what the window holds after it.

    Args:
        model: to train.
        windows: (n, T, C) in physical units, on the module's device.
        targets: (n, K) P, likewise.
        normal: (2, C) offset and scale of the normalisation, likewise.
        config: schedule.
    """

    name = "guided"

    def __init__(
        self, model: GuidedModel, windows: Tensor, targets: Tensor, normal: Tensor, config: GuidedConfig
    ) -> None:
        self._model = model
        self._windows, self._targets = windows, targets
        self._offset, self._scale = normal
        self._config = config
        self.n_windows = len(windows)
        per_epoch = max(1, -(-len(windows) // config.batch_size))
        self.n_epochs = config.epochs or max(1, round(config.steps / per_epoch))
        self.batch_size = config.batch_size
        self.clip_norm = config.clip_norm
        self.optimizer = "adam"
        kept = config.reconstruction
        self.weights: Mapping[str, float] = {"cah": config.gamma, "rec": kept, "fut": kept}
        if config.consistency > 0.0:
            self.weights = {**self.weights, "con": config.consistency}

    @property
    def module(self) -> GuidedModel:
        """What is trained, and its mean."""
        return self._model

    def learning_rate(self, epoch: int) -> float:
        """Rises, then falls as half a cosine (Loshchilov and Hutter 2017, arXiv:1608.03983)."""
        epochs, highest = self.n_epochs, self._config.learning_rate
        rise = min(1.0, (epoch + 1) / max(1.0, _RISE * epochs))
        return highest * rise * 0.5 * (1.0 + math.cos(math.pi * epoch / epochs))

    def prepare(self) -> None:
        """Nothing to prepare."""

    def losses(self, index: Tensor) -> dict[str, Tensor]:
        """The decoders' terms ``rec`` and ``fut``, and ``cah``: the mean over both lengths."""
        model, windows, p = self._model, self._windows[index], self._targets[index]
        samples = windows.shape[1]
        n = half(samples)
        start = self._start(samples - n, windows.device)
        views = [model.augmentation(windows, start, n), model.augmentation(windows, 0, samples)]
        z_part, z_whole = model.autoencoder.encoder.together([self._normal(view) for view in views])
        rec, fut = model.autoencoder.decoders(z_part, n)
        clean = self._normal(windows)
        terms = {"rec": (rec - clean[:, start : start + n].flip(1)).square().mean()}
        after = clean[:, start + n : start + 2 * n]
        seen = after.shape[1]
        terms["fut"] = (fut[:, :seen] - after).square().sum() / fut.numel()
        q = model.head(torch.cat([z_part, z_whole]).float())
        model.average(self._config.averaging)
        terms["cah"] = hardening_loss(q, torch.cat([p, p]))
        if "con" in self.weights:
            terms["con"] = divergence(*q.tensor_split(2))
        return terms

    def _start(self, most: int, device: torch.device) -> int:
        """Where the part begins: at a whole step of the recurrence, 0 as often as all the others together."""
        frame = self._config.network.frame
        draw = torch.rand(2, generator=self._model.augmentation.generator(device), device=device).tolist()
        return 0 if draw[0] < 0.5 else frame * int(draw[1] * (most // frame + 1))

    def _normal(self, windows: Tensor) -> Tensor:
        normal: Tensor = (windows - self._offset) * self._scale
        return normal

    def end_epoch(self, epoch: int, optimizer: torch.optim.Optimizer) -> EpochEnd:
        """Goes on to the last epoch."""
        del epoch, optimizer
        return EpochEnd()


def divergence(q: Tensor, r: Tensor) -> Tensor:
    """Half the sum of KL(q‖r) and KL(r‖q) of two soft assignments (B, K), a mean over the rows."""
    tiny = torch.finfo(q.dtype).tiny
    log_ratio = q.clamp_min(tiny).log() - r.clamp_min(tiny).log()
    return 0.5 * ((q - r) * log_ratio).sum(1).mean()


def first_centroids(z: Tensor, labels: Tensor, n_clusters: int) -> Tensor:
    """Means of each cluster's embeddings, (n, d) and (n,) -> (K, d); the mean of all where it has none."""
    sums = torch.zeros(n_clusters, z.shape[1]).index_add_(0, labels, z)
    counts = torch.from_numpy(np.bincount(labels.numpy(), minlength=n_clusters))
    return torch.where(counts[:, None] > 0, sums / counts.clamp_min(1)[:, None], z.mean(0))
