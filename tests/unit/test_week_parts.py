"""The parts of ``benchmark week``: who is there, what is sent, and how names are judged."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from disc_stream.data.synthetic import LABEL_NAMES, Placement
from disc_stream.data.types import UNLABELLED, Recording
from disc_stream.errors import ConfigError
from disc_stream.load import weekfleet, weekwatch
from disc_stream.load.weekfleet import FS, BurstSource, DayStream, ReplayedPerson, SyntheticPerson
from disc_stream.load.weekwatch import Window
from disc_stream.types import NOT_WORN, UNKNOWN, WindowSpec
from tests.support.registries import ANN, Models

SPEC = WindowSpec(128, 64, 64)


def day_of(labels: list[int], device: str = "a") -> DayStream:
    each = np.repeat(np.array(labels, dtype=np.int16), 64)
    return DayStream(device, 2, 5_000_000, np.zeros((len(each), 6), dtype=np.float32), each)


# ── The fleet ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", range(20))
def test_devices_come_and_go_and_come_back_or_not(seed: int) -> None:
    table = weekfleet.timetable(20, 7, 0.6, seed)
    every = [set(day) for day in table]
    first = {one: min(n for n, day in enumerate(every, 1) if one in day) for day in every for one in day}
    assert len(every) == 7
    assert all(8 <= len(day) <= 13 for day in every)
    newcomers = [one for one, day in first.items() if day >= 3]
    assert every[2] - every[0] - every[1], "somebody is new on day three"
    assert every[4] - set().union(*every[:4]), "and on day five"
    assert len(newcomers) >= 4
    assert len(set().union(*every[:2]) - set().union(*every[2:])) >= 2, "some never return"
    assert weekfleet.timetable(20, 7, 0.6, seed) == table


def test_a_small_fleet_has_two_at_least() -> None:
    assert all(len(day) == 2 for day in weekfleet.timetable(2, 3, 0.1, 0))


def test_simulated_people_go_on_and_replayed_ones_do_parts_of_what_was_recorded() -> None:
    person = SyntheticPerson("synthetic-001", 3, Placement.WAIST)
    first, second = person.move(300), person.move(300)
    whole = SyntheticPerson("synthetic-001", 3, Placement.WAIST).move(600)
    assert np.array_equal(np.concatenate([first[0], second[0]]), whole[0])

    names = ("walking_upstairs", "sit_to_stand", "sitting")
    samples = np.repeat(np.arange(3, dtype=np.float32), 5_000)[:, None] * np.ones(6, dtype=np.float32)
    labels = np.repeat(np.array([0, 1, 2], dtype=np.int16), 5_000)
    recording = Recording("r", 1, FS, BurstSource.channels, samples, labels, names)
    motion, true = ReplayedPerson("hapt-01", [recording], 0).move(40_000)
    assert motion.shape == (40_000, 6)
    expected = {0.0: LABEL_NAMES.index("stairs up"), 1.0: UNLABELLED, 2.0: LABEL_NAMES.index("sitting")}
    assert {(float(x), int(y)) for x, y in zip(motion[:, 0], true, strict=True)} == set(expected.items())


def test_datasets_of_other_channels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'wisdm' cannot be mixed with simulated people"):
        weekfleet.people_of("wisdm", tmp_path, 4, Placement.WAIST, 0)
    assert len(weekfleet.people_of(None, None, 4, Placement.WRIST, 0)) == 4


def test_bursts_are_one_stream_at_the_true_rate() -> None:
    day = weekfleet.stream_of(SyntheticPerson("s", 0, Placement.WAIST), 3, 1_234, 0)
    assert day.t0_us == 2 * weekfleet.DAY_US + 8 * 3_600_000_000
    batches = [batch for part in range(3) for batch in BurstSource(day, part, 3).batches(50)]
    assert [batch.seq for batch in batches] == list(range(25))
    assert [batch.t0_us - day.t0_us for batch in batches] == [n * 1_000_000 for n in range(25)]
    assert {(batch.device, batch.boot) for batch in batches} == {("s", 3)}
    assert np.array_equal(np.concatenate([batch.samples for batch in batches]), day.samples)


# ── What is seen ──────────────────────────────────────────────────────────────────────────────────────


def test_the_windows_of_a_day_are_counted() -> None:
    day = day_of([0] * 10)
    heard = {
        ("a", 0): Window(0, 3, ["m"]), ("a", 1): Window(0, UNKNOWN, ["m", "m"]),
        ("a", 2): Window(0, NOT_WORN, ["n"], deferred=True), ("a", 3): Window(0, 3, ["n"]),
    }  # fmt: skip
    assert weekwatch.windows_of([day], SPEC) == 10
    assert weekwatch.windows_of([day], WindowSpec(128, 64, 128)) == 9
    assert weekwatch.describe_day(heard, [day], SPEC) == {
        "expected": 10, "labelled": 0.4, "lost": 6, "doubled": 1, "unknown": 0.25, "not_worn": 0.25,
        "deferred": 1, "models": {"m": 2, "n": 2},
    }  # fmt: skip


def test_the_truth_of_a_window_is_what_most_of_it_is() -> None:
    day = day_of([4, 4, 2, 2, UNLABELLED, UNLABELLED])
    at = [day.t0_us + round(n * 64 * 1e6 / FS) for n in range(6)]
    heard = {("a", n): Window(t0_us, n % 2) for n, t0_us in enumerate(at[:5])}
    assert weekwatch.activities(heard, [day], SPEC) == {0: Counter({4: 1, 2: 1}), 1: Counter({2: 1})}


def test_names_go_to_what_is_mostly_one_thing_and_are_judged_by_it(tmp_path: Path) -> None:
    models = Models(tmp_path)
    models.promote([None] * 5)
    walking, sitting, lying = (LABEL_NAMES.index(name) for name in ("walking", "sitting", "lying"))
    models.registry.clusters.merge(4, 0, ANN)
    seen = {
        0: Counter({walking: 30, sitting: 20}), 1: Counter({sitting: 15, lying: 15}),
        2: Counter({sitting: 19}), 3: Counter({sitting: 90, walking: 10}), UNKNOWN: Counter({walking: 70}),
    }  # fmt: skip
    given = weekwatch.give_names(models.registry, seen)
    assert given == {0: "walking", 3: "sitting"}
    assert {one.id: one.name for one in models.registry.clusters.list() if one.name} == given

    later = {0: Counter({walking: 10, lying: 30}), 3: Counter({sitting: 3})}
    judged = weekwatch.judge_names(given, models.registry.clusters.list(), later)
    assert [(one["id"], one["alive"], one["right"], one["share"]) for one in judged] == [
        (0, True, False, 0.25), (3, True, None, 1.0),
    ]  # fmt: skip
    assert weekwatch.named_share(judged, 100) == 0.13
    models.promote([0, None])
    judged = weekwatch.judge_names(given, models.registry.clusters.list(), {})
    assert [(one["alive"], one["share"]) for one in judged] == [(True, None), (False, None)]
    models.registry.close()


def test_what_the_server_decides_is_read_line_by_line(tmp_path: Path) -> None:
    decisions = weekwatch.Decisions(tmp_path)
    assert (decisions.ended(), decisions.new(), decisions.runs) == ([], [], False)
    (tmp_path / "retraining").mkdir()
    path = tmp_path / "retraining" / "decisions.jsonl"
    path.write_text('{"event": "decision", "retrain": true}\n')
    assert decisions.runs
    with path.open("a") as file:
        file.write('{"event": "ended", "outcome": "promoted"}\n{"event": "decision", "retrain": false}\n{"ev')
    assert not decisions.runs
    assert [one["outcome"] for one in decisions.new()] == ["promoted"]
    assert decisions.new() == []
