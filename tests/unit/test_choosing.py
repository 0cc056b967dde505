"""Which provider ``auto`` takes, and what it remembers of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from disc_stream.artifacts.bundle import Bundle
from disc_stream.artifacts.runtimes import choosing
from disc_stream.artifacts.runtimes.choosing import choose, windows_per_s
from disc_stream.artifacts.runtimes.opening import open_session
from disc_stream.artifacts.runtimes.session import Concrete, GraphFacts, Outputs, Session
from disc_stream.errors import ConfigError
from disc_stream.types import Float32Array
from tests.support.recurrent_bundle import write_recurrent_bundle


class Other:
    """Another runtime: onnxruntime's answers, of which some are changed."""

    buckets = ()

    def __init__(self, real: Session, provider: Concrete, wrong: int = 0, fails: bool = False) -> None:
        self._real, self.provider, self._wrong, self._fails = real, provider, wrong, fails

    def facts(self) -> GraphFacts:
        return self._real.facts()

    def run(self, x: Float32Array) -> Outputs:
        if self._fails:
            raise RuntimeError("out of memory\nat line 3")
        embedding, q, distance = self._real.run(x)
        q[: self._wrong] = np.roll(q[: self._wrong], 1, axis=1)
        return embedding, q, distance


class Bench:
    """A machine with onnxruntime and what is put beside it."""

    def __init__(self, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bundle = bundle
        self.others: dict[Concrete, Other | None] = {}
        self.speeds: Mapping[str, float] = {}
        self.measured: list[str] = []
        self.real = open_session(bundle, "cpu", 1)
        monkeypatch.setattr(choosing, "open_session", self._open)
        monkeypatch.setattr(choosing, "candidates", lambda: ["cpu", *self.others])

    def _open(self, _bundle: Bundle, provider: Concrete, _threads: int) -> Session:
        if provider == "cpu":
            return self.real
        found = self.others[provider]
        if found is None:
            raise ConfigError("the driver is too old")
        return found

    def choose(self, threads: int = 1) -> str:
        def rate(session: Session, x: Float32Array) -> float:
            assert len(x) == choosing.BATCH
            self.measured.append(session.provider)
            return self.speeds.get(session.provider, 100.0)

        return choose(self.bundle, threads, rate).provider


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_recurrent_bundle(tmp_path_factory.mktemp("bundles") / "recurrent")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "disc-stream" / "providers"


@pytest.fixture
def bench(bundle: Bundle, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(bundle, monkeypatch)


def test_the_fastest_is_taken_and_said(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.others = {
        "openvino": Other(bench.real, "openvino"),
        "openvino-bf16": Other(bench.real, "openvino-bf16"),
    }
    bench.speeds = {"cpu": 700.0, "openvino": 950.0, "openvino-bf16": 1600.0}
    with caplog.at_level(logging.INFO, "disc_stream"):
        assert bench.choose() == "openvino-bf16"
    assert "measured now" in caplog.text
    assert "openvino-bf16 1,600, openvino 950, cpu 700 windows/s" in caplog.text


def test_with_onnxruntime_alone_nothing_is_measured(bench: Bench, folder: Path) -> None:
    assert bench.choose() == "cpu"
    assert bench.measured == []
    assert not folder.exists()


def test_a_small_gain_is_not_worth_it(bench: Bench) -> None:
    bench.others = {"openvino": Other(bench.real, "openvino")}
    bench.speeds = {"openvino": 108.0}
    assert bench.choose() == "cpu"


@pytest.mark.parametrize(("wrong", "taken"), [(0, "openvino"), (1, "openvino"), (2, "cpu")])
def test_one_label_in_two_hundred_may_differ(wrong: int, taken: str, bench: Bench) -> None:
    """Of 256 probes one is 0.4 %, two are 0.8 %."""
    bench.others = {"openvino": Other(bench.real, "openvino", wrong)}
    bench.speeds = {"openvino": 900.0}
    assert bench.choose() == taken


def test_what_fails_or_does_not_open_is_not_taken(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.others = {"cuda": None, "openvino": Other(bench.real, "openvino", fails=True)}
    with caplog.at_level(logging.INFO, "disc_stream"):
        assert bench.choose() == "cpu"
    assert "cuda cannot be used: the driver is too old" in caplog.text
    assert "openvino not: it fails: out of memory" in caplog.text


def test_what_is_finite_elsewhere_is_not_taken(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Other(bench.real, "openvino")
    run = other.run
    monkeypatch.setattr(other, "run", lambda x: tuple(np.nan_to_num(one) for one in run(x)))
    bench.others, bench.speeds = {"openvino": other}, {"openvino": 900.0}
    assert bench.choose() == "cpu"


def test_the_answer_is_remembered(bench: Bench, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    bench.others = {"openvino": Other(bench.real, "openvino")}
    bench.speeds = {"openvino": 900.0}
    assert bench.choose() == "openvino"
    bench.speeds = {"openvino": 1.0}
    with caplog.at_level(logging.INFO, "disc_stream"):
        assert bench.choose() == "openvino"
    assert bench.measured == ["cpu", "openvino"]
    assert "as measured before: openvino 900, cpu 100 windows/s" in caplog.text
    assert len(list(folder.iterdir())) == 1


def test_other_threads_and_other_candidates_are_another_question(bench: Bench, folder: Path) -> None:
    bench.others = {"openvino": Other(bench.real, "openvino")}
    bench.choose(threads=1)
    bench.choose(threads=2)
    bench.others |= {"openvino-bf16": Other(bench.real, "openvino-bf16")}
    bench.choose(threads=2)
    assert len(bench.measured) == 2 + 2 + 3
    assert len(list(folder.iterdir())) == 3


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[:-20],
        lambda text: "[1, 2]",
        lambda text: text.replace("disc-stream.provider/1", "disc-stream.provider/9"),
        lambda text: text.replace('"provider": "openvino"', '"provider": "tpu"'),
        lambda text: text.replace('"provider": "openvino"', '"provider": ["openvino"]'),
        lambda text: text.replace("900.0", '"fast"'),
        lambda text: text.replace('"threads": 1', '"threads": 2'),
        lambda text: "[" * 100_000,
        lambda text: "\udcff" + text,
    ],
)
def test_a_damaged_answer_is_measured_anew(damage: object, bench: Bench, folder: Path) -> None:
    bench.others = {"openvino": Other(bench.real, "openvino")}
    bench.speeds = {"openvino": 900.0}
    bench.choose()
    (file,) = folder.iterdir()
    good = file.read_text(encoding="utf-8")
    assert callable(damage)
    file.write_bytes(damage(good).encode("utf-8", "surrogateescape"))
    assert bench.choose() == "openvino"
    assert bench.measured == ["cpu", "openvino"] * 2
    assert file.read_text(encoding="utf-8") == good


def test_what_was_fastest_and_is_gone_is_measured_anew(bench: Bench) -> None:
    bench.others = {"cuda": Other(bench.real, "cuda"), "openvino": Other(bench.real, "openvino")}
    bench.speeds = {"cuda": 9000.0, "openvino": 900.0}
    assert bench.choose() == "cuda"
    bench.others["cuda"] = None
    assert bench.choose() == "openvino"


def test_a_cache_that_cannot_be_written_is_no_error(
    bench: Bench, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "disc-stream").write_text("in the way")
    bench.others = {"openvino": Other(bench.real, "openvino")}
    bench.speeds = {"openvino": 900.0}
    with caplog.at_level(logging.INFO, "disc_stream"):
        assert bench.choose() == "openvino"
    assert "is not kept in" in caplog.text


def test_the_rate_is_that_of_the_best_batch(bundle: Bundle) -> None:
    session = open_session(bundle, "cpu", 1)
    x = np.zeros((8, 16, 3), np.float32)
    assert windows_per_s(session, x) > 0
