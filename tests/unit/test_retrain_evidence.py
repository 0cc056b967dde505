"""What has come since the newest version: counted in the labels, a little at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from disc_stream.artifacts.bundle import Bundle
from disc_stream.clock import ManualClock
from disc_stream.clustering.drift import DriftRule, DriftWatch
from disc_stream.registry import Lineage, Registry, RowIds, device_digest
from disc_stream_server.retraining import evidence as module
from disc_stream_server.retraining.evidence import Evidence
from disc_stream_server.storage.records import Commit, LaneState, StoredLabel
from disc_stream_server.storage.state import StateStore
from tests.support.commandline import CommandLine
from tests.support.tiny_bundle import write_tiny_bundle

SECOND = 1_000_000
START = 1_700_000_000 * SECOND


class Labels:
    """The labeller's database, filled by hand."""

    def __init__(self, folder: Path) -> None:
        self.store = StateStore(folder)
        self.position = 0

    def add(self, device: str, n: int, model: str = "m", novelty: float | None = 0.5) -> None:
        labels = [
            StoredLabel(
                self.position + i, device, 1, i, 0, 1, None, 3, "x", 1.0, 3, 1.0, b"", 0.1, novelty, model, 0,
                START + (self.position + i) * SECOND,
            )
            for i in range(1, n + 1)
        ]  # fmt: skip
        self.position += n
        self.store.commit(Commit([LaneState(0, self.position)], labels))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def registry(tmp_path: Path, clock: ManualClock) -> Iterator[Registry]:
    with Registry.create(tmp_path / "models", clock) as registry:
        yield registry


@pytest.fixture
def labels(tmp_path: Path) -> Iterator[Labels]:
    labels = Labels(tmp_path / "state")
    yield labels
    labels.store.close()


def promote(registry: Registry, folder: Path, *learned: str) -> str:
    write_tiny_bundle(folder)
    lineage = Lineage.of_bundle(Bundle.open(folder), created_us=0)
    lineage = lineage.model_copy(update={"device_digests": tuple(map(device_digest, learned))})
    version = registry.add(folder, lineage, RowIds.all_fresh(3))
    registry.promote(version.number, "test", "test")
    return version.version


def test_windows_and_devices_since_the_newest_version(
    tmp_path: Path, registry: Registry, labels: Labels, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ROWS", 7)
    evidence = Evidence(tmp_path / "state", registry.path, "ds/v1", 2.56)
    assert evidence.look(START).windows == 0
    labels.add("old", 100)
    clock.now_us = START + 100 * SECOND
    assert (found := evidence.look(clock.now_us)).windows == 100
    assert (found.serves, found.since_us, found.devices) == (False, None, 1)

    promote(registry, tmp_path / "bundle", "old")
    assert (found := evidence.look(clock.now_us)).windows == 0
    assert (found.serves, found.since_us) == (True, clock.now_us)
    labels.add("old", 30)
    labels.add("new", 20)
    found = evidence.look(clock.now_us)
    assert (found.windows, found.devices) == (50, 1), "one of the devices is known to the model"
    assert evidence.look(clock.now_us) == found, "nothing is counted twice"
    fresh = Evidence(tmp_path / "state", registry.path, "ds/v1", 2.56).look(clock.now_us)
    assert fresh == found, "a server that starts anew counts the same"


def test_a_long_table_is_counted_over_several_looks(
    tmp_path: Path, registry: Registry, labels: Labels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ROWS", 7)
    monkeypatch.setattr(module, "_MOST_ROWS", 40)
    labels.add("a", 100)
    evidence = Evidence(tmp_path / "state", registry.path, "ds/v1", 2.56)
    assert [evidence.look(START).windows for _ in range(4)] == [40, 80, 100, 100]
    again = Evidence(tmp_path / "state", registry.path, "ds/v1", 2.56)
    assert again.look_at_all(START).windows == 100


class Always:
    """A detector that sees a change in everything."""

    drift_detected = True

    def update(self, x: float) -> None:
        """Nothing to learn."""


def test_drift_is_that_of_the_model_in_production(tmp_path: Path, registry: Registry, labels: Labels) -> None:
    version = promote(registry, tmp_path / "bundle")
    watch = DriftWatch(DriftRule(block=4, min_blocks=2), Always)
    evidence = Evidence(tmp_path / "state", registry.path, "ds/v1", 2.56, watch)
    labels.add("a", 50, model="another")
    labels.add("a", 50, model=version, novelty=None)
    assert evidence.look(START + 100 * SECOND).drift == ""
    labels.add("a", 8, model=version)
    assert evidence.look(START + 110 * SECOND).drift.startswith("1 of 1 devices")
    evidence.begin_anew()
    assert evidence.look(START + 110 * SECOND).drift == ""


def test_the_dry_run_asks_the_rules_of_a_server(
    tmp_path: Path, registry: Registry, labels: Labels, clock: ManualClock, command_line: CommandLine
) -> None:
    promote(registry, tmp_path / "bundle", "old")
    labels.add("old", 30)
    labels.add("new", 20)
    config = tmp_path / "serve.yaml"
    config.write_text("retrain: {devices: 1, min_windows: 8, cooldown_h: 0}\n")
    words = ("retrain", "--models", registry.path, "--state", tmp_path / "state", "--dry-run")
    facts = json.loads(command_line(*words, "--config", config, "--json").stdout)
    assert (facts["windows"], facts["devices"], facts["new_windows"], facts["new_devices"]) == (50, 2, 50, 1)
    assert facts["decision"]["code"] == "devices"
    config.write_text("retrain: {windows: 100, min_windows: 8, cooldown_h: 0}\n")
    said = command_line(*words, "--config", config)
    assert said.returncode == 0
    assert "would learn from 50 of 50 windows of 2 devices" in said.stdout
    assert "not retrain now: nothing is due: 50 of 100 new windows" in said.stdout
    assert f"next: disc-stream retrain --models {registry.path} --state {tmp_path / 'state'}" in said.stdout
    config.write_text("top_k: 3\n")
    refused = command_line(*words, "--config", config)
    assert (refused.returncode, "has no rules of retraining" in refused.stderr) == (2, True)
    refused = command_line(*words[:-1], "--config", config)
    assert (refused.returncode, "--config goes with --dry-run" in refused.stderr) == (2, True)
