"""disc-plus from windows to a network: describe, find candidates, choose, distil."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
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
from disc_stream.training.plus.candidates import Candidate, principal_components, standardise_by_device
from disc_stream.training.plus.config import PlusConfig
from disc_stream.training.plus.discriminant import Discriminant, DiscriminantFitter
from disc_stream.training.plus.search import Search
from disc_stream.training.plus.searchlog import PHASE, SearchLog
from disc_stream.training.plus.selection import CarryOver
from disc_stream.training.task import FitOptions, Task
from disc_stream.types import Float32Array, IntArray

Array = npt.NDArray[np.float64]

_BATCH = 2048
_LEAST_DEVIATION = 1e-6
_GAIN = 1e-6  # a move that gains less than this is noise of the arithmetic


@dataclass(frozen=True, slots=True)
class FittedPlus:
    """The result of a training.

    Args:
        net: for inference, whole windows in.
        found: (n,) the chosen labelling of the training windows, found with the help of device and time; the
            network's own labels come from each window alone.
        span: of the chosen candidate.
        score: of the chosen candidate: nats that carry over, or its log-likelihood where there are too few
            devices.
        history: one entry per candidate.
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
        search = _search(x, devices, task, config, log)
        chosen, history = _run(search, config, options.callback)
        student = DiscriminantFitter(x, config.shrinkage).fit(chosen.labels, task.n_clusters)
    return FittedPlus(
        _network(descriptors, student, *restore), chosen.labels, chosen.span, chosen.score, history
    )


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
    return descriptors, (x - mean) * factor, (mean, factor)


def _search(x: Array, devices: IntArray, task: Task, config: PlusConfig, log: SearchLog) -> Search:
    """The search on descriptors ``x`` (n, F); what it scores by depends on how many devices there are."""
    alike = standardise_by_device(x, devices) if config.per_device else x
    components = principal_components(alike, config, task.n_clusters, task.seed)
    _, counts = np.unique(devices, return_counts=True)
    if (counts > config.lag).sum() < config.few_devices:  # those that have a next window
        few = config.but(spans=(config.few_span,))
        return Search(components, devices, task, few, lambda _labels, likelihood: likelihood, log)
    carry_over = CarryOver(x, devices, config, task.seed)

    def score(labels: IntArray, _likelihood: float) -> float:
        return carry_over.score(labels, task.n_clusters)

    return Search(components, devices, task, config, score, log)


def _run(search: Search, config: PlusConfig, callback: Callback) -> tuple[Candidate, list[dict[str, Any]]]:
    """From the best start of every span uphill by moves; the best of where that leads."""
    started = time.perf_counter()
    history: list[dict[str, Any]] = []
    total = search.n_starts + len(search.spans) * config.moves

    def look_at(candidate: Candidate, kind: str) -> None:
        history.append(
            {
                "phase": PHASE,
                "kind": kind,
                "span": candidate.span,
                "likelihood": candidate.likelihood,
                "score": candidate.score,
                "seconds": search.log.seconds,
            }
        )
        callback(BatchEvent(PHASE, 1, 1, min(len(history), total), total))

    best: dict[int, Candidate] = {}
    for candidate in search.starts():
        if candidate.span not in best or candidate.score > best[candidate.span].score:
            best[candidate.span] = candidate
            search.log.leads(candidate.span, candidate)
        look_at(candidate, "start")
    if not best:
        raise TrainingError(
            f"no candidate has windows in each of {search.n_clusters} clusters",
            remedy="Use fewer clusters, or more varied recordings",
        )
    tops = [_climb(search, slot, candidate, config.moves, look_at) for slot, candidate in best.items()]
    search.log.write()
    top = max(tops, key=lambda candidate: candidate.score)
    seconds = time.perf_counter() - started
    callback(EpochEvent(PHASE, 1, 1, {"score": top.score}, 0.0, None, (), seconds, 0.0))
    return top, history


def _climb(
    search: Search, slot: int, best: Candidate, left: int, look_at: Callable[[Candidate, str], None]
) -> Candidate:
    """Take every move that improves, until none does or ``left`` candidates have been looked at.

    Args:
        search: where the moves come from.
        slot: the span of the start that the climb began with.
        best: that start.
        left: maximum of candidates to look at.
        look_at: told of each.
    """
    improved = True
    while improved and left > 0:
        improved = False
        for candidate in islice(search.moves(best), left):
            better = candidate.score > best.score + _GAIN
            if better:
                search.log.leads(slot, candidate)
            look_at(candidate, "move")
            left -= 1
            if better:
                best, improved = candidate, True
                break
    return best


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
    _, counts = np.unique(devices, return_counts=True)
    if (counts > config.lag).sum() < config.few_devices:
        return None
    try:
        with threadpool_limits(1):
            x = describe_windows(windows, config)[1]
    except TrainingError:
        return None
    return CarryOver(x, devices, config, seed)
