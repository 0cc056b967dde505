"""Writers of a registry are killed at random moments: what was confirmed is there, and all is whole."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from disc_stream.artifacts.bundle import Bundle
from disc_stream.registry import Lineage, Registry, RowIds
from tests.support.registries import make_bundle

ROUNDS = int(os.environ.get("DISC_STREAM_CHAOS_ROUNDS", "60"))
ROOT = Path(__file__).parents[2]


class Writers:
    """Writers that live for a given time."""

    def __init__(self, registry: Path, bundles: Path) -> None:
        command = [sys.executable, "-m", "tests.support.registry_writer", str(registry), str(bundles)]
        search = os.pathsep.join([str(ROOT), *sys.path])
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
            env={**os.environ, "PYTHONPATH": search},
        )  # fmt: skip

    def live_for(self, seconds: float) -> list[list[Any]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        done: list[list[Any]] = json.loads(self._process.stdout.readline())
        return done

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture
def writers(tmp_path: Path) -> Iterator[Writers]:
    Registry.create(tmp_path / "models").close()
    make_bundle(tmp_path / "bundles" / "spare", 8 * ROUNDS, 2)
    writers = Writers(tmp_path / "models", tmp_path / "bundles")
    yield writers
    writers.close()


def typical_s(folder: Path) -> float:
    """How long a version takes to be added and promoted on this disk."""
    with Registry.create(folder / "measured") as registry:
        bundle = make_bundle(folder / "bundles" / "measured", 10_000, 2)
        began = time.perf_counter()
        registry.promote(registry.add(bundle, Lineage(), RowIds.all_fresh(2)).number, "ann", "to measure it")
        return time.perf_counter() - began


def check_whole(path: Path) -> Registry:
    """Open it, as the next one would, and look at everything."""
    if (path / "CURRENT").exists():  # maybe that of the deployment before, but whole, and leading somewhere
        assert (path / json.loads((path / "CURRENT").read_text())["folder"] / "model.onnx").exists()
    registry = Registry.open(path)
    current = registry.current()
    found = json.loads((path / "CURRENT").read_text()) if (path / "CURRENT").exists() else None
    assert (found and found["deployment"]) == (current and current.number)
    if current is not None and found is not None:
        assert Bundle.open(path / found["folder"]).version == current.version
        assert len(registry.catalogue_of("current")) == 2
    for info in registry.versions():
        if info.pruned_us is None:
            assert Bundle.open(info.path).version == info.version
    fields: dict[tuple[int, str], Any] = {}
    for event in registry.clusters.history():
        for change in event.changes:
            fields[change.id, change.field] = change.after
    for cluster in registry.clusters.list(retired=True):
        assert cluster.name == fields.get((cluster.id, "name"), "")
        assert cluster.merged_into == fields.get((cluster.id, "merged_into"))
    return registry


def test_a_killed_writer_leaves_a_registry_that_is_whole(writers: Writers, tmp_path: Path) -> None:
    chance = random.Random(14)
    longest_s = 3 * typical_s(tmp_path)
    path = tmp_path / "models"
    names: dict[int, str] = {}
    counts: dict[str, int] = {}
    leftovers = 0
    for number in range(8 * ROUNDS):  # where the machine is busy, less gets done in a round: they get longer
        enough = counts.get("add", 0) > ROUNDS // 4 and counts.get("promote", 0) > ROUNDS // 8
        if number >= ROUNDS and enough and leftovers:
            break
        if number >= ROUNDS and number % 10 == 0:
            longest_s *= 1.5
        make_bundle(tmp_path / "bundles" / str(number), number, 2)  # the round's own, ready to be added
        done = writers.live_for(chance.uniform(0.0, longest_s))
        assert not [one for one in done if one[0] == "error"]
        for what, *_rest in done:
            counts[what] = counts.get(what, 0) + 1
        leftovers += len(list((path / "versions").glob(".*")))
        registry = check_whole(path)
        known = {info.number for info in registry.versions()}
        assert known >= {one[1] for one in done if one[0] == "add"}
        names |= {one[1]: one[2] for one in done if one[0] == "name"}
        events = [c for event in registry.clusters.history() for c in event.changes if c.field == "name"]
        for cluster, name in names.items():  # none that was confirmed is lost, a later one may be there
            assert (cluster, name) in {(change.id, change.after) for change in events}
        promoted = [one[1] for one in done if one[0] == "promote"]
        if promoted:
            assert promoted[-1] in [one.version_number for one in registry.deployments()]
        registry.close()
    assert counts["add"] > ROUNDS // 4
    assert counts["promote"] > ROUNDS // 8
    assert leftovers > 0  # some were killed while they copied
    with Registry.open(path) as registry:
        current = registry.current()
        spare = tmp_path / "bundles" / "spare"
        registry.add(spare, Lineage(), RowIds.all_fresh(2, current and current.version))
        listed = {info.path.name for info in registry.versions() if info.pruned_us is None}
        there = {entry.name for entry in (path / "versions").iterdir()}
        assert there == listed  # the next writer has cleaned up
        assert all(re.fullmatch(r"\d{4}-[0-9a-f]{12}", name) for name in there)
        assert registry.strangers() == []
