"""A bundle with a small recurrent network, whose labels differ from window to window."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from disc_stream.artifacts.bundle import METADATA_KEY, Bundle, graph_facts, write_bundle
from disc_stream.artifacts.catalogue import ClusterInfo
from disc_stream.artifacts.manifest import (
    ChannelInfo,
    Manifest,
    ParityInfo,
    ScalerInfo,
    TrainingInfo,
    WindowInfo,
)

STEPS, CHANNELS, HIDDEN, K = 16, 3, 48, 6


def write_recurrent_bundle(path: Path) -> Bundle:
    """A bidirectional GRU over 16 samples of 3 channels; the embedding is its last state, bounded by tanh."""
    random = np.random.default_rng(3)
    manifest = Manifest(
        name="recurrent", version="", created="2025-01-01T00:00:00Z", fs=50.0,
        window=WindowInfo(samples=2 * STEPS, hop=STEPS, input_samples=STEPS),
        channels=[ChannelInfo(name=f"acc_{axis}", unit="g") for axis in "xyz"],
        scaler=ScalerInfo(kind="none", offset=[0.0] * CHANNELS, scale=[1.0] * CHANNELS),
        embedding_dim=2 * HIDDEN, n_clusters=K,
        training=TrainingInfo(
            method="none", preset="none", dataset="none", fingerprint="0" * 64, n_windows=K, seed=0
        ),
        parity=ParityInfo(
            n_windows=1, max_abs_embedding=0.0, max_abs_q=0.0, max_rel_distance=0.0, labels_equal=1.0
        ),
        software={}, files={},
    )  # fmt: skip
    model = _graph(random)
    facts = model.metadata_props.add()
    facts.key, facts.value = METADATA_KEY, json.dumps(graph_facts(manifest))
    clusters = [ClusterInfo(id=k, name=f"cluster-{k}", size=1, distance_q95=1.0) for k in range(K)]
    write_bundle(path, manifest, clusters, {"model.onnx": model.SerializeToString()})
    return Bundle.open(path)


def _graph(random: np.random.Generator) -> onnx.ModelProto:
    def weights(*shape: int) -> np.ndarray[Any, Any]:
        return (random.normal(size=shape) / np.sqrt(shape[-1])).astype(np.float32)

    constants: dict[str, np.ndarray[Any, Any]] = {
        "w": 2.0 * weights(2, 3 * HIDDEN, CHANNELS), "r": weights(2, 3 * HIDDEN, HIDDEN),
        "b": weights(2, 6 * HIDDEN),
        "centroids": random.uniform(-0.5, 0.5, (K, 2 * HIDDEN)).astype(np.float32),
        "axis1": np.array([1], dtype=np.int64), "axis2": np.array([2], dtype=np.int64),
        "low": np.array(-1e6, dtype=np.float32), "high": np.array(1e6, dtype=np.float32),
        "axes12": np.array([1, 2], dtype=np.int64), "nan": np.array(np.nan, dtype=np.float32),
        "flat": np.array([0, -1], dtype=np.int64), "one": np.array(1.0, dtype=np.float32),
    }  # fmt: skip
    nodes = [
        # As in what is exported: the largest float32 is infinite in bfloat16.
        helper.make_node("Clip", ["x", "low", "high"], ["inside"]),
        helper.make_node("Transpose", ["inside"], ["steps"], perm=[1, 0, 2]),
        helper.make_node(
            "GRU", ["steps", "w", "r", "b"], ["", "last"], hidden_size=HIDDEN, linear_before_reset=1,
            direction="bidirectional",
        ),
        helper.make_node("Transpose", ["last"], ["sides"], perm=[1, 0, 2]),
        helper.make_node("Reshape", ["sides", "flat"], ["state"]),
        helper.make_node("Tanh", ["state"], ["bounded"]),
        # As in what is exported: onnxruntime's GRU returns finite states for NaN.
        helper.make_node("IsNaN", ["x"], ["nans"]),
        helper.make_node("Cast", ["nans"], ["ones"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["ones", "axes12"], ["any"], keepdims=0),
        helper.make_node("Unsqueeze", ["any", "axis1"], ["column"]),
        helper.make_node("Cast", ["column"], ["broken"], to=TensorProto.BOOL),
        helper.make_node("Where", ["broken", "nan", "bounded"], ["embedding"]),
        helper.make_node("Unsqueeze", ["embedding", "axis1"], ["row"]),
        helper.make_node("Sub", ["row", "centroids"], ["difference"]),
        helper.make_node("Mul", ["difference", "difference"], ["square"]),
        helper.make_node("ReduceSum", ["square", "axis2"], ["distance"], keepdims=0),
        helper.make_node("Add", ["distance", "one"], ["denominator"]),
        helper.make_node("Div", ["one", "denominator"], ["t"]),
        helper.make_node("ReduceSum", ["t", "axis1"], ["total"], keepdims=1),
        helper.make_node("Div", ["t", "total"], ["q"]),
    ]  # fmt: skip
    outputs = (("embedding", 2 * HIDDEN), ("q", K), ("distance", K))
    graph = helper.make_graph(
        nodes,
        "recurrent",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", STEPS, CHANNELS])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", n]) for name, n in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model
