"""The second stage: a first version for the registry, by a retraining or from an earlier demo."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from disc_stream import __version__
from disc_stream.demo.collect import WINDOW_S, Collected, collect
from disc_stream.demo.fleet import Fleet
from disc_stream.demo.kept import Facts, KeptModel, KeptModels
from disc_stream.demo.progress import Reporter, Step
from disc_stream.demo.service import DemoService
from disc_stream.errors import ConfigError, TrainingError
from disc_stream.registry import Registry, VersionInfo
from disc_stream.retraining.pipeline import retrain
from disc_stream.retraining.request import Progress, RetrainRequest
from disc_stream.retraining.work import Work

WHO = "disc-stream demo"
# The preset "small", smaller still: two minutes on two cores must do for everything. Steps of eight samples
# and small batches give as many updates as possible in the time; Ward's start needs no refinement to be good.
SETTINGS: dict[str, Any] = {
    "frame": 8,
    "hidden": 48,
    "decoder_hidden": 48,
    "batch_size": 64,
    "init": "ward",
    "refine_epochs": 3,
}
# Simulated activities last and differ little in one window: labels are found among what changes slowly
# (docs/adr/0024).
PLUS_SETTINGS: dict[str, Any] = {"slow_spans": [1, 4], "settling": 15, "recuts": 10}
MAX_WINDOWS = 20_000  # learned from; what is more, the replay set chooses from
_UPDATES = 600
_MOST_EPOCHS = 200
_KEY = 16  # hex digits
_LAYOUT = 3  # of what is kept


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be learned; equal plans give equal models.

    Args:
        seconds: of motion per device.
        epochs: of autoencoder training; None for as many as make about six hundred updates.
        clusters: K; None for the fleet's usual number of activities.
        seed: of the training.
        method: recipe: ``disc-plus``, which is better and whose embedding shows what is new (see
            ``newcomer.py``), or ``disc``.
        lasting: whether disc-plus looks for labels that last.
    """

    seconds: float
    epochs: int | None
    clusters: int | None
    seed: int
    method: str = "disc-plus"
    lasting: bool = True


@dataclass(frozen=True, slots=True)
class Model:
    """The first version in production.

    Args:
        version: content hash.
        bundle: where it is kept beyond this demo.
        facts: how it came about.
        reused: whether an earlier demo has learned it.
        labelled: windows of the collected motion that it has labelled.
    """

    version: str
    bundle: Path
    facts: Facts
    reused: bool
    labelled: int


@dataclass(frozen=True, slots=True)
class Bench:
    """What a model is made with.

    Args:
        service: receives the motion and serves the model; started.
        fleet: who streams.
        reporter: says what happens.
        stop: ends it.
    """

    service: DemoService
    fleet: Fleet
    reporter: Reporter
    stop: threading.Event


def prepare_model(bench: Bench, plan: Plan, kept: KeptModels) -> Model:
    """Collect, put a first version into production, and wait until all that was collected is labelled.

    Raises:
        DiscStreamError: if collecting, training or export fails, the gate rejects the model, or the folder
            of kept models cannot be written.
        KeyboardInterrupt: if it was stopped.
    """
    service, fleet, reporter, stop = bench.service, bench.fleet, bench.reporter, bench.stop
    key = cache_key(fleet, plan)
    found = _find(kept, key, reporter)
    with reporter.stage(
        f"Collecting: {fleet.what} stream through the broker into the server's spool, unlabelled", "messages"
    ) as step:
        collected = collect(service, fleet, seconds=plan.seconds, step=step, stop=stop)
    if found is None:
        model, version = _learn(bench, plan, collected, kept, key)
    else:
        model, version = found, _put_in(service, found)
    with reporter.stage("Labelling what was collected", "windows") as step:
        counters = service.await_labelled(version, lambda n: step(n, collected.windows), stop)
    if stop.is_set():
        raise KeyboardInterrupt
    return Model(version, model.bundle, model.facts, found is not None, counters["labels"])


def cache_key(fleet: Fleet, plan: Plan) -> str:
    """Changes with everything that changes the model."""
    facts = {
        "version": __version__,
        "layout": _LAYOUT,
        "fleet": fleet.identity,
        "channels": [[c.name, c.unit] for c in fleet.channels],
        "plan": {**asdict(plan), "clusters": plan.clusters or fleet.n_clusters},
        "settings": {"disc": SETTINGS, "disc-plus": PLUS_SETTINGS}[plan.method],
        "window_s": WINDOW_S,
    }
    text = json.dumps(facts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_KEY]


def settings_of(plan: Plan, windows: int) -> dict[str, Any]:
    """Settings of the recipe, given how many windows there are to learn from."""
    if plan.method != "disc":
        return dict(PLUS_SETTINGS) if plan.lasting else {}
    epochs = plan.epochs or min(_MOST_EPOCHS, -(-_UPDATES * SETTINGS["batch_size"] // windows))
    return {**SETTINGS, "epochs": epochs}


def next_settings(plan: Plan) -> dict[str, Any]:
    """Settings of a retraining that goes on from the first version, as ``RetrainConfig`` names them.

    It has as many clusters as that, and one more for each group of new motion.
    """
    return {
        "method": plan.method,
        "preset": "small" if plan.method == "disc" else "default",
        "settings": settings_of(plan, MAX_WINDOWS),
        "seed": plan.seed,
        "learn_windows": MAX_WINDOWS,
        "window_s": WINDOW_S,
    }


def minutes(seconds: float) -> str:
    """A duration in words."""
    whole = round(seconds / 60)
    return f"{seconds:.0f} seconds" if whole < 2 else f"{whole} minutes"


def _find(kept: KeptModels, key: str, reporter: Reporter) -> KeptModel | None:
    try:
        found = kept.find(key)
    except ConfigError as error:
        reporter.say(f"{error.message}; learning anew")
        return None
    if found is not None:
        facts = found.facts
        reporter.say(
            f"Using the model kept in {found.bundle.parent}: learned from {minutes(facts.motion_s)} of "
            f"unlabelled motion of {facts.devices} devices (--retrain learns anew)"
        )
    return found


def _put_in(service: DemoService, found: KeptModel) -> str:
    """The kept model becomes the first version in production, and the next retraining can go on from it."""
    with Registry.open(service.models) as registry:
        info = registry.add(found.bundle, found.origin.lineage, found.origin.proposal)
        work = Work(service.state)
        try:
            if found.run.is_dir():
                work.begin({"kept": info.version})
                shutil.copytree(found.run, work.run)
                work.finish(info.version, ())
        finally:
            work.close()
        return registry.promote(info.number, WHO, "kept by an earlier demo").version


def _learn(
    bench: Bench, plan: Plan, collected: Collected, kept: KeptModels, key: str
) -> tuple[KeptModel, str]:
    """Retrain on what the spool has, and keep the result for the next demo."""
    began = time.monotonic()
    service = bench.service
    windows = min(collected.windows, MAX_WINDOWS)
    request = RetrainRequest(
        models=service.models,
        state=service.state,
        method=plan.method,
        preset="small" if plan.method == "disc" else "default",
        settings=settings_of(plan, windows),
        clusters=plan.clusters or bench.fleet.n_clusters,
        seed=plan.seed,
        windows=MAX_WINDOWS,
        window_s=WINDOW_S,
        device="cpu",
        who=WHO,
        why="the first version",
    )
    what = f"{minutes(collected.motion_s)} of unlabelled motion of {len(bench.fleet.devices)} devices"
    with PhaseStages(bench.reporter, bench.stop, what) as tell:
        outcome = retrain(request, tell)
    if outcome.rejected:
        raise TrainingError(
            f"the acceptance gate has rejected the first model: {outcome.rejected}",
            remedy="Let it learn from more with --minutes, or longer with --train-epochs",
        )
    facts = Facts(
        windows=outcome.windows,
        motion_s=round(collected.motion_s, 1),
        devices=len(bench.fleet.devices),
        messages=collected.messages,
        collect_s=round(collected.seconds, 2),
        training_s=round(time.monotonic() - began, 2),
    )
    info = outcome.version
    return kept.keep(key, info, _run_of(service, info), facts), info.version


def _run_of(service: DemoService, info: VersionInfo) -> Path:
    work = Work(service.state)
    try:
        run = work.kept_run(info.version)
    finally:
        work.close()
    if run is None:  # a retraining that has promoted a version has kept it
        raise AssertionError
    return run


class PhaseStages:
    """Shows the phases of a retraining as stages of the demo; use it in a ``with`` statement.

    Args:
        reporter: says what happens.
        stop: makes the next call raise ``KeyboardInterrupt``.
        what: is learned from, in words.
    """

    def __init__(self, reporter: Reporter, stop: threading.Event, what: str) -> None:
        self._reporter, self._stop = reporter, stop
        self._texts = {
            "replay": ("Choosing windows from the spool", "messages"),
            "train": (f"Learning from {what}", "epochs"),
            "export": ("Exporting, and comparing the graph with what was trained", ""),
            "gate": ("Asking the acceptance gate whether it may serve", ""),
        }
        self._phase = ""
        self._stack = ExitStack()
        self._step: Step | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def __call__(self, progress: Progress) -> None:
        """How far the retraining is."""
        if self._stop.is_set():
            raise KeyboardInterrupt
        if progress.phase not in self._texts:
            return
        if progress.phase != self._phase:
            self._phase = progress.phase
            self._stack.close()
            self._step = self._stack.enter_context(self._reporter.stage(*self._texts[progress.phase]))
        if self._step is not None:
            self._step(progress.done, progress.total, progress.words)
