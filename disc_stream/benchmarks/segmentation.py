"""Our labels beside those of published methods, on the same recordings of people never trained on.

Every method labels all windows of every recording held out, transitions and unlabelled motion included;
scored are the windows of scored activities. Ours learn from other people, label as windows come and mean the
same by an id in every recording. Most others look at one recording as a whole. Each row says which it is.
"""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from disc_stream.benchmarks.cells import hardware, hash_of
from disc_stream.benchmarks.segmentation_own import WAYS, Own, timed
from disc_stream.benchmarks.segmentation_scores import Row, delay_s, score_recordings
from disc_stream.benchmarks.segmentation_streams import Streams, scored_only
from disc_stream.benchmarks.segmenters import BASELINES, Baseline, Options, get_baseline
from disc_stream.data.windows import fingerprint
from disc_stream.errors import DataError, DiscStreamError
from disc_stream.training.files import replace_file
from disc_stream.training.session import exportable_recipe
from disc_stream.types import IntArray

Load = Callable[[], Streams]
OnStep = Callable[[str], None]


class SegmentationCell(BaseModel):
    """One method on one dataset, as it lies in a file.

    Args:
        rows: by way: ``causal`` or ``whole``.
        learn_s: processor seconds of learning from other people; 0 for methods that do not.
        label_s: processor seconds of labelling all recordings held out, all ways together.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    method: str
    title: str
    seed: int
    config: dict[str, Any]
    config_hash: str = Field(description="sha256 of config and of the windows of both parts")
    people: list[int] = Field(description="held out")
    recordings: int = Field(description="of them")
    joined: bool = Field(description="whether a person's recordings were laid end to end")
    windows: int
    scored_windows: int
    activities: int
    rows: dict[str, Row]
    learn_s: float
    label_s: float
    hardware: str
    software: dict[str, str]
    date: str


@dataclass(frozen=True, slots=True)
class Failure:
    """A method that could not be measured, and why."""

    dataset: str
    method: str
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured.

    Args:
        own: our methods.
        baselines: names of others.
        options: of the others, and the seed of all.
        out: folder of the cells.
        everything: whether methods learn from all windows of other people; if not, from scored ones.
    """

    own: Sequence[Own]
    baselines: Sequence[str]
    options: Options
    out: Path
    everything: bool = True


def split_methods(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Ours, and those of others.

    Raises:
        ConfigError: naming the methods there are.
    """
    others = [name for name in names if name in BASELINES]
    ours = [name for name in names if name not in BASELINES]
    for name in ours:
        try:
            exportable_recipe(name)
        except DiscStreamError:
            get_baseline(name, ("disc-plus",))
            raise
    return ours, others


def missing(names: Sequence[str]) -> list[str]:
    """Those of the methods whose library is not installed."""
    return [name for name in names if not BASELINES[name].installed]


def measure(streams: Streams, plan: Plan, on_step: OnStep) -> list[SegmentationCell | Failure]:
    """All methods on one dataset; those that lie in files are read.

    A method that cannot be used on these recordings is a ``Failure``, one whose library is not installed and
    that was not measured before is left out, and the others go on.

    Raises:
        DataError: if a file is not a cell of this benchmark.
    """
    marks = fingerprint(streams.train) + fingerprint(streams.windows)
    found: list[SegmentationCell | Failure] = []
    for name, config, compute in _jobs(streams, plan):
        digest = hash_of({**config, "joined": streams.joined, "version": 1}, marks)
        path = plan.out / streams.name / f"{name}-{digest[:8]}-seed{plan.options.seed}.json"
        if path.is_file():
            found.append(read_cell(path))
            continue
        if name in missing(plan.baselines):
            continue
        on_step(f"{streams.name}: {name}")
        try:
            rows, learn_s, label_s = compute()
        except (DiscStreamError, ValueError, RuntimeError, ArithmeticError, IndexError, MemoryError) as error:
            found.append(Failure(streams.name, name, str(error).strip() or type(error).__name__))
            continue
        facts = {"config": config, "config_hash": digest, "seed": plan.options.seed, "rows": rows}
        cell = _cell(streams, name, facts, (learn_s, label_s))
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, cell.model_dump_json(indent=1).encode() + b"\n")
        found.append(cell)
    return found


def measure_scored(streams: Streams, plan: Plan, on_step: OnStep) -> list[SegmentationCell | Failure]:
    """The methods that learn from other people once more, from windows of scored activities only.

    Nothing where all windows are of scored activities; see ``measure``.
    """
    fewer = scored_only(streams)
    if len(fewer.train) == len(streams.train):
        return []
    learning = [name for name in plan.baselines if BASELINES[name].one_set]
    return measure(fewer, replace(plan, baselines=learning, everything=False), on_step)


Computed = tuple[dict[str, Row], float, float]


def _jobs(streams: Streams, plan: Plan) -> list[tuple[str, dict[str, Any], Callable[[], Computed]]]:
    """Name, settings and computation of each method."""
    jobs: list[tuple[str, dict[str, Any], Callable[[], Computed]]] = []
    seed = plan.options.seed
    for own in plan.own:
        config = {**own.config(), "learned_from": "everything" if plan.everything else "scored"}
        jobs.append((own.method, config, lambda own=own: _own_rows(streams, own, seed)))  # type: ignore[misc]
    for name in plan.baselines:
        one = BASELINES[name]
        config = {"hz": plan.options.clap_hz} if name == "clap" else {}
        config |= {"learned_from": "everything" if plan.everything else "scored"} if one.one_set else {}
        jobs.append((name, config, lambda one=one: _others_rows(streams, one, plan.options)))  # type: ignore[misc]
    return jobs


def _own_rows(streams: Streams, own: Own, seed: int) -> Computed:
    labels, learn_s, label_s = timed(streams, own, seed)
    kinds = {way: Kind(causal=way == "causal", one_set=True, told=True) for way in WAYS}
    return {way: _row(streams, labels[way], kinds[way]) for way in WAYS}, learn_s, label_s


def _others_rows(streams: Streams, one: Baseline, options: Options) -> Computed:
    started = time.process_time()
    label = one.learn(streams, options)
    then = time.process_time()
    labels = label()
    ended = time.process_time()
    kind = Kind(causal=one.causal, one_set=one.one_set, told=one.told_clusters)
    way = "causal" if one.causal else "whole"
    return {way: _row(streams, labels, kind)}, then - started if one.one_set else 0.0, ended - then


@dataclass(frozen=True, slots=True)
class Kind:
    """What kind of labels they are; see ``Row``."""

    causal: bool
    one_set: bool
    told: bool


def _row(streams: Streams, labels: Sequence[IntArray], kind: Kind) -> Row:
    rows = streams.rows
    truths = [streams.windows.y[one].astype(np.int64) for one in rows]
    return Row(
        causal=kind.causal,
        one_set=kind.one_set,
        told_clusters=kind.told,
        delay_s=delay_s([len(one) for one in rows], streams.hop_s, causal=kind.causal),
        **score_recordings(truths, labels, streams.scored, one_set=kind.one_set),
    )


def _cell(
    streams: Streams, name: str, facts: Mapping[str, Any], seconds: tuple[float, float]
) -> SegmentationCell:
    baseline = BASELINES.get(name)
    libraries = ("disc-stream", "numpy", "scikit-learn", *([baseline.library] if baseline else []))
    counted = np.isin(streams.windows.y, streams.scored)
    return SegmentationCell(
        dataset=streams.name,
        method=name,
        title=baseline.title if baseline else name,
        people=streams.people,
        recordings=len(streams.held),
        joined=streams.joined,
        windows=len(streams.windows),
        scored_windows=int(counted.sum()),
        activities=len(np.unique(streams.windows.y[counted])),
        learn_s=round(seconds[0], 2),
        label_s=round(seconds[1], 2),
        hardware=hardware(),
        software={one: importlib.metadata.version(one) for one in libraries if one},
        date=datetime.now(UTC).date().isoformat(),
        **facts,
    )


def read_cell(path: Path) -> SegmentationCell:
    """Read a cell.

    Raises:
        DataError: if the file is not one.
    """
    try:
        return SegmentationCell.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise DataError(
            f"{str(path)!r} is not a cell of this benchmark: {str(error).splitlines()[0]}",
            remedy="Remove it, to compute it again",
        ) from error
