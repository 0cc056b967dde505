"""Training from windows to centroids, as all deep methods share it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from disc_stream.artifacts.manifest import ScalerInfo
from disc_stream.clustering.newmotion import NewMotion
from disc_stream.errors import ConfigError
from disc_stream.models.cluster import ClusterHead
from disc_stream.models.collectives import broadcast
from disc_stream.models.config import NetworkConfig
from disc_stream.models.precision import full_float32
from disc_stream.training.centroids import initial_centroids
from disc_stream.training.families import Family, build_for
from disc_stream.training.fingerprint import sha256
from disc_stream.training.phases import ClusterModel, Pretraining, Refinement, as_numpy, embed
from disc_stream.training.presets import TrainingConfig
from disc_stream.training.pretrained import Pretrained
from disc_stream.training.task import FitOptions, Task
from disc_stream.training.trainer import Trainer
from disc_stream.training.warm import Carried
from disc_stream.training.windows import apply_scaler, check_seed, fit_scaler
from disc_stream.types import Float32Array

_WIDE = 128  # hidden units from which bfloat16 products pay off on a CPU


@dataclass(frozen=True, slots=True)
class Fitted:
    """The result of a training.

    Args:
        autoencoder: trained, in evaluation mode, on the CPU.
        centroids: (K, d).
        net: for inference.
        pretrained_net: the network as it was before refinement, with its initial centroids.
        scaler: normalisation.
        history: one entry per epoch.
        refining: (n, d) embeddings at the first look during refinement, where this process saw it.
    """

    autoencoder: nn.Module
    centroids: torch.Tensor
    net: nn.Module
    pretrained_net: nn.Module
    scaler: ScalerInfo
    history: list[dict[str, Any]] = field(repr=False)
    refining: Float32Array | None = field(default=None, repr=False)


def fit_clusters(
    family: Family,
    task: Task,
    config: TrainingConfig,
    options: FitOptions,
    *,
    pretrained: Pretrained | None = None,
    start: Pretrained | None = None,
) -> Fitted:
    """Train a deep clustering: autoencoder, centroids on its embeddings, refinement of both.

    Args:
        family: kind of autoencoder.
        task: windows, number of clusters, seed.
        config: every hyper-parameter.
        options: device, callback, checkpoints.
        pretrained: a trained autoencoder of this family, settings, seed and windows; the result is the same
            as without, and the time of its training is saved.
        start: an autoencoder to refine that was trained on more windows than these.

    Raises:
        ConfigError: if the seed is out of range, the device or the precision is not there, the layout does
            not fit the channels, the checkpoint or ``pretrained`` belongs to another training, or the model
            to go on from has another shape.
        TrainingError: if training cannot go on.
    """
    windows = task.windows
    seed, n_clusters = check_seed(task.seed), int(task.n_clusters)  # torch and JSON take none of numpy's
    identity = _identity(family, windows, config, seed) | (
        {"warm": task.warm.digest, "grow": task.grow} if task.warm else {}
    )
    with _threads_for(config, windows.shape[2]):
        work = _set_up(family, windows, config, options, {**identity, "n_clusters": n_clusters})
        trainer, data, autoencoder, scaler = work
        carried = None
        if task.warm is not None:
            task.warm.load_into(autoencoder)
            scaler = task.warm.scaler
            data = as_tensor(apply_scaler(scaler, windows), trainer.device)
            carried = Carried.of(task.warm, as_numpy(embed(autoencoder, data)))
        if pretrained is not None:
            pretrained.require(identity, config)
        if (given := pretrained or start) is not None and "pretrain" not in trainer.completed:
            trainer.completed["pretrain"] = given.state
            trainer.history = list(given.history)
            scaler = given.scaler
            data = torch.from_numpy(apply_scaler(scaler, windows)).to(trainer.device)
        trainer.run(Pretraining(autoencoder, data, config))

        z = as_numpy(broadcast(embed(autoencoder, data)))
        first = (
            initial_centroids(z, n_clusters, init=config.init, seed=seed, ward_sample=config.ward_sample)
            if carried is None
            else carried.centroids(z, n_clusters, seed=seed, new=new_motion_of(task, carried), grow=task.grow)
        )
        head = ClusterHead(broadcast(torch.from_numpy(first).to(trainer.device)))
        pretrained_net = family.network_for_use(deepcopy(autoencoder).cpu(), head.centroids, scaler)
        kept = len(data) if config.refresh_steps else 0
        refinement = Refinement(ClusterModel(autoencoder, head, kept), data, config)
        trainer.run(refinement)

    autoencoder = autoencoder.cpu()
    centroids = head.centroids.detach().cpu()
    net = family.network_for_use(autoencoder, centroids, scaler)
    seen = None if refinement.after_first is None else as_numpy(refinement.after_first)
    return Fitted(autoencoder, centroids, net, pretrained_net, scaler, trainer.history, seen)


def new_motion_of(task: Task, carried: Carried) -> NewMotion | None:
    """Motion that the model to go on from has no cluster for, in the order of the task's windows.

    None where it is not known what was known.
    """
    known = None if task.warm is None else task.warm.known
    if known is None or not known.fits(task.windows) or task.devices is None:
        return None
    order = np.arange(len(task.windows)) if task.order is None else task.order
    return known.new_in(task.windows[order], carried.before[order], task.devices[order]).reordered(order)


def pretrain(
    family: Family, windows: Float32Array, config: TrainingConfig, *, seed: int, options: FitOptions
) -> Pretrained:
    """The first half of ``fit_clusters`` alone: train the autoencoder. Arguments and errors are the same."""
    identity = _identity(family, windows, config, check_seed(seed))
    with _threads_for(config, windows.shape[2]):
        trainer, data, autoencoder, scaler = _set_up(family, windows, config, options, identity)
        trainer.run(Pretraining(autoencoder, data, config))
    return Pretrained(identity, trainer.completed["pretrain"], scaler, trainer.history, config.to_dict())


def network_of(
    pretrained: Pretrained, family: Family, config: TrainingConfig, shape: tuple[int, int]
) -> nn.Module:
    """The encoder of a pretrained autoencoder, ready to use on windows of ``shape`` (T, C).

    There is one centroid, at 0; only the embeddings mean something.
    """
    autoencoder = build_for(family, config, shape, seed=0)
    autoencoder.load_state_dict(pretrained.state)
    autoencoder.eval()
    return family.network_for_use(autoencoder, torch.zeros(1, config.network.embedding), pretrained.scaler)


def _set_up(
    family: Family,
    windows: Float32Array,
    config: TrainingConfig,
    options: FitOptions,
    identity: dict[str, Any],
) -> tuple[Trainer, torch.Tensor, nn.Module, ScalerInfo]:
    """A trainer (resumed, if wanted), the normalised windows on the device, a new autoencoder, the scaler."""
    seed, device = identity["seed"], pick_device(options.device)
    trainer = Trainer(
        seed=seed,
        device=device,
        bf16=use_bf16(config, device, windows.shape[2]),
        callback=options.callback,
        checkpoints=options.checkpoints,
        identity=identity,
    )
    if options.resume:
        trainer.resume()
    scaler = fit_scaler(config.scaler, windows)
    data = as_tensor(apply_scaler(scaler, windows), device)
    autoencoder = build_for(family, config, (windows.shape[1], windows.shape[2]), seed).to(device)
    return trainer, data, autoencoder, scaler


def _identity(family: Family, windows: Float32Array, config: TrainingConfig, seed: int) -> dict[str, Any]:
    return {"method": family.name, "config": config.to_dict(), "seed": seed, "windows": sha256(windows)}


def infer(net: nn.Module, inputs: Float32Array, batch: int = 1024) -> tuple[Float32Array, ...]:
    """Embeddings (n, d), q (n, K) and squared distances (n, K) of many windows.

    Args:
        net: trained network.
        inputs: (n, input_samples, C), what the network reads of each window, in physical units.
        batch: windows at once.
    """
    whole = as_tensor(inputs, torch.device("cpu"))
    with torch.no_grad(), full_float32():
        parts = [net(part) for part in torch.split(whole, batch)]
    return tuple(as_numpy(torch.cat(column)) for column in zip(*parts, strict=True))


def as_tensor(array: Float32Array, device: torch.device) -> torch.Tensor:
    """A copy on a device, in memory that torch has aligned.

    Numpy's begins anywhere, and the last bits of a matrix product may depend on that: two trainings with one
    seed would not be the same.
    """
    return torch.tensor(np.ascontiguousarray(array), device=device)


def pick_device(wanted: str) -> torch.device:
    """The device to train on.

    Raises:
        ConfigError: if it is not known, or CUDA is asked for and not there.
    """
    if wanted not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"device must be auto, cpu or cuda, got {wanted!r}")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ConfigError("no CUDA device can be used here", remedy="Use --device cpu")
    cuda = wanted == "cuda" or (wanted == "auto" and torch.cuda.is_available())
    return torch.device("cuda" if cuda else "cpu")


def use_bf16(config: TrainingConfig, device: torch.device, n_channels: int) -> bool:
    """Whether to run large products in bfloat16.

    On CUDA wherever the device has it; on a CPU with AVX-512 BF16 or AMX, for networks wide enough to gain.
    """
    if config.precision != "auto":
        return config.precision == "bf16"
    if device.type == "cuda":
        return processor_has_bf16(device)
    if not isinstance(config.network, NetworkConfig):
        return False  # measured: the gain is in the recurrences alone
    return _is_wide(config, n_channels) and processor_has_bf16(device)


def processor_has_bf16(device: torch.device) -> bool:
    """Whether the device multiplies in bfloat16 faster than in float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())  # noqa: SLF001


def _is_wide(config: TrainingConfig, n_channels: int) -> bool:
    if not isinstance(config.network, NetworkConfig):
        return True
    rows, columns = config.network.grid(n_channels)
    return config.network.hidden * rows * columns >= _WIDE


@contextmanager
def _threads_for(config: TrainingConfig, n_channels: int) -> Iterator[None]:
    """One thread for a narrow network, torch's own number for a wide one.

    The products of a narrow network are too small to share out: two threads gain nothing on an idle machine,
    and on a busy one they wait for each other at every product (measured: up to 20 times slower).
    """
    before = torch.get_num_threads()
    if not _is_wide(config, n_channels):
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
