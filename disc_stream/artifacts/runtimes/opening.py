"""A session of one provider, checked against the manifest."""

from __future__ import annotations

import json

from disc_stream.artifacts.bundle import INPUT, METADATA_KEY, Bundle, graph_facts
from disc_stream.artifacts.runtimes.failures import unfit
from disc_stream.artifacts.runtimes.numpy_session import NumpySession
from disc_stream.artifacts.runtimes.onnx_session import CPU_BUILD, open_cpu, open_cuda
from disc_stream.artifacts.runtimes.openvino_session import open_openvino
from disc_stream.artifacts.runtimes.probes import probe_windows
from disc_stream.artifacts.runtimes.refined import RefinedSession, largest_difference
from disc_stream.artifacts.runtimes.session import FLOAT, OUTPUTS, Concrete, GraphFacts, Session
from disc_stream.errors import ConfigError, install_command

_COMPARED = ("fs", "window", "channels", "scaler", "embedding_dim")


def open_session(bundle: Bundle, provider: Concrete, threads: int) -> Session:
    """A session of a provider, never of another one.

    Raises:
        MissingExtraError: if the provider's runtime is not installed.
        ConfigError: if it cannot be used here.
        BundleError: if the graph cannot be loaded or is not what the manifest says.
    """
    session: Session
    if provider == "cpu":
        session = open_cpu(bundle, threads)
    elif provider == "cuda":
        on_cuda, why_not = open_cuda(bundle, threads)
        if on_cuda is None:
            raise no_cuda(why_not)
        session = on_cuda
    elif provider == "numpy":
        session = NumpySession(bundle)
    else:
        session = open_openvino(bundle, provider, threads)
    try:
        check_graph(session.facts(), bundle)
    except UnicodeDecodeError as error:
        raise unfit(bundle, "a name or a text in it is not UTF-8") from error
    return _refined(session, bundle, threads) if provider == "openvino-bf16" else session


def _refined(fast: Session, bundle: Bundle, threads: int) -> Session:
    """The session with its doubtful windows run again in float32.

    Doubtful are those where q decides by less than bfloat16 changed it on any of the probes.
    """
    exact = open_openvino(bundle, "openvino", threads)
    return RefinedSession(fast, exact, largest_difference(fast, exact, probe_windows(bundle.manifest)))


def no_cuda(why_not: str) -> ConfigError:
    """CUDA is asked for and cannot be had."""
    return ConfigError(
        f"CUDA is asked for, but onnxruntime cannot use it here: {why_not}",
        remedy=f"Run: pip uninstall onnxruntime && {install_command('gpu')}; or use --provider cpu"
        if why_not == CPU_BUILD
        else "Mend that, or use --provider cpu",
    )


def check_graph(facts: GraphFacts, bundle: Bundle) -> None:
    """Check the graph's names, shapes and metadata against the manifest.

    Raises:
        BundleError: naming the first difference.
    """
    manifest = bundle.manifest
    dim, k = manifest.embedding_dim, manifest.n_clusters
    wanted = {INPUT: [manifest.window.input_samples, len(manifest.channels)]}
    wanted |= {"embedding": [dim], "q": [k], "distance": [k]}
    names = ([port.name for port in facts.inputs], [port.name for port in facts.outputs])
    if names != ([INPUT], list(OUTPUTS)):
        raise unfit(bundle, f"it maps {names[0]} to {names[1]}, not ['{INPUT}'] to {list(OUTPUTS)}")
    for port in (*facts.inputs, *facts.outputs):
        if port.type != FLOAT:
            raise unfit(bundle, f"{port.name} is {port.type}, not {FLOAT}")
        if not port.shape:
            raise unfit(bundle, f"{port.name} has no batch axis")
        if port.shape[0] is not None:
            raise unfit(bundle, f"{port.name} has a fixed batch size of {port.shape[0]}")
        shape = list(port.shape[1:])
        if shape != wanted[port.name]:
            raise unfit(bundle, f"{port.name} is {shape} a window, the manifest says {wanted[port.name]}")
    _check_metadata(facts, bundle)


def _check_metadata(facts: GraphFacts, bundle: Bundle) -> None:
    try:
        said = json.loads(facts.metadata or "")
    except ValueError as error:
        raise unfit(bundle, f"its metadata has no JSON under {METADATA_KEY!r}") from error
    wanted = graph_facts(bundle.manifest)
    for name in _COMPARED:
        value = said.get(name) if isinstance(said, dict) else None
        if value != wanted[name]:
            raise unfit(
                bundle, f"its metadata says {name} = {value!r:.80}, the manifest {wanted[name]!r:.80}"
            )
