"""``disc-stream benchmark adapt``: folds of people, gains, harm, the command."""

from __future__ import annotations

import json

import numpy as np
import pytest

from disc_stream.benchmarks.adapt import WAYS, Plan, _gains, _most_often, _smoothed, helps, measure
from disc_stream.benchmarks.continuity_quick import synthetic_split
from disc_stream.clustering.smoothing import filter_sequence
from disc_stream.errors import UsageError
from tests.support.commandline import CommandLine


class TestMeasures:
    """What they say of cases that are plain."""

    def test_gains_over_folds_and_people_and_who_loses(self) -> None:
        def way(nmi: float, right: list[float]) -> dict[str, object]:
            return {"nmi": nmi, "acc": nmi, "right": right, "nmi_of_people": right}

        folds = [
            {"ways": {"raw": way(0.5, [0.5, 0.6]), "adapted": way(0.6, [0.7, 0.595])}},
            {"ways": {"raw": way(0.5, [0.8, 0.9]), "adapted": way(0.4, [0.9, 0.7])}},
        ]
        found = _gains(folds, "raw", "adapted")
        assert found["nmi"]["mean"] == pytest.approx(0.0)
        assert found["nmi"]["sd"] == pytest.approx(np.sqrt(0.02))
        assert (found["nmi"]["least"], found["nmi"]["most"]) == pytest.approx((-0.1, 0.1))
        assert found["right"]["mean"] == pytest.approx((0.2 - 0.005 + 0.1 - 0.2) / 4)
        assert (found["people_who_lose"], found["people_who_gain"]) == (0.25, 0.5)

    def test_it_helps_only_if_both_measures_gain(self) -> None:
        def gain(nmi: float, right: float) -> dict[str, object]:
            return {"nmi": {"mean": nmi}, "right": {"mean": right}}

        def report(nmi: float, right: float, whole: float = 0.01) -> dict[str, object]:
            return {"gains": {"adapting_too": gain(nmi, right), "adapting_whole": gain(whole, 0.01)}}

        assert helps(report(0.01, 0.01))
        assert not helps(report(0.01, -0.001))
        assert not helps(report(0.0, 0.01))
        assert not helps(report(0.01, 0.01, whole=-0.01))

    def test_the_activity_of_a_cluster(self) -> None:
        found = _most_often(np.array([0, 0, 0, 2]), np.array([3, 3, 1, 0]), 3)
        assert found.tolist() == [3, -1, 0]

    def test_smoothing_begins_anew_with_every_recording(self) -> None:
        windows = synthetic_split().train
        windows = windows.select(np.arange(len(windows)) % 70 == 0)
        alone = np.tile([[0.6, 0.4], [0.45, 0.55]], (len(windows), 1))[: len(windows)]
        new = np.flatnonzero(np.diff(windows.group) != 0) + 1
        found = _smoothed(alone, windows, filter_sequence, {"stay": 0.9, "exponent": 1.0})
        assert len(new) > 0
        assert (found[new] == alone[new].argmax(1)).all()


def test_more_folds_than_people() -> None:
    with pytest.raises(UsageError, match="6 people of fleet cannot be dealt into 7 folds"):
        measure("fleet", synthetic_split(), Plan(folds=7))


def test_the_command_end_to_end(command_line: CommandLine) -> None:
    result = command_line("benchmark", "adapt", "--quick", "--json")
    assert result.returncode == 0, result.stderr
    (report,) = json.loads(result.stdout)["results"]
    people = [one for fold in report["folds"] for one in fold["people"]]
    assert sorted(people) == [1, 2, 3, 4, 5, 6], "everybody is left out once"
    assert set(report["scores"]) == set(WAYS)
    for fold in report["folds"]:
        for way in WAYS:
            assert 0.0 < fold["ways"][way]["nmi"] < 1.0
            assert len(fold["ways"][way]["right"]) == len(fold["people"])
    with_one, without = report["folds"][0]["ways"]["both"], report["folds"][0]["ways"]["smoothed"]
    gain = report["gains"]["adapting_too"]["nmi"]
    assert gain["least"] <= with_one["nmi"] - without["nmi"] <= gain["most"]
    assert report["rule"]["bound"] == 0.49


def test_a_bound_that_lets_clusters_meet_is_refused(command_line: CommandLine) -> None:
    result = command_line("benchmark", "adapt", "--bound", "0.6")
    assert result.returncode != 0
    assert "bound of the adaptation must be at least 0 and below a half" in result.stderr
