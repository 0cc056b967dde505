"""Computes the cells of the table, one after the other, each of them once."""

from __future__ import annotations

import importlib.metadata
import logging
import platform
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
from disc_stream.benchmarks.protocols import evaluate, knows_devices, prepare, protocol_facts
from disc_stream.data.types import Split
from disc_stream.data.windows import fingerprint
from disc_stream.errors import DiscStreamError
from disc_stream.training.estimators import DeepClusterer, DiscPlus, SpaceClusterer
from disc_stream.training.estimators.base import WindowClusterer
from disc_stream.training.events import Callback, ignore
from disc_stream.training.families import get_family
from disc_stream.training.fitting import FitOptions, pretrain
from disc_stream.training.methods import Method, get_method
from disc_stream.training.plus.config import resolve_plus
from disc_stream.training.presets import TrainingConfig, resolve
from disc_stream.training.pretrained import Pretrained, stage_one

log = logging.getLogger(__name__)

Load = Callable[[str], Split]
_SOFTWARE = ("disc-stream", "torch", "numpy", "scikit-learn")


@dataclass(frozen=True, slots=True)
class Request:
    """Which cells are wanted, and where they go.

    Args:
        datasets: names.
        protocols: ``paper``, ``stream``.
        methods: names.
        seeds: of the methods.
        preset: of the methods that have presets.
        settings: values that replace the preset's, by name.
        out: folder of the cells.
        work: folder of what can be thrown away: autoencoders, checkpoints.
        force: compute cells that are there already.
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
    """Compute what is missing, in order; what is there is read.

    Args:
        request: what is wanted.
        load: dataset name -> its scored windows.
        callback: told of the training under way.
        on_cell: told of each cell before it is computed or read.
    """
    splits: dict[str, Split] = {}
    for key in keys(request):
        on_cell(key)
        if key.dataset not in splits:
            splits = {key.dataset: load(key.dataset)}  # one at a time: they are large
        try:
            yield _cell(key, splits[key.dataset], request, callback)
        except (DiscStreamError, ValueError, MemoryError) as error:
            log.warning("%s on %s failed: %s", key.method, key.dataset, error)
            yield Failure(key, str(error) or type(error).__name__)


def _preset(request: Request, method: Method) -> str:
    return request.preset if method.presets else NO_PRESET


def _cell(key: CellKey, split: Split, request: Request, callback: Callback) -> Cell:
    method = get_method(key.method)
    model, facts = configuration_of(method, request, n_clusters=split.n_clusters, seed=key.seed)
    config = {**protocol_facts(key.protocol, method), **facts}
    marks = fingerprint(split.train)
    digest = hash_of(config, marks)
    path = key.path(request.out, digest)
    if path.is_file() and not request.force:
        return read_cell(path)

    data = prepare(split, key.protocol, method)
    started = time.perf_counter()
    how: dict[str, Any] = {"callback": callback} if method.family or method.group == "ours" else {}
    if knows_devices(method):
        how["devices"] = data.train.devices
    shared = None
    if isinstance(model, (DeepClusterer, SpaceClusterer)):
        shared, spent = _shared(key, method, model, data.train.x, request, callback)
        how["pretrained"] = shared
        started += spent  # only this cell's own time; the autoencoder's is added for all alike
    model.fit(data.train.x, **how)
    scores = evaluate(model, method, data)
    seconds = time.perf_counter() - started + (shared.seconds if shared else 0.0)
    cell = Cell(
        dataset=key.dataset, protocol=key.protocol, method=key.method, preset=key.preset, seed=key.seed,
        config=config, config_hash=digest, fingerprint=marks, split=split.protocol,
        n_clusters=split.n_clusters, scores=scores, epochs=_epochs(model), seconds=round(seconds, 2),
        hardware=hardware(), software=_software(), date=datetime.now(UTC).date().isoformat(),
    )  # fmt: skip
    write_cell(path, cell)
    return cell


def configuration_of(
    method: Method, request: Request, *, n_clusters: int, seed: int
) -> tuple[WindowClusterer, dict[str, Any]]:
    """A new model, and every hyper-parameter of it.

    Raises:
        ConfigError: if the preset or a setting does not suit the method.
    """
    settings = dict(request.settings) if method.family or method.group == "ours" else {}
    model = method.make(n_clusters, seed, _preset(request, method), settings)
    return model, _configuration(model)


def _configuration(model: WindowClusterer) -> dict[str, Any]:
    facts: dict[str, Any] = {"estimator": type(model).__name__}
    if isinstance(model, DeepClusterer):
        return {**facts, **model.configuration().to_dict()}
    if isinstance(model, SpaceClusterer):
        config = resolve(model.preset, model.settings, get_family(model.family).presets)
        return {**facts, "family": model.family, "algorithm": model.algorithm, **stage_one(config.to_dict())}
    if isinstance(model, DiscPlus):
        return {**facts, **resolve_plus(model.settings).to_dict()}
    return {**facts, **{k: v for k, v in model.get_params().items() if k == "linkage"}}


def _shared(
    key: CellKey,
    method: Method,
    model: DeepClusterer | SpaceClusterer,
    x: Any,
    request: Request,
    callback: Callback,
) -> tuple[Pretrained, float]:
    """The autoencoder that the methods of this family share, and the seconds it took just now."""
    family = get_family(method.family)
    config: TrainingConfig = (
        model.configuration()
        if isinstance(model, DeepClusterer)
        else resolve(model.preset, model.settings, family.presets)
    )
    mark = hash_of({"family": family.name, "config": stage_one(config.to_dict())}, "")[:8]
    folder = request.work / key.dataset / key.protocol / f"{family.name}-{key.preset}-{mark}-seed{key.seed}"
    file = folder / "autoencoder.safetensors"
    if file.is_file():
        return Pretrained.load(file), 0.0
    started = time.perf_counter()
    options = FitOptions("auto", callback, folder / "checkpoint", resume=True)
    pretrained = pretrain(family, x, config, seed=key.seed, options=options)
    pretrained.save(file)
    return pretrained, time.perf_counter() - started


def _epochs(model: WindowClusterer) -> dict[str, int]:
    history = getattr(model, "history_", [])
    phases = [entry.get("phase", "candidates") for entry in history]
    return {phase: phases.count(phase) for phase in dict.fromkeys(phases)}


def _software() -> dict[str, str]:
    versions = {name: importlib.metadata.version(name) for name in _SOFTWARE}
    return {**versions, "python": platform.python_version()}
