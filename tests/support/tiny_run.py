"""A finished run folder with seeded weights, written in milliseconds: for tests of what reads runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from disc_stream.artifacts.manifest import ChannelInfo, ScalerInfo, WindowInfo
from disc_stream.artifacts.run import RunInfo
from disc_stream.models.autoencoder import MultiTaskAutoencoder
from disc_stream.models.config import NetworkConfig
from disc_stream.training.runs import save_run

N_CLUSTERS = 5
N_SAMPLES = 40
INPUT_SAMPLES = 16
CHANNELS = ("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z")


def write_tiny_run(path: Path, *, seed: int = 0, **network: Any) -> Path:
    """Write a run whose network has ``network``'s shape; its centroids are embeddings of some windows."""
    config = NetworkConfig(**{"hidden": 8, "embedding": 4, "decoder_hidden": 8, **network})
    rng = np.random.default_rng(seed)
    samples = rng.normal(size=(N_SAMPLES, INPUT_SAMPLES, len(CHANNELS))).astype(np.float32)
    autoencoder = MultiTaskAutoencoder(config, len(CHANNELS), torch.Generator().manual_seed(seed)).eval()
    norm = autoencoder.encoder.bottleneck.norm
    with torch.no_grad():  # statistics that do something, as after training
        norm.running_mean.copy_(torch.from_numpy(rng.normal(size=config.embedding)))
        norm.running_var.copy_(torch.from_numpy(rng.uniform(0.01, 0.1, size=config.embedding)))
        centroids = autoencoder.encoder(torch.from_numpy(samples[:N_CLUSTERS])).clone()
    info = tiny_info(config.to_dict(), seed)
    save_run(path, info=info, weights=autoencoder.state_dict(), centroids=centroids, samples=samples)
    return path


def edit_run(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change ``run.json``."""
    file = path / "run.json"
    raw = json.loads(file.read_text())
    change(raw)
    file.write_text(json.dumps(raw))


def tiny_info(network: dict[str, Any], seed: int) -> RunInfo:
    """``run.json`` of a run over the tiny windows."""
    return RunInfo(
        method="DISC",
        preset="small",
        config={"network": network},
        dataset="synthetic",
        fingerprint="0" * 64,
        n_windows=1000,
        seed=seed,
        fs=50.0,
        channels=[ChannelInfo(name=n, unit="g" if n.startswith("acc") else "rad/s") for n in CHANNELS],
        window=WindowInfo(samples=2 * INPUT_SAMPLES, hop=INPUT_SAMPLES, input_samples=INPUT_SAMPLES),
        scaler=ScalerInfo(
            kind="minmax", offset=[0.1, 0.2, -0.3, 0.0, 1.0, -2.0], scale=[1.5, 0.5, 1.0, 2.0, 0.1, 1.0]
        ),
        n_clusters=N_CLUSTERS,
        cluster_sizes=[200] * N_CLUSTERS,
        distance_q95=[0.5 + k for k in range(N_CLUSTERS)],
        metrics={"test": {"acc": 0.5, "nmi": None}},
        created="2026-01-01T00:00:00+00:00",
    )
