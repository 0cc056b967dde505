"""Guided training from windows to a network that labels at half a window or at the whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from disc_stream.artifacts.manifest import ScalerInfo
from disc_stream.models.autoencoder import half
from disc_stream.models.cluster import ClusterHead
from disc_stream.models.collectives import broadcast
from disc_stream.models.described import DescribedAutoencoder, DescribedNet, evidence_of_targets
from disc_stream.models.inference import InferenceNet
from disc_stream.training.centroids import nearest
from disc_stream.training.checkpoint import State, copy_of
from disc_stream.training.fingerprint import sha256
from disc_stream.training.fitting import as_tensor, infer, new_motion_of, pick_device, processor_has_bf16
from disc_stream.training.guided.augmentation import Augmentation
from disc_stream.training.guided.config import GuidedConfig
from disc_stream.training.guided.describing import describe
from disc_stream.training.guided.guidance import Guidance, GuidedModel, first_centroids
from disc_stream.training.guided.teacher import Teacher, find_teacher
from disc_stream.training.phases import as_numpy, embed, evaluating
from disc_stream.training.task import FitOptions, Task
from disc_stream.training.trainer import Trainer
from disc_stream.training.warm import Carried, WarmStart
from disc_stream.training.windows import apply_scaler, check_seed, fit_scaler
from disc_stream.types import Float32Array, IntArray

_BATCH = 1024
_GENTLE = 0.3  # of the learning rate and the epochs, where a trained network goes on


@dataclass(frozen=True, slots=True)
class FittedGuided:
    """The result of a guided training.

    Args:
        autoencoder: trained, in evaluation mode, on the CPU.
        centroids: (K, K + d'), see ``DescribedNet``.
        scaler: normalisation.
        found: (n,) the labelling that it learned.
        initial: weights of the autoencoder before the first step.
        history: of the search and the training.
    """

    autoencoder: DescribedAutoencoder
    centroids: Tensor
    scaler: ScalerInfo
    found: IntArray = field(repr=False)
    initial: State = field(repr=False)
    history: list[dict[str, Any]] = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Start:
    """What the first step begins with: targets (n, K), the network's centroids (K, d), how they came about.

    Where a trained model is gone on from, the centroids (K, K + d') of its ``DescribedNet`` are known.
    """

    targets: Float32Array
    centroids: Float32Array
    known: Tensor | None
    found: IntArray
    history: list[dict[str, Any]]


def fit_guided(task: Task, config: GuidedConfig, options: FitOptions) -> FittedGuided:
    """Find a labelling that carries over, and train the network with it as the target distribution.

    Where the task has a model to go on from, that model's own labels are the targets, with those of new
    motion, so that its clusters stay what they are.

    Args:
        task: windows with their devices and order, number of clusters, seed.
        config: every hyper-parameter.
        options: device, callback, checkpoints.

    Raises:
        ConfigError: if the seed is out of range, the device is not there, the layout does not fit the
            channels, the checkpoint belongs to another training, or the model to go on from has another
            shape.
        TrainingError: if training cannot go on.
    """
    seed = check_seed(task.seed)
    windows = task.windows if task.held_out is None else task.windows[task.learned]
    device = pick_device(options.device)
    with _one_thread():
        n_clusters = task.n_clusters if task.warm is None else len(task.warm.centroids)
        autoencoder = new_autoencoder(config, (*task.shape, n_clusters), seed)
        initial = copy_of(autoencoder)
        autoencoder = autoencoder.to(device)
        scaler = fit_scaler(config.scaler, windows) if task.warm is None else task.warm.scaler
        start = (
            _from_scratch(autoencoder, scaler, task, config, options)
            if task.warm is None
            else _going_on(autoencoder, task, task.warm, config)
        )
        schedule = config if task.warm is None else _gentle(config)
        trainer = _trainer(task, schedule, options, start)
        raw = as_tensor(windows, device)
        head = ClusterHead(broadcast(as_tensor(start.centroids, device)))
        model = GuidedModel(autoencoder, head, Augmentation(config, raw)).to(device)
        normal = torch.tensor(np.array([scaler.offset, scaler.scale], dtype=np.float32), device=device)
        trainer.run(Guidance(model, raw, as_tensor(start.targets, device), normal, schedule))
    trained = autoencoder.cpu().eval()
    trained.load_state_dict(model.mean_autoencoder.state_dict())
    trained.own = model.mean_head.centroids.detach().cpu().clone()
    centroids = start.known
    if centroids is None:
        centroids = describe(trained, windows, start.found[task.learned], len(trained.own), config)
    beside = copy_of(trained.described)
    initial |= {f"described.{name}": value for name, value in beside.items()}
    initial["own"] = torch.from_numpy(start.centroids)
    return FittedGuided(trained, centroids, scaler, start.found, initial, [*start.history, *trainer.history])


def new_autoencoder(config: GuidedConfig, shape: tuple[int, int, int], seed: int) -> DescribedAutoencoder:
    """A new autoencoder for ``shape`` (T, C, K), its initial weights from ``seed``."""
    return DescribedAutoencoder(
        config.network,
        shape,
        torch.Generator().manual_seed(seed),
        bands=config.teacher.bands,
        axes=config.teacher.axes,
        doubt=config.doubt,
    )


def _from_scratch(
    autoencoder: DescribedAutoencoder,
    scaler: ScalerInfo,
    task: Task,
    config: GuidedConfig,
    options: FitOptions,
) -> _Start:
    """The teacher's targets; centroids at the means of its clusters in the embedding as it is."""
    teacher: Teacher = find_teacher(task, config, options)
    device = next(autoencoder.parameters()).device
    learned = task.learned
    found = teacher.found[learned]
    data = as_tensor(apply_scaler(scaler, task.windows[learned]), device)
    _settle_statistics(autoencoder, data)
    z = embed(autoencoder, data).cpu()
    centroids = first_centroids(z, torch.from_numpy(found), task.n_clusters)
    targets = teacher.targets(config)[learned]
    return _Start(targets, centroids.numpy(), None, teacher.found, teacher.history)


def _settle_statistics(autoencoder: DescribedAutoencoder, data: Tensor) -> None:
    """Give the bottleneck's normalisation the statistics of these windows: embeddings then have a scale."""
    norm = autoencoder.encoder.bottleneck.norm
    momentum, norm.momentum = norm.momentum, None
    with evaluating(autoencoder):
        norm.train()
        for part in torch.split(data, _BATCH):
            if len(part) > 1:
                autoencoder.encode(part)
    norm.momentum = momentum
    autoencoder.train()


def _going_on(autoencoder: DescribedAutoencoder, task: Task, warm: WarmStart, config: GuidedConfig) -> _Start:
    """The model's own clusters, with those that are new, merged or split, as targets."""
    warm.load_into(autoencoder)
    device = next(autoencoder.parameters()).device
    network = InferenceNet(autoencoder.encoder, autoencoder.own, warm.scaler)
    net = DescribedNet(network, autoencoder.described, warm.centroids, config.doubt)
    z = infer(net, task.windows[:, : half(task.shape[0])])[0]
    z = as_numpy(broadcast(as_tensor(z, device)))
    carried = Carried.of(warm, z)
    new = new_motion_of(task, carried)
    centroids = carried.centroids(z, task.n_clusters, seed=task.seed, new=new, grow=task.grow)
    labels = nearest(z, centroids)
    own, known = autoencoder.own.cpu(), len(warm.centroids)
    if len(centroids) != known:
        latent = embed(autoencoder, as_tensor(apply_scaler(warm.scaler, task.windows), device)).cpu()
        own = first_centroids(latent, torch.from_numpy(labels), len(centroids))
        if len(own) > known:
            own[:known] = autoencoder.own.cpu()
    targets = Teacher(labels, np.eye(len(own), dtype=np.float32)[labels], []).targets(config)
    evidence = evidence_of_targets(len(own), config.doubt)[0]
    known_centroids = torch.cat([evidence, torch.from_numpy(centroids[:, known:])], dim=1)
    return _Start(targets, own.numpy(), known_centroids, labels, [])


def _gentle(config: GuidedConfig) -> GuidedConfig:
    """Fewer and smaller steps: what is known must not move."""
    fewer = {name: round(_GENTLE * getattr(config, name)) for name in ("steps", "epochs")}
    fewer = {name: max(value, min(1, getattr(config, name))) for name, value in fewer.items()}
    return config.but(**fewer, learning_rate=_GENTLE * config.learning_rate)


def _trainer(task: Task, config: GuidedConfig, options: FitOptions, start: _Start) -> Trainer:
    device = pick_device(options.device)
    identity = {
        "method": "guided", "config": config.to_dict(), "seed": int(task.seed),
        "n_clusters": len(start.centroids), "windows": sha256(task.windows),
        "targets": sha256(start.targets),
    }  # fmt: skip
    if task.warm is not None:
        identity |= {"warm": task.warm.digest, "grow": task.grow}
    trainer = Trainer(
        seed=int(task.seed),
        device=device,
        bf16=config.precision == "bf16" or (config.precision == "auto" and processor_has_bf16(device)),
        callback=options.callback,
        checkpoints=options.checkpoints,
        identity=identity,
    )
    if options.resume:
        trainer.resume()
    return trainer


@contextmanager
def _one_thread() -> Iterator[None]:
    """The products of this network are too small to share out between threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
