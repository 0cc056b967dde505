"""OpenVINO on the processor, in float32 or with the large products in bfloat16."""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

import numpy as np

from disc_stream.artifacts.bundle import METADATA_KEY, Bundle
from disc_stream.artifacts.runtimes.buckets import run_each_size, sizes_up_to
from disc_stream.artifacts.runtimes.failures import unfit, unloadable
from disc_stream.artifacts.runtimes.session import GraphFacts, Outputs, Port
from disc_stream.errors import ConfigError, MissingExtraError
from disc_stream.types import Float32Array

OpenVinoProvider = Literal["openvino", "openvino-bf16"]

_DEVICE = "CPU"
_LARGEST = 64  # no faster beyond, and every size keeps memory of its own: with 256, 600 MiB for a large GRU
_ISA_WITH_BF16 = {
    "DEFAULT", "AVX512_CORE_BF16", "AVX512_CORE_FP16", "AVX512_CORE_AMX", "AVX512_CORE_AMX_FP16",
    "AVX10_1_512", "AVX10_1_512_AMX", "AVX10_1_512_AMX_FP16", "AVX10_2_512", "AVX10_2_512_AMX_2",
}  # fmt: skip
_PRECISION = {"openvino": "f32", "openvino-bf16": "bf16"}
_ONNX_NAMES = {"float32": "float", "float64": "double"}
_NO_BF16 = "this processor multiplies no bfloat16"


class OpenVinoSession:
    """A graph that OpenVINO has compiled for the processor.

    It makes its kernels ready for every new shape, so batches are padded to a few sizes. Each thread that
    calls has a request of its own, with its buffers.

    Args:
        model: as read.
        compiled: from it.
        provider: which of the two precisions.
    """

    buckets: Sequence[int] = sizes_up_to(_LARGEST)

    def __init__(self, model: Any, compiled: Any, provider: OpenVinoProvider) -> None:
        self.provider = provider
        self._facts, self._compiled = _facts_of(model), compiled
        self._own = threading.local()

    def facts(self) -> GraphFacts:
        """See ``Session``."""
        return self._facts

    def warm_up(self, shape: tuple[int, int], most: int) -> None:
        """See ``Session``."""
        run_each_size(self, shape, most)

    def run(self, x: Float32Array) -> Outputs:
        """See ``Session``."""
        request = getattr(self._own, "request", None)
        if request is None:
            request = self._own.request = self._compiled.create_infer_request()
        # The samples are read where they lie, and the tensor does not keep them alive: this name must, to the
        # end of the call, where they are a copy of what the caller gave.
        samples = np.ascontiguousarray(x)
        request.set_input_tensor(_openvino().Tensor(samples, shared_memory=True))
        request.infer()
        embedding, q, distance = (np.array(request.get_output_tensor(i).data) for i in range(3))
        return embedding, q, distance


def open_openvino(bundle: Bundle, provider: OpenVinoProvider, threads: int) -> OpenVinoSession:
    """A session of OpenVINO.

    Raises:
        MissingExtraError: if OpenVINO is not installed.
        ConfigError: for ``openvino-bf16``, if the processor cannot multiply bfloat16.
        BundleError: if the graph cannot be loaded.
    """
    _core()
    if provider == "openvino-bf16" and not has_bf16():
        raise ConfigError(
            f"provider 'openvino-bf16' cannot be used here: {_NO_BF16}", remedy="Use --provider openvino"
        )
    try:
        return OpenVinoSession(*compiled(bundle.model_bytes, _PRECISION[provider], threads), provider)
    except UnicodeDecodeError as error:
        raise unfit(bundle, "a name or a text in it is not UTF-8") from error
    except RuntimeError as error:
        raise unloadable(bundle, error, "openvino") from error


def compiled(graph: bytes, precision: str, threads: int) -> tuple[Any, Any]:
    """OpenVINO's model of a graph, as read and as compiled for the processor.

    Args:
        graph: ONNX.
        precision: ``f32`` or ``bf16``, of the large products.
        threads: of one call.

    Raises:
        RuntimeError: if it cannot be read or compiled; OpenVINO has no other exception.
    """
    how = {
        "INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads,
        # One batch at a time, by all threads. Pinned, they would fight with those of other processes.
        "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False,
    }  # fmt: skip
    model = _core().read_model(graph)
    return model, _core().compile_model(model, _DEVICE, how)


def is_installed() -> bool:
    """Whether OpenVINO is there; it is not loaded."""
    return importlib.util.find_spec("openvino") is not None


@cache
def has_bf16() -> bool:
    """Whether the processor multiplies bfloat16, and oneDNN, which OpenVINO computes with, may let it.

    OpenVINO goes by the processor alone. With ``ONEDNN_MAX_CPU_ISA`` below, it cannot build a GRU.
    """
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    if limit and limit not in _ISA_WITH_BF16:
        return False
    return "BF16" in _core().get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES")


@cache
def _core() -> Any:
    return _openvino().Core()


def _openvino() -> Any:
    # It reports to its maker that it was imported, through this package, unless that cannot be found.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as error:
        raise MissingExtraError("openvino", "Running a model with OpenVINO") from error
    return openvino


def _facts_of(model: Any) -> GraphFacts:
    try:
        metadata = model.get_rt_info(["framework", METADATA_KEY]).astype(str)
    except RuntimeError:  # there is none
        metadata = None
    return GraphFacts([_port(one) for one in model.inputs], [_port(one) for one in model.outputs], metadata)


def _port(port: Any) -> Port:
    name = np.dtype(port.get_element_type().to_dtype()).name
    kind = f"tensor({_ONNX_NAMES.get(name, name)})"
    shape = [None if axis.is_dynamic else axis.get_length() for axis in port.get_partial_shape()]
    names = sorted(port.get_names())
    return Port("/".join(names), kind, shape)
