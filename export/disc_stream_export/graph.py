"""From a trained network to the bytes of one ONNX graph."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import onnx
import torch
from torch import nn

from disc_stream.artifacts.bundle import INPUT, METADATA_KEY
from disc_stream.artifacts.graph import MAX_NODES, OPSET
from disc_stream.artifacts.runtime import OUTPUTS
from disc_stream.errors import ParityError
from disc_stream_export.twins import GRUOperator, with_twins


def build_graph(
    net: nn.Module, *, input_samples: int, n_channels: int, facts: Mapping[str, Any]
) -> onnx.ModelProto:
    """Trace a network into one self-contained graph.

    Args:
        net: (B, input_samples, C) float32 physical samples -> embedding (B, D), q (B, K), distance (B, K).
        input_samples: samples per window that it reads.
        n_channels: C.
        facts: what the graph says of itself, kept as JSON in its metadata.

    Raises:
        ParityError: if the graph's structure is not what the network asks for.
    """
    twin = with_twins(net)
    sample = torch.zeros(2, input_samples, n_channels)
    with _only_our_words(), torch.no_grad():
        program = torch.onnx.export(
            twin,
            (sample,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
    if program is None:
        raise ParityError("the tracer of this torch returned no graph", remedy="Use torch 2.8 to 2.13")
    model = program.model_proto
    _strip(model)
    model.metadata_props.add(key=METADATA_KEY, value=json.dumps(facts, sort_keys=True, allow_nan=False))
    check_structure(model, [part for part in twin.modules() if isinstance(part, GRUOperator)])
    return model


def serialise(model: onnx.ModelProto) -> bytes:
    """The bytes of a graph; equal graphs give equal bytes."""
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def check_structure(model: onnx.ModelProto, recurrences: list[GRUOperator]) -> None:
    """Check what the numbers alone would not show, or not on every sample.

    Raises:
        ParityError: naming what is wrong.
    """
    nodes = list(model.graph.node)
    if len(nodes) > MAX_NODES or model.functions:
        raise ParityError(f"the graph has {len(nodes)} nodes: a part of it was unrolled or not inlined")
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
        raise ParityError("the graph keeps weights outside its file")
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    if opsets != {"": OPSET}:
        raise ParityError(f"the graph uses the operator sets {opsets}, not the standard one, {OPSET}")
    if any(node.op_type in {"BatchNormalization", "Dropout"} for node in nodes):
        raise ParityError("the graph still holds layers that evaluation folds away")
    forms = [_linear_before_reset(node) for node in nodes if node.op_type == "GRU"]
    wanted = [part.linear_before_reset for part in recurrences]
    if forms != wanted:
        raise ParityError(
            f"the graph's GRU nodes have linear_before_reset {forms}, the network needs {wanted}"
        )
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ParityError(f"the graph is not valid ONNX: {str(error).splitlines()[0]}") from error


def _linear_before_reset(node: onnx.NodeProto) -> int:
    return next((a.i for a in node.attribute if a.name == "linear_before_reset"), 0)


def _strip(model: onnx.ModelProto) -> None:
    """Remove the tracer's notes: they hold paths of this machine and would make equal models differ."""
    graph = model.graph
    parts = (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer)
    for part in parts:
        del part.metadata_props[:]
        part.doc_string = ""
    graph.name = "disc-stream"
    model.producer_name, model.producer_version = "disc-stream", ""
    model.domain, model.model_version = "", 0


@contextmanager
def _only_our_words() -> Iterator[None]:
    """Silence what the tracer says about itself; everything else still comes through."""
    registration = logging.getLogger("torch.onnx._internal.exporter._registration")
    registration.addFilter(_not_torchvision)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r".*isinstance\(treespec, LeafSpec\)", FutureWarning)
            yield
    finally:
        registration.removeFilter(_not_torchvision)


def _not_torchvision(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("torchvision is not installed")
