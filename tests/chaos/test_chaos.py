"""Whatever is killed or cut: every published sample's window has exactly one label, the right one.

The short form runs with all tests; ``make chaos`` runs the long one.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from disc_stream.load.viewer import Viewer
from disc_stream.stream.pipeline import Pipeline, stream_spec
from disc_stream.stream.rules import Rules
from disc_stream.stream.sessions import Sessions
from disc_stream.types import Label
from disc_stream_server.storage.state import StateStore, StoredLabel
from tests.support.broker import Mosquitto, free_port
from tests.support.chaosfleet import QUIET, SAMPLES, Fleet
from tests.support.labeller import model_of
from tests.support.listener import Listener
from tests.support.pasts import assert_episodes_follow
from tests.support.proxy import Proxy
from tests.support.tiny_bundle import write_tiny_bundle

pytestmark = [pytest.mark.broker, pytest.mark.timeout(3600)]

DEVICES = 200


# Waiting is decided by the number of batches alone here: how long an outage lasts is no part of the rows that
# the undisturbed run is given.
RULES = Rules(reorder=8, reorder_s=3600.0)


class ServerProcess:
    """``disc-stream serve`` with its live page, which is killed and started again."""

    def __init__(self, folder: Path, url: str) -> None:
        self._config = folder / "serve.yaml"
        self.page = f"127.0.0.1:{free_port()}"
        settings = {
            "bundle": str(folder / "bundle"), "broker": url, "http": self.page,
            "state": str(folder / "state"),
            "status_interval_s": 0.2, "checkpoint_s": 0.5, "spool_file_bytes": 2**20,
            "stale_s": 3600,  # or windows would be deferred, which is tested elsewhere
            "reorder": RULES.reorder, "reorder_s": RULES.reorder_s,
        }  # fmt: skip
        self._config.write_text(json.dumps(settings))
        self._log = (folder / "serve.log").open("ab")
        self.process: subprocess.Popen[bytes] | None = None
        self.starts = 0
        self.ready = threading.Event()

    def start(self) -> None:
        """Start it; it may have to be tried again while the broker is away."""
        command = [sys.executable, "-m", "disc_stream", "serve", "--config", str(self._config), "--json"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self._log)
        threading.Thread(target=self._listen, args=(self.process,), daemon=True).start()
        self.starts += 1

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        """Hear it out, or it would stand still once the pipe is full."""
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                if json.loads(line)["event"] == "ready":
                    self.ready.set()

    def wait_until_ready(self) -> None:
        """Wait for its first word."""
        assert self.ready.wait(60)

    def state_of_page(self) -> Any:
        """What the live page shows, as soon as there is one: the server may just have been started."""
        deadline = time.monotonic() + 30
        while True:
            try:
                with urllib.request.urlopen(f"http://{self.page}/api/state", timeout=30) as answer:
                    return json.loads(answer.read())
            except (OSError, http.client.HTTPException):
                assert time.monotonic() < deadline, "the live page does not come back"
                self.ensure_running()
                threading.Event().wait(0.1)

    def ensure_running(self) -> None:
        """Start it if it has ended, as systemd would."""
        if self.process is None or self.process.poll() is not None:
            self.start()

    def kill(self, whom: str) -> None:
        """SIGKILL to the server, to its receiving process, or to both at once."""
        assert self.process is not None
        try:
            children = psutil.Process(self.process.pid).children()
        except psutil.NoSuchProcess:
            return
        if whom in {"receiver", "both"}:
            for child in children:
                child.kill()
        if whom in {"server", "both"}:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(10)

    def stop(self) -> int:
        """End it gracefully."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(60)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        self._log.close()


class World:
    """Broker, cable, server, fleet, and somebody who listens."""

    def __init__(self, folder: Path, seed: int) -> None:
        write_tiny_bundle(folder / "bundle")
        (folder / "broker").mkdir()
        self.folder = folder
        self.broker = Mosquitto(folder / "broker")
        self.broker.start()
        self.cable = Proxy(self.broker.port)
        self.server = ServerProcess(folder, self.cable.url)
        self.viewer = Viewer(f"http://{self.server.page}")
        self.listener = Listener(self.broker.url)
        self.listener.link.connect()
        motion = np.random.default_rng(seed).normal(5, 5, (64, SAMPLES, 3)).astype(np.float32)
        self.fleet = Fleet(self.broker.url, seed, DEVICES, motion)
        self.random = random.Random(seed)
        self.happened: Counter[str] = Counter()

    def disturb(self) -> None:
        """Something happens, at a random moment."""
        time.sleep(self.random.uniform(0.0, 1.5))  # the moment itself is what is random
        what = self.random.choice(
            ["server", "receiver", "both", "broker", "broker and server", "cable", "cable"]
        )
        self.happened[what] += 1
        if what == "cable":
            self.cable.cut()
        elif what == "broker":
            self.broker.restart()
        elif what == "broker and server":
            self.broker.stop()
            self.server.kill("both")
            self.broker.start()
        else:
            self.server.kill(what)
        self.server.ensure_running()

    def settle(self, expected: int, timeout_s: float) -> None:
        """Wait until the label table has everything; the server is kept running."""
        deadline = time.monotonic() + timeout_s
        heard = threading.Event()
        while label_count(self.folder / "state") < expected and time.monotonic() < deadline:
            self.server.ensure_running()
            heard.wait(0.2)  # another process writes the table, and tells nobody when

    def close(self) -> None:
        self.fleet.close()
        self.viewer.close()
        self.server.close()
        self.listener.link.close()
        self.cable.close()
        self.broker.discard()


@pytest.fixture
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    world = World(tmp_path, seed=getattr(request, "param", 0))
    yield world
    world.close()


def label_count(state: Path) -> int:
    if not (state / "state.sqlite").exists():
        return 0
    store = StateStore(state)
    try:
        return store.label_count()
    finally:
        store.close()


Key = tuple[str, int, int]


def undisturbed(fleet: Fleet, bundle: Path) -> dict[Key, Label]:
    """The labels that the same messages give when nothing is killed or cut."""
    model = model_of(bundle)
    pipeline = Pipeline(model, sessions=Sessions(stream_spec(model), rules=RULES))
    ways = fleet.new_ways()
    labels: dict[Key, Label] = {}
    for number in range(fleet.recorded):
        for _, batch in fleet.batches(ways, number, quiet=number >= fleet.recorded - QUIET):
            pipeline.accept(batch)
        labels |= {(label.device, label.boot, label.window): label for label in pipeline.run()}
    return labels


def assert_same(found: StoredLabel, expected: Label) -> None:
    assert found.label == expected.best.label
    assert found.smoothed == expected.smoothed.label
    assert found.t0_us == expected.t0_us
    assert found.confidence == pytest.approx(expected.best.confidence, abs=1e-5)
    assert found.smoothed_confidence == pytest.approx(expected.smoothed.confidence, abs=1e-5)
    assert not found.flags


def run_chaos(world: World, rounds: int) -> None:
    world.server.start()
    world.server.wait_until_ready()  # before its first subscription a broker keeps nothing for it
    world.fleet.start()
    for _ in range(rounds):
        world.disturb()
    world.fleet.finish()
    expected = undisturbed(world.fleet, world.folder / "bundle")
    world.settle(len(expected), timeout_s=90)
    _check_page(world, expected)
    assert world.server.stop() == 0

    store = StateStore(world.folder / "state")
    stored = store.labels(limit=10 * len(expected))
    letters = store.dead_letters()
    store.close()
    assert not letters, f"poison: {letters[:3]}"
    counts = Counter((label.device, label.boot, label.t0_us, label.model) for label in stored)
    assert not [key for key, n in counts.items() if n > 1], "no window has two labels"
    found = {(label.device, label.boot, label.window): label for label in stored}
    missing = expected.keys() - found.keys()
    assert not missing, f"{len(missing)} of {len(expected)} windows have no label: {sorted(missing)[:5]}"
    assert found.keys() == expected.keys()
    for key, label in expected.items():
        assert_same(found[key], label)
    _check_heard(world, expected)
    assert_episodes_follow(world.folder / "state")
    fates = sum((way.happened for way in world.fleet.ways), Counter[str]())
    assert all(fates[fate] for fate in ("lost", "late", "twice", "restart"))
    print(
        f"\n{rounds} rounds {dict(world.happened)}, {world.server.starts} starts, "
        f"{world.fleet.messages} messages, {len(expected)} labels; on the way: {dict(fates)}; "
        f"page: {world.viewer.summary()}"
    )


def _check_page(world: World, expected: dict[Key, Label]) -> None:
    """The live page came back after every kill, and what it shows is right."""
    page = world.server.state_of_page()
    assert {device["id"] for device in page["devices"]} <= set(world.fleet.names)
    latest = {(device, window): label for (device, _, window), label in sorted(expected.items())}
    for device in page["devices"]:
        if (shown := device["label"]) is not None:
            assert shown["smoothed"]["label"] == latest[device["id"], shown["window"]].smoothed.label
    assert world.viewer.events > 0


def _check_heard(world: World, expected: dict[Key, Label]) -> None:
    """Over MQTT a label may come twice, never as another one, and never not at all."""
    world.listener.wait(
        lambda: len({(x.device, x.boot, x.window) for x in world.listener.labels}) == len(expected), 60
    )
    for label in world.listener.labels:
        want = expected[label.device, label.boot, label.window]
        assert (label.best.label, label.smoothed.label) == (want.best.label, want.smoothed.label)


def test_a_few_rounds(world: World) -> None:
    run_chaos(world, 6)


@pytest.mark.chaos_long
@pytest.mark.parametrize("world", [int(os.environ.get("DISC_STREAM_CHAOS_SEED", "1"))], indirect=True)
def test_many_rounds(world: World) -> None:
    run_chaos(world, int(os.environ.get("DISC_STREAM_CHAOS_ROUNDS", "100")))
