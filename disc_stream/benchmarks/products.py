"""What large matrix products reach on this processor, by whichever library multiplies fastest.

torch alone would not do: its library for float32 is slow on processors of another maker, and runtimes then
came to more than all of its peak.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from disc_stream.artifacts.runtimes.openvino_session import has_bf16, is_installed
from disc_stream.benchmarks.timing import Effort, fastest, product
from disc_stream.types import Float32Array

_SIDE = 1024


def processor_peaks(effort: Effort) -> dict[str, float]:
    """Operations per second, the best of torch, numpy, onnxruntime and OpenVINO, as ``fp32`` and ``bf16``.

    numpy takes as many threads as its own environment variables say, so it is asked with one thread only.
    """
    cpu = torch.device("cpu")
    works: dict[str, Callable[[], object]] = {
        "fp32 torch": product(cpu, torch.float32, _SIDE), "bf16 torch": product(cpu, torch.bfloat16, _SIDE)
    }  # fmt: skip
    graph, x = _graph(), np.random.default_rng(0).normal(size=(_SIDE, _SIDE)).astype(np.float32)
    if effort.threads == 1:
        works["fp32 numpy"] = partial(np.matmul, x, x)
    works["fp32 onnxruntime"] = _by_onnxruntime(graph, x, effort.threads)
    if is_installed():
        works["fp32 openvino"] = _by_openvino(graph, x, effort.threads, "f32")
        if has_bf16():
            works["bf16 openvino"] = _by_openvino(graph, x, effort.threads, "bf16")
    best: dict[str, float] = {}
    for name, seconds in fastest(works, effort).items():
        precision = name.split(" ")[0]
        best[precision] = max(best.get(precision, 0.0), 2.0 * _SIDE**3 / seconds)
    return best


def _graph() -> bytes:
    """X (B, n) times a constant (n, n), as ONNX."""
    from onnx import TensorProto, helper, numpy_helper

    w = np.random.default_rng(1).normal(size=(_SIDE, _SIDE)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [_SIDE, _SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [_SIDE, _SIDE])],
        [numpy_helper.from_array(w, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    data: bytes = model.SerializeToString()
    return data


def _by_onnxruntime(graph: bytes, x: Float32Array, threads: int) -> Callable[[], object]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    return partial(session.run, ["y"], {"x": x})


def _by_openvino(graph: bytes, x: Float32Array, threads: int, precision: str) -> Callable[[], object]:
    from disc_stream.artifacts.runtimes.openvino_session import compiled

    _, network = compiled(graph, precision, threads)
    request = network.create_infer_request()
    return partial(request.infer, [x])
