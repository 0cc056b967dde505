"""``disc-stream benchmark segmentation``: covering, ids across recordings, streams, methods, the command."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from disc_stream.benchmarks.segmentation import SegmentationCell, split_methods
from disc_stream.benchmarks.segmentation_own import Own, label, learn
from disc_stream.benchmarks.segmentation_report import render
from disc_stream.benchmarks.segmentation_scores import covering, delay_s, score_recordings
from disc_stream.benchmarks.segmentation_streams import Streams, load_streams, scored_only
from disc_stream.benchmarks.segmenters import BASELINES, Options, averaged
from disc_stream.data.synthetic import synthetic_recordings
from disc_stream.data.types import Recording
from disc_stream.data.uniform import DatasetFacts, write_uniform
from disc_stream.data.windows import window_recordings
from disc_stream.errors import ConfigError, DataError
from tests.support.commandline import CommandLine

OWN = Own("disc-plus", settings={"spans": [0, 3], "restarts": 2, "moves": 5})
LIBRARIES = ("claspy", "hmmlearn", "ruptures")


def labels(text: str) -> np.ndarray:
    return np.array([ord(letter) for letter in text])


@pytest.fixture(scope="module")
def streams() -> Streams:
    return load_streams("synthetic", None, quick=True)


def hide_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    really = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name in LIBRARIES else really(name, *rest)
    )


class TestCovering:
    """Against what a calculation by hand gives."""

    @pytest.mark.parametrize(
        ("truth", "found", "expected"),
        [
            ("aabb", "xxyy", 1.0),
            ("aabb", "xxxx", 0.5),  # each half of two: 2/4, twice
            ("aabb", "wxyz", 0.5),  # a quarter each: 1/2 of either half
            ("aaab", "xxyy", 0.625),  # 3 · 2/3 + 1 · 1/2, over 4
            ("aba", "xxx", 1 / 3),  # the second a is a segment of its own
            ("aabbbbaa", "xxxyyyxx", (2 * 2 / 3 + 4 * 3 / 4 + 2 * 1) / 8),
            ("a", "x", 1.0),
        ],
    )
    def test_by_hand(self, truth: str, found: str, expected: float) -> None:
        assert covering(labels(truth), labels(found)) == pytest.approx(expected)

    def test_it_is_of_the_true_segments(self) -> None:
        many, one = labels("aaaabcde"), labels("xxxxxxxx")
        assert covering(many, one) == pytest.approx((4 * 4 / 8 + 4 * 1 / 8) / 8)
        assert covering(one, many) == pytest.approx(0.5)

    @pytest.mark.parametrize("found", ["", "xy"])
    def test_other_lengths(self, found: str) -> None:
        with pytest.raises(ValueError, match="equally long"):
            covering(labels("aab"), labels(found))


class TestScores:
    """Over several recordings."""

    def test_ids_that_mean_the_same_everywhere_count_together(self) -> None:
        truths = [np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0])]
        same = score_recordings(
            truths, [np.array([5, 5, 3, 3]), np.array([3, 3, 5, 5])], [0, 1], one_set=True
        )
        assert same["together"] == pytest.approx({"ami": 1.0, "nmi": 1.0, "acc": 1.0})

    def test_ids_that_begin_anew_do_not(self) -> None:
        truths = [np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0])]
        found = [np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1])]
        anew = score_recordings(truths, found, [0, 1], one_set=False)
        assert anew["each"] == pytest.approx({"ami": 1.0, "nmi": 1.0, "acc": 1.0, "covering": 1.0})
        assert anew["matched"] == 1.0
        assert anew["together"]["acc"] == 0.5
        assert anew["together"]["nmi"] == pytest.approx(2 / 3)  # 2 ln 2 / (ln 2 + ln 4)
        confused = score_recordings(truths, found, [0, 1], one_set=True)
        assert confused["together"]["nmi"] == pytest.approx(0.0, abs=1e-9)

    def test_what_is_not_scored_is_left_out_and_counted_apart(self) -> None:
        truth, found = labels("aattbb"), labels("xxxyyy")
        scores = score_recordings([truth], [found], labels("ab").tolist(), one_set=True)
        assert scores["each"]["covering"] == 1.0
        assert scores["everything"]["covering"] == pytest.approx((2 / 3 + 1 / 4 + 2 / 3) / 3)

    def test_a_recording_without_scored_motion(self) -> None:
        truths = [np.array([-1, -1]), np.array([0, 1])]
        scores = score_recordings(truths, [np.array([4, 4]), np.array([0, 1])], [0, 1], one_set=True)
        assert len(scores["recordings"]) == 1

    def test_the_delay_is_the_rest_of_the_recording(self) -> None:
        assert delay_s([3], 2.0, causal=False) == 2.0  # 4, 2 and 0 seconds
        assert delay_s([3, 1], 2.0, causal=False) == 1.5
        assert delay_s([3], 2.0, causal=True) == 0.0


class TestStreams:
    """Who is held out, and what a recording is."""

    def test_nobody_is_in_both_parts(self, streams: Streams) -> None:
        assert not set(streams.people) & set(streams.train.subject.tolist())
        assert [len(rows) for rows in streams.rows] == [139, 139]

    def test_trials_of_one_activity_are_laid_end_to_end(self, tmp_path: Path) -> None:
        parts = [_part(person, label) for person in (1, 2) for label in (0, 1)]
        write_uniform(tmp_path / "mine.npz", parts, DatasetFacts("mine", 2, 1.28))
        found = load_streams(str(tmp_path / "mine.npz"), None)
        assert (found.joined, found.people, len(found.held)) == (True, [2], 1)
        assert len(found.held[0].samples) == sum(len(part.samples) for part in parts[2:])
        assert np.diff(found.windows.y).nonzero()[0].size == 1

    def test_one_person(self, tmp_path: Path) -> None:
        write_uniform(tmp_path / "mine.npz", [_part(1, 0)], DatasetFacts("mine", 2))
        with pytest.raises(DataError, match="has one person only"):
            load_streams(str(tmp_path / "mine.npz"), None)

    def test_learning_from_scored_motion(self, streams: Streams) -> None:
        two = scored_only(replace(streams, scored=(0, 5)))
        assert set(two.train.y.tolist()) == {0, 5}
        assert len(two.windows) == len(streams.windows), "what is labelled stays whole"


def _part(person: int, label: int) -> Recording:
    (one,) = synthetic_recordings(1, 10.0, seed=person)
    return replace(
        one, name=f"p{person}-{label}", subject=person, labels=np.full(len(one.labels), label, dtype=np.int16)
    )


class TestMethods:
    """What they are given, and what they give."""

    def test_our_causal_labels_know_nothing_of_what_follows(self, streams: Streams) -> None:
        learned = learn(streams, OWN, 0)
        half = [replace(one, samples=one.samples[:4500], labels=one.labels[:4500]) for one in streams.held]
        begun = replace(streams, held=half, windows=window_recordings(half, streams.plan))
        whole, part = label(streams, learned, OWN), label(begun, learned, OWN)
        for longer, shorter in zip(whole["causal"], part["causal"], strict=True):
            assert 60 < len(shorter) < len(longer)
            assert np.array_equal(longer[: len(shorter)], shorter)

    def test_samples_are_averaged(self) -> None:
        samples = np.arange(14, dtype=np.float32).reshape(7, 2)
        assert averaged(samples, 3).tolist() == [[2, 3], [8, 9]]

    def test_claps_states_become_labels_of_windows(
        self, streams: Streams, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given: list[tuple[int, ...]] = []
        changes = [1125]

        class Detection:
            def __init__(self, **_settings: object) -> None: ...

            def fit_predict(self, samples: np.ndarray, change_points: np.ndarray) -> np.ndarray:
                given.append(samples.shape)
                return 1 + (np.arange(len(samples)) >= change_points[0])

        class Segmentation:
            def __init__(self, **_settings: object) -> None: ...

            def fit_predict(self, _samples: np.ndarray) -> np.ndarray:
                return np.array(changes)

        detection, segmentation = ModuleType("claspy.state_detection"), ModuleType("claspy.segmentation")
        detection.AgglomerativeCLaPDetection = Detection  # type: ignore[attr-defined]
        segmentation.BinaryClaSPSegmentation = Segmentation  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "claspy", ModuleType("claspy"))
        monkeypatch.setitem(sys.modules, "claspy.state_detection", detection)
        monkeypatch.setitem(sys.modules, "claspy.segmentation", segmentation)
        first, second = BASELINES["clap"].learn(streams, Options(clap_hz=12.5))()
        assert given == [(2250, 6)] * 2
        assert (
            first.tolist() == second.tolist() == [1] * 70 + [2] * 69
        )  # window 69 has 84 of its samples before 4500
        changes.clear()
        first, _ = BASELINES["clap"].learn(streams, Options())()
        assert first.tolist() == [0] * 139, "without a change there is one state"
        assert len(given) == 2

    @pytest.mark.parametrize("name", BASELINES)
    def test_labels_of_every_window(self, streams: Streams, name: str) -> None:
        baseline = BASELINES[name]
        if baseline.library:
            pytest.importorskip(baseline.library)
        streams = _shortened(streams)
        found = baseline.learn(streams, Options())()
        assert [len(one) for one in found] == [len(rows) for rows in streams.rows]

    def test_names(self) -> None:
        assert split_methods(["disc", "kmeans"]) == (["disc"], ["kmeans"])
        with pytest.raises(ConfigError, match="unknown method 'clop'"):
            split_methods(["clop"])


def _shortened(streams: Streams) -> Streams:
    held = [replace(one, samples=one.samples[:1500], labels=one.labels[:1500]) for one in streams.held]
    return replace(streams, held=held, windows=window_recordings(held, streams.plan))


def test_the_command(command_line: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hide_libraries(monkeypatch)
    page = tmp_path / "page.md"
    words = ["benchmark", "segmentation", "--quick", "--json", "--out", tmp_path / "out", "--page", page]
    result = command_line(*words)
    assert result.returncode == 0, result.stderr
    said = json.loads(result.stdout)
    assert said["not_installed"] == ["clap", "pelt-kmeans", "hmm", "hmm-shared"]
    assert "not installed: claspy, hmmlearn, ruptures" in result.stderr
    cells = [SegmentationCell.model_validate(one) for one in said["results"]]
    assert [cell.method for cell in cells] == ["disc-plus", "kmeans"]
    causal, whole = cells[0].rows["causal"], cells[0].rows["whole"]
    assert (causal.delay_s, whole.delay_s) == pytest.approx((0.0, 138 * 1.28 / 2))
    assert 0.3 < causal.each["ami"] < 1.0
    assert "| disc-plus | causal | yes | 0 |" in page.read_text()
    assert render(cells, "") == page.read_text()
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.json")}
    assert command_line(*words).stdout == result.stdout, "finished figures are kept"
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.json")} == written


def test_a_method_that_fails_is_said_and_the_others_go_on(
    command_line: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_streams: Streams, _options: Options) -> None:
        raise ValueError("too short")

    monkeypatch.setitem(BASELINES, "hmm", replace(BASELINES["hmm"], library="", learn=fails))
    words = ["benchmark", "segmentation", "--quick", "--method", "hmm", "--method", "kmeans"]
    result = command_line(*words, "--out", tmp_path)
    assert result.returncode == 1
    assert "failed: hmm on synthetic: too short" in result.stderr
    assert "k-means, other people's (causal)" in result.stdout


def test_a_wrong_setting_is_said_first(command_line: CommandLine, tmp_path: Path) -> None:
    result = command_line("benchmark", "segmentation", "--set", "spams=1", "--out", tmp_path)
    assert result.returncode == 2
    assert "spams" in result.stderr
