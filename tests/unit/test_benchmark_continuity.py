"""``disc-stream benchmark continuity``: the stream of people, the measures, the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from disc_stream.benchmarks.continuity import Seen, Version
from disc_stream.benchmarks.continuity_measures import kept_of, named_by_most, names_after, own_id_of
from disc_stream.benchmarks.continuity_quick import synthetic_split
from disc_stream.benchmarks.continuity_stream import HeldBack, activity_of, in_order
from disc_stream.errors import UsageError
from tests.support.commandline import CommandLine


class TestStream:
    """People come in order, half of them first."""

    def test_half_of_the_people_first_then_group_by_group(self) -> None:
        stream = in_order(synthetic_split(), 3)
        people = [set(stream.windows.subject[stream.during(stage)].tolist()) for stage in range(4)]
        assert people == [{1, 2, 3}, {4}, {5}, {6}]
        assert set(stream.windows.subject[stream.until(2)].tolist()) == {1, 2, 3, 4, 5}
        of_one = stream.gives_anchors[stream.windows.subject == 4]
        assert of_one[:20].all()
        assert not of_one[20:40].any()
        assert of_one[40:60].all()

    def test_what_is_held_back_comes_with_its_stage(self) -> None:
        split = synthetic_split()
        walking = activity_of(split, "walking")
        stream = in_order(split, 3, HeldBack(walking, from_stage=2))
        there = [bool((stream.windows.y[stream.during(stage)] == walking).any()) for stage in range(4)]
        assert there[:2] == [False, False]
        assert any(there[2:])

    def test_too_few_people(self) -> None:
        with pytest.raises(UsageError, match="6 people are too few for 4 retrainings"):
            in_order(synthetic_split(), 4)

    def test_an_activity_that_is_not_there(self) -> None:
        with pytest.raises(UsageError, match="no activity 'flying'"):
            activity_of(synthetic_split(), "flying")


class TestMeasures:
    """What they say of cases that are plain."""

    def test_kept_beside_the_best_and_the_row_numbers(self) -> None:
        rows_before, rows_after = np.array([0, 0, 1, 1, 1]), np.array([1, 1, 0, 0, 1])
        before, right = np.array([7, 7, 8, 8, 8]), np.array([7, 7, 8, 8, 7])
        found = kept_of(before, right, rows_before, rows_after)
        assert (found.kept, found.best, found.unaligned) == (0.8, 0.8, 0.2)
        wrong = kept_of(before, np.array([8, 8, 7, 7, 8]), rows_before, rows_after)
        assert wrong.of_best == pytest.approx(0.25)

    def test_a_window_can_stand_for_many(self) -> None:
        rows, before, after = np.array([0, 0, 1]), np.array([7, 7, 8]), np.array([7, 9, 8])
        found = kept_of(before, after, rows, rows, np.array([6.0, 1.0, 3.0]))
        assert (found.kept, found.best, found.windows) == (pytest.approx(0.9), 1.0, 3)

    def test_only_what_is_mostly_one_thing_gets_a_name(self) -> None:
        clusters, activities = np.array([0, 0, 0, 1, 1, 2]), np.array([4, 4, 5, 4, 5, 5])
        assert named_by_most(clusters, activities) == {0: 4, 2: 5}

    def test_names_right_wrong_and_gone(self) -> None:
        names = {0: 0, 1: 1, 2: 2}
        ids, rows = np.array([0, 0, 1, 9]), np.array([1, 1, 0, 2])
        found = names_after(names, ids, rows, np.array([0, 0, 2, 1]), ("sit", "walk", "run"))
        assert (found.right, found.wrong, found.gone) == (1, ["walk is run"], ["run"])
        assert found.possible == 3
        assert found.unaligned == 0

    def test_an_activity_has_its_own_id_if_that_is_fresh_and_mostly_of_it(self) -> None:
        activity, ids = np.array([True, True, True, False, False]), np.array([5, 5, 1, 5, 1])
        assert own_id_of(activity, ids, {5}) == (5, pytest.approx(2 / 3), pytest.approx(2 / 3))
        assert own_id_of(activity, ids, {6})[0] is None
        assert own_id_of(activity, np.zeros(5, dtype=int), {0})[0] == 0  # 3 of 5 are of it
        assert own_id_of(~activity, np.zeros(5, dtype=int), {0})[0] is None


def test_a_quick_run_keeps_most_windows(command_line: CommandLine, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    done = command_line("benchmark", "continuity", "--quick", "--start", "warm", "--json", "--page", page)
    assert done.returncode == 0, done.stderr
    [row] = json.loads(done.stdout)["rows"]
    held_out = row["windows"]["held_out"]
    assert held_out["least_of_best"] > 0.9
    assert held_out["kept"] > 0.5
    assert row["retrainings"] == 2
    assert "1/1 synthetic disc warm seed 0: retraining 2 of 2" in done.stderr
    assert "| synthetic | disc | warm | 0 |" in page.read_text(encoding="utf-8")


def test_what_is_unknown_is_no_anchor() -> None:
    learned, known = cast("Any", None), cast("Any", None)
    version = Version(learned, np.array([4, 7]), np.array([1.0, 2.0], dtype=np.float32), known)
    rows, far = np.array([0, 0, 1, 1]), np.array([1.0, 1.1, 1.1, 2.1], dtype=np.float32)
    assert version.knows(Seen(rows, version.ids[rows], far)).tolist() == [True, False, True, False]


def test_clusters_are_found_instead_of_given(command_line: CommandLine, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    options = ("--quick", "--start", "warm", "--grow", "--json", "--page", page)
    done = command_line("benchmark", "continuity", *options)
    assert done.returncode == 0, done.stderr
    [row] = json.loads(done.stdout)["rows"]
    assert row["grow"] is True
    assert row["fresh"] == 0
    text = page.read_text(encoding="utf-8")
    assert "## Nothing held back, K found" in text
    assert "| synthetic | disc | warm | 0 | 2 | 0 |" in text


def test_an_activity_that_appears_is_reported(command_line: CommandLine) -> None:
    arguments = ("--quick", "--start", "warm", "--held-back", "walking", "--json")
    done = command_line("benchmark", "continuity", *arguments)
    assert done.returncode == 0, done.stderr
    [row] = json.loads(done.stdout)["rows"]
    assert row["held_back"] == "walking"
    assert row["appeared"]["windows_seen"] > 0
    assert 0 <= row["appeared"]["others_moved"] <= 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "kmeans"], "a run of 'kmeans' cannot be exported"),
        (["--start", "cold"], "--start 'cold' is not known. Use scratch or warm"),
        (["--grow"], "--grow goes on from the model in use. Add --start warm"),
        (["--set", "gamma=7"], "gamma must be between 0 and 1"),
        (["--dataset", "hapt"], "where is 'hapt'?"),
    ],
)
def test_mistakes_are_named_in_one_line(
    arguments: list[str],
    message: str,
    command_line: CommandLine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    done = command_line("benchmark", "continuity", *arguments)
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
