"""How many clusters there are, from motion alone: found, explained, kept and drawn."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from disc_stream.cli.app import app
from disc_stream.data.types import UNLABELLED, Split, WindowSet
from disc_stream.errors import TrainingError
from disc_stream.training import clustercount
from disc_stream.training.clustercount import Number, number_of
from disc_stream.training.plus.counting import ClusterCount, count_clusters, matched_f1, spread_blocks
from disc_stream.types import Channel
from tests.support.people import people


@pytest.fixture(autouse=True)
def few_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers up to 5 are enough here."""
    monkeypatch.setattr(clustercount, "count_clusters", partial(count_clusters, most=5))


def split_of(*, labelled: bool = True) -> Split:
    x, y, who = people()
    n = len(x)
    train = WindowSet(
        x, (y if labelled else np.full(n, UNLABELLED)).astype(np.int16), who, who.astype(np.int32),
        np.arange(n), 32.0, tuple(Channel(name, "g") for name in ("x", "y", "z")), ("a", "b", "c", "d"),
    )  # fmt: skip
    return Split(train, train.select(np.zeros(n, dtype=bool)), "none", n_clusters=6)


def asked(split: Split, how: Any, out: Path, *, seed: int = 0) -> Number:
    return number_of(split, how, seed=seed, out=out, finished=None, callback=lambda _event: None)


@pytest.fixture(scope="module")
def counted() -> ClusterCount:
    x, _, who = people(8)
    return count_clusters(x, who, most=5)


def test_as_many_as_there_are_activities_are_found(counted: ClusterCount) -> None:
    assert counted.chosen == 4
    assert [row.n_clusters for row in counted.rows] == [2, 3, 4, 5]
    best = counted.rows[2]
    assert best.reproduced == 4
    assert best.net > 3
    assert best.agreement > 0.9
    assert counted.why().startswith(
        "4 clusters: learned on two halves of the people, 4.0 of them are found by"
    )


def test_other_splits_of_the_people_say_the_same_and_the_same_seed_says_it_again(
    counted: ClusterCount,
) -> None:
    x, _, who = people(8)
    other, again = (count_clusters(x, who, most=5, seed=seed) for seed in (1, 0))
    assert other.chosen == 4
    assert counted.rows == again.rows
    assert counted.rows != other.rows


def test_one_person_is_halved_in_time() -> None:
    x, _, who = people(2)
    count = count_clusters(x[who == 0], who[who == 0], most=4)
    assert count.halves == "time"
    assert "two halves of the recording" in count.why()
    assert 2 <= count.chosen <= 4


def test_windows_that_do_not_fall_into_two_clusters_are_refused() -> None:
    x, _, who = people(2)
    with pytest.raises(TrainingError, match="do not fall into clusters that two halves of them both have"):
        count_clusters(x[[0, 96]], who[[0, 96]])


def test_f1_of_clusters_by_hand() -> None:
    both = np.array([[8, 0, 2], [0, 10, 0], [0, 0, 0]])
    f1, same = matched_f1(both)
    np.testing.assert_allclose(f1, [2 * 8 / 18, 1.0, 0.0])
    assert same == pytest.approx(18 / 20)


def test_of_many_windows_evenly_spread_blocks_of_every_device_are_looked_at() -> None:
    devices = np.repeat([0, 1, 2], [320, 64, 10])
    np.testing.assert_array_equal(spread_blocks(devices, 394), np.arange(394))
    rows = spread_blocks(devices, 200)
    assert rows.tolist() == [*(i for i in range(320) if i // 32 % 2 == 0), *range(320, 352), *range(384, 394)]


def test_the_number_is_what_the_user_says_the_datasets_or_looked_for(tmp_path: Path) -> None:
    labelled, bare = split_of(), split_of(labelled=False)
    assert asked(labelled, 3, tmp_path) == Number(3, {})
    default = asked(labelled, None, tmp_path)
    assert default.chosen == 6
    assert default.facts["why"] == "6 clusters: the usual number of the dataset's activities"
    found = asked(bare, None, tmp_path)
    assert found.chosen == 4, "not the 6 that a reader has to say without labels"
    assert {"chosen", "why", "rows", "by_split", "halves", "windows", "seconds"} == set(found.facts)


def test_an_interrupted_training_does_not_count_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = split_of(labelled=False)
    first = asked(split, "auto", tmp_path)
    calls = []
    monkeypatch.setattr(
        clustercount, "count_clusters", lambda *_a, **_k: calls.append(1) or pytest.fail("again")
    )
    assert asked(split, "auto", tmp_path) == first
    for other in (replace(split, train=split.train.select(split.train.subject > 0)), split):
        with pytest.raises(pytest.fail.Exception):
            asked(other, "auto", tmp_path, seed=1)
    assert calls == [1, 1]


TRAIN = (
    "train",
    "--synthetic",
    "--devices",
    "6",
    "--minutes",
    "2",
    "--method",
    "disc-plus",
    "--set",
    "moves=4",
)


def test_train_says_which_number_it_took_and_why_and_draws_it(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / "run"
    command = [*TRAIN, "--clusters", "auto", "--out", str(out)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    run = json.loads((out / "run.json").read_text())
    number = run["metrics"]["number_of_clusters"]
    assert run["n_clusters"] == number["chosen"]
    assert number["why"] in result.output
    assert f"{number['chosen']:>4}" in next(line for line in result.output.splitlines() if "<- taken" in line)
    assert (out / "clusters.png").read_bytes().startswith(b"\x89PNG")
    again = CliRunner().invoke(app, [*command, "--resume", "--json"])
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["metrics"]["number_of_clusters"] == number


@pytest.mark.parametrize("clusters", ["1", "six", "-3", "2.5", "automatic", "٣"])
def test_numbers_that_cannot_be(clusters: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, [*TRAIN, f"--clusters={clusters}", "--out", str(tmp_path / "run")])
    assert result.exit_code != 0
    assert "--clusters must be a whole number from 2 on, or auto" in str(result.exception)
