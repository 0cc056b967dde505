"""Training with two processes comes to what one process comes to on the same batches."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

SETTINGS = (
    "--synthetic", "--devices", "3", "--minutes", "1", "--epochs", "3", "--refine-epochs", "2",
    "--precision", "fp32", "--set", "hidden=6", "--set", "embedding=4", "--set", "decoder_hidden=6",
    "--set", "dropout=0.0",
)  # fmt: skip


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def train(out: Path, *launcher: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        *launcher,
        "-m",
        "disc_stream",
        "train",
        *SETTINGS,
        "--out",
        str(out),
        "--json",
    ]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    torchrun = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-addr", "127.0.0.1")
    alone = train(tmp_path / "alone")
    together = train(tmp_path / "together", *torchrun, "--master-port", str(free_port()))
    for done in (alone, together):
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["method"] == "DISC"  # one process alone has printed
    histories = [
        [json.loads(line) for line in (tmp_path / name / "history.jsonl").read_text().splitlines()]
        for name in ("alone", "together")
    ]
    assert len(histories[0]) == len(histories[1]) == 5
    for one, two in zip(*histories, strict=True):
        assert two["losses"] == pytest.approx(one["losses"], rel=1e-3)
    facts = [json.loads((tmp_path / name / "run.json").read_text()) for name in ("alone", "together")]
    # A window between two clusters may fall to either, since sums are taken in another order.
    moved = [abs(a - b) for a, b in zip(*(fact["cluster_sizes"] for fact in facts), strict=True)]
    assert sum(moved) <= 4
    refined = [fact["metrics"]["refined"]["test"] for fact in facts]
    assert refined[1] == pytest.approx(refined[0], abs=0.03)
