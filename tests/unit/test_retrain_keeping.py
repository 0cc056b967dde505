"""A server that retrains for months keeps as many versions as it is to, and those that its labels name."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from disc_stream.clock import ManualClock
from disc_stream.config import ServeConfig
from disc_stream_server.retraining.schedule import Trigger
from disc_stream_server.retraining.supervisor import Supervisor
from disc_stream_server.storage.records import Commit, LaneState, StoredLabel
from disc_stream_server.storage.state import StateStore
from tests.support.registries import Models

NOW = 1_700_000_000_000_000


@pytest.fixture
def models(tmp_path: Path) -> Iterator[Models]:
    models = Models(tmp_path)
    yield models
    models.registry.close()


def retrained(models: Models, code: int = 0, **rules: object) -> None:
    """A server's retraining comes to an end; what it did is of no interest here."""
    done = json.dumps({"event": "done", "promoted": True})
    command = [sys.executable, "-c", f"import sys; print({done!r}); sys.exit({code})"]
    config = ServeConfig(models=models.path, retrain=rules)  # type: ignore[arg-type]
    state = models.folder / "state"
    supervisor = Supervisor(config, state, ManualClock(NOW), command=lambda *_args, **_how: command)
    supervisor.ask("ann", "a test")
    assert supervisor.look().code == Trigger.HAND


def label_by(models: Models, version: str) -> None:
    """A label of this version is kept."""
    store = StateStore(models.folder / "state")
    label = StoredLabel(
        1, "a", 1, 0, 0, 1, None, 3, "x", 1.0, 3, 1.0, b"", 0.1, 0.5, version, 0, NOW
    )  # fmt: skip
    store.commit(Commit([LaneState(0, 1)], [label]))
    store.close()


def kept(models: Models) -> list[int]:
    return [info.number for info in models.registry.versions() if info.pruned_us is None]


def test_the_files_of_old_versions_go_after_a_retraining(models: Models) -> None:
    versions = [models.promote([None, None]) for _ in range(7)]
    label_by(models, versions[1].version)
    retrained(models, keep_versions=3)
    assert kept(models) == [2, 5, 6, 7]
    assert not versions[0].path.exists()
    assert len(models.registry.deployments()) == 7, "what is known of them stays"
    retrained(models, keep_versions=0)
    assert kept(models) == [2, 6, 7], "the one in production and the one before are never removed"


def test_few_versions_all_stay(models: Models) -> None:
    for _ in range(3):
        models.promote([None])
    retrained(models)
    assert kept(models) == [1, 2, 3]


def test_a_registry_that_cannot_be_cleared_does_not_end_the_supervision(
    models: Models, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from disc_stream.errors import StorageError
    from disc_stream.registry import Registry

    def full(*_args: object) -> None:
        raise StorageError("the disk is full")

    for _ in range(3):
        models.promote([None])
    monkeypatch.setattr(Registry, "prune", full)
    retrained(models, keep_versions=0)
    assert "old versions cannot be removed: the disk is full" in caplog.text


def test_a_quick_schedule_is_looked_at_often_enough(models: Models) -> None:
    def looks(every_h: float | None) -> float:
        config = ServeConfig(models=models.path, retrain={"every_h": every_h})  # type: ignore[arg-type]
        return Supervisor(config, models.folder / "state", ManualClock(NOW))._look_s

    assert looks(None) == looks(24) == 30.0
    assert looks(0.01) == pytest.approx(3.6)
