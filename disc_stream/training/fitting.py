"""Training of DISC from windows to centroids: the recipe that the estimator and the command share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from disc_stream.artifacts.manifest import ScalerInfo
from disc_stream.errors import ConfigError
from disc_stream.models.autoencoder import MultiTaskAutoencoder
from disc_stream.models.cluster import ClusterHead
from disc_stream.models.config import NetworkConfig
from disc_stream.models.inference import InferenceNet
from disc_stream.training.centroids import initial_centroids
from disc_stream.training.events import Callback, ignore
from disc_stream.training.phases import ClusterModel, Pretraining, Refinement, as_numpy, embed
from disc_stream.training.presets import TrainingConfig
from disc_stream.training.trainer import Trainer
from disc_stream.training.windows import apply_scaler, fit_scaler
from disc_stream.types import Float32Array

MAX_SEED = 2**32 - 1  # scikit-learn takes no larger one
_WIDE = 128  # hidden units from which bfloat16 products pay off on a CPU


@dataclass(frozen=True, slots=True)
class FitOptions:
    """How to run a training, apart from what is trained.

    Args:
        device: ``auto``, ``cpu`` or ``cuda``.
        callback: told of every batch and epoch.
        checkpoints: folder to keep a checkpoint in, or None.
        resume: go on from that checkpoint if it is there.
    """

    device: str = "auto"
    callback: Callback = ignore
    checkpoints: Path | None = None
    resume: bool = False


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
    """

    autoencoder: MultiTaskAutoencoder
    centroids: torch.Tensor
    net: InferenceNet
    pretrained_net: InferenceNet
    scaler: ScalerInfo
    history: list[dict[str, Any]] = field(repr=False)


def fit_disc(
    windows: Float32Array, n_clusters: int, config: TrainingConfig, *, seed: int, options: FitOptions
) -> Fitted:
    """Train DISC: autoencoder, centroids on its embeddings, refinement of both.

    Args:
        windows: (n, T, C), checked, in physical units.
        n_clusters: K.
        config: every hyper-parameter.
        seed: same seed, same result on the same machine.
        options: device, callback, checkpoints.

    Raises:
        ConfigError: if the seed is out of range, the device or the precision is not there, the layout does
            not fit the channels, or the checkpoint belongs to another training.
        TrainingError: if training cannot go on.
    """
    seed, n_clusters = int(seed), int(n_clusters)  # torch and JSON take no integers of numpy
    if not 0 <= seed <= MAX_SEED:
        raise ConfigError(f"the seed must be 0 to {MAX_SEED}, got {seed}")
    device = pick_device(options.device)
    with _threads_for(config, windows.shape[2]):
        return _fit(windows, n_clusters, config, seed, device, options)


def _fit(
    windows: Float32Array,
    n_clusters: int,
    config: TrainingConfig,
    seed: int,
    device: torch.device,
    options: FitOptions,
) -> Fitted:
    n_channels = windows.shape[2]
    trainer = Trainer(
        seed=seed,
        device=device,
        bf16=use_bf16(config, device, n_channels),
        callback=options.callback,
        checkpoints=options.checkpoints,
        identity={
            "method": "DISC", "config": config.to_dict(), "seed": seed, "n_clusters": n_clusters,
            "windows": sha256(windows),
        },
    )  # fmt: skip
    if options.resume:
        trainer.resume()

    scaler = fit_scaler(config.scaler, windows)
    data = torch.from_numpy(apply_scaler(scaler, windows)).to(device)
    autoencoder = build_autoencoder(config.network, n_channels, seed).to(device)
    trainer.run(Pretraining(autoencoder, data, config))

    z = as_numpy(embed(autoencoder, data))
    start = initial_centroids(z, n_clusters, init=config.init, seed=seed, ward_sample=config.ward_sample)
    head = ClusterHead(torch.from_numpy(start)).to(device)
    pretrained_net = InferenceNet(autoencoder.encoder, head.centroids, scaler)
    trainer.run(Refinement(ClusterModel(autoencoder, head), data, config, seed))

    autoencoder = autoencoder.cpu()
    centroids = head.centroids.detach().cpu()
    net = InferenceNet(autoencoder.encoder, centroids, scaler)
    return Fitted(autoencoder, centroids, net, pretrained_net, scaler, trainer.history)


def build_autoencoder(network: NetworkConfig, n_channels: int, seed: int) -> MultiTaskAutoencoder:
    """A new autoencoder with initial weights from ``seed``."""
    return MultiTaskAutoencoder(network, n_channels, torch.Generator().manual_seed(seed))


def infer(net: InferenceNet, inputs: Float32Array, batch: int = 1024) -> tuple[Float32Array, ...]:
    """Embeddings (n, d), q (n, K) and squared distances (n, K) of many windows.

    Args:
        net: trained network.
        inputs: (n, input_samples, C) first halves of windows, in physical units.
        batch: windows at once.
    """
    whole = torch.from_numpy(np.ascontiguousarray(inputs))
    with torch.no_grad():
        parts = [net(part) for part in torch.split(whole, batch)]
    return tuple(as_numpy(torch.cat(column)) for column in zip(*parts, strict=True))


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
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    has_it = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()  # noqa: SLF001
    return _is_wide(config, n_channels) and bool(has_it)


def _is_wide(config: TrainingConfig, n_channels: int) -> bool:
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


def sha256(windows: Float32Array) -> str:
    """Fingerprint of windows: their shape and every byte."""
    digest = hashlib.sha256(json.dumps(windows.shape).encode())
    digest.update(np.ascontiguousarray(windows).data)
    return digest.hexdigest()
