"""Computes the cells of the table, one after the other, each of them once."""

from __future__ import annotations

import importlib.metadata
import logging
import platform
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from disc_stream.benchmarks.cells import (
    NO_PRESET,
    Cell,
    CellKey,
    Protocol,
    hardware,
    hash_of,
    read_cell,
    write_cell,
)
from disc_stream.benchmarks.protocols import StreamSettings, evaluate, prepare, protocol_facts
from disc_stream.data.types import Split
from disc_stream.data.windows import fingerprint
from disc_stream.errors import DiscStreamError, UsageError
from disc_stream.training.estimators.base import WindowClusterer
from disc_stream.training.events import Callback, EpochEvent, TrainingEvent, ignore
from disc_stream.training.fingerprint import sha256
from disc_stream.training.fitting import pretrain
from disc_stream.training.methods import Method, get_method
from disc_stream.training.pretrained import Pretrained, stage_one
from disc_stream.training.task import FitOptions

log = logging.getLogger(__name__)

Load = Callable[[str], Split]
_SOFTWARE = ("disc-stream", "torch", "numpy", "scikit-learn")


@dataclass(frozen=True, slots=True)
class Request:
    """Which cells are wanted, and where they go.

    Args:
        datasets: names.
        protocols: ``paper``, ``stream``, ``adapted``.
        methods: names.
        seeds: of the methods.
        preset: of the methods that have presets.
        settings: values that replace the preset's, by name.
        out: folder of the cells.
        work: folder of what can be thrown away: autoencoders, checkpoints.
        force: compute cells that are there already; an autoencoder that lies in ``work`` is still used.
        stream: of the ``stream`` protocol.
    """

    datasets: Sequence[str]
    protocols: Sequence[Protocol]
    methods: Sequence[str]
    seeds: Sequence[int]
    preset: str
    out: Path
    work: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    force: bool = False
    stream: StreamSettings = field(default_factory=StreamSettings)


@dataclass(frozen=True, slots=True)
class Failure:
    """A cell that could not be computed, and why."""

    key: CellKey
    reason: str


def keys(request: Request) -> list[CellKey]:
    """All cells of a request; those that share an autoencoder stand together."""
    found = [
        CellKey(dataset, protocol, method, _preset(request, get_method(method)), seed)
        for dataset in request.datasets
        for protocol in request.protocols
        for seed in request.seeds
        for method in sorted(request.methods, key=lambda name: (get_method(name).family, name))
    ]
    return list(dict.fromkeys(found))


def run_grid(
    request: Request,
    load: Load,
    callback: Callback = ignore,
    on_cell: Callable[[CellKey], None] = lambda _key: None,
) -> Iterator[Cell | Failure]:
    """Compute what is missing, in order; what is there is read. What fails is told, and the rest goes on.

    Args:
        request: what is wanted.
        load: dataset name -> its scored windows.
        callback: told of the training under way.
        on_cell: told of each cell before it is computed or read.

    Raises:
        UsageError: if the only dataset cannot be found.
    """
    splits: dict[str, Split | Exception] = {}
    for key in keys(request):
        on_cell(key)
        if key.dataset not in splits:
            splits = {key.dataset: _loaded(key.dataset, load)}  # one at a time: they are large
        split = splits[key.dataset]
        try:
            if isinstance(split, Exception):
                raise split
            yield _cell(key, split, request, callback)
        except (DiscStreamError, ValueError, MemoryError, RuntimeError) as error:  # torch's are RuntimeErrors
            if isinstance(error, UsageError) and error is split and len(request.datasets) == 1:
                raise
            log.warning("%s on %s failed: %s", key.method, key.dataset_name, error)
            yield Failure(key, str(error) or type(error).__name__)


def _loaded(dataset: str, load: Load) -> Split | Exception:
    """The windows, or why there are none: the cells of other datasets do not need them."""
    try:
        return load(dataset)
    except (DiscStreamError, ValueError, MemoryError) as error:
        return error


class _Watch:
    """Passes events on, and adds up the seconds of the epochs that this process ran."""

    def __init__(self, callback: Callback) -> None:
        self._callback = callback
        self.seconds = 0.0

    def __call__(self, event: TrainingEvent) -> None:
        if isinstance(event, EpochEvent):
            self.seconds += event.seconds
        self._callback(event)


def _preset(request: Request, method: Method) -> str:
    return request.preset if method.presets else NO_PRESET


def _cell(key: CellKey, split: Split, request: Request, callback: Callback) -> Cell:
    method = get_method(key.method)
    model, facts = configuration_of(method, request, n_clusters=split.n_clusters, seed=key.seed)
    config = {**protocol_facts(key.protocol, method, request.stream), **facts}
    marks = fingerprint(split.train)
    digest = hash_of(config, marks)
    path = key.path(request.out, digest)
    if path.is_file() and not request.force:
        return read_cell(path)

    data = prepare(split, key.protocol, method, request.stream)
    started, watch = time.perf_counter(), _Watch(callback)
    own = _work(request, key) / f"{path.stem}-{marks[:8]}"
    if (shared := model.training_facts()) is not None:  # the training of several rows, under both protocols
        own = request.work / key.dataset_name / f"{hash_of(shared, marks)[:16]}-seed{key.seed}"
    elif request.force:
        shutil.rmtree(own, ignore_errors=True)
    model.fit(
        data.train.x,
        devices=data.train.devices if method.knows_devices else None,
        options=FitOptions("auto", watch, own, resume=True),
        pretrained=_shared(key, model, data.train.x, request, watch),
    )
    scores = evaluate(model, method, data)
    # Epochs count as long as they took, also those that another row or a stopped run has computed.
    history = getattr(model, "history_", [])
    seconds = time.perf_counter() - started + sum(entry["seconds"] for entry in history) - watch.seconds
    cell = Cell(
        dataset=key.dataset_name, protocol=key.protocol, method=key.method, preset=key.preset, seed=key.seed,
        config=config, config_hash=digest, fingerprint=marks, split=split.protocol,
        n_clusters=split.n_clusters, scores=scores, epochs=_epochs(model), seconds=round(seconds, 2),
        hardware=hardware(), software=_software(), date=datetime.now(UTC).date().isoformat(),
    )  # fmt: skip
    write_cell(path, cell)
    if shared is None:
        shutil.rmtree(own, ignore_errors=True)
    return cell


def _work(request: Request, key: CellKey) -> Path:
    return request.work / key.dataset_name / key.protocol


def configuration_of(
    method: Method, request: Request, *, n_clusters: int, seed: int
) -> tuple[WindowClusterer, dict[str, Any]]:
    """A new model, and every hyper-parameter of it.

    Raises:
        ConfigError: if the preset or a setting does not suit the method.
    """
    settings = dict(request.settings) if method.takes_settings else {}
    model = method.make(n_clusters, seed, _preset(request, method), settings)
    return model, model.facts()


def _shared(
    key: CellKey, model: WindowClusterer, x: Any, request: Request, callback: Callback
) -> Pretrained | None:
    """The autoencoder that the methods of this family share, trained on these very windows; None without."""
    first = model.first_stage()
    if first is None:
        return None
    family, config = first
    mark = hash_of({"family": family.name, "config": stage_one(config.to_dict())}, sha256(x))[:8]
    folder = _work(request, key) / f"{family.name}-{key.preset}-{mark}-seed{key.seed}"
    file = folder / "autoencoder.safetensors"
    if file.is_file():
        return Pretrained.load(file)
    options = FitOptions("auto", callback, folder / "checkpoint", resume=True)
    pretrained = pretrain(family, x, config, seed=key.seed, options=options)
    pretrained.save(file)
    return pretrained


def _epochs(model: WindowClusterer) -> dict[str, int]:
    history = getattr(model, "history_", [])
    phases = [entry.get("phase", "candidates") for entry in history]
    return {phase: phases.count(phase) for phase in dict.fromkeys(phases)}


def _software() -> dict[str, str]:
    versions = {name: importlib.metadata.version(name) for name in _SOFTWARE}
    return {**versions, "python": platform.python_version()}
