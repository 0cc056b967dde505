"""A retraining is killed at any moment: what is in production stays whole, and the next call goes on.

The short form runs with all tests; ``make chaos`` runs the long one.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from disc_stream.artifacts.bundle import Bundle
from disc_stream.registry import Author, Registry
from disc_stream.registry.records import VersionInfo
from tests.support.retrainer import Retrainer
from tests.support.spools import TINY_SETTINGS, WINDOW_S, label_all, write_fleet

pytestmark = pytest.mark.timeout(3600)

DEVICES = ["arm", "hip", "leg"]
NAMES = {0: "lies", 1: "stands", 2: "shakes"}
PHASES = ("start", "replay", "train", "export", "gate", "promote")
SETTINGS = {**TINY_SETTINGS, "epochs": 4, "refine_epochs": 2}
MOST_KILLS = 4  # of one retraining, before it may come to its end


# What passes the gate is the gate's matter: so small a training passes on one machine and not on another.
ANYTHING_GOES = {
    "largest": 1.0, "effective": 0.0, "coverage": 0.0, "continuity": 0.0, "kept": 0.0, "carry_over": 10.0,
    "flips": 1.0, "moved": 1.0, "moved_of_one": 1.0, "latency_s": 60.0, "anchors": 0,
}  # fmt: skip


class World:
    """A server's state folder and registry, with a model in production whose clusters have names."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.random = folder, random.Random(seed)
        self.retrainer = Retrainer()
        self.killed: Counter[str] = Counter()
        self.ends = 0
        self.template = folder / "template"
        write_fleet(self.template / "state", DEVICES, 36)
        Registry.create(self.template / "models").close()
        self.run_to_the_end(self.template, {**TINY_SETTINGS, "refine_epochs": 2})
        with Registry.open(self.template / "models") as registry:
            for own, name in NAMES.items():
                registry.clusters.name(own, name, Author("ann"))
            write_fleet(self.template / "state", DEVICES, 12, first=36)
            label_all(self.template / "state", registry)
        self.place = self.new_place()
        self.run_to_the_end(self.place)
        self.expected = self.finished()

    def new_place(self) -> Path:
        """Before the retraining, once more."""
        place = self.folder / "place"
        shutil.rmtree(place, ignore_errors=True)
        return Path(shutil.copytree(self.template, place))

    def start(self, place: Path, settings: dict[str, Any] = SETTINGS) -> None:
        request = {
            "models": str(place / "models"), "state": str(place / "state"), "preset": "small",
            "settings": settings, "window_s": WINDOW_S, "clusters": 3, "threads": 1, "device": "cpu",
            "limits": ANYTHING_GOES,
        }  # fmt: skip
        self.retrainer.start(request)

    def run_to_the_end(self, place: Path, settings: dict[str, Any] = SETTINGS) -> None:
        self.start(place, settings)
        while not (line := self.retrainer.next()).startswith("ended"):
            pass
        assert line == "ended 0"

    def kill(self) -> bool:
        """Start or go on, and kill it at a random moment of a random phase; whether it was hit."""
        phase = self.random.choice(PHASES)
        self.start(self.place)
        seen, line = "start", ""
        told = self.random.randint(1, 4) if phase == "train" else 1  # it tells of every epoch
        while seen != phase or told > 0:
            if seen == phase == "start":
                break
            line = self.retrainer.next()
            if line.startswith("ended"):
                break  # it went on behind that phase
            seen = line.removeprefix("phase ")
            told -= seen == phase
        if not line.startswith("ended"):
            time.sleep(0.2 * self.random.random() ** 2)  # the moment itself is what is random
            with contextlib.suppress(ProcessLookupError):  # it was faster
                os.kill(self.retrainer.pid, signal.SIGKILL)
            while not (line := self.retrainer.next()).startswith("ended"):
                seen = line.removeprefix("phase ")
        if line == "ended -9":
            self.killed[seen] += 1
            return True
        assert line == "ended 0"
        return False

    def check_whole(self) -> None:
        """What others see between a kill and the next call."""
        with Registry.open(self.place / "models") as registry:
            deployment = registry.current()
            assert deployment is not None
            said = json.loads((self.place / "models" / "CURRENT").read_text())
            assert said["version"] == deployment.version
            versions = registry.versions()
            assert [info.number for info in versions] == list(range(1, len(versions) + 1))
            assert len(versions) <= 2
            for info in versions:
                assert Bundle.open(info.path).version == info.version
            assert {one.id: one.name for one in registry.clusters.list()} == NAMES
            assert registry.catalogue_of("current").ids == (0, 1, 2) or deployment.version_number == 2

    @property
    def is_over(self) -> bool:
        """Whether it had come to its end, and was killed while it cleared away."""
        with Registry.open(self.place / "models") as registry:
            deployment = registry.current()
        plan = self.place / "state" / "retraining" / "plan.json"
        return deployment is not None and deployment.version_number == 2 and not plan.exists()

    def finished(self) -> VersionInfo:
        """What is in production at the end; what the next one goes on from is there."""
        self.ends += 1
        self.check_whole()
        state = self.place / "state" / "retraining"
        assert {"runs", "anchors.npz"} <= {path.name for path in state.iterdir()}
        with Registry.open(self.place / "models") as registry:
            assert len(registry.versions()) == 2
            assert len(registry.deployments()) == 2
            return registry.version("current")


@pytest.fixture
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    world = World(tmp_path, seed=getattr(request, "param", 0))
    yield world
    world.retrainer.close()


def run_chaos(world: World, rounds: int) -> None:
    began = time.monotonic()
    while world.killed.total() < rounds:
        world.place = world.new_place()
        for _ in range(world.random.randint(1, MOST_KILLS)):
            hit = world.kill()
            world.check_whole()
            if not hit or world.is_over:
                break
        else:
            world.run_to_the_end(world.place)
        found = world.finished()
        assert (found.version, found.ids) == (world.expected.version, world.expected.ids)
        assert not found.rejected
    print(
        f"\n{world.killed.total()} kills {dict(world.killed)}, {world.ends - 1} retrainings, "
        f"{time.monotonic() - began:.0f} s"
    )


def test_a_few_kills(world: World) -> None:
    run_chaos(world, 2)


@pytest.mark.chaos_long
@pytest.mark.parametrize("world", [int(os.environ.get("DISC_STREAM_CHAOS_SEED", "1"))], indirect=True)
def test_many_kills(world: World) -> None:
    run_chaos(world, int(os.environ.get("DISC_STREAM_CHAOS_ROUNDS", "100")))
