"""``disc-stream demo`` as a stranger runs it: a process, with a small model and little time."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import pytest

from disc_stream.localbroker.ports import port_taken
from tests.support.broker import free_port

SMALL = ("--devices", "3", "--minutes", "0.5", "--train-epochs", "1", "--clusters", "4")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tests of this file keep the model; the first to need it learns it."""
    return tmp_path_factory.mktemp("cache")


def demo(cache: Path, *options: str, small: tuple[str, ...] = SMALL) -> tuple[dict[str, Any], str]:
    """Run a demo to its end; its summary and what it said."""
    broker_port = free_port()
    result = subprocess.run(
        [
            sys.executable, "-m", "disc_stream", "demo", *small, "--json",
            "--cache", str(cache), "--broker-port", str(broker_port), *options,
        ],
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    assert not port_taken(broker_port)
    summary: dict[str, Any] = json.loads(result.stdout)
    return summary, result.stderr


def require_complete(summary: dict[str, Any], *, devices: int = 3) -> None:
    """Nothing lost, every window labelled exactly once, and a figure for everything."""
    assert summary["devices"] == devices
    assert summary["messages"]["sent"] > 0
    assert summary["messages"]["received"] == summary["messages"]["sent"]
    assert summary["messages"]["lost"] == summary["messages"]["rejected"] == 0
    assert summary["windows"] > 0
    assert summary["labels"] == {
        "expected": summary["windows"], "received": summary["windows"], "missing": 0, "duplicates": 0
    }  # fmt: skip
    latency = summary["latency_ms"]
    assert 0 < latency["p50"] <= latency["p99"] <= latency["max"]
    assert summary["throughput"]["labels_per_s"] > 0
    for kind in ("raw", "smoothed"):
        scores = summary["agreement"][kind]
        assert 0 <= scores["acc"] <= 1
        assert 0 <= scores["nmi"] <= 1


@pytest.mark.broker
def test_headless_nothing_is_lost_and_the_second_start_uses_the_kept_model(cache: Path) -> None:
    first, said = demo(cache, "--duration", "10", "--retrain")
    require_complete(first)
    # 50 samples/s in messages of 25, for 10 s; the devices start within half a second of each other.
    assert 3 * 17 <= first["messages"]["sent"] <= 3 * 20
    assert first["broker"]["kind"] == "mosquitto"
    assert first["model"]["reused"] is False
    assert first["model"]["training_s"] > 0
    assert first["model"]["parity"]["labels_equal"] > 0.99  # a tie may fall either way
    assert first["model"]["windows"] == 3 * 22  # half a minute each, in whole windows of 2.56 s
    assert first["model"]["labelled"] == 3 * 23  # a window's first half is enough for its label
    assert "unlabelled motion of 3 devices" in said
    assert "the acceptance gate" in said

    second, said = demo(cache, "--duration", "3", "--speed", "10")
    require_complete(second)
    assert second["model"]["reused"] is True
    assert second["model"]["version"] == first["model"]["version"]
    assert second["model"]["labelled"] == first["model"]["labelled"]
    assert "Using the model kept in" in said


def test_without_mosquitto_the_embedded_broker_does_for_a_first_look(cache: Path, tmp_path: Path) -> None:
    usual, _ = demo(cache, "--duration", "1")
    summary, said = demo(tmp_path, "--duration", "3", "--speed", "4", "--embedded-broker")
    assert summary["model"]["reused"] is False
    assert summary["model"]["version"] == usual["model"]["version"]  # the seed decides, not the way there
    require_complete(summary)
    assert summary["broker"]["kind"] == "embedded"
    assert "first look only" in said
    assert summary["broker"]["notice"] in said


@pytest.mark.broker
def test_recordings_are_replayed_again_and_again(tmp_path: Path, cache: Path) -> None:
    rows = "".join(f"{i / 50:.2f},{(i % 40) / 40:.3f},{(i % 7) / 7:.3f},1.0\n" for i in range(1_500))
    for name in ("left", "right"):
        file = tmp_path / f"{name}.csv"
        file.write_text("t,acc_x[g],acc_y[g],acc_z[g]\n" + rows, encoding="utf-8")
    summary, said = demo(
        cache, "--duration", "4", "--speed", "20",
        "--replay", str(tmp_path / "left.csv"), "--replay", str(tmp_path / "right.csv"),
    )  # fmt: skip
    assert "2 replayed recordings" in said
    assert summary["messages"]["lost"] == summary["labels"]["missing"] == 0
    assert summary["agreement"] is None  # the files know no activities
    # Thirty seconds each at twentyfold speed last one and a half: they began again.
    assert summary["messages"]["sent"] > 2 * 60


@pytest.mark.broker
@pytest.mark.long
def test_a_new_activity_is_unknown_and_gets_an_id_of_its_own(tmp_path: Path) -> None:
    summary, said = demo(
        tmp_path, "--devices", "8", "--minutes", "4", "--clusters", "7", "--new-activity", "lying",
        "--duration", "100", "--speed", "3", small=(),
    )  # fmt: skip
    require_complete(summary, devices=8)
    act = summary["new_activity"]
    assert act["before"]["unknown"] > 0.5
    assert act["before"]["others_unknown"] < 0.2
    assert act["retraining"]["promoted"]
    assert act["after"]["with_own_id"] > 0.5
    assert act["after"]["others_with_own_id"] < 0.05
    assert act["after"]["others_changed"] < 0.02
    assert act["named"]["kept"]
    assert "passed the gate" in said


def test_a_new_activity_that_nobody_can_do_is_one_line() -> None:
    for options, words in (
        (("--new-activity", "swimming"), "walking, stairs up"),
        (("--new-activity", "lying", "--replay", "hapt:user01"), "simulated wearables"),
        (("--new-activity", "lying", "--train-epochs", "3"), "disc-plus"),
    ):
        result = subprocess.run(
            [sys.executable, "-m", "disc_stream", "demo", *options],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert result.returncode == 2
        assert words in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.broker
def test_until_a_signal_with_page_and_lines_and_then_nothing_is_left(cache: Path) -> None:
    page, broker = free_port(), free_port()
    command = [sys.executable, "-m", "disc_stream", "demo", *SMALL, "--cache", str(cache)]
    with subprocess.Popen(
        [*command, "--port", str(page), "--broker-port", str(broker), "--speed", "5"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        first = next(line for line in process.stdout if " window " in line)
        assert first.startswith("wearable-00")
        children = psutil.Process(process.pid).children(recursive=True)
        assert any("mosquitto" in child.name() for child in children)
        with urllib.request.urlopen(f"http://127.0.0.1:{page}/api/state", timeout=10) as answer:
            state = json.load(answer)
        assert len(state["devices"]) == 3
        assert "nothing was learned from it" in state["page"]["notice"]
        with urllib.request.urlopen(f"http://127.0.0.1:{page}/", timeout=10) as answer:
            assert b"app/main.js" in answer.read(), "the dashboard, and not the page of cards"
        with urllib.request.urlopen(f"http://127.0.0.1:{page}/api/v1/health", timeout=10) as answer:
            health = json.load(answer)
        assert health["notice"] == state["page"]["notice"]
        assert health["devices"] == 3
        assert health["retraining"]
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert "Traceback" not in said
    assert " 0 lost" in out
    assert not port_taken(page)
    assert not port_taken(broker)
    assert not psutil.wait_procs(children, timeout=5)[1]


@pytest.mark.broker
def test_stopped_while_learning_leaves_nothing(tmp_path: Path) -> None:
    broker, cache, scratch = free_port(), tmp_path / "cache", tmp_path / "scratch"
    scratch.mkdir()
    with subprocess.Popen(
        [
            sys.executable, "-m", "disc_stream", "demo", "--devices", "2", "--minutes", "2",
            "--train-epochs", "1000", "--cache", str(cache), "--no-page", "--broker-port", str(broker),
        ],
        stderr=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(scratch)},
    ) as process:  # fmt: skip
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("Learning from"):
                break
        deadline = time.monotonic() + 60
        while not list(scratch.glob("*/state/retraining/run/checkpoint")) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        said = process.stderr.read()
        assert process.wait(60) == 130
    assert "Traceback" not in said
    assert list(cache.iterdir()) == list(scratch.glob("disc-stream-demo-*")) == []
    assert not port_taken(broker)


def test_an_occupied_page_port_is_one_line_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        result = subprocess.run(
            [sys.executable, "-m", "disc_stream", "demo", "--port", str(port), "--cache", str(tmp_path)],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
    assert result.returncode == 1
    assert result.stderr.strip().splitlines() == [
        f"error: port {port} on 127.0.0.1 is already in use. Choose another one, or stop what listens there"
    ]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.broker
def test_a_cache_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    result = subprocess.run(
        [
            sys.executable, "-m", "disc_stream", "demo", *SMALL, "--no-page", "--cache", str(file),
            "--duration", "1",
        ],
        capture_output=True, text=True, timeout=120, check=False, env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip
    assert result.returncode == 2
    assert "cannot be kept" in result.stderr
    assert "--cache" in result.stderr
    assert "Traceback" not in result.stderr
