"""One training from a dataset's windows to a finished run folder, with its metrics."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from torch import nn

from disc_stream.artifacts.manifest import ChannelInfo, WindowInfo
from disc_stream.artifacts.run import CHECKPOINT_DIR, RUN_FILE, RunInfo, WholeWindow
from disc_stream.artifacts.sizes import METRIC as SIZE
from disc_stream.clustering.metrics import score
from disc_stream.data.types import UNLABELLED, Split, WindowSet
from disc_stream.data.windows import fingerprint
from disc_stream.errors import ConfigError, DataError, did_you_mean
from disc_stream.models.collectives import is_rank_zero, world_size
from disc_stream.models.settings import Settings
from disc_stream.training.centroids import initial_centroids, nearest
from disc_stream.training.clustercount import METRIC, Number, number_of
from disc_stream.training.events import Callback, ignore
from disc_stream.training.evidence import Evidence, chosen_points, save_evidence
from disc_stream.training.fitting import infer
from disc_stream.training.guided.sizes import SIZE_OF_PRESET, is_smaller
from disc_stream.training.known import Known
from disc_stream.training.methods import METHODS
from disc_stream.training.novelty import distance_q95, unknown_above
from disc_stream.training.presets import TrainingConfig
from disc_stream.training.recipes import RECIPES, Learned, Recipe
from disc_stream.training.recipes.base import DEFAULT_PRESET
from disc_stream.training.runs import read_info, save_run
from disc_stream.training.sizing import Sized, SizeRequest, choose, held_out_windows, judged
from disc_stream.training.task import FitOptions, Task
from disc_stream.training.warm import WarmStart
from disc_stream.training.windows import check_training_windows, hop_of
from disc_stream.types import Float32Array, IntArray

_SOFTWARE = ("disc-stream", "torch", "numpy", "scikit-learn")


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """What is to be trained, and where to.

    Args:
        dataset: name for the records.
        out: run folder.
        method: name of a recipe whose runs can be exported.
        preset: name of the preset, ``default`` for the method's own; not used by methods that have none.
        settings: values that replace the preset's, by name.
        n_clusters: K; ``auto`` to find it in the windows (docs/adr/0024); None for the number of activities
            of a labelled dataset, otherwise ``auto``.
        channels: names of the channels to use, in this order; None for all.
        seed: same seed, same result.
        device: ``auto``, ``cpu`` or ``cuda``.
        resume: go on with an unfinished run in ``out``.
        warm_start: run folder of a model to go on from; None to start from scratch.
        grow: with ``warm_start``: a cluster more than ``n_clusters`` for every group of new motion.
        hop: samples from one window to the next; None to find it from the windows' starts.
        size: of the network, which decides the preset (docs/adr/0029); None for the preset's own.
    """

    dataset: str
    out: Path
    method: str = "disc"
    preset: str = "small"
    settings: Mapping[str, Any] = field(default_factory=dict)
    n_clusters: int | Literal["auto"] | None = None
    channels: Sequence[str] | None = None
    seed: int = 0
    device: str = "auto"
    resume: bool = False
    warm_start: Path | None = None
    grow: bool = False
    hop: int | None = None
    size: SizeRequest | None = None


def train_run(split: Split, request: TrainingRequest, callback: Callback = ignore) -> RunInfo:
    """Train on a split and write the run folder.

    Labels, where the windows have them, serve for the metrics alone.

    Raises:
        ConfigError: if a setting is not usable, or the folder holds another run.
        DataError: if the windows cannot be learned from.
        TrainingError: if training cannot go on, or the disk does not take the run.
    """
    recipe = exportable_recipe(request.method)
    split = choose_channels(split, request.channels)
    size = _size(request, split)
    request = request if size is None else replace(request, preset=size.preset)
    config = recipe.resolve(request.preset, request.settings)
    if not recipe.distributed and world_size() > 1:
        raise ConfigError(f"{recipe.name} learns in one process", remedy="Start it without torchrun")
    finished = claim_folder(request.out, resume=request.resume)
    number = number_of(
        split, request.n_clusters, seed=request.seed, out=request.out, finished=finished, callback=callback
    )
    n_clusters = number.chosen
    if finished is not None:
        _require_same_run(finished, recipe, config, n_clusters, split, request)
        return finished
    try:
        windows = check_training_windows(split.train.x, n_clusters)
    except ValueError as error:
        raise DataError(f"{request.dataset!r} cannot be learned from: {error}") from error

    options = FitOptions(request.device, callback, request.out / CHECKPOINT_DIR, request.resume)
    task = _task(windows, split.train, n_clusters, request)
    learned = recipe.fit(task, config, options)
    found = _Found.of(learned, split, learned.n_input)
    info = _describe(learned, found, split, request, number)
    if size is not None and request.size is not None:
        info.metrics[SIZE] = judged(size, request.size, learned, task)
    if not is_rank_zero():  # of several processes, one writes
        return info
    source = split.test if len(split.test) else split.train
    save_evidence(request.out, _evidence(learned, found, split))
    _known(task, found.clusters["train"], len(learned.centroids)).save(request.out)
    save_run(
        request.out,
        info=info,
        weights=recipe.save(learned),
        centroids=learned.centroids,
        samples=source.x[:, : max(learned.n_input, learned.n_longer)],
        history=learned.history,
    )
    return info


def exportable_recipe(method: str) -> Recipe[Any]:
    """The recipe of a method whose runs can be exported.

    Raises:
        ConfigError: if there is no such method, or its runs cannot be exported.
    """
    offered = [name for name, recipe in RECIPES.items() if recipe.exportable]
    remedy = f"Use one of: {', '.join(offered)}"
    if method in offered:
        return RECIPES[method]
    if method in RECIPES or method in METHODS:
        raise ConfigError(f"a run of {method!r} cannot be exported", remedy=remedy)
    raise ConfigError(f"unknown method {method!r}{did_you_mean(method, offered)}", remedy=remedy)


def _size(request: TrainingRequest, split: Split) -> Sized | None:
    if request.size is None:
        return None
    _, n_samples, n_channels = split.train.x.shape
    return choose(request.size, (n_samples, n_channels), request.settings)


def _task(windows: Float32Array, train: WindowSet, n_clusters: int, request: TrainingRequest) -> Task:
    devices = train.subject.astype(np.int64)
    student = request.size is not None and is_smaller(SIZE_OF_PRESET[request.preset])
    return Task(
        windows,
        n_clusters,
        request.seed,
        devices=devices,
        order=np.lexsort((train.start, train.group, train.subject)),
        warm=None if request.warm_start is None else WarmStart.of_run(request.warm_start),
        grow=request.grow,
        held_out=held_out_windows(devices, request.seed) if student else None,
    )


def _known(task: Task, clusters: IntArray, n_clusters: int) -> Known:
    order = np.arange(len(clusters)) if task.order is None else task.order
    devices = np.zeros(len(clusters), dtype=np.int64) if task.devices is None else task.devices
    before = None if task.warm is None else task.warm.known
    windows, rows = task.windows[order], clusters[order]
    return Known.of(windows, rows, devices[order], n_clusters=n_clusters, seed=task.seed, before=before)


@dataclass(frozen=True, slots=True)
class _Found:
    """The clusters of all windows.

    Args:
        clusters: part -> (n,).
        distance: (n, K) of the training windows.
        z: (n, d) their embeddings.
    """

    clusters: Mapping[str, IntArray]
    distance: Float32Array
    z: Float32Array

    @classmethod
    def of(cls, learned: Learned, split: Split, n_input: int) -> _Found:
        """Run the network over that many samples of the windows of both parts."""
        z, q, distance = infer(learned.net, split.train.x[:, :n_input])
        test = infer(learned.net, split.test.x[:, :n_input])[1]
        labels = {"train": q, "test": test}
        return cls({name: part.argmax(1).astype(np.int64) for name, part in labels.items()}, distance, z)


def _evidence(learned: Learned, found: _Found, split: Split) -> Evidence:
    """What figures of this training show."""
    train = split.train
    points = chosen_points(len(train))
    inputs = train.x[points][:, : learned.n_input]
    nets = {"initial": learned.initial, "pretrained": learned.before}
    stages = {name: infer(net, inputs)[0] for name, net in nets.items() if net is not None}
    if learned.refining is not None:
        stages["refining"] = learned.refining[points]
    stages["final"] = infer(learned.net, inputs)[0]
    parts = {}
    for name, part in (("train", train), ("test", split.test)):
        chosen = _scored(part, split.scored)
        parts[name] = (part.y[chosen].astype(np.int64), found.clusters[name][chosen])
    kinds = np.where(_scored(train, split.scored), train.y, UNLABELLED)[points].astype(np.int64)
    return Evidence(stages, kinds, found.clusters["train"][points], parts, train.label_names)


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
    info: RunInfo,
    recipe: Recipe[Any],
    config: Settings,
    n_clusters: int,
    split: Split,
    request: TrainingRequest,
) -> None:
    same = (
        info.method == recipe.recorded
        and info.config == config.to_dict()
        and (info.n_clusters == n_clusters or (request.grow and info.n_clusters > n_clusters))
        and info.seed == request.seed
        and info.fingerprint == fingerprint(split.train)
    )
    if not same:
        raise ConfigError(
            f"--out {str(request.out)!r} holds a finished run with other settings or windows",
            remedy="Give another folder",
        )


def _describe(
    learned: Learned, found: _Found, split: Split, request: TrainingRequest, number: Number
) -> RunInfo:
    train, labels = split.train, found.clusters["train"]
    n_samples, n_clusters = train.x.shape[1], len(learned.centroids)
    recipe = exportable_recipe(request.method)
    return RunInfo(
        method=recipe.recorded,
        preset=_preset(recipe, request.preset),
        config=learned.config.to_dict(),
        dataset=request.dataset,
        fingerprint=fingerprint(train),
        n_windows=len(train),
        seed=request.seed,
        fs=train.fs,
        channels=[ChannelInfo(name=c.name, unit=c.unit) for c in train.channels],
        window=WindowInfo(samples=n_samples, hop=request.hop or hop_of(train), input_samples=learned.n_input),
        scaler=learned.scaler,
        n_clusters=n_clusters,
        likelihood_exponent=learned.likelihood_exponent,
        cluster_sizes=np.bincount(labels, minlength=n_clusters).tolist(),
        distance_q95=distance_q95(labels, found.distance),
        unknown_above=unknown_above(found.z, labels, found.distance, train.subject, seed=request.seed),
        metrics=_metrics(learned, found, split, request.seed)
        | ({METRIC: dict(number.facts)} if number.facts else {}),
        software={name: importlib.metadata.version(name) for name in _SOFTWARE}
        | {"python": platform.python_version()},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        whole=_whole_window(learned, split, request.seed),
    )


def _preset(recipe: Recipe[Any], given: str) -> str:
    if not recipe.presets:
        return recipe.name
    return recipe.default_preset if given == DEFAULT_PRESET else given


def _whole_window(learned: Learned, split: Split, seed: int) -> WholeWindow | None:
    """What is different for the larger of two numbers of samples; None where there is one."""
    if not learned.n_longer:
        return None
    found = _Found.of(learned, split, learned.n_longer)
    labels, k = found.clusters["train"], len(learned.centroids)
    metrics = _metrics(learned, found, split, seed)
    return WholeWindow(
        cluster_sizes=np.bincount(labels, minlength=k).tolist(),
        distance_q95=distance_q95(labels, found.distance),
        unknown_above=unknown_above(found.z, labels, found.distance, split.train.subject, seed=seed),
        metrics={"refined": metrics["refined"]} if "refined" in metrics else {},
    )


def _metrics(learned: Learned, found: _Found, split: Split, seed: int) -> dict[str, Any]:
    """Agreement with the labels, before and after refinement, on both parts; and the training's own end."""
    history = learned.history
    phases = [entry["phase"] for entry in history]
    metrics: dict[str, Any] = {
        "protocol": split.protocol,
        "devices": len(np.unique(split.train.subject)),
        "epochs": {phase: phases.count(phase) for phase in dict.fromkeys(phases)},
        "seconds": sum(entry["seconds"] for entry in history),
        "loss": history[-1].get("losses"),
        "label_change": history[-1].get("label_change"),
    }
    parts = {"train": split.train, "test": split.test}
    scored = {name: _scored(part, split.scored) for name, part in parts.items()}
    if not all(mask.any() for mask in scored.values()):
        return metrics  # no labels to compare with
    metrics["scored_windows"] = {name: int(mask.sum()) for name, mask in scored.items()}
    metrics |= {
        "refined": {
            name: score(part.y[scored[name]], found.clusters[name][scored[name]])
            for name, part in parts.items()
        }
    }
    if learned.before is not None:
        metrics["autoencoder"] = _autoencoder_metrics(learned, learned.before, parts, scored, seed)
    return metrics


def _autoencoder_metrics(
    learned: Learned,
    before: nn.Module,
    parts: dict[str, WindowSet],
    scored: dict[str, Any],
    seed: int,
) -> dict[str, Any]:
    """Clusters of the embeddings before refinement: found on the training part, the nearest on both."""
    config = cast("TrainingConfig", learned.config)
    n_clusters = len(learned.centroids)
    z = {name: infer(before, part.x[:, : learned.n_input])[0] for name, part in parts.items()}
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
