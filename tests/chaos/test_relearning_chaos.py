"""A server that retrains by itself is killed at any moment of it: one label for each window, all names stay.

Server, both of its processes, or the trainer below it get SIGKILL while it reads the spool, trains, exports,
asks the gate, promotes, or exchanges the model. The short form runs with all tests; ``make chaos`` runs the
long one.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import pytest

from disc_stream.artifacts.bundle import Bundle
from disc_stream.registry import Author, Registry
from disc_stream.stream.pipeline import Pipeline, stream_spec
from disc_stream.stream.rules import Rules
from disc_stream.stream.sessions import Sessions
from disc_stream.types import Label
from disc_stream_server.labeller.swap import serving_version
from disc_stream_server.storage.queries import StateReader
from disc_stream_server.storage.records import StoredLabel
from tests.support.broker import Mosquitto
from tests.support.chaosfleet import QUIET, SAMPLES, Fleet
from tests.support.labeller import model_of
from tests.support.listener import Listener
from tests.support.spools import POSES, WINDOW_S, motion

pytestmark = [pytest.mark.broker, pytest.mark.timeout(3600)]

DEVICES = 12
BOUT = 8  # batches that a pose lasts
RULES = Rules(reorder=8, reorder_s=3600.0)  # as in test_chaos.py
NAMES = ("lies", "stands", "shakes")
MOMENTS = ("start", "replay", "train", "export", "gate", "promotion", "swap", "any")
WHOM = ("server", "server", "both", "trainer")
PATIENCE_S = 180.0
# A training that the gate lets in nearly always, on any machine: else nothing is exchanged.
SETTINGS = {
    "hidden": 12, "embedding": 4, "decoder_hidden": 12, "batch_size": 64, "epochs": 25, "refine_epochs": 3,
}  # fmt: skip
RETRAIN = {
    "every_h": 1 / 3600, "cooldown_h": 0, "min_windows": 200, "learn_windows": 400, "window_s": WINDOW_S,
    "clusters": len(NAMES), "gpu": "none", "nice": 0, "keep_versions": 2, "half_life_days": 0.001,
    "preset": "small", "settings": SETTINGS,
}  # fmt: skip

Key = tuple[str, int, int]


def poses(seed: int) -> npt.NDArray[np.float32]:
    """Batches of the poses by turns, each of which is easily told from the others."""
    random = np.random.default_rng(seed)
    rounds = [motion(pose, SAMPLES, random, n * SAMPLES) for pose in POSES for n in range(BOUT)]
    return np.stack(rounds).astype(np.float32)


class SelfTaught:
    """``disc-stream serve`` that retrains all the time, and is killed and started again."""

    def __init__(self, folder: Path, url: str) -> None:
        self.state, self.models = folder / "state", folder / "models"
        self._config = folder / "serve.yaml"
        # A device's own centroids depend on when a model took over, unlike what is compared here.
        settings = {
            "models": str(self.models), "broker": url, "http": None, "state": str(self.state),
            "follow_s": 0.05, "status_interval_s": 0.1, "checkpoint_s": 0.5, "spool_file_bytes": 2**20,
            "stale_s": 3600, "reorder": RULES.reorder, "reorder_s": RULES.reorder_s, "retrain": RETRAIN,
            "adapt": False,
        }  # fmt: skip
        self._config.write_text(json.dumps(settings))
        self._path = folder / "serve.log"
        self._log = self._path.open("ab")
        self._heard: deque[str] = deque(maxlen=5)
        self.process: subprocess.Popen[str] | None = None
        self.starts = 0
        self._ready, self._changed = threading.Event(), threading.Condition()
        self._phase = self._model = ""

    def start(self) -> None:
        """Start it, and wait until it says that it is ready."""
        self._ready.clear()
        self._phase = self._model = ""
        command = [sys.executable, "-m", "disc_stream", "serve", "--config", str(self._config), "--json"]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self._log, text=True,
            env={**os.environ, "PYTHONFAULTHANDLER": "1"},
        )  # fmt: skip
        threading.Thread(target=self._listen, args=(self.process,), daemon=True).start()
        self.starts += 1
        if not self._ready.wait(PATIENCE_S):
            self.process.send_signal(signal.SIGABRT)  # it writes down where its threads are
            self.process.wait(10)
            pytest.fail(f"the server does not start again: {self._heard}\n{self._path.read_text()[-20_000:]}")

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for text in process.stdout:
                self._heard.append(text[:100])
                line = json.loads(text)
                if line["event"] == "ready":
                    self._ready.set()
                elif line["event"] == "status":
                    with self._changed:
                        self._model = line["model"]
                        self._phase = line.get("retraining", {}).get("phase", "")
                        self._changed.notify_all()

    def wait_for_phase(self, phase: str) -> None:
        """Wait until a retraining is there."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._phase == phase, PATIENCE_S), f"no {phase}"

    def wait_for_model(self, version: str) -> None:
        """Wait until it labels with this version."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._model == version, PATIENCE_S)

    def kill(self, whom: str) -> bool:
        """SIGKILL; whether there was anybody to kill. What the server leaves ends by itself."""
        assert self.process is not None
        children = {"receiver": [], "trainer": []}  # type: dict[str, list[psutil.Process]]
        for child in psutil.Process(self.process.pid).children():
            children["trainer" if "retrain" in child.cmdline() else "receiver"].append(child)
        if whom == "trainer":
            for child in children["trainer"]:
                child.kill()
            return bool(children["trainer"])
        if whom == "both":
            for child in children["receiver"]:
                child.kill()
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)
        _gone, left = psutil.wait_procs([*children["receiver"], *children["trainer"]], PATIENCE_S)
        assert not left, "a process of the server outlives it"
        return True

    def decisions(self) -> list[dict[str, Any]]:
        """Retrainings that were begun, and how they ended."""
        text = (self.state / "retraining" / "decisions.jsonl").read_text()
        lines = [json.loads(line) for line in text.splitlines()]
        return [one for one in lines if one["event"] == "ended" or one["retrain"]]

    def stop(self) -> int:
        """End it gracefully."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(PATIENCE_S)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        self._log.close()


class World:
    """Broker, server, fleet and registry; the first model is there and its clusters have names."""

    def __init__(self, folder: Path, seed: int) -> None:
        (folder / "broker").mkdir()
        self.broker = Mosquitto(folder / "broker")
        self.broker.start()
        self.random = random.Random(seed)
        self.registry = Registry.create(folder / "models")
        self.server = SelfTaught(folder, self.broker.url)
        self.listener = Listener(self.broker.url)
        self.listener.link.connect()
        self.fleet = Fleet(self.broker.url, seed, DEVICES, poses(seed))
        self.killed: Counter[str] = Counter()
        self.names: dict[int, str] = {}

    def begin(self) -> None:
        """Let it collect and learn the first model; name what that has found."""
        self.server.start()
        self.fleet.start()
        self.wait(lambda: self.registry.current() is not None)
        for own, name in enumerate(NAMES):
            self.registry.clusters.name(own, name, Author("ann"))
            self.names[own] = name

    def wait(self, what: Callable[[], bool]) -> None:
        """Wait for what another process does, and tells nobody of."""
        deadline, again = time.monotonic() + PATIENCE_S, threading.Event()
        while not what():
            assert time.monotonic() < deadline, "it does not come"
            again.wait(0.005)

    def disturb(self, moment: str, whom: str) -> None:
        """Wait for a moment, and kill somebody shortly after it."""
        deployments = len(self.registry.deployments())
        if moment in {"promotion", "swap"}:
            self.wait(lambda: len(self.registry.deployments()) > deployments)
            longest_s = 0.02 if moment == "promotion" else 0.5
        elif moment == "any":
            longest_s = 6.0
        else:
            self.server.wait_for_phase(moment)
            longest_s = 0.5
        time.sleep(longest_s * self.random.random())  # the moment itself is what is random
        if self.server.kill(whom):
            self.killed[f"{moment}, {whom}"] += 1
        self.check_whole()
        if whom != "trainer":
            self.server.start()

    def check_whole(self) -> None:
        """What others see of the registry while the server is away."""
        path = self.server.models
        said = json.loads((path / "CURRENT").read_text())  # maybe of the deployment before, but whole
        assert Bundle.open(path / said["folder"]).version == said["version"]
        with Registry.open(path) as registry:
            current = registry.current()
            assert current is not None
            said = json.loads((path / "CURRENT").read_text())
            assert (said["version"], said["deployment"]) == (current.version, current.number)
            assert registry.version("current").ids is not None
            for info in registry.versions():
                if info.pruned_us is None:
                    assert Bundle.open(info.path).version == info.version
            there = {one.id: one.name for one in registry.clusters.list(retired=True) if one.name}
            assert there == self.names

    def settle(self, expected: int) -> None:
        """Wait until the table has the label of every window."""

        def count() -> int:
            with closing(StateReader(self.server.state)) as store:
                return store.label_count()

        self.wait(lambda: count() >= expected)

    def close(self) -> None:
        self.fleet.close()
        self.server.close()
        self.registry.close()
        self.listener.link.close()
        self.broker.discard()


@pytest.fixture
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    world = World(tmp_path, seed=getattr(request, "param", 0))
    yield world
    world.close()


def undisturbed(world: World, versions: set[str]) -> dict[str, dict[Key, Label]]:
    """The labels that each version gives to the same messages when nothing is killed."""
    found = {}
    for version in versions:
        model = model_of(world.registry.bundle(version).path)
        model = model.with_catalogue(world.registry.catalogue_of(version))
        pipeline = Pipeline(model, sessions=Sessions(stream_spec(model), rules=RULES))
        ways, labels = world.fleet.new_ways(), {}  # type: ignore[var-annotated]
        for number in range(world.fleet.recorded):
            for _, batch in world.fleet.batches(ways, number, quiet=number >= world.fleet.recorded - QUIET):
                pipeline.accept(batch)
            labels |= {(one.device, one.boot, one.window): one for one in pipeline.run()}
        found[version] = labels
    return found


def check_labels(world: World, stored: list[StoredLabel], expected: dict[str, dict[Key, Label]]) -> None:
    """One for each window, the one that its version gives, in the table and over MQTT."""
    keys = [(one.device, one.boot, one.window) for one in stored]
    windows = next(iter(expected.values())).keys()
    assert max(Counter(keys).values()) == 1, "no window has two labels"
    missing = windows - set(keys)
    assert not missing, f"{len(missing)} of {len(windows)} windows have no label: {sorted(missing)[:5]}"
    assert set(keys) == windows
    by_key = dict(zip(keys, stored, strict=True))
    for key, one in by_key.items():
        want = expected[one.model][key]
        assert (one.label, one.t0_us) == (want.best.label, want.t0_us), (key, one.model)
        assert one.confidence == pytest.approx(want.best.confidence, abs=1e-5)
        assert not one.flags
    for heard in world.listener.labels:  # there a label may come twice, never as another one
        one = by_key[heard.device, heard.boot, heard.window]
        assert (heard.model, heard.best.label) == (one.model, one.label)
    assert {(one.device, one.boot, one.window) for one in world.listener.labels} == windows


def check_decisions(lines: list[dict[str, Any]]) -> int:
    """What was interrupted was gone on with next, and nothing else was begun before.

    Returns:
        How many were.
    """
    interrupted, resumed = False, 0
    for line in lines:
        if line["event"] == "ended":
            interrupted = line["outcome"] == "interrupted"
            continue
        assert (line["code"] == "resume") == interrupted, line
        resumed += interrupted
        interrupted = True  # until it says that it has ended
    return resumed


def run_chaos(world: World, plan: list[tuple[str, str]]) -> None:
    world.begin()
    for moment, whom in plan:
        world.disturb(moment, whom)
    ended = len([one for one in world.server.decisions() if one["event"] == "ended"])
    world.wait(lambda: len([one for one in world.server.decisions() if one["event"] == "ended"]) > ended)
    world.fleet.finish()
    assert world.server.process is not None
    current = world.registry.version("current")
    expected = undisturbed(world, {current.version})
    world.settle(len(expected[current.version]))
    assert world.server.stop() == 0
    world.check_whole()
    with closing(StateReader(world.server.state)) as store:
        stored = store.labels(limit=10**6)
        assert not store.dead_letters()
        assert serving_version(store)
    check_labels(world, stored, undisturbed(world, {one.model for one in stored}))
    lines = world.server.decisions()
    resumed = check_decisions(lines)
    outcomes = Counter(one["outcome"] for one in lines if one["event"] == "ended")
    assert outcomes["promoted"] > 0
    left = sum(info.pruned_us is None for info in world.registry.versions())
    print(
        f"\n{world.killed.total()} kills {dict(world.killed)}, {world.server.starts} starts; "
        f"{len(world.registry.versions())} versions ({left} kept), {len(world.registry.deployments())} "
        f"deployments, retrainings {dict(outcomes)}, {resumed} resumed; {len(stored)} windows of "
        f"{len({one.model for one in stored})} versions, {len(world.listener.labels)} labels heard"
    )


def test_a_few_kills(world: World) -> None:
    run_chaos(world, [("train", "server"), ("swap", "both")])


@pytest.mark.chaos_long
@pytest.mark.parametrize("world", [int(os.environ.get("DISC_STREAM_CHAOS_SEED", "1"))], indirect=True)
def test_many_kills(world: World) -> None:
    rounds = int(os.environ.get("DISC_STREAM_CHAOS_ROUNDS", "60"))
    run_chaos(world, [(MOMENTS[n % len(MOMENTS)], world.random.choice(WHOM)) for n in range(rounds)])
