"""A real bundle small enough to reason about: the embedding is the mean of the window."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from disc_stream.artifacts.bundle import METADATA_KEY, graph_facts, write_bundle
from disc_stream.artifacts.manifest import (
    ChannelInfo,
    ClusterInfo,
    Manifest,
    ParityInfo,
    ScalerInfo,
    TrainingInfo,
    WindowInfo,
)
from disc_stream.types import Channel

FS = 50.0
WINDOW = WindowInfo(samples=16, hop=8, input_samples=8)
CHANNELS = tuple(Channel(name, "m/s2") for name in ("acc_x", "acc_y", "acc_z"))
CENTROIDS = np.array([[0, 0, 0], [10, 0, 0], [0, 10, 0]], dtype=np.float32)
NAMES = ("rest", "left", "right")


def write_tiny_bundle(path: Path) -> Manifest:
    """Three clusters around (0, 0, 0), (10, 0, 0) and (0, 10, 0); q is Student's t."""
    manifest = Manifest(
        name="tiny",
        version="",
        created="2025-01-01T00:00:00Z",
        fs=FS,
        window=WINDOW,
        channels=[ChannelInfo(name=c.name, unit=c.unit) for c in CHANNELS],
        scaler=ScalerInfo(kind="none", offset=[0.0] * 3, scale=[1.0] * 3),
        embedding_dim=3,
        clusters=[
            ClusterInfo(id=k, name=name, size=10, distance_q95=4.0 if k else None)
            for k, name in enumerate(NAMES)
        ],
        training=TrainingInfo(
            method="none", preset="none", dataset="none", fingerprint="0" * 64, n_windows=30, seed=0
        ),
        parity=ParityInfo(
            n_windows=1, max_abs_embedding=0.0, max_abs_q=0.0, max_rel_distance=0.0, labels_equal=1.0
        ),
        software={},
        files={},
    )
    model = _graph()
    facts = model.metadata_props.add()
    facts.key, facts.value = METADATA_KEY, json.dumps(graph_facts(manifest))
    return write_bundle(path, manifest, {"model.onnx": model.SerializeToString()})


def _graph() -> onnx.ModelProto:
    constants = {
        "centroids": CENTROIDS,
        "time": np.array([1], dtype=np.int64),
        "dims": np.array([2], dtype=np.int64),
        "clusters": np.array([1], dtype=np.int64),
        "one": np.array(1.0, dtype=np.float32),
    }
    nodes = [
        helper.make_node("ReduceMean", ["x", "time"], ["embedding"], keepdims=0),
        helper.make_node("Unsqueeze", ["embedding", "time"], ["row"]),
        helper.make_node("Sub", ["row", "centroids"], ["difference"]),
        helper.make_node("Mul", ["difference", "difference"], ["square"]),
        helper.make_node("ReduceSum", ["square", "dims"], ["distance"], keepdims=0),
        helper.make_node("Add", ["distance", "one"], ["denominator"]),
        helper.make_node("Div", ["one", "denominator"], ["t"]),
        helper.make_node("ReduceSum", ["t", "clusters"], ["total"], keepdims=1),
        helper.make_node("Div", ["t", "total"], ["q"]),
    ]
    k, d = CENTROIDS.shape
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", WINDOW.input_samples, d])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size])
            for name, size in (("embedding", d), ("q", k), ("distance", k))
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model
