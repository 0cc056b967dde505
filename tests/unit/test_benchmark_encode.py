"""``benchmark encode`` and the parts of ``benchmark gpu``: what the figures mean."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from disc_stream.benchmarks import accelerator
from disc_stream.benchmarks.encode import Grid, flop_per_window, measure, windows_like
from disc_stream.benchmarks.timing import Effort, fastest
from disc_stream.load.publisher import CHANNELS
from disc_stream.load.untrained import PLUS, untrained, variants
from disc_stream.training.events import BatchEvent
from disc_stream.training.plus.searchlog import PHASE
from tests.support.commandline import CommandLine

QUICK = Effort(rounds=1, seconds=0.0)


def test_the_fastest_round_counts() -> None:
    now = iter([0.0, 5.0, 10.0, 12.0, 20.0, 29.0])

    class Clock(Effort):
        def now(self) -> float:
            return next(now)

    assert fastest({"a": lambda: None}, Clock(rounds=3, seconds=0.0)) == {"a": 2.0}


def test_after_the_deadline_nothing_begins() -> None:
    runs: list[int] = []
    effort = Effort(deadline=time.monotonic() - 1)
    assert fastest({"a": lambda: runs.append(1)}, effort) == {}
    assert runs == []


@pytest.mark.parametrize("variant", ["small", "guided-micro", "guided-micro-whole", PLUS])
def test_an_untrained_bundle_is_its_network(variant: str, tmp_path: Path) -> None:
    subject = untrained(variant, tmp_path / "bundle", CHANNELS)
    report = measure([subject], Grid(["cpu"], [1, 3], QUICK))
    x = windows_like(subject.bundle, 64)
    assert subject.net is not None
    with torch.inference_mode():
        _, q, _ = subject.net(torch.from_numpy(x))
    from disc_stream.artifacts.runtime import OnnxEncoder

    found = OnnxEncoder(subject.bundle, "cpu", threads=1).encode(x)
    np.testing.assert_allclose(found.q, q.numpy(), atol=1e-4)
    assert [(row["runtime"], row["batch"]) for row in report["rows"]] == [
        ("cpu", 1), ("torch", 1), ("cpu", 3), ("torch", 3)
    ]  # fmt: skip
    assert [row["ratio"] for row in report["rows"] if row["runtime"] == "cpu"] == [1.0, 1.0]
    assert all(row["windows_per_s"] > 0 and row["share_of_peak"] > 0 for row in report["rows"])


def test_every_preset_is_a_variant() -> None:
    assert {"paper", "released", "small", "guided", "guided-whole", "guided-tiny-whole", PLUS} <= set(
        variants()
    )


def test_the_operations_are_those_of_the_recurrence(tmp_path: Path) -> None:
    """Two layers of two directions with 64 units, eight samples a step: 8 steps for half a window."""
    subject = untrained("small", tmp_path / "bundle", CHANNELS)
    layers = sum(2 * 3 * 64 * (inputs + 64) for inputs in (8 * len(CHANNELS), 128))
    assert flop_per_window(subject.bundle) == pytest.approx(2 * 8 * layers, rel=0.05)


def test_guided_variants_read_half_a_window_or_the_whole(tmp_path: Path) -> None:
    inputs, work = [], []
    for name in ("guided-micro", "guided-micro-whole"):
        bundle = untrained(name, tmp_path / name, CHANNELS).bundle
        inputs.append(bundle.manifest.window.input_samples)
        work.append(flop_per_window(bundle))
    assert inputs == [64, 128]
    assert work[1] == pytest.approx(2 * work[0], rel=0.1)


def test_without_a_gpu_the_processor_is_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerator, "_SECONDS", 20.0)
    monkeypatch.setattr(accelerator, "_MOST", 2)
    found = accelerator._train("small", "fp32", time.monotonic() + 60)
    assert found["device"] == "cpu"
    assert found["steps"] == 2
    assert found["windows_per_s"] > 0
    assert found["gflop_per_window"] > 0
    if not torch.cuda.is_available():
        steps = accelerator.steps(lambda name: pytest.fail(f"{name} was made"))
        skipped = {step.name for step in steps if step.skipped}
        assert "parity" in skipped
        assert "train released tf32" in skipped


def test_a_search_is_no_step_of_a_training() -> None:
    watch = accelerator._Watch(torch.device("cpu"), time.monotonic() + 60)
    for n in range(1, 20):
        watch(BatchEvent(PHASE, 1, 1, n, 1100))
    assert watch.counted == 0
    for n in range(1, 6):
        watch(BatchEvent("guided", 1, 3, n, 7))
    assert (watch.counted, watch.n_batches, watch.phase) == (2, 7, "guided")


def test_the_commands_give_json(tmp_path: Path, command_line: CommandLine) -> None:
    done = command_line(
        "benchmark", "encode", "--variant", "small", "--batches", "2", "--rounds", "1", "--seconds", "0",
        "--threads", "1", "--provider", "cpu", "--json",
    )  # fmt: skip
    assert json.loads(done.stdout)["reference"] == "small by cpu"
    out = tmp_path / "gpu.json"
    done = command_line("benchmark", "gpu", "--time-limit", "1", "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads(out.read_text())
    assert json.loads(done.stdout)["skipped"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--variant", "huge"], "there is no variant 'huge'"),
        (["--batches", "0,1"], "is not a list of sizes"),
        (["--provider", "tpu"], "there is no provider 'tpu'"),
        (["--clock", "sun"], "there is no clock 'sun'"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    options: list[str], message: str, command_line: CommandLine
) -> None:
    done = command_line("benchmark", "encode", *options)
    assert done.returncode == 2
    assert message in done.stderr
