"""The training benchmark: its reference is the same network, and its figures add up."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from disc_stream.benchmarks.training_speed import measure, training_flops
from disc_stream.errors import ConfigError
from disc_stream.training.presets import resolve

TINY = {"hidden": 6, "decoder_hidden": 6, "embedding": 4, "batch_size": 8}


def windows(n: int = 20) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, 12, 3)).astype(np.float32)


def test_operations_are_counted_by_hand() -> None:
    config = resolve("released", {"hidden": 2, "decoder_hidden": 2, "layers": 1, "decoder_layers": 1})
    # A step: 2 directions of 3·2·(3 + 2), 2 decoders of 3·2·(3 + 2) + 2·3; a product is a multiplication and
    # an addition; 4 steps; backwards is twice forwards.
    assert training_flops(config.network, 8, 3) == 3 * 2 * 4 * (2 * 30 + 2 * (30 + 6))  # type: ignore[arg-type]


def test_figures_add_up() -> None:
    facts = measure(windows(), resolve("released", TINY), rounds=2, device_name="cpu")
    assert facts["measured_batches"] == 2
    assert facts["batches_per_epoch"] == 3
    ours, eager = facts["ours"], facts["eager_fp32"]
    assert ours["batch_s_min"] <= ours["batch_s_median"] <= ours["batch_s_max"]
    assert ours["epoch_s"] == pytest.approx(3 * ours["batch_s_median"])
    assert facts["ratio"] == pytest.approx(eager["batch_s_median"] / ours["batch_s_median"])
    assert facts["windows_per_s"] == pytest.approx(8 / ours["batch_s_median"])
    assert 0 < facts["share_of_peak"] == pytest.approx(facts["gflop_per_s"] / facts["peak_gflop_per_s"])


def test_shapes_without_a_reference_are_refused() -> None:
    with pytest.raises(ConfigError, match="the reference is written for the layout 'channels'"):
        measure(windows(), resolve("small"), rounds=1, device_name="cpu")


def test_the_command_prints_json() -> None:
    settings = [part for name, value in TINY.items() for part in ("--set", f"{name}={value}")]
    command = [
        sys.executable,
        "-m",
        "disc_stream",
        "benchmark",
        "train",
        "--batches",
        "1",
        "--json",
        *settings,
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin", "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["dataset"] == "noise"
    assert facts["windows"] == 7352
    assert facts["ratio"] > 0
