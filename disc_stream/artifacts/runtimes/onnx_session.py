"""onnxruntime, on the processor or with CUDA."""

from __future__ import annotations

import contextlib
import io
import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from disc_stream.artifacts.bundle import INPUT, METADATA_KEY, Bundle
from disc_stream.artifacts.runtimes.buckets import SIZES, run_each_size
from disc_stream.artifacts.runtimes.failures import unfit, unloadable
from disc_stream.artifacts.runtimes.session import OUTPUTS, GraphFacts, Outputs, Port
from disc_stream.errors import MissingExtraError
from disc_stream.types import Float32Array

if TYPE_CHECKING:
    import onnxruntime

_CPU = "CPUExecutionProvider"
_CUDA = "CUDAExecutionProvider"
_QUIET = 4  # onnxruntime's severity: fatal only; failures reach us as exceptions
_NORMAL = 2

CPU_BUILD = "the installed onnxruntime is the build for CPUs"


class OnnxSession:
    """A graph on the processor. Batches of any size run equally well, so none is padded.

    Args:
        session: of onnxruntime.
    """

    provider: Literal["cpu", "cuda"] = "cpu"
    buckets: Sequence[int] = ()

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session

    def facts(self) -> GraphFacts:
        """See ``Session``."""
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        return GraphFacts(
            [_port(node) for node in inputs],
            [_port(node) for node in outputs],
            self._session.get_modelmeta().custom_metadata_map.get(METADATA_KEY),
        )

    def warm_up(self, shape: tuple[int, int], most: int) -> None:
        """See ``Session``."""
        run_each_size(self, shape, most)

    def run(self, x: Float32Array) -> Outputs:
        """See ``Session``."""
        embedding, q, distance = self._session.run(list(OUTPUTS), {INPUT: np.ascontiguousarray(x)})
        return embedding, q, distance


class BoundSession(OnnxSession):
    """The same with its input and outputs bound to buffers on a device, which all batches of a size share.

    So a batch is one copy to the device and one back for each output, and nothing is allocated. cuDNN
    prepares itself for every new shape; batches are padded to a few sizes.

    Args:
        session: of onnxruntime.
        device: ``cuda``, or ``cpu`` to try the way without a GPU.
    """

    buckets = SIZES

    def __init__(self, session: onnxruntime.InferenceSession, device: Literal["cuda", "cpu"]) -> None:
        super().__init__(session)
        self.provider = device
        self._lock = threading.Lock()
        self._bound: dict[int, tuple[Any, Any, list[Any]]] = {}

    def run(self, x: Float32Array) -> Outputs:
        """See ``Session``."""
        with self._lock:
            if len(x) not in self._bound:
                self._bound[len(x)] = self._bind(x)
            binding, given, found = self._bound[len(x)]
            given.update_inplace(np.ascontiguousarray(x))
            self._session.run_with_iobinding(binding)
            # On the CPU ``numpy`` is a view into the buffer, which the next batch writes into.
            embedding, q, distance = (np.array(value.numpy()) for value in found)
        return embedding, q, distance

    def _bind(self, x: Float32Array) -> tuple[Any, Any, list[Any]]:
        import onnxruntime

        of = onnxruntime.OrtValue.ortvalue_from_shape_and_type
        given = of(list(x.shape), np.float32, self.provider, 0)
        shapes = {node.name: [len(x), *node.shape[1:]] for node in self._session.get_outputs()}
        found = [of(shapes[name], np.float32, self.provider, 0) for name in OUTPUTS]
        binding = self._session.io_binding()
        binding.bind_ortvalue_input(INPUT, given)
        for name, value in zip(OUTPUTS, found, strict=True):
            binding.bind_ortvalue_output(name, value)
        return binding, given, found


def _port(node: Any) -> Port:
    return Port(node.name, node.type, [one if isinstance(one, int) else None for one in node.shape or ()])


def open_cpu(bundle: Bundle, threads: int) -> OnnxSession:
    """A session on the processor.

    Raises:
        MissingExtraError: if onnxruntime is not installed.
        BundleError: if the graph cannot be loaded.
    """
    return OnnxSession(_create(bundle, _options(threads), [_CPU]))


def open_cuda(bundle: Bundle, threads: int) -> tuple[BoundSession | None, str]:
    """A session on CUDA, or None and why not; onnxruntime itself falls back without an error.

    Raises:
        MissingExtraError: if onnxruntime is not installed.
        BundleError: if the graph cannot be loaded.
    """
    options = _options(threads)
    import onnxruntime

    if not has_cuda_build():
        return None, CPU_BUILD
    missing = _preload_libraries()
    onnxruntime.set_default_logger_severity(_QUIET)
    try:
        # TF32 keeps 10 bits of the fraction: labels would differ from the CPU's.
        session = _create(bundle, options, [(_CUDA, {"use_tf32": "0"}), _CPU])
    finally:
        onnxruntime.set_default_logger_severity(_NORMAL)
    if session.get_providers()[0] == _CUDA:
        return BoundSession(session, "cuda"), ""
    return None, missing or "no GPU, or its driver, CUDA or cuDNN is too old"


def has_cuda_build() -> bool:
    """Whether the installed onnxruntime is one that may run on CUDA.

    Raises:
        MissingExtraError: if onnxruntime is not installed.
    """
    return _CUDA in _onnxruntime().get_available_providers()


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError("cpu", "Running a model") from error
    return onnxruntime


def _options(threads: int) -> onnxruntime.SessionOptions:
    options: onnxruntime.SessionOptions = _onnxruntime().SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin between two small batches burn a core while a handful of devices streams.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # What opening the bundle has refused is refused once more: models of another form than ONNX, and tensors
    # in other files, which would be looked for here. Nothing can lie in what is no folder.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    options.log_severity_level = _QUIET
    return options


def _preload_libraries() -> str:
    """Load the CUDA libraries that pip installed; what could not be loaded, or an empty text."""
    import onnxruntime

    if not hasattr(onnxruntime, "preload_dlls"):  # older than 1.21
        return ""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):  # it prints, and stdout may be JSON for a machine
        onnxruntime.preload_dlls()
    return said.getvalue().partition("\n")[0]


def _create(
    bundle: Bundle, options: onnxruntime.SessionOptions, providers: list[Any]
) -> onnxruntime.InferenceSession:
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as failures

    # What it prints before it falls back to the CPU names parts of the graph, and stdout may be JSON for a
    # machine. Nothing is caught where it cannot fall back: what other threads print would be, too. A model
    # does not choose how it is run.
    falls_back = providers != [_CPU]
    own_way = {"enable_fallback": falls_back, "read_config_from_model": 0}
    try:
        with contextlib.redirect_stdout(io.StringIO()) if falls_back else contextlib.nullcontext():
            return onnxruntime.InferenceSession(bundle.model_bytes, options, providers=providers, **own_way)
    except UnicodeDecodeError as error:  # its message names a part of the graph
        raise unfit(bundle, "a name in it is not UTF-8") from error
    except (
        failures.Fail,
        failures.InvalidArgument,
        failures.InvalidGraph,
        failures.InvalidProtobuf,
        failures.NoSuchFile,
        failures.NotImplemented,
        failures.RuntimeException,
    ) as error:
        raise unloadable(bundle, error, "onnxruntime") from error
