"""``disc-stream train`` in two processes of torchrun, on the loopback interface, against one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from typer.testing import CliRunner

from disc_stream.cli.app import app
from disc_stream.errors import ConfigError
from disc_stream.training.distributed import require_shares
from disc_stream.training.fitting import infer
from disc_stream.training.runs import load_run

# Without dropout, whose masks belong to the processes, both ways of training differ by rounding alone.
SETTINGS = {
    "hidden": 6, "decoder_hidden": 6, "batch_size": 30, "dropout": 0, "tolerance": 0, "decoder_layers": 2,
    "feedback": "output",
}  # fmt: skip
TRAIN = (
    "train",
    "--synthetic",
    "--preset",
    "small",
    "--devices",
    "3",
    "--minutes",
    "1",
    "--epochs",
    "3",
    "--refine-epochs",
    "9",
)


def arguments(out: Path, **changes: Any) -> list[str]:
    settings = {**SETTINGS, **changes}
    pairs = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    return [*TRAIN, *pairs, "--out", str(out)]


@contextmanager
def two_processes(arguments: list[str]) -> Iterator[subprocess.Popen[str]]:
    """torchrun under way; it and what it started are ended afterwards."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--local-addr", "127.0.0.1",
        "--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0", "-m", "disc_stream", *arguments,
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            yield process
        finally:
            kill_all(process.pid)


def kill_all(pid: int) -> None:
    """SIGKILL for a process and all below it, as a power cut has it."""
    if not psutil.pid_exists(pid):
        return
    everything = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    for one in everything:
        one.kill()
    psutil.wait_procs(everything[1:], timeout=30)


def train_together(arguments: list[str]) -> tuple[str, str]:
    with two_processes(arguments) as process:
        stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    return stdout, stderr


def train_alone(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output or result.exception


def losses(run: Path) -> list[dict[str, float]]:
    return [json.loads(line)["losses"] for line in (run / "history.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A run of two processes, with P from every batch, and what they said."""
    out = tmp_path_factory.mktemp("together") / "run"
    return out, *train_together(arguments(out, target="batch"))


def assert_same_training(together: Path, alone: Path) -> None:
    there, here = losses(together), losses(alone)
    assert len(there) == len(here) == 12
    for one, other in zip(there, here, strict=True):
        assert one == pytest.approx(other, rel=1e-3)
    pair = [load_run(path) for path in (together, alone)]
    labels = [infer(run.net, run.samples)[1].argmax(1) for run in pair]
    assert np.mean(labels[0] == labels[1]) > 0.95


def test_two_processes_learn_what_one_learns(together: tuple[Path, str, str], tmp_path: Path) -> None:
    """Normalisation, gradients and P are those of the whole batch, of which each process has a half."""
    train_alone(arguments(tmp_path / "alone", target="batch"))
    assert_same_training(together[0], tmp_path / "alone")


def test_with_the_target_of_the_whole_set(tmp_path: Path) -> None:
    train_together(arguments(tmp_path / "together", target="set"))
    train_alone(arguments(tmp_path / "alone", target="set"))
    assert_same_training(tmp_path / "together", tmp_path / "alone")


def test_one_process_speaks_and_writes(together: tuple[Path, str, str]) -> None:
    out, stdout, stderr = together
    assert stdout.count("run written to") == 1
    assert stderr.count("autoencoder 2/3") == 1
    assert not (out / "checkpoint").exists()
    assert not [path.name for path in out.iterdir() if path.name.endswith(".tmp")]


def test_killed_and_resumed_ends_as_if_it_had_not_been(
    together: tuple[Path, str, str], tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    with two_processes(arguments(out, target="batch")) as process:
        assert process.stderr is not None
        assert any("refinement 1/9" in line for line in process.stderr)
        kill_all(process.pid)
    assert not (out / "run.json").exists()
    train_together([*arguments(out, target="batch"), "--resume"])
    assert losses(out) == losses(together[0])
    model = "model.safetensors"
    assert (out / model).read_bytes() == (together[0] / model).read_bytes()


def test_a_batch_needs_a_window_for_each_process() -> None:
    require_shares(90, 3)
    with pytest.raises(ConfigError, match="a batch of 0 windows cannot be shared by 1 processes"):
        require_shares(1, 2)
