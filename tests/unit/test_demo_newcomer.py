"""The demo's second act, step by step: what happens when, and what is counted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from disc_stream.artifacts.bundle import Bundle
from disc_stream.data.synthetic import Activity
from disc_stream.demo.fleet import SyntheticFleet
from disc_stream.demo.model import Plan
from disc_stream.demo.newcomer import APPEARS_AFTER, ENOUGH_UNKNOWN, NewActivity
from disc_stream.registry import Lineage, Registry, RowIds
from disc_stream.types import UNKNOWN, Label, SoftLabel
from tests.support.tiny_bundle import write_tiny_bundle

PLAN = Plan(60.0, None, None, 0, "disc-plus")


@dataclass
class Folders:
    models: Path
    state: Path


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """A registry with three clusters in production, and a state folder without any motion."""
    write_tiny_bundle(tmp_path / "bundle")
    with Registry.create(tmp_path / "models") as registry:
        lineage = Lineage.of_bundle(Bundle.open(tmp_path / "bundle"), created_us=0)
        registry.promote(
            registry.add(tmp_path / "bundle", lineage, RowIds.all_fresh(3)).number, "test", "first"
        )
    return Folders(tmp_path / "models", tmp_path / "state")


def label(window: int, own: int, model: str = "m") -> Label:
    best = SoftLabel(own, f"cluster-{own}", 0.9)
    return Label("d1", 2, window, window, 0, best, (best,), best, 1.0, None, model, window, 0)


def test_it_appears_once_there_is_something_usual_and_that_is_named(folders: Folders) -> None:
    with Registry.open(folders.models) as registry:
        *_, usual = sorted(one.id for one in registry.clusters.list())
    said: list[str] = []
    act = NewActivity(folders, SyntheticFleet(3, 0, Activity.LYING), PLAN, said.append)
    for window in range(APPEARS_AFTER - 1):
        act.label(label(window, usual))
    act.step()
    assert said == []
    act.label(label(APPEARS_AFTER, usual))
    act.step()
    assert "2 wearables begin with lying" in said[0]
    with Registry.open(folders.models) as registry:
        names = {one.id: one.name for one in registry.clusters.list()}
        assert names[usual].endswith("(demo)")
    summary = act.summary()
    assert summary["named"] == {"id": usual, "name": names[usual], "kept": True}
    assert summary["seconds_to_own_id"] is summary["own_id"] is summary["retraining"] is None
    act.close()


def test_enough_unknown_windows_begin_a_retraining_and_its_failure_is_one_line(folders: Folders) -> None:
    said: list[str] = []
    act = NewActivity(folders, SyntheticFleet(2, 0, Activity.LYING), PLAN, said.append)
    for window in range(APPEARS_AFTER):
        act.label(label(window, 0))
    act.step()
    for window in range(ENOUGH_UNKNOWN):
        act.step()
        assert len(said) == 1, window
        act.label(label(window, UNKNOWN))
    act.step()
    assert "retraining with one more cluster" in said[1]
    process = act._retrainer._process
    assert process is not None
    process.wait(120)
    act.step()
    assert said[2].startswith("The retraining has failed: error: ")
    act.close()


def test_the_windows_of_the_new_activity_are_counted_apart_before_and_after(folders: Folders) -> None:
    fleet = SyntheticFleet(2, 0, Activity.LYING)
    act = NewActivity(folders, fleet, PLAN, lambda _text: None)
    with Registry.open(folders.models) as registry:
        current = registry.current()
        ids = [one.id for one in registry.clusters.list()]
    assert current is not None
    for window in range(APPEARS_AFTER):
        act.label(label(window, ids[0], current.version))
    act.step()
    for window, own in enumerate([UNKNOWN, UNKNOWN, UNKNOWN, ids[1]]):
        act.compared(Activity.LYING, label(window, own, current.version))
    act.compared(Activity.SITTING, label(9, ids[2], current.version))
    fresh = max(ids) + 1
    act.label(label(10, fresh, "next"))
    for window, own in enumerate([fresh, fresh, fresh, fresh, UNKNOWN]):
        act.compared(Activity.LYING, label(20 + window, own, "next"))
    summary = act.summary()
    assert summary["before"] == {"windows": 4, "unknown": 0.75, "others_unknown": 0.0}
    assert summary["own_id"] == fresh
    assert summary["after"]["with_own_id"] == 0.8
    assert summary["seconds_to_own_id"] is not None
    act.close()
