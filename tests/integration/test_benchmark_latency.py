"""``benchmark latency`` through a real Mosquitto, for a few seconds."""

from __future__ import annotations

import json
import subprocess

import pytest

from disc_stream.interpreter import python_module
from disc_stream.load.latency import STAGES


@pytest.mark.broker
def test_every_window_has_one_label_and_its_latency_is_told_by_stage() -> None:
    done = subprocess.run(
        python_module(
            "disc_stream", "benchmark", "latency", "--devices", "3", "--variant", "disc-plus",
            "--provider", "cpu", "--seconds", "4", "--settle", "4", "--limit-ms", "30000", "--json",
        ),
        capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    (step,) = report["steps"]
    assert step["provider"] == "cpu"
    assert step["windows"] > 0
    assert (step["lost"], step["twice"], step["exit_code"]) == (0, 0, 0)
    assert 0 < step["ms"]["p50"] <= step["ms"]["p99"] <= step["ms"]["max"]
    assert list(step["stages_ms"]) == list(STAGES)
    assert all(stage["max"] >= 0 for stage in step["stages_ms"].values())
    assert (report["most_devices"], report["breaks_at"]) == (3, None)
