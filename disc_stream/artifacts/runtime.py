"""Runs a bundle's graph with onnxruntime, without torch."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from disc_stream.artifacts.bundle import INPUT, METADATA_KEY, Bundle, graph_facts
from disc_stream.errors import (
    BundleError,
    ConfigError,
    MissingExtraError,
    StreamMismatchError,
    install_command,
)
from disc_stream.types import Float32Array, IntArray

if TYPE_CHECKING:
    import onnxruntime

Provider = Literal["auto", "cpu", "cuda"]

OUTPUTS = ("embedding", "q", "distance")

_CPU = "CPUExecutionProvider"
_CUDA = "CUDAExecutionProvider"
_CPU_BUILD = "the installed onnxruntime is the build for CPUs"
_FLOAT = "tensor(float)"
_QUIET = 4  # onnxruntime's severity: fatal only; failures reach us as exceptions
_NORMAL = 2

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Encoded:
    """What the encoder says of B windows; D dimensions, K clusters.

    Args:
        embedding: (B, D) float32.
        q: (B, K) float32, Student-t soft assignment; rows sum to 1.
        distance: (B, K) float32, squared Euclidean distance to each centroid.
    """

    embedding: Float32Array
    q: Float32Array
    distance: Float32Array

    def __len__(self) -> int:
        return len(self.q)

    @property
    def labels(self) -> IntArray:
        """(B,) row of the most probable cluster of each window; its public id is the catalogue's to say."""
        best: IntArray = np.argmax(self.q, axis=1).astype(np.int64, copy=False)
        return best


class OnnxEncoder:
    """The encoder of a bundle, ready to run; safe to call from several threads.

    Windows are encoded independently of each other: one that holds NaN spoils its own row alone.

    Args:
        bundle: whose graph to run.
        provider: ``cpu``, ``cuda`` (an error where CUDA cannot be had, never a silent fall-back), or
            ``auto``: CUDA where it really works, else the CPU.
        threads: threads of one call on the CPU; None leaves it to onnxruntime (one per core).

    Raises:
        MissingExtraError: if onnxruntime is not installed.
        ConfigError: if the provider is unknown or not available, or ``threads`` is not positive.
        BundleError: if the graph cannot be loaded or is not what the manifest says.
    """

    def __init__(self, bundle: Bundle, provider: Provider = "auto", threads: int | None = None) -> None:
        if provider not in get_args(Provider):
            raise ConfigError(f"provider {provider!r} is not known", remedy="Use one of: auto, cpu, cuda")
        if threads is not None and threads < 1:
            raise ConfigError(f"threads must be at least 1, got {threads}", remedy="Use 1 or more")
        self._window = bundle.manifest.window.input_samples
        self._channels = len(bundle.manifest.channels)
        self._sizes = (bundle.manifest.embedding_dim, bundle.manifest.n_clusters)
        self._session = _open_session(bundle, provider, threads)
        self.provider: Literal["cpu", "cuda"] = "cuda" if self._session.get_providers()[0] == _CUDA else "cpu"
        try:
            _check_graph(self._session, bundle)
        except UnicodeDecodeError as error:
            raise _unfit(bundle, "a name or a text in it is not UTF-8") from error
        _log.info("model %s runs on %s", bundle.version, self.provider)

    def encode(self, x: Float32Array) -> Encoded:
        """Encode windows.

        Args:
            x: (B, input_samples, C) float32 in the manifest's units and channel order; B may be 0.

        Raises:
            StreamMismatchError: with reason ``dtype``, ``channels`` or ``window`` if ``x`` does not fit.
        """
        self._check_input(x)
        if len(x) == 0:
            dim, k = self._sizes
            return Encoded(*(np.empty((0, n), dtype=np.float32) for n in (dim, k, k)))
        outputs: Sequence[Float32Array] = self._session.run(list(OUTPUTS), {INPUT: np.ascontiguousarray(x)})
        return Encoded(*outputs)

    def _check_input(self, x: npt.NDArray[Any]) -> None:
        if x.dtype != np.float32:
            raise StreamMismatchError("dtype", f"the encoder takes float32 samples, not {x.dtype}")
        wanted = f"(B, {self._window}, {self._channels})"
        if x.ndim != 3 or x.shape[2] != self._channels:
            raise StreamMismatchError("channels", f"the encoder takes {wanted} samples, not {x.shape}")
        if x.shape[1] != self._window:
            raise StreamMismatchError("window", f"the encoder takes {wanted} samples, not {x.shape}")


def measures_from(
    encode: Callable[[Float32Array], Encoded], x: Float32Array, centroids: Float32Array
) -> bool:
    """Whether an encoder's distances are those from its embeddings to these centroids.

    Args:
        encode: the encoder.
        x: (B, input_samples, C), windows to try it with.
        centroids: (K, d).
    """
    found = encode(x)
    expected = np.square(found.embedding[:, None, :] - centroids).sum(2)
    scale = max(float(np.abs(expected).max(initial=0.0)), 1e-6)
    return bool(np.allclose(found.distance, expected, rtol=1e-3, atol=1e-4 * scale))


def _open_session(bundle: Bundle, provider: Provider, threads: int | None) -> onnxruntime.InferenceSession:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError("cpu", "Running a model") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.inter_op_num_threads = 1
    # Threads that spin between two small batches burn a core while a handful of devices streams.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # What opening the bundle has refused is refused once more: models of another form than ONNX, and tensors
    # in other files, which would be looked for here. Nothing can lie in what is no folder.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    options.log_severity_level = _QUIET
    if provider == "cpu":
        return _create(bundle, options, [_CPU])
    session, why_not = _open_on_cuda(bundle, options)
    if session is not None:
        return session
    if provider == "cuda":
        raise ConfigError(
            f"CUDA is asked for, but onnxruntime cannot use it here: {why_not}",
            remedy=f"Run: pip uninstall onnxruntime && {install_command('gpu')}; or use --provider cpu"
            if why_not == _CPU_BUILD
            else "Mend that, or use --provider cpu",
        )
    _log.info("no CUDA (%s), using the CPU", why_not)
    return _create(bundle, options, [_CPU])


def _open_on_cuda(
    bundle: Bundle, options: onnxruntime.SessionOptions
) -> tuple[onnxruntime.InferenceSession | None, str]:
    """A session on CUDA, or None and why not; onnxruntime itself falls back without an error."""
    import onnxruntime

    if _CUDA not in onnxruntime.get_available_providers():
        return None, _CPU_BUILD
    missing = _preload_libraries()
    onnxruntime.set_default_logger_severity(_QUIET)
    try:
        # TF32 keeps 10 bits of the fraction: labels would differ from the CPU's.
        session = _create(bundle, options, [(_CUDA, {"use_tf32": "0"}), _CPU])
    finally:
        onnxruntime.set_default_logger_severity(_NORMAL)
    if session.get_providers()[0] == _CUDA:
        return session, ""
    return None, missing or "no GPU, or its driver, CUDA or cuDNN is too old"


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
        raise _unfit(bundle, "a name in it is not UTF-8") from error
    except (
        failures.Fail,
        failures.InvalidArgument,
        failures.InvalidGraph,
        failures.InvalidProtobuf,
        failures.NoSuchFile,
        failures.NotImplemented,
        failures.RuntimeException,
    ) as error:
        first_line = str(error).partition("\n")[0]
        raise BundleError(
            f"the graph of bundle {str(bundle.path)!r} cannot be loaded: {first_line}",
            remedy="Export it again, or upgrade onnxruntime",
        ) from error


def _check_graph(session: onnxruntime.InferenceSession, bundle: Bundle) -> None:
    """Check the graph's names, shapes and metadata against the manifest.

    Raises:
        BundleError: naming the first difference.
    """
    manifest = bundle.manifest
    dim, k = manifest.embedding_dim, manifest.n_clusters
    wanted = {INPUT: [manifest.window.input_samples, len(manifest.channels)]}
    wanted |= {"embedding": [dim], "q": [k], "distance": [k]}
    inputs, outputs = session.get_inputs(), session.get_outputs()
    names = ([node.name for node in inputs], [node.name for node in outputs])
    if names != ([INPUT], list(OUTPUTS)):
        raise _unfit(bundle, f"it maps {names[0]} to {names[1]}, not ['{INPUT}'] to {list(OUTPUTS)}")
    for node in (*inputs, *outputs):
        if node.type != _FLOAT:
            raise _unfit(bundle, f"{node.name} is {node.type}, not {_FLOAT}")
        if not node.shape:
            raise _unfit(bundle, f"{node.name} has no batch axis")
        if isinstance(node.shape[0], int):
            raise _unfit(bundle, f"{node.name} has a fixed batch size of {node.shape[0]}")
        if node.shape[1:] != wanted[node.name]:
            raise _unfit(
                bundle, f"{node.name} is {node.shape[1:]} a window, the manifest says {wanted[node.name]}"
            )
    _check_metadata(session, bundle)


def _check_metadata(session: onnxruntime.InferenceSession, bundle: Bundle) -> None:
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    try:
        said = json.loads(text or "")
    except ValueError as error:
        raise _unfit(bundle, f"its metadata has no JSON under {METADATA_KEY!r}") from error
    facts = graph_facts(bundle.manifest)
    for name in ("fs", "window", "channels", "scaler", "embedding_dim"):
        value = said.get(name) if isinstance(said, dict) else None
        if value != facts[name]:
            raise _unfit(
                bundle, f"its metadata says {name} = {value!r:.80}, the manifest {facts[name]!r:.80}"
            )


def _unfit(bundle: Bundle, what: str) -> BundleError:
    return BundleError(
        f"the graph of bundle {str(bundle.path)!r} is not the one its manifest describes: {what}",
        remedy="Export it again",
    )
