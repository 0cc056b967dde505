"""Models that cost nothing and can be worked out by hand: the embedding is the mean of the window."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from disc_stream.artifacts.bundle import METADATA_KEY, graph_facts, write_bundle
from disc_stream.artifacts.catalogue import ClusterInfo
from disc_stream.artifacts.manifest import (
    ChannelInfo,
    Manifest,
    ParityInfo,
    ScalerInfo,
    TrainingInfo,
    WindowInfo,
)
from disc_stream.types import Channel, Float32Array

K = 6


def write_trivial_bundle(
    path: Path, channels: tuple[Channel, ...], fs: float, window: WindowInfo
) -> Manifest:
    """Six clusters at fixed places."""
    centroids = np.random.default_rng(0).normal(size=(K, len(channels))).astype(np.float32)
    clusters = [ClusterInfo(id=k, name=f"cluster-{k}", size=1, distance_q95=1.0) for k in range(K)]
    return write_mean_bundle(path, "trivial", InputSpec(channels, fs, window), centroids, clusters)


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What a model reads.

    Args:
        channels: what a sample consists of.
        fs: samples per second.
        window: its lengths.
    """

    channels: Sequence[Channel]
    fs: float
    window: WindowInfo


def write_mean_bundle(
    path: Path,
    name: str,
    reads: InputSpec,
    centroids: Float32Array,
    clusters: list[ClusterInfo],
    more: Mapping[str, bytes] | None = None,
) -> Manifest:
    """Write a bundle whose embedding is the mean of the window; q is Student's t of equation 13.

    Args:
        path: of the bundle.
        name: of the model.
        reads: its input.
        centroids: (K, C), in the channels' units.
        clusters: K of them.
        more: further files of the bundle, by name.
    """
    channels, fs, window = reads.channels, reads.fs, reads.window
    dims = len(channels)
    manifest = Manifest(
        name=name, version="", created="2025-01-01T00:00:00Z", fs=fs, window=window,
        channels=[ChannelInfo(name=c.name, unit=c.unit) for c in channels],
        scaler=ScalerInfo(kind="none", offset=[0.0] * dims, scale=[1.0] * dims),
        embedding_dim=dims, n_clusters=len(clusters),
        training=TrainingInfo(
            method="none", preset="none", dataset="none", fingerprint="0" * 64,
            n_windows=sum(cluster.size for cluster in clusters), seed=0,
        ),
        parity=ParityInfo(
            n_windows=1, max_abs_embedding=0.0, max_abs_q=0.0, max_rel_distance=0.0, labels_equal=1.0
        ),
        software={}, files={},
    )  # fmt: skip
    model = _graph(centroids, window.input_samples)
    facts = model.metadata_props.add()
    facts.key, facts.value = METADATA_KEY, json.dumps(graph_facts(manifest))
    return write_bundle(path, manifest, clusters, {"model.onnx": model.SerializeToString(), **(more or {})})


def _graph(centroids: Float32Array, samples: int) -> onnx.ModelProto:
    k, dims = centroids.shape
    constants: dict[str, np.ndarray[Any, Any]] = {
        "centroids": centroids,
        "axis1": np.array([1], dtype=np.int64),
        "axis2": np.array([2], dtype=np.int64),
        "one": np.array(1.0, dtype=np.float32),
    }
    nodes = [
        helper.make_node("ReduceMean", ["x", "axis1"], ["embedding"], keepdims=0),
        helper.make_node("Unsqueeze", ["embedding", "axis1"], ["row"]),
        helper.make_node("Sub", ["row", "centroids"], ["difference"]),
        helper.make_node("Mul", ["difference", "difference"], ["square"]),
        helper.make_node("ReduceSum", ["square", "axis2"], ["distance"], keepdims=0),
        helper.make_node("Add", ["distance", "one"], ["denominator"]),
        helper.make_node("Div", ["one", "denominator"], ["t"]),
        helper.make_node("ReduceSum", ["t", "axis1"], ["total"], keepdims=1),
        helper.make_node("Div", ["t", "total"], ["q"]),
    ]
    outputs = (("embedding", dims), ("q", k), ("distance", k))
    graph = helper.make_graph(
        nodes,
        "mean",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", samples, dims])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", n]) for name, n in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model
