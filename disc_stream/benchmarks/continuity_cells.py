"""The finished cells of the benchmark, one file each, and the run of those that are missing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from disc_stream.benchmarks.cells import hardware, hash_of
from disc_stream.benchmarks.continuity import SMALL, Plan, Schedule, Start, run
from disc_stream.benchmarks.continuity_measures import Step
from disc_stream.benchmarks.continuity_stream import HeldBack, activity_of, in_order
from disc_stream.clustering.anchors import Bounds
from disc_stream.data.types import Split
from disc_stream.data.windows import fingerprint
from disc_stream.errors import DataError, DiscStreamError, UsageError
from disc_stream.training.events import Callback, ignore
from disc_stream.training.files import replace_file
from disc_stream.training.recipes import get_recipe

Load = Callable[[str], Split]


class ContinuityCell(BaseModel):
    """One dataset, method, start and seed; shares are between 0 and 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    method: str
    start: Start
    seed: int
    held_back: str = Field(description="activity that was not there at first; empty for none")
    config: dict[str, Any] = Field(description="everything that the figures depend on but the windows")
    config_hash: str = Field(description="sha256 of config and windows")
    fingerprint: str = Field(description="of the windows, in the order of the stream")
    named: list[str] = Field(description="what the clusters of the first training were named")
    steps: list[Step]
    seconds: float
    hardware: str
    date: str


@dataclass(frozen=True, slots=True)
class Request:
    """Which cells are wanted, and where they go.

    Args:
        datasets: names, or files of windows.
        methods: names of recipes.
        starts: ``scratch``, ``warm``.
        seeds: of the cells.
        held_back: activities, each in cells of its own; empty for all activities from the beginning.
        retrainings: of each cell.
        preset: of the methods that have presets.
        settings: values that replace the preset's, by name.
        schedule: lengths of the trainings.
        bounds: of the anchors.
        out: folder of the cells.
        grow: retrainings find K themselves; see ``Plan``.
        force: compute cells that are there already.
    """

    datasets: Sequence[str]
    methods: Sequence[str]
    starts: Sequence[Start]
    seeds: Sequence[int]
    held_back: Sequence[str]
    retrainings: int
    preset: str
    out: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    schedule: Schedule = field(default_factory=Schedule)
    bounds: Bounds = field(default_factory=Bounds)
    grow: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True)
class Key:
    """What makes a cell; ``held_back`` is empty for none."""

    dataset: str
    method: str
    start: Start
    seed: int
    held_back: str

    def __str__(self) -> str:
        name = f"{Path(self.dataset).name} {self.method} {self.start} seed {self.seed}"
        return f"{name}, without {self.held_back} at first" if self.held_back else name


@dataclass(frozen=True, slots=True)
class Failure:
    """A cell that could not be computed, and why."""

    key: Key
    reason: str


def keys(request: Request) -> list[Key]:
    """All cells of a request, those of one dataset together."""
    found = [
        Key(dataset, method, start, seed, activity)
        for dataset in request.datasets
        for activity in request.held_back or [""]
        for method in request.methods
        for start in request.starts
        for seed in request.seeds
    ]
    return list(dict.fromkeys(found))


def run_all(
    request: Request,
    load: Load,
    *,
    callback: Callback = ignore,
    on_stage: Callable[[Key, int], None] = lambda _key, _stage: None,
) -> Iterator[ContinuityCell | Failure]:
    """Compute what is missing; what is there is read. What fails is told, and the rest goes on.

    Args:
        request: what is wanted.
        load: dataset name -> its scored windows.
        callback: told of the training under way.
        on_stage: told of each training before it begins.

    Raises:
        UsageError: if a dataset or an activity of the request is not there.
    """
    splits: dict[str, Split] = {}
    for key in keys(request):
        if key.dataset not in splits:
            splits = {key.dataset: load(key.dataset)}  # one at a time: they are large
        try:
            yield _cell(key, splits[key.dataset], request, callback, on_stage)
        except UsageError:
            raise
        except (DiscStreamError, ValueError, MemoryError, RuntimeError) as error:  # torch's are RuntimeErrors
            yield Failure(key, str(error) or type(error).__name__)


def _cell(
    key: Key, split: Split, request: Request, callback: Callback, on_stage: Callable[[Key, int], None]
) -> ContinuityCell:
    held_back = HeldBack(activity_of(split, key.held_back)) if key.held_back else None
    stream = in_order(split, request.retrainings, held_back)
    plan = Plan(
        method=key.method, start=key.start, seed=key.seed, retrainings=request.retrainings,
        n_clusters=split.n_clusters, preset=request.preset,
        settings=settings_of(key.method, request.settings),
        schedule=request.schedule, bounds=request.bounds, held_back=held_back, grow=request.grow,
    )  # fmt: skip
    marks = fingerprint(stream.windows)
    config = _config(plan)
    digest = hash_of(config, marks)
    suffix = ("-grow" if plan.grow else "") + (f"-without-{key.held_back}" if key.held_back else "")
    name = f"{key.method}-{key.start}{suffix}-{digest[:8]}-seed{key.seed}.json"
    path = request.out / Path(key.dataset).name / name
    if path.is_file() and not request.force:
        return read_cell(path)
    started = time.perf_counter()
    names, steps = run(stream, plan, callback, lambda stage: on_stage(key, stage))
    cell = ContinuityCell(
        dataset=Path(key.dataset).name, method=key.method, start=key.start, seed=key.seed,
        held_back=key.held_back, config=config, config_hash=digest, fingerprint=marks, named=names,
        steps=steps, seconds=round(time.perf_counter() - started, 1), hardware=hardware(),
        date=datetime.now(UTC).date().isoformat(),
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, (cell.model_dump_json(indent=1) + "\n").encode())
    return cell


def _config(plan: Plan) -> dict[str, Any]:
    config = asdict(plan)
    if plan.start == "scratch":
        config["schedule"] = {"updates": plan.schedule.updates}
    return config


def settings_of(method: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """What a cell trains with: the small network where the method has presets, and what was given."""
    return {**(SMALL if get_recipe(method).presets else {}), **given}


def read_cell(path: Path) -> ContinuityCell:
    """Read a cell.

    Raises:
        DataError: if the file is not one.
    """
    try:
        return ContinuityCell.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise DataError(
            f"{str(path)!r} is not a cell of this benchmark: {str(error).splitlines()[0]}",
            remedy="Remove it, to compute it again",
        ) from error


def read_cells(root: Path) -> list[ContinuityCell]:
    """All cells under a folder, in the order of their paths."""
    return [read_cell(path) for path in sorted(root.rglob("*-seed*.json"))]
