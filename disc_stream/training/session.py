"""One training from a dataset's windows to a finished run folder, with its metrics."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
from torch import nn

from disc_stream.artifacts.manifest import ChannelInfo, WindowInfo
from disc_stream.artifacts.run import CHECKPOINT_DIR, RUN_FILE, RunInfo
from disc_stream.clustering.metrics import score
from disc_stream.data.types import UNLABELLED, Split, WindowSet
from disc_stream.data.windows import fingerprint
from disc_stream.errors import ConfigError, DataError
from disc_stream.models.autoencoder import MultiTaskAutoencoder, half
from disc_stream.training.centroids import initial_centroids, nearest
from disc_stream.training.events import Callback, ignore
from disc_stream.training.fitting import FitOptions, Fitted, fit_disc, infer
from disc_stream.training.presets import TrainingConfig, resolve
from disc_stream.training.runs import read_info, save_run
from disc_stream.training.windows import check_training_windows
from disc_stream.types import Float32Array, IntArray

_SOFTWARE = ("disc-stream", "torch", "numpy", "scikit-learn")


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """What is to be trained, and where to.

    Args:
        dataset: name for the records.
        out: run folder.
        preset: name of the preset.
        settings: values that replace the preset's, by name.
        n_clusters: K, or None for the dataset's usual number of activities.
        channels: names of the channels to use, in this order; None for all.
        seed: same seed, same result.
        device: ``auto``, ``cpu`` or ``cuda``.
        resume: go on with an unfinished run in ``out``.
    """

    dataset: str
    out: Path
    preset: str = "small"
    settings: Mapping[str, Any] = field(default_factory=dict)
    n_clusters: int | None = None
    channels: Sequence[str] | None = None
    seed: int = 0
    device: str = "auto"
    resume: bool = False


def train_run(split: Split, request: TrainingRequest, callback: Callback = ignore) -> RunInfo:
    """Train DISC on a split and write the run folder.

    Labels, where the windows have them, serve for the metrics alone.

    Raises:
        ConfigError: if a setting is not usable, or the folder holds another run.
        DataError: if the windows cannot be learned from.
        TrainingError: if training cannot go on, or the disk does not take the run.
    """
    config = resolve(request.preset, request.settings)
    split = choose_channels(split, request.channels)
    n_clusters = split.n_clusters if request.n_clusters is None else request.n_clusters
    finished = claim_folder(request.out, resume=request.resume)
    if finished is not None:
        _require_same_run(finished, config, n_clusters, split, request)
        return finished
    try:
        windows = check_training_windows(split.train.x, n_clusters)
    except ValueError as error:
        raise DataError(f"{request.dataset!r} cannot be learned from: {error}") from error

    options = FitOptions(request.device, callback, request.out / CHECKPOINT_DIR, request.resume)
    fitted = fit_disc(windows, n_clusters, config, seed=request.seed, options=options)
    info = _describe(fitted, split, config, n_clusters, request)
    n_input = info.window.input_samples
    source = split.test if len(split.test) else split.train
    save_run(
        request.out,
        info=info,
        autoencoder=cast("MultiTaskAutoencoder", fitted.autoencoder),
        centroids=fitted.centroids,
        samples=source.x[:, :n_input],
        history=fitted.history,
    )
    return info


def claim_folder(out: Path, *, resume: bool) -> RunInfo | None:
    """Check that a run may be written to ``out``; the run that is already finished there, when resuming.

    Raises:
        ConfigError: if there is something there that must not be touched.
    """
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out {str(out)!r} is a file", remedy="Give a folder")
    if not out.exists() or not any(out.iterdir()):
        return None
    finished = (out / RUN_FILE).is_file()
    ours = finished or (out / CHECKPOINT_DIR).is_dir()
    if not ours:
        raise ConfigError(
            f"--out {str(out)!r} is not empty and holds no run", remedy="Give a new or an empty folder"
        )
    if not resume:
        raise ConfigError(
            f"--out {str(out)!r} already holds {'a finished' if finished else 'an unfinished'} run",
            remedy="Give another folder, or remove it"
            if finished
            else "Add --resume, or give another folder",
        )
    return read_info(out) if finished else None


def choose_channels(split: Split, names: Sequence[str] | None) -> Split:
    """The split with only these channels, in this order.

    Raises:
        ConfigError: if a name is not known or given twice.
    """
    if names is None:
        return split
    known = [channel.name for channel in split.train.channels]
    for name in names:
        if name not in known:
            raise ConfigError(f"there is no channel {name!r}", remedy=f"Use some of: {', '.join(known)}")
    if not names or len(set(names)) != len(names):
        raise ConfigError(f"each channel must be named once, got {','.join(names) or 'none'}")
    columns = [known.index(name) for name in names]

    def chosen(part: WindowSet) -> WindowSet:
        channels = tuple(part.channels[c] for c in columns)
        return replace(part, x=np.ascontiguousarray(part.x[:, :, columns]), channels=channels)

    return replace(split, train=chosen(split.train), test=chosen(split.test))


def _require_same_run(
    info: RunInfo, config: TrainingConfig, n_clusters: int, split: Split, request: TrainingRequest
) -> None:
    same = (
        info.config == config.to_dict()
        and info.n_clusters == n_clusters
        and info.seed == request.seed
        and info.fingerprint == fingerprint(split.train)
    )
    if not same:
        raise ConfigError(
            f"--out {str(request.out)!r} holds a finished run with other settings or windows",
            remedy="Give another folder",
        )


def _describe(
    fitted: Fitted, split: Split, config: TrainingConfig, n_clusters: int, request: TrainingRequest
) -> RunInfo:
    train = split.train
    n_samples = train.x.shape[1]
    _, q, distance = infer(fitted.net, train.x[:, : half(n_samples)])
    labels = q.argmax(1)
    return RunInfo(
        method="DISC",
        preset=request.preset,
        config=config.to_dict(),
        dataset=request.dataset,
        fingerprint=fingerprint(train),
        n_windows=len(train),
        seed=request.seed,
        fs=train.fs,
        channels=[ChannelInfo(name=c.name, unit=c.unit) for c in train.channels],
        window=WindowInfo(samples=n_samples, hop=_hop(train), input_samples=half(n_samples)),
        scaler=fitted.scaler,
        n_clusters=n_clusters,
        cluster_sizes=np.bincount(labels, minlength=n_clusters).tolist(),
        distance_q95=_distance_q95(labels, distance),
        metrics=_metrics(fitted, split, config, request.seed),
        software={name: importlib.metadata.version(name) for name in _SOFTWARE}
        | {"python": platform.python_version()},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _hop(windows: WindowSet) -> int:
    """Samples between the starts of successive windows of a recording; half a window if none follow."""
    steps = np.diff(windows.start)[np.diff(windows.group) == 0]
    steps = steps[steps > 0]
    length = windows.x.shape[1]
    return int(min(np.median(steps), length)) if len(steps) else length // 2


def _distance_q95(labels: IntArray, distance: Float32Array) -> list[float]:
    """Per cluster, of its own windows; over all windows where a cluster has none."""
    own = distance[np.arange(len(labels)), labels]
    clusters = range(distance.shape[1])
    return [float(np.quantile(own[labels == k] if (labels == k).any() else own, 0.95)) for k in clusters]


def _metrics(fitted: Fitted, split: Split, config: TrainingConfig, seed: int) -> dict[str, Any]:
    """Agreement with the labels, before and after refinement, on both parts; and the training's own end."""
    metrics: dict[str, Any] = {
        "protocol": split.protocol,
        "epochs": {
            phase: sum(h["phase"] == phase for h in fitted.history) for phase in ("pretrain", "refine")
        },
        "seconds": sum(h["seconds"] for h in fitted.history),
        "loss": fitted.history[-1]["losses"],
        "label_change": fitted.history[-1]["label_change"],
    }
    parts = {"train": split.train, "test": split.test}
    scored = {name: _scored(part, split.scored) for name, part in parts.items()}
    if not all(mask.any() for mask in scored.values()):
        return metrics  # no labels to compare with
    metrics["scored_windows"] = {name: int(mask.sum()) for name, mask in scored.items()}
    metrics |= {
        "refined": {
            name: score(part.y[scored[name]], _clusters(fitted.net, part)[scored[name]])
            for name, part in parts.items()
        },
        "autoencoder": _autoencoder_metrics(fitted, parts, scored, config, seed),
    }
    return metrics


def _autoencoder_metrics(
    fitted: Fitted,
    parts: dict[str, WindowSet],
    scored: dict[str, Any],
    config: TrainingConfig,
    seed: int,
) -> dict[str, Any]:
    """Clusters of the embeddings before refinement: found on the training part, the nearest on both."""
    n_clusters = len(fitted.centroids)
    z = {name: _embeddings(fitted.pretrained_net, part) for name, part in parts.items()}
    result = {}
    for init in ("kmeans", "ward"):
        centroids = initial_centroids(
            z["train"], n_clusters, init=init, seed=seed, ward_sample=config.ward_sample
        )
        result[init] = {
            name: score(part.y[scored[name]], nearest(z[name], centroids)[scored[name]])
            for name, part in parts.items()
        }
    return result


def _scored(part: WindowSet, scored: Sequence[int]) -> Any:
    return np.isin(part.y, scored) if scored else part.y != UNLABELLED


def _embeddings(net: nn.Module, part: WindowSet) -> Float32Array:
    return infer(net, part.x[:, : half(part.x.shape[1])])[0]


def _clusters(net: nn.Module, part: WindowSet) -> IntArray:
    return np.asarray(infer(net, part.x[:, : half(part.x.shape[1])])[1].argmax(1), dtype=np.int64)
