"""The second stage: a small model from what was received, kept for the next start."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from disc_stream import __version__
from disc_stream.artifacts.bundle import Bundle
from disc_stream.demo.collect import Collected, collect
from disc_stream.demo.fleet import Fleet
from disc_stream.demo.progress import Reporter, Step
from disc_stream.errors import ConfigError, DiscStreamError
from disc_stream.types import WindowSpec
from disc_stream.wire.broker import Broker

FACTS_FILE = "facts.json"
WINDOW_S = 2.56
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
_UPDATES = 600
_MOST_EPOCHS = 200
_KEY = 16  # hex digits


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be learned; equal plans give equal models.

    Args:
        seconds: of motion per device.
        epochs: of autoencoder training; None for as many as make about six hundred updates.
        clusters: K; None for the fleet's usual number of activities.
        seed: of the training.
    """

    seconds: float
    epochs: int | None
    clusters: int | None
    seed: int


@dataclass(frozen=True, slots=True)
class Facts:
    """How a kept model came about.

    Args:
        windows: it learned from.
        motion_s: seconds of motion in them, all devices together.
        devices: how many they were.
        messages: they came in.
        collect_s: seconds that collecting took.
        training_s: seconds that training and export took.
    """

    windows: int
    motion_s: float
    devices: int
    messages: int
    collect_s: float
    training_s: float


@dataclass(frozen=True, slots=True)
class Model:
    """A model to serve.

    Args:
        bundle: where it is.
        facts: how it came about.
        reused: whether an earlier demo has learned it.
    """

    bundle: Path
    facts: Facts
    reused: bool


@dataclass(frozen=True, slots=True)
class KeptModels:
    """Where models of earlier demos are, and whether they may be used.

    Args:
        folder: of them all.
        retrain: learn anew in any case.
    """

    folder: Path
    retrain: bool


def default_cache() -> Path:
    """The user's cache folder for models of the demo (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CACHE_HOME")
    root = Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache"
    return root / "disc-stream" / "demo"


def window_spec(fs: float) -> WindowSpec:
    """Windows of 2.56 s that overlap by half; the first half is encoded."""
    half = max(2, round(WINDOW_S * fs / 2))
    return WindowSpec(2 * half, half, half)


def prepare_model(
    broker: Broker,
    fleet: Fleet,
    plan: Plan,
    *,
    kept: KeptModels,
    reporter: Reporter,
    stop: threading.Event,
) -> Model:
    """The model that an earlier demo has kept, or one learned now.

    Raises:
        DiscStreamError: if collecting, training or export fails, or the folder cannot be written.
        KeyboardInterrupt: if it was stopped.
    """
    folder = kept.folder / cache_key(fleet, plan)
    found = None if kept.retrain else _find(folder, reporter)
    if found is not None:
        facts = found.facts
        reporter.say(
            f"Using the model kept in {folder}: learned from {minutes(facts.motion_s)} of unlabelled motion "
            f"of {facts.devices} devices (--retrain learns anew)"
        )
        fleet.skip(plan.seconds)
        return found
    with reporter.stage(
        f"Collecting: {fleet.what} stream through the broker, unlabelled", "messages"
    ) as step:
        collected = collect(
            broker, fleet, window_spec(fleet.fs), seconds=plan.seconds, progress=step, stop=stop
        )
    return _learn(collected, fleet, plan, folder, reporter, stop)


def cache_key(fleet: Fleet, plan: Plan) -> str:
    """Changes with everything that changes the model."""
    facts = {
        "version": __version__,
        "fleet": fleet.identity,
        "channels": [[c.name, c.unit] for c in fleet.channels],
        "plan": {**asdict(plan), "clusters": plan.clusters or fleet.n_clusters},
        "settings": SETTINGS,
        "window_s": WINDOW_S,
    }
    text = json.dumps(facts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_KEY]


def minutes(seconds: float) -> str:
    """A duration in words."""
    whole = round(seconds / 60)
    return f"{seconds:.0f} seconds" if whole < 2 else f"{whole} minutes"


def _find(folder: Path, reporter: Reporter) -> Model | None:
    if not (folder / FACTS_FILE).is_file():
        return None
    try:
        facts = Facts(**json.loads((folder / FACTS_FILE).read_text(encoding="utf-8")))
        Bundle.open(folder / "bundle")
    except (DiscStreamError, OSError, ValueError, TypeError) as error:
        reporter.say(f"The model kept in {folder} cannot be used ({error}); learning anew")
        return None
    return Model(folder / "bundle", facts, reused=True)


def _learn(
    collected: Collected, fleet: Fleet, plan: Plan, folder: Path, reporter: Reporter, stop: threading.Event
) -> Model:
    """Train and export beside ``folder``, then put it there in one step."""
    motion_s = len(collected.windows) * window_spec(fleet.fs).hop / fleet.fs
    started = time.monotonic()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".learning-") as scratch:
            new = Path(scratch) / "new"
            what = f"{minutes(motion_s)} of unlabelled motion of {len(fleet.devices)} devices"
            with reporter.stage(f"Learning from {what}", "epochs") as step:
                _train(collected, fleet, plan, new / "run", step, stop)
            with reporter.stage("Exporting, and comparing the graph with what was trained") as step:
                _export(new, step)
            facts = Facts(
                windows=len(collected.windows),
                motion_s=round(motion_s, 1),
                devices=len(fleet.devices),
                messages=collected.messages,
                collect_s=round(collected.seconds, 2),
                training_s=round(time.monotonic() - started, 2),
            )
            (new / FACTS_FILE).write_text(json.dumps(asdict(facts), indent=2) + "\n", encoding="utf-8")
            shutil.rmtree(folder, ignore_errors=True)
            new.replace(folder)
    except OSError as error:
        raise ConfigError(
            f"the model cannot be kept in {str(folder.parent)!r}: {error.strerror or error}",
            remedy="Name another folder with --cache",
        ) from error
    return Model(folder / "bundle", facts, reused=False)


def _train(
    collected: Collected, fleet: Fleet, plan: Plan, out: Path, step: Step, stop: threading.Event
) -> None:
    from disc_stream.data.types import Split
    from disc_stream.training.session import TrainingRequest, train_run

    windows = collected.windows
    epochs = plan.epochs or min(_MOST_EPOCHS, -(-_UPDATES * SETTINGS["batch_size"] // len(windows)))
    nothing = windows.select(windows.group < 0)
    split = Split(windows, nothing, "all that was received; no labels exist", n_clusters=fleet.n_clusters)
    request = TrainingRequest(
        dataset="demo",
        out=out,
        preset="small",
        settings={**SETTINGS, "epochs": epochs},
        n_clusters=plan.clusters,
        seed=plan.seed,
        device="cpu",
    )
    train_run(split, request, _callback(epochs, step, stop))


def _callback(epochs: int, step: Step, stop: threading.Event) -> Callable[[Any], None]:
    from disc_stream.training.events import EpochEvent, TrainingEvent

    total = epochs + SETTINGS["refine_epochs"]

    def on_event(event: TrainingEvent) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        if isinstance(event, EpochEvent):
            before = 0 if event.phase == "pretrain" else epochs
            words = "autoencoder" if event.phase == "pretrain" else "refining the clusters"
            step(before + event.epoch, total, f"{words}, loss {event.losses['total']:.3f}")

    return on_event


def _export(folder: Path, step: Step) -> None:
    from disc_stream_export import Naming, export_run

    def tell(text: str) -> None:
        step(0, None, text.lower())

    export_run(folder / "run", folder / "bundle", naming=Naming("demo"), progress=tell)
