"""The targets of guided training: a labelling that carries over, and what other devices make of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from disc_stream.models.collectives import broadcast, is_rank_zero
from disc_stream.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from disc_stream.training.fingerprint import sha256
from disc_stream.training.fitting import pick_device
from disc_stream.training.guided.config import GuidedConfig
from disc_stream.training.plus.discriminant import Discriminant, DiscriminantFitter
from disc_stream.training.plus.fitting import describe_windows, fit_plus
from disc_stream.training.task import FitOptions, Task
from disc_stream.types import Float32Array, IntArray

_FOLDER = "teacher"  # in that of the checkpoints
_PHASE = "teacher"
_FOLDS = 10  # at most; a device is in one of them

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Teacher:
    """What guided training learns from, in the order of the task's windows.

    Args:
        found: (n,) the labelling.
        others: (n, K) probabilities of each window by discriminants that have seen only other devices; the
            labelling itself where they are not asked for.
        history: of the search that found it, one entry per candidate.
    """

    found: IntArray
    others: Float32Array = field(repr=False)
    history: list[dict[str, Any]] = field(repr=False)

    def targets(self, config: GuidedConfig) -> Float32Array:
        """The target distribution P, (n, K)."""
        k = self.others.shape[1]
        own = np.eye(k, dtype=np.float32)[self.found]
        p = (1.0 - config.others) * own + config.others * self.others
        return np.asarray((1.0 - config.doubt) * p + config.doubt / k, dtype=np.float32)


def find_teacher(task: Task, config: GuidedConfig, options: FitOptions) -> Teacher:
    """Search for the labelling, or take it from the checkpoint.

    Of several processes, the first searches and the others are told.

    Raises:
        ConfigError: if the checkpoint belongs to another training.
        TrainingError: if the windows do not fall into so many clusters, or the disk takes no checkpoint.
    """
    n, k = len(task.windows), int(task.n_clusters)
    if is_rank_zero():
        teacher = _searched(task, config, options)
    else:
        teacher = Teacher(np.zeros(n, dtype=np.int64), np.zeros((n, k), dtype=np.float32), [])
    device = pick_device(options.device)  # where the processes talk through NCCL, it must be there
    found = broadcast(torch.from_numpy(teacher.found).to(device)).cpu().numpy()
    others = broadcast(torch.from_numpy(teacher.others).to(device)).cpu().numpy()
    return Teacher(found, others, teacher.history)


def _searched(task: Task, guided: GuidedConfig, options: FitOptions) -> Teacher:
    config = guided.teacher
    n = len(task.windows)
    order = np.arange(n) if task.order is None else task.order
    devices = np.zeros(n, dtype=np.int64) if task.devices is None else task.devices
    windows, devices = task.windows[order], devices[order]
    folder = None if options.checkpoints is None else options.checkpoints / _FOLDER
    identity = {
        "method": "teacher", "config": config.to_dict(), "seed": int(task.seed),
        "n_clusters": int(task.n_clusters), "windows": sha256(windows), "others": guided.others > 0.0,
        "devices": hashlib.sha256(devices.astype("<i8").tobytes()).hexdigest(),
    }  # fmt: skip
    done = None if folder is None else folder / "found"
    saved = load_checkpoint(done, identity) if done is not None and options.resume else None
    if saved is not None:
        return Teacher(saved.model["found"].numpy(), saved.model["others"].numpy(), saved.history)
    search = FitOptions(callback=options.callback, checkpoints=folder, resume=options.resume)
    plus = fit_plus(windows, devices, task, config, search)
    back = np.argsort(order)
    others = np.eye(int(task.n_clusters), dtype=np.float32)[plus.found]
    if guided.others > 0.0:
        with threadpool_limits(1):
            x = describe_windows(windows, config)[1]
            others = by_others(x, plus.found, devices, int(task.n_clusters), config.shrinkage)
    teacher = Teacher(plus.found[back], others[back], plus.history)
    if done is not None:
        model = {"found": torch.from_numpy(teacher.found), "others": torch.from_numpy(teacher.others)}
        save_checkpoint(done, Checkpoint(identity, _PHASE, 0, True, model, {}, history=teacher.history))
    return teacher


def by_others(
    x: Array, labels: IntArray, devices: IntArray, n_clusters: int, shrinkage: float
) -> Float32Array:
    """Probabilities of each window's label by a discriminant that has seen only other devices.

    With one device there are no others, and the labels are what they are.

    Args:
        x: (n, F) standardised descriptors.
        labels: (n,).
        devices: (n,).
        n_clusters: K.
        shrinkage: of the discriminants' covariance.

    Returns:
        (n, K).
    """
    names = np.unique(devices)
    if len(names) < 2:
        return np.eye(n_clusters, dtype=np.float32)[labels]
    out = np.empty((len(x), n_clusters), dtype=np.float32)
    for part in np.array_split(names, min(_FOLDS, len(names))):
        held_out = np.isin(devices, part)
        fitter = DiscriminantFitter(x[~held_out], shrinkage)
        out[held_out] = _probabilities(fitter.fit(labels[~held_out], n_clusters), x[held_out])
    return out


def _probabilities(discriminant: Discriminant, x: Array) -> Array:
    """Of each class, which are normal with one covariance, (n, F) -> (n, K)."""
    z = x @ discriminant.project + discriminant.shift
    log_p = z @ discriminant.centroids.T - 0.5 * np.square(discriminant.centroids).sum(1)
    p = np.exp(log_p - log_p.max(1, keepdims=True))
    return np.asarray(p / p.sum(1, keepdims=True))
