"""Bundles of networks that nobody has trained: as fast as trained ones, and made in seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from disc_stream.artifacts.bundle import Bundle, graph_facts, write_bundle
from disc_stream.artifacts.catalogue import ClusterInfo
from disc_stream.artifacts.manifest import (
    MODEL_FILE,
    ChannelInfo,
    Manifest,
    ParityInfo,
    ScalerInfo,
    TrainingInfo,
    WindowInfo,
)
from disc_stream.benchmarks.encode import Subject
from disc_stream.errors import ConfigError
from disc_stream.models.descriptors import DescriptorNet, Descriptors
from disc_stream.training.families import build_for
from disc_stream.training.guided.config import resolve_guided
from disc_stream.training.guided.fitting import new_autoencoder
from disc_stream.training.guided.sizes import SIZE_OF_PRESET, SIZES
from disc_stream.training.presets import TrainingConfig, resolve
from disc_stream.training.recipes.guided import GUIDED
from disc_stream.training.recipes.recurrent import DISC_FAMILY
from disc_stream.types import Channel
from disc_stream_export.graph import build_graph, serialise

PLUS = "disc-plus"
K = 6
_PLUS_DIM = 10
_SAMPLES = 128
_WHOLE = "-whole"


def variants() -> tuple[str, ...]:
    """What ``untrained`` can make: DISC in each of its presets, guided DISC in each size, and disc-plus.

    Guided DISC labels at half a window, and with ``-whole`` behind its name at the whole one.
    """
    guided = tuple(name + at for name in SIZE_OF_PRESET for at in ("", _WHOLE))
    return (*DISC_FAMILY.presets, *guided, PLUS)


def untrained(
    variant: str,
    folder: Path,
    channels: Sequence[Channel],
    fs: float = 50.0,
    settings: Mapping[str, Any] | None = None,
) -> Subject:
    """A model with random weights, as a bundle and in torch.

    Args:
        variant: one of ``variants()``.
        folder: of the bundle, made here.
        channels: that it reads.
        fs: in Hz; windows have 128 samples.
        settings: that differ from the preset's.

    Raises:
        ConfigError: if there is no such variant or setting.
    """
    if variant not in variants():
        raise ConfigError(f"there is no variant {variant!r}", remedy=f"Use one of: {', '.join(variants())}")
    net, scaler, reads = _net(variant, len(channels), settings or {})
    sample = torch.zeros(1, reads, len(channels))
    dim = net(sample)[0].shape[1]
    manifest = _manifest(variant, channels, fs, scaler)
    manifest = manifest.model_copy(
        update={
            "embedding_dim": dim,
            "window": WindowInfo(samples=_SAMPLES, hop=_SAMPLES // 2, input_samples=reads),
        }
    )
    graph = build_graph(net, input_samples=reads, n_channels=len(channels), facts=graph_facts(manifest))
    clusters = [ClusterInfo(id=k, name=f"cluster-{k}", size=1, distance_q95=1.0) for k in range(K)]
    write_bundle(folder, manifest, clusters, {MODEL_FILE: serialise(graph)})
    return Subject(variant, Bundle.open(folder), net)


def _net(variant: str, channels: int, settings: Mapping[str, Any]) -> tuple[nn.Module, ScalerInfo, int]:
    generator = torch.Generator().manual_seed(0)
    if variant == PLUS:
        net = _plus(channels, generator)
        return net, net.scaler, _SAMPLES
    if variant.removesuffix(_WHOLE) in SIZE_OF_PRESET:
        return _guided(variant, channels, settings, generator)
    config: TrainingConfig = resolve(variant, settings, DISC_FAMILY.presets)
    autoencoder = build_for(DISC_FAMILY, config, (_SAMPLES, channels), seed=0).eval()
    scaler = ScalerInfo(kind="zscore", offset=[0.0] * channels, scale=[1.0] * channels)
    reads = DISC_FAMILY.input_samples(_SAMPLES)
    embedding = int(getattr(config.network, "embedding", 64))
    centroids = 0.3 * torch.randn(K, embedding, generator=generator)
    return DISC_FAMILY.network_for_use(autoencoder, centroids, scaler), scaler, reads


def _guided(
    variant: str, channels: int, settings: Mapping[str, Any], generator: torch.Generator
) -> tuple[nn.Module, ScalerInfo, int]:
    """The network and the discriminant beside it, as an export has them."""
    config = resolve_guided(settings, SIZES[SIZE_OF_PRESET[variant.removesuffix(_WHOLE)]])
    autoencoder = new_autoencoder(config, (_SAMPLES, channels, K), seed=0).eval()
    autoencoder.own = 0.3 * torch.randn(autoencoder.own.shape, generator=generator)
    described = autoencoder.described
    with torch.no_grad():
        found = described.descriptors(torch.randn(64, described.n, channels, generator=generator))
    project = (
        torch.randn(described.project.shape, generator=generator) / found.std(0).clamp_min(1e-3)[:, None]
    )
    described.project = project / len(project) ** 0.5
    described.shift = -found.mean(0) @ described.project
    centroids = torch.randn(K, K + len(described.shift), generator=generator)
    scaler = ScalerInfo(kind="zscore", offset=[0.0] * channels, scale=[1.0] * channels)
    reads = _SAMPLES if variant.endswith(_WHOLE) else described.n
    return GUIDED.network(autoencoder, centroids, scaler), scaler, reads


def _plus(channels: int, generator: torch.Generator) -> DescriptorNet:
    descriptors = Descriptors(_SAMPLES, torch.ones(channels))
    with torch.no_grad():
        found = descriptors(torch.randn(64, _SAMPLES, channels, generator=generator))
    scale = found.std(0).clamp_min(1e-3)
    project = (
        torch.randn(found.shape[1], _PLUS_DIM, generator=generator) / scale[:, None] / found.shape[1] ** 0.5
    )
    shift = -found.mean(0) @ project
    return DescriptorNet(descriptors, project, shift, torch.randn(K, _PLUS_DIM, generator=generator))


def _manifest(variant: str, channels: Sequence[Channel], fs: float, scaler: ScalerInfo) -> Manifest:
    return Manifest(
        name=f"untrained-{variant}", version="", created="2025-01-01T00:00:00Z", fs=fs,
        window=WindowInfo(samples=_SAMPLES, hop=_SAMPLES // 2, input_samples=_SAMPLES),
        channels=[ChannelInfo(name=c.name, unit=c.unit) for c in channels], scaler=scaler,
        embedding_dim=1, n_clusters=K,
        training=TrainingInfo(
            method="none", preset=variant, dataset="none", fingerprint="0" * 64, n_windows=K, seed=0
        ),
        parity=ParityInfo(
            n_windows=1, max_abs_embedding=0.0, max_abs_q=0.0, max_rel_distance=0.0, labels_equal=1.0
        ),
        software={}, files={},
    )  # fmt: skip
