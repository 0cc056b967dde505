"""``disc-stream benchmark supervised``: features, figures that are kept, the comparison, the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from disc_stream.benchmarks.cells import Cell
from disc_stream.benchmarks.continuity_quick import synthetic_split
from disc_stream.benchmarks.supervised import Classifier, Reference, compare, plain_features, reference
from disc_stream.benchmarks.supervised_report import render
from disc_stream.data.windowfile import write_windows
from disc_stream.errors import DataError
from tests.support.commandline import CommandLine


def _beside(lda: float, forest: list[float]) -> Reference:
    return Reference(
        dataset="here", config_hash="", split="by hand", people_apart=True, windows=1234,
        lda=Classifier(acc=[lda], nmi=[0.5], seconds=1.0),
        forest=Classifier(acc=forest, nmi=[0.5] * len(forest), seconds=1.0), hardware="", date="",
    )  # fmt: skip


def _cell(seed: int, acc: float, **changed: object) -> Cell:
    scores = {part: {"nmi": 0.7, "acc": acc, "ari": 0.5, "ami": 0.5} for part in ("train", "test")}
    facts: dict[str, object] = {
        "dataset": "here", "protocol": "paper", "method": "kmeans", "preset": "none", "seed": seed,
        "config": {}, "config_hash": "0", "fingerprint": "0", "split": "by hand", "n_clusters": 3,
        "scores": scores, "epochs": {}, "seconds": 1.0, "hardware": "", "software": {}, "date": "",
    }  # fmt: skip
    return Cell.model_validate(facts | changed)


class TestPlainFeatures:
    """Against what a calculation by hand gives."""

    def test_of_a_sine_on_one_axis(self) -> None:
        t = np.arange(128) / 128
        x = np.zeros((1, 128, 3), dtype=np.float32)
        x[0, :, 0] = 2.0 + np.sin(2 * np.pi * 5 * t)
        x[0, :, 1] = 1.0 - 0.5 * np.sin(2 * np.pi * 5 * t)
        found = plain_features(x)
        per_series = found[0, : 13 * 4].reshape(13, 4)  # three axes and their magnitude
        assert per_series[0, :3] == pytest.approx([2.0, 1.0, 0.0], abs=1e-6)
        assert per_series[1, :3] == pytest.approx([np.sqrt(0.5), 0.5 * np.sqrt(0.5), 0.0], abs=1e-6)
        assert per_series[2:4, 0] == pytest.approx([1.0, 3.0], abs=2e-3)
        assert per_series[10, :2].tolist() == [5.0, 5.0]
        assert per_series[11, :2] == pytest.approx([1.0, 1.0], abs=1e-6)
        assert per_series[12, :2] == pytest.approx([0.0, 0.0], abs=1e-4)
        assert found[0, 13 * 4] == pytest.approx(-1.0, abs=1e-6)  # correlation of the first two axes

    def test_are_finite_whatever_the_window(self) -> None:
        x = np.stack([np.zeros((64, 4)), np.full((64, 4), 1e6), np.eye(64, 4)]).astype(np.float32)
        assert np.isfinite(plain_features(x)).all()

    def test_each_window_alone(self) -> None:
        x = np.random.default_rng(0).normal(size=(5, 32, 6)).astype(np.float32)
        assert plain_features(x)[3] == pytest.approx(plain_features(x[3:4])[0])


class TestComparison:
    """Of figures made up."""

    def test_the_better_classifier_counts(self) -> None:
        row = compare(_beside(0.90, [0.80, 0.96]), [_cell(0, 0.86), _cell(1, 0.885)])
        (method,) = row["methods"].values()
        assert method["acc"] == {"mean": 87.25, "sd": 1.77}
        assert (method["behind"], method["near"]) == (2.75, True)
        assert row["classifiers"]["forest"]["acc"] == {"mean": 88.0, "sd": 11.31}

    def test_more_than_three_points_behind_is_not_near(self) -> None:
        (method,) = compare(_beside(0.90, [0.5]), [_cell(0, 0.869)])["methods"].values()
        assert (method["behind"], method["near"]) == (3.1, False)

    def test_other_datasets_and_protocols_are_left_out(self) -> None:
        others = [_cell(0, 0.9, dataset="there"), _cell(0, 0.9, protocol="stream")]
        assert compare(_beside(0.90, [0.5]), others)["methods"] == {}

    def test_the_page(self) -> None:
        page = render([compare(_beside(0.90, [0.8, 0.9]), [_cell(0, 0.88)])], "A word.")
        assert "| here | yes | 1,234 | 50.0 / 90.0 | 50.0 ± 0.0 / 85.0 ± 7.1 | 70.0 / 88.0 | +2.0 |" in page
        assert "at most 3 points behind the better classifier on 1 of 1 datasets" in page
        assert "A word." in page


class TestReference:
    """The classifiers on the simulated fleet."""

    def test_trained_once_and_read_afterwards(self, tmp_path: Path) -> None:
        said: list[str] = []
        split = synthetic_split()
        first = reference("fleet", split, [0], tmp_path, said.append)
        assert first.people_apart
        assert first.better > 0.8
        assert reference("fleet", split, [0], tmp_path, said.append) == first
        assert len(said) == 2
        assert len(reference("fleet", split, [0, 1], tmp_path, said.append).forest.acc) == 2

    def test_a_file_that_is_something_else(self, tmp_path: Path) -> None:
        (tmp_path / "fleet.json").write_text('{"acc": 1}')
        with pytest.raises(DataError, match="does not hold figures of classifiers"):
            reference("fleet", synthetic_split(), [0], tmp_path, lambda _what: None)


def test_the_command(command_line: CommandLine, tmp_path: Path) -> None:
    write_windows(tmp_path / "mine.npz", synthetic_split(), dataset="fleet")
    page = tmp_path / "page.md"
    arguments = ["benchmark", "supervised", "--dataset", str(tmp_path / "mine.npz"), "--method", "kmeans"]
    places = ["--out", str(tmp_path / "out"), "--cells", str(tmp_path / "cells"), "--page", str(page)]
    found = command_line(*arguments, *places, "--seeds", "0", "--json")
    assert found.returncode == 0, found.stderr
    (row,) = json.loads(found.stdout)["rows"]
    assert row["dataset"] == "mine.npz"
    assert row["methods"]["k-Means"]["behind"] > 0
    assert "| mine.npz |" in page.read_text()
