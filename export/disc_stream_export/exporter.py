"""From a run folder to a bundle that is proven to compute what the run's network computes."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from disc_stream import __version__
from disc_stream.artifacts.bundle import Bundle, check_target, content_version, graph_facts, write_bundle
from disc_stream.artifacts.catalogue import Catalogue, ClusterInfo, checked_name
from disc_stream.artifacts.curves import CURVES_FILE, encode_curves, read_history
from disc_stream.artifacts.examples import EXAMPLES_FILE
from disc_stream.artifacts.manifest import MODEL_FILE, Manifest, ParityInfo, TrainingInfo
from disc_stream.artifacts.run import HISTORY_FILE, LabelAt, RunInfo
from disc_stream.artifacts.runtime import OUTPUTS, Encoded
from disc_stream.artifacts.selftest import SELFTEST_FILE, SelfTest, synthetic_windows
from disc_stream.artifacts.signing import load_private_key
from disc_stream.errors import ConfigError, TrainingError
from disc_stream.models.autoencoder import MultiTaskAutoencoder
from disc_stream.models.config import NetworkConfig
from disc_stream.models.described import DescribedAutoencoder, DescribedNet
from disc_stream.models.reference import ReferenceNet
from disc_stream.training.runs import TrainedRun, load_run
from disc_stream_export.examples import examples_of
from disc_stream_export.graph import build_graph, serialise
from disc_stream_export.parity import Tolerances, compare, run_torch

Progress = Callable[[str], None]

SELFTEST_WINDOWS = 16


@dataclass(frozen=True, slots=True)
class Choices:
    """What a bundle is to be, beyond what the run says.

    Args:
        model: default DATASET-PRESET.
        clusters: cluster id -> name; the others are called ``cluster ID``. In a new bundle, ids number the
            rows of the graph's outputs.
        label_at: how much of a window the graph reads, where the network was trained for either: ``half``
            labels it as soon as its first half is there, ``whole`` later and better. None for the run's own.
        examples: keep some training windows in it, for people to look at.
    """

    model: str | None = None
    clusters: Mapping[int, str] = field(default_factory=dict)
    label_at: LabelAt | None = None
    examples: bool = True


def export_run(
    run_path: Path | str,
    out: Path | str,
    *,
    choices: Choices | None = None,
    sign_key: Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Manifest:
    """Export a finished run as a bundle.

    The graph is compared with the network on the run's sample windows and on synthetic ones; unless they
    agree, nothing is written. The same run gives the same ``model.onnx``, byte for byte, and the same
    version, whatever its clusters are called.

    Args:
        run_path: folder that training wrote.
        out: folder to make, or a zip if it ends with ``.zip``.
        choices: names for the model and its clusters, and when it labels.
        sign_key: PEM file of an Ed25519 private key to sign manifest and catalogue with.
        force: replace an older bundle at ``out``.
        progress: called with what is about to be done.

    Returns:
        The manifest as written.

    Raises:
        UsageError: if ``run_path`` is missing, ``out`` is taken, a name or the key is not usable, or the
            network was not trained for its ``label_at``.
        TrainingError: if the run is unfinished, damaged or from a newer version.
        ParityError: if the graph does not compute what the network computes.
    """
    run_path, out, choices = Path(run_path), Path(out), choices or Choices()
    tell = progress or (lambda _step: None)
    check_target(out, overwrite=force)
    key = load_private_key(sign_key) if sign_key else None
    tell("Reading the run")
    run = load_run(run_path, choices.label_at)
    info = run.info
    clusters = _cluster_infos(info, choices.clusters)
    draft = _draft(info, choices.model, len(run.net.centroids[0]))
    tell("Tracing the graph")
    model = serialise(
        build_graph(
            run.net,
            input_samples=info.window.input_samples,
            n_channels=len(info.channels),
            facts=graph_facts(draft),
        )
    )
    draft = draft.model_copy(update={"version": content_version(model)})
    tell(f"Comparing with torch on {len(run.samples)} windows")
    bundle = Bundle(out, draft, model, Catalogue.of(draft.version, clusters))
    parity = compare(run.net, bundle, run.samples, Tolerances(), reference=_reference(run))
    files = {MODEL_FILE: model, SELFTEST_FILE: _selftest(run).to_bytes()}
    files |= _for_people(run_path, run, examples=choices.examples)
    tell("Writing the bundle")
    return write_bundle(
        out,
        draft.model_copy(update={"parity": parity}),
        clusters,
        files,
        overwrite=force,
        sign=key.sign if key else None,
    )


def _selftest(run: TrainedRun) -> SelfTest:
    """Synthetic windows like those of a run, and what its network says of them in double precision."""
    x = synthetic_windows(
        SELFTEST_WINDOWS,
        (run.samples.shape[1], run.samples.shape[2]),
        run.samples.mean((0, 1), dtype=np.float64).astype(np.float32),
        run.samples.std((0, 1), dtype=np.float64).astype(np.float32),
    )
    exact = run_torch(run.net, x, torch.float64)
    return SelfTest(x, Encoded(*(getattr(exact, name).astype(np.float32) for name in OUTPUTS)))


def _for_people(run_path: Path, run: TrainedRun, *, examples: bool) -> dict[str, bytes]:
    """Files that are shown and not computed with: windows of the clusters, and how training went."""
    files: dict[str, bytes] = {}
    if examples and len(run.samples):
        found = examples_of(run.samples, run_torch(run.net, run.samples), run.net.centroids.numpy())
        if found is not None:
            files[EXAMPLES_FILE] = found.to_bytes()
    history = run_path / HISTORY_FILE
    if history.is_file() and (epochs := read_history(history.read_bytes())):
        files[CURVES_FILE] = encode_curves(epochs)
    return files


def _reference(run: TrainedRun) -> torch.nn.Module | None:
    """The readable form of a run's network; disc-plus has no recurrence and none."""
    autoencoder, info = run.autoencoder, run.info
    if not isinstance(autoencoder, MultiTaskAutoencoder):
        return None
    config = NetworkConfig(**info.config["network"])
    if not isinstance(autoencoder, DescribedAutoencoder):
        return ReferenceNet(autoencoder.encoder, config, run.net.centroids, info.scaler)
    network = ReferenceNet(autoencoder.encoder, config, autoencoder.own, info.scaler)
    return DescribedNet(network, autoencoder.described, run.net.centroids, autoencoder.doubt)


def _draft(info: RunInfo, name: str | None, embedding_dim: int) -> Manifest:
    """The manifest but for what only the finished graph can tell."""
    return Manifest(
        name=checked_name(name if name is not None else f"{info.dataset}-{info.preset}", "the model"),
        version="",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        fs=info.fs,
        window=info.window,
        channels=info.channels,
        scaler=info.scaler,
        embedding_dim=embedding_dim,
        likelihood_exponent=info.likelihood_exponent,
        n_clusters=info.n_clusters,
        training=TrainingInfo(
            method=info.method,
            preset=info.preset,
            dataset=info.dataset,
            fingerprint=info.fingerprint,
            n_windows=info.n_windows,
            seed=info.seed,
            # How long training took says nothing of the model, and would give equal models unequal versions.
            metrics={name: value for name, value in info.metrics.items() if name != "seconds"},
        ),
        parity=ParityInfo(
            n_windows=0, max_abs_embedding=0.0, max_abs_q=0.0, max_rel_distance=0.0, labels_equal=0.0
        ),
        software={
            "disc-stream": __version__,
            "python": platform.python_version(),
            **{part: importlib.metadata.version(part) for part in ("torch", "onnx", "onnxscript")},
        },
        files={},
    )


def _cluster_infos(info: RunInfo, names: Mapping[int, str]) -> list[ClusterInfo]:
    if not len(info.cluster_sizes) == len(info.distance_q95) == info.n_clusters:
        raise TrainingError(
            f"the run is damaged: it has {info.n_clusters} clusters, {len(info.cluster_sizes)} sizes "
            f"and {len(info.distance_q95)} distances",
            remedy="Train it again",
        )
    if unknown := sorted(set(names) - set(range(info.n_clusters))):
        raise ConfigError(
            f"the run has clusters 0 to {info.n_clusters - 1}, there is no cluster {unknown[0]} to name",
            remedy="Correct the ids",
        )
    return [
        ClusterInfo(
            id=k,
            name=checked_name(names.get(k, f"cluster {k}"), f"cluster {k}"),
            size=info.cluster_sizes[k],
            distance_q95=info.distance_q95[k],
            unknown_above=info.unknown_above[k] if info.unknown_above else None,
        )
        for k in range(info.n_clusters)
    ]
