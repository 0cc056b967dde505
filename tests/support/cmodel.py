"""Bundles of small descriptor networks, and their C source in a folder, ready to compile."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from disc_stream.artifacts.bundle import Bundle, graph_facts, write_bundle, write_catalogue
from disc_stream.artifacts.catalogue import ClusterInfo
from disc_stream.artifacts.manifest import (
    MODEL_FILE,
    ChannelInfo,
    Manifest,
    ParityInfo,
    TrainingInfo,
    WindowInfo,
)
from disc_stream.models.descriptors import DescriptorNet, Descriptors
from disc_stream.types import Float32Array
from disc_stream_export.c.source import CSource, SourceNames
from disc_stream_export.graph import build_graph, serialise

STRICT = (
    "-std=c99",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-pedantic",
    "-Wshadow",
    "-Wconversion",
    "-Wdouble-promotion",
)


@dataclass(frozen=True)
class Shape:
    """Of a network: samples, channels, channels of a sensor, embedding, clusters."""

    samples: int = 128
    channels: int = 6
    axes: int = 3
    embedding: int = 4
    clusters: int = 5
    hop: int = 0

    @property
    def window(self) -> WindowInfo:
        hop = self.hop or max(1, self.samples // 2)
        return WindowInfo(samples=self.samples, hop=hop, input_samples=self.samples)


def moving(n: int, shape: Shape, seed: int = 1) -> Float32Array:
    """Windows (n, T, C) of waves around different levels, with noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(shape.samples)[None, :, None] / 50.0
    rate, phase, size, level = rng.uniform(
        0, [[[[8.0]]], [[[6.3]]], [[[1.5]]], [[[2.0]]]], (4, n, 1, shape.channels)
    )
    x = level - 1.0 + size * np.sin(2 * np.pi * rate * t + phase)
    return (x + rng.normal(0, 0.02, x.shape)).astype(np.float32)


def write_descriptor_bundle(
    path: Path, shape: Shape = Shape(), *, unknown_above: float | None = None
) -> Bundle:
    """A bundle of a network with a random map whose centroids are embeddings of some windows."""
    rng = np.random.default_rng(0)
    scale = torch.from_numpy(rng.uniform(0.5, 2.0, shape.channels))
    descriptors = Descriptors(shape.samples, scale, axes=shape.axes)
    found = descriptors(torch.from_numpy(moving(64, shape, seed=0)))
    spread = found.std(0).clamp_min(1e-3)[:, None]
    chosen = torch.from_numpy(rng.normal(size=(descriptors.n_descriptors, shape.embedding))).float()
    project = chosen / spread / np.sqrt(descriptors.n_descriptors)
    shift = -(found.mean(0) @ project)
    centroids = found[: shape.clusters] @ project + shift
    net = DescriptorNet(descriptors, project, shift, centroids)
    manifest = _manifest(shape, net)
    facts = graph_facts(manifest)
    graph = build_graph(net, input_samples=shape.samples, n_channels=shape.channels, facts=facts)
    clusters = [
        ClusterInfo(id=k, name=f"cluster {k}", size=10, distance_q95=1.0 + k, unknown_above=unknown_above)
        for k in range(shape.clusters)
    ]
    write_bundle(path, manifest, clusters, {MODEL_FILE: serialise(graph)})
    return Bundle.open(path)


def _manifest(shape: Shape, net: DescriptorNet) -> Manifest:
    names = [f"acc_{'xyz'[c % 3]}{c // 3}" for c in range(shape.channels)]
    training = TrainingInfo(
        method="disc-plus", preset="disc-plus", dataset="waves", fingerprint="0" * 64, n_windows=64, seed=0
    )
    parity = ParityInfo(
        n_windows=0, n_probes=1, max_abs_embedding=0, max_abs_q=0, max_rel_distance=0, labels_equal=0
    )
    return Manifest(
        name="waves", version="", created="2026-01-01T00:00:00+00:00", fs=50.0, window=shape.window,
        channels=[ChannelInfo(name=name, unit="g") for name in names], scaler=net.scaler,
        embedding_dim=shape.embedding, n_clusters=shape.clusters, training=training, parity=parity,
        software={}, files={},
    )  # fmt: skip


def with_clusters(bundle: Bundle, **changes: dict[int, object]) -> Bundle:
    """The bundle with fields of its clusters changed: ``with_clusters(b, name={0: "rest"})``."""
    clusters = list(bundle.catalogue.clusters)
    for field, values in changes.items():
        for row, value in values.items():
            clusters[row] = clusters[row].model_copy(update={field: value})
    catalogue = bundle.catalogue.model_copy(update={"clusters": tuple(clusters)})
    write_catalogue(bundle.path, catalogue)
    return Bundle.open(bundle.path)


def source_files(bundle: Bundle, prefix: str = "disc") -> dict[str, str]:
    """File name -> text of a model, its header and the driver."""
    source = CSource(bundle, SourceNames("model", prefix))
    return {"model.c": source.model(), "model.h": source.header(), "driver.c": source.driver()}


def write_files(folder: Path, files: dict[str, str]) -> Path:
    """Write texts into a new folder."""
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="ascii")
    return folder


def run_program(folder: Path, files: dict[str, str], *flags: str, compiler: str = "gcc") -> str:
    """Compile C files in a folder of their own and give what their program prints."""
    write_files(folder, files)
    sources = [name for name in files if name.endswith(".c")]
    for command in ([compiler, *STRICT, *flags, "-o", "program", *sources], ["./program"]):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout
