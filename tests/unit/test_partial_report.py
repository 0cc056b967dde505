"""Measurements in steps: what is done is kept, and the time limit holds."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from disc_stream.benchmarks.partial import Report, Step
from disc_stream.errors import ConfigError, DiscStreamError

FACTS = {"gpu": None, "torch": "2.8"}


def nothing(_what: str) -> None:
    """Not told."""


class Counted:
    """A step that counts how often it was run."""

    def __init__(self, error: Exception | None = None) -> None:
        self.runs, self._error = 0, error

    def __call__(self, _until: float) -> dict[str, Any]:
        self.runs += 1
        if self._error is not None:
            raise self._error
        return {"rate": 3.0}


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    first, second = Counted(), Counted(RuntimeError("CUDA out of memory\nsee"))
    report = Report(tmp_path / "gpu.json", "s/1", FACTS)
    found = report.run([Step("a", first), Step("b", second), Step("c", Counted(), "no GPU")], 60, nothing)
    assert found["steps"]["a"]["rate"] == 3.0
    assert found["skipped"] == {"b": "it failed: CUDA out of memory", "c": "no GPU"}
    assert json.loads((tmp_path / "gpu.json").read_text()) == found
    again = report.run([Step("a", first), Step("b", second)], 60, nothing)
    assert (first.runs, second.runs) == (1, 2)
    assert again["steps"] == found["steps"]


def test_steps_without_time_are_named_and_done_next_time(tmp_path: Path) -> None:
    step = Counted()
    report = Report(tmp_path / "gpu.json", "s/1", FACTS)
    assert "no time was left" in report.run([Step("a", step)], 0, nothing)["skipped"]["a"]
    found = report.run([Step("a", step)], 60, nothing)
    assert found["skipped"] == {}
    assert step.runs == 1


def test_a_step_that_does_not_end_is_cut_short(tmp_path: Path) -> None:
    def endless(_until: float) -> dict[str, Any]:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            pass
        return {}

    began = time.monotonic()
    found = Report(None, "s/1", FACTS).run([Step("a", endless), Step("b", Counted())], 0.2, nothing)
    assert time.monotonic() - began < 15
    assert set(found["skipped"]) == {"a", "b"}


def test_a_step_is_told_its_share_of_the_time() -> None:
    told: list[float] = []

    def step(until: float) -> dict[str, Any]:
        told.append(until - time.monotonic())
        return {}

    Report(None, "s/1", FACTS).run([Step("a", step, share=0.25)], 100, nothing)
    assert told[0] == pytest.approx(25, abs=1)


OTHERS = (
    '{"schema": "s/1", "gpu": "H200", "torch": "2.8", "steps": {}}',
    '{"schema": "s/2", "gpu": null, "torch": "2.8", "steps": {}}',
)


@pytest.mark.parametrize("text", ["", "[]", "{}", *OTHERS])
def test_a_file_of_something_else_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "gpu.json").write_text(text)
    with pytest.raises(ConfigError, match="Name another file with --out"):
        Report(tmp_path / "gpu.json", "s/1", FACTS).run([Step("a", Counted())], 60, nothing)
    assert (tmp_path / "gpu.json").read_text() == text


def test_our_own_errors_are_reasons() -> None:
    step = Step("a", Counted(DiscStreamError("no step was finished", remedy="Wait")))
    assert Report(None, "s/1", FACTS).run([step], 60, nothing)["skipped"] == {"a": "no step was finished"}
