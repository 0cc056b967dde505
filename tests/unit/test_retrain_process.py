"""The process of a retraining: what it says is heard, its limits hold, and it ends when it is to."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from disc_stream.config import RetrainConfig, load_serve_config
from disc_stream.interpreter import python_module
from disc_stream_server.retraining.process import (
    REJECTED,
    Ended,
    Limits,
    RetrainProcess,
    retrain_command,
)
from disc_stream_server.retraining.supervisor import outcome_of

ROOMY = Limits(2**33, grace_s=20.0)
READY = 'import json, sys, signal, threading; print(json.dumps({"event": "progress"}), flush=True); '


class Running:
    """A small Python program in the place of the retraining, until it is ready."""

    def __init__(self, program: str, limits: Limits = ROOMY) -> None:
        self.ready = threading.Event()
        self.lines: list[dict[str, Any]] = []
        self.process = RetrainProcess([sys.executable, "-c", program], limits, self._hear)
        self.ended: Ended | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _hear(self, line: dict[str, Any]) -> None:
        self.lines.append(line)
        self.ready.set()

    def _run(self) -> None:
        self.ended = self.process.run()

    def wait(self) -> Ended:
        self._thread.join(60)
        assert self.ended is not None
        return self.ended


def test_its_lines_are_heard_and_the_last_is_the_outcome() -> None:
    done = '{"event": "done", "promoted": true, "number": 3, "gate": []}'
    ended = Running(
        f"print('{{\"event\": \"progress\", \"done\": 1}}'); print('noise'); print('{done}')"
    ).wait()
    assert (ended.code, ended.stopped, ended.error) == (0, "", "")
    assert outcome_of(ended) == {"outcome": "promoted", "number": 3, "peak_mib": ended.peak_bytes >> 20}


def test_what_it_said_of_its_failure_is_kept() -> None:
    ended = Running("import sys; print('error: no windows. Wait', file=sys.stderr); sys.exit(1)").wait()
    assert outcome_of(ended)["outcome"] == "failed"
    assert (ended.code, ended.error) == (1, "no windows. Wait")
    rejected = Ended(REJECTED, {"event": "done", "promoted": False, "rejected": "collapse"}, "")
    assert outcome_of(rejected)["outcome"] == "rejected"


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (signal.SIGKILL, "it was ended by SIGKILL: has the machine run out of memory?"),
        (signal.SIGSEGV, "it was ended by SIGSEGV"),
    ],
)
def test_one_that_is_killed_says_so_and_not_what_it_did_before(number: signal.Signals, says: str) -> None:
    words = "import os, sys; print('INFO going on with the retraining', file=sys.stderr, flush=True); "
    ended = Running(f"{words}os.kill(os.getpid(), {int(number)})").wait()
    assert outcome_of(ended) == {"outcome": "failed", "error": says, "peak_mib": ended.peak_bytes >> 20}


def test_it_is_stopped_before_it_takes_all_memory() -> None:
    limits = Limits(150 * 2**20, grace_s=20.0)
    running = Running(READY + "x = bytearray(400 << 20); threading.Event().wait()", limits)
    ended = running.wait()
    assert ended.stopped == "memory"
    assert ended.peak_bytes > limits.memory_bytes
    assert "more than 150 MiB" in ended.error
    assert outcome_of(ended)["outcome"] == "failed"


def test_it_ends_when_it_is_asked_to() -> None:
    running = Running(READY + "threading.Event().wait()")
    assert running.ready.wait(60)
    running.process.cancel()
    ended = running.wait()
    assert (ended.code, ended.stopped) == (-signal.SIGTERM, "asked")
    assert outcome_of(ended)["outcome"] == "interrupted"


def test_one_that_does_not_listen_is_killed_after_the_grace() -> None:
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    running = Running(deaf + READY + "threading.Event().wait()", Limits(2**33, grace_s=0.2))
    assert running.ready.wait(60)
    running.process.cancel()
    assert running.wait().code == -signal.SIGKILL


def test_a_stop_before_the_start_starts_nothing() -> None:
    process = RetrainProcess([sys.executable, "-c", "raise SystemExit(9)"], ROOMY, lambda _line: None)
    process.cancel()
    ended = process.run()
    assert (ended.stopped, process.pid) == ("asked", None)


def test_a_command_that_cannot_be_started_is_a_failure_with_a_reason() -> None:
    ended = RetrainProcess(["/nonexistent/python"], ROOMY, lambda _line: None).run()
    assert outcome_of(ended)["outcome"] == "failed"
    assert "cannot be started" in ended.error


def test_its_environment_has_the_limits_of_the_configuration() -> None:
    limits = Limits.of(RetrainConfig(threads=2, gpu="none", memory_mb=512, grace_s=3))
    assert (limits.memory_bytes, limits.grace_s) == (512 * 2**20, 3)
    program = "import json, os; print(json.dumps({'event': 'done', **os.environ}))"
    ended = Running(program, limits).wait()
    assert ended.done is not None
    assert (ended.done["OMP_NUM_THREADS"], ended.done["CUDA_VISIBLE_DEVICES"]) == ("2", "")
    assert "CUDA_VISIBLE_DEVICES" not in Limits.of(RetrainConfig()).environment


@pytest.mark.skipif(not Path("/proc/self/oom_score_adj").exists(), reason="Linux only")
def test_the_kernel_takes_it_before_the_server() -> None:
    running = Running(READY + "threading.Event().wait()")
    assert running.ready.wait(60)
    text = Path(f"/proc/{running.process.pid}/oom_score_adj").read_text()
    running.process.cancel()
    running.wait()
    assert int(text) > int(Path("/proc/self/oom_score_adj").read_text())


def test_the_command_says_all_that_the_configuration_says(tmp_path: Path) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text(
        "models: m\ntrusted_key: k.pem\nretrain: {settings: {hidden: 8, kind: gru}, clusters: 4, gpu: none}\n"
    )
    words = retrain_command(load_serve_config(file, {}), tmp_path, "drift: many", discard=True)
    assert words[:5] == python_module("disc_stream", "retrain")
    wanted = {
        "--models=m", f"--state={tmp_path}", "--set=hidden=8", '--set=kind="gru"', "--clusters=4",
        "--trusted-key=k.pem", "--device=cpu", "--why=drift: many", "--discard", "--until-stdin-ends",
        "--json",
    }  # fmt: skip
    assert wanted <= set(words)
