"""disc-plus from windows to a network: describe, find candidates, choose, distil."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from disc_stream.clustering.distinct import ROUNDING
from disc_stream.errors import TrainingError
from disc_stream.models.descriptors import DescriptorNet, Descriptors
from disc_stream.training.events import BatchEvent, Callback, EpochEvent
from disc_stream.training.fingerprint import sha256
from disc_stream.training.plus.candidates import (
    Candidate,
    principal_components,
    reduced,
    standardise_by_device,
)
from disc_stream.training.plus.climbing import Climb, Climber
from disc_stream.training.plus.config import PlusConfig
from disc_stream.training.plus.discriminant import Discriminant, DiscriminantFitter
from disc_stream.training.plus.persistence import Persistence
from disc_stream.training.plus.recutting import Recutter
from disc_stream.training.plus.search import LastingSearch, Score, Search
from disc_stream.training.plus.searchlog import PHASE, SearchLog
from disc_stream.training.plus.selection import CarryOver
from disc_stream.training.plus.slowness import slow_components
from disc_stream.training.plus.voting import majority
from disc_stream.training.task import FitOptions, Task
from disc_stream.types import Float32Array, IntArray

Array = npt.NDArray[np.float64]

_BATCH = 2048
_LEAST_DEVIATION = 1e-6


@dataclass(frozen=True, slots=True)
class FittedPlus:
    """The result of a training.

    Args:
        net: for inference, whole windows in.
        found: (n,) the labelling of the training windows that the best candidates vote for, found with the
            help of device and time; the network's own labels come from each window alone.
        span: of the best candidate.
        score: of the best candidate: nats that carry over and its share of likelihood (``Climber``), or its
            log-likelihood where there are too few devices.
        history: one entry per candidate; the score of a start is without its share of likelihood, which is
            known when its span has all its starts.
    """

    net: DescriptorNet
    found: IntArray
    span: int
    score: float
    history: list[dict[str, Any]] = field(repr=False)


def fit_plus(
    windows: Float32Array, devices: IntArray, task: Task, config: PlusConfig, options: FitOptions
) -> FittedPlus:
    """Learn clusters without labels, and a network that assigns single windows to them.

    Args:
        windows: (n, T, C), checked, in physical units; windows of one device in time order.
        devices: (n,) which device each window came from.
        task: number of clusters, seed.
        config: hyper-parameters.
        options: the callback is told of every candidate; a checkpoint keeps what the search has found.

    Raises:
        ConfigError: if the checkpoint belongs to another training.
        TrainingError: if the windows do not fall into so many clusters, or the disk takes no checkpoint.
    """
    identity = {
        "method": "disc-plus", "config": config.to_dict(), "seed": int(task.seed),
        "n_clusters": int(task.n_clusters), "windows": sha256(windows),
        "devices": hashlib.sha256(devices.astype("<i8").tobytes()).hexdigest(),
    }  # fmt: skip
    log = SearchLog(options.checkpoints, identity, resume=options.resume)
    # Two threads may sum in another order, and the last bit decides which candidate wins.
    with threadpool_limits(1):
        descriptors, x, restore = describe_windows(windows, config)
        fitter = DiscriminantFitter(x, config.shrinkage)
        persistence = Persistence(x, devices, fitter, config)
        searches = _searches(x, devices, task, config, (persistence, log))
        climbs, history = _run(searches, options.callback)
        climb, found = _chosen(climbs, searches[0], persistence)
        del searches
        if config.recuts and not has_few_devices(devices, config):
            components = components_of(x, devices, config, task.n_clusters)
            recutter = Recutter(components, x, devices, config, task.seed)
            found, more = _recut(recutter, found, task.n_clusters, options.callback, config.recuts)
            history += more
        student = fitter.fit(found, task.n_clusters)
    best = climb.best
    return FittedPlus(_network(descriptors, student, *restore), found, best.span, best.score, history)


def describe_windows(
    windows: Float32Array, config: PlusConfig
) -> tuple[Descriptors, Array, tuple[Array, Array]]:
    """Standardised descriptors (n, F), and the mean and factor of each that standardised them."""
    spread = windows.std((0, 1), dtype=np.float64)
    scale = torch.from_numpy(1.0 / np.where(spread > 0.0, spread, 1.0))
    offset = torch.from_numpy(windows.mean((0, 1), dtype=np.float64))
    descriptors = Descriptors(windows.shape[1], scale, offset, bands=config.bands, axes=config.axes)
    with torch.no_grad():
        parts = [descriptors(part) for part in torch.split(torch.from_numpy(windows), _BATCH)]
    x = torch.cat(parts).numpy().astype(np.float64)
    mean, deviation = x.mean(0), x.std(0)
    # A descriptor that is the same for all windows still differs in its last bits.
    telling = deviation > np.maximum(_LEAST_DEVIATION, ROUNDING * np.abs(x).max(0))
    if not telling.any():
        raise TrainingError(
            "all windows are alike: there is nothing to tell apart", remedy="Record other motion"
        )
    factor = 1.0 / np.where(telling, deviation, 1.0)
    x -= mean  # in place: with many channels there is memory for one copy of them, not for three
    x *= factor
    return descriptors, x, (mean, factor)


def _searches(
    x: Array, devices: IntArray, task: Task, config: PlusConfig, parts: tuple[Persistence, SearchLog]
) -> list[Search]:
    """The searches on descriptors ``x`` (n, F); what they score by depends on how many devices there are."""
    persistence, log = parts
    components = components_of(x, devices, config, task.n_clusters)
    search = Search(components, devices, task, *scored_by(x, devices, config, task.seed), log)
    if not config.slow_spans or has_few_devices(devices, config):
        return [search]
    slow = slow_components(components, devices, config)
    return [search] if slow is None else [search, LastingSearch(search, slow, devices, persistence)]


def _chosen(climbs: list[Climb], search: Search, persistence: Persistence) -> tuple[Climb, IntArray]:
    """The climb and the labelling to learn from: the vote, or, of labels that last, what carries over most.

    Likelihoods in other components do not compare. The best of lasting candidates lie far apart, and what
    they agree on may be worse than each, so that these are asked, too.
    """
    k, choice = search.n_clusters, []
    for climb in climbs:
        labellings = [majority([voter.labels for voter in climb.voters], k)]
        if search.config.settling:
            labellings.append(climb.best.labels)
        for labels in labellings:
            lasting = persistence.settle(labels, k)
            found = labels if lasting is None else lasting
            choice.append((search.carries_over(found), climb, found))
    _, climb, found = max(choice, key=lambda one: one[0])
    return climb, found


def _recut(
    recutter: Recutter, found: IntArray, n_clusters: int, callback: Callback, most: int
) -> tuple[IntArray, list[dict[str, Any]]]:
    """The labelling after the last round of cuts and joins, and one entry per round."""
    history: list[dict[str, Any]] = []
    started = time.perf_counter()
    for labels, score in recutter.rounds(found, n_clusters):
        found, seconds = labels, time.perf_counter() - started
        history.append({"phase": PHASE, "kind": "recut", "score": score, "seconds": seconds})
        started += seconds
        callback(BatchEvent(PHASE, 1, 1, len(history), most))
    return found, history


def scored_by(x: Array, devices: IntArray, config: PlusConfig, seed: int) -> tuple[PlusConfig, Score]:
    """How candidates are scored on descriptors ``x`` (n, F), and the settings that go with it."""
    if has_few_devices(devices, config):
        few = config.but(spans=(config.few_span,), likelihood_weight=0.0)
        return few, lambda _labels, likelihood: likelihood
    carry_over = CarryOver(reduced(x, config.most_scored), devices, config, seed)
    return config, lambda labels, _likelihood: carry_over.score(labels, int(labels.max()) + 1)


def components_of(x: Array, devices: IntArray, config: PlusConfig, n_clusters: int) -> Array:
    """What labels are found on, before averaging over time: (n, d) of descriptors ``x`` (n, F)."""
    alike = standardise_by_device(x, devices) if config.per_device else x
    return principal_components(alike, config, n_clusters)


def has_few_devices(devices: IntArray, config: PlusConfig) -> bool:
    """Whether too few devices have a next window to say anything about carrying over."""
    _, counts = np.unique(devices, return_counts=True)
    return bool((counts > config.lag).sum() < config.few_devices)


def _run(searches: list[Search], callback: Callback) -> tuple[list[Climb], list[dict[str, Any]]]:
    """The searches' end, and one entry per candidate."""
    started = time.perf_counter()
    history: list[dict[str, Any]] = []
    log = searches[0].log
    total = sum(one.n_starts + len(one.spans) * (one.config.moves + one.config.rounds) for one in searches)

    def look_at(candidate: Candidate, kind: str) -> None:
        history.append(
            {
                "phase": PHASE,
                "kind": kind,
                "span": candidate.span,
                "likelihood": candidate.likelihood,
                "score": candidate.score,
                "seconds": log.seconds,
            }
        )
        callback(BatchEvent(PHASE, 1, 1, min(len(history), total), total))

    climbs: list[Climb] = []
    for search in searches:
        climbs.append(Climber(search, look_at, climbs[-1] if climbs else None).climb())
    seconds = time.perf_counter() - started
    callback(EpochEvent(PHASE, 1, 1, {"score": climbs[-1].best.score}, 0.0, None, (), seconds, 0.0))
    return climbs, history


def _network(descriptors: Descriptors, student: Discriminant, mean: Array, factor: Array) -> DescriptorNet:
    """The standardisation becomes part of the affine map."""
    project = student.project * factor[:, None]
    shift = student.shift - mean @ project
    parts = (torch.from_numpy(part) for part in (project, shift, student.centroids))
    return DescriptorNet(descriptors, *parts)


def carry_over_of(windows: Float32Array, devices: IntArray, *, seed: int) -> CarryOver | None:
    """Scores any labelling of windows by what carries over, whatever method has found it; see ``CarryOver``.

    Args:
        windows: (n, T, C) float32, windows of one device in time order.
        devices: (n,) which device each window came from.
        seed: of the folds.

    Returns:
        None if there are too few devices to say anything, or all windows are alike.
    """
    config = PlusConfig()
    if has_few_devices(devices, config):
        return None
    try:
        with threadpool_limits(1):
            x = describe_windows(windows, config)[1]
    except TrainingError:
        return None
    return CarryOver(reduced(x, config.most_scored), devices, config, seed)
