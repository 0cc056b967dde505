"""What lies in the working directory is data: no process of ours imports it."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from disc_stream.load.processes import read_line, spawn
from tests.support.broker import Mosquitto
from tests.support.tiny_bundle import write_tiny_bundle

ROOTS = ("disc_stream", "server", "edge", "export")
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with modules named as ours and as Python's; importing one leaves a mark."""
    folder = tmp_path / "trap"
    folder.mkdir()
    for name in ("json", "logging", "threading", "numpy", "disc_stream", "disc_stream_server"):
        (folder / f"{name}.py").write_text("open(__file__ + '.ran', 'w').close()\nraise SystemExit(99)\n")
    monkeypatch.chdir(folder)
    return folder


def ran(trap: Path) -> list[str]:
    return sorted(file.name for file in trap.glob("*.ran"))


@pytest.fixture
def mosquitto(tmp_path: Path) -> Mosquitto:
    folder = tmp_path / "mosquitto"
    folder.mkdir()
    return Mosquitto(folder)


@pytest.mark.broker
def test_the_server_and_its_receiver_run_nothing_of_it(
    trap: Path, tmp_path: Path, mosquitto: Mosquitto
) -> None:
    write_tiny_bundle(tmp_path / "bundle")
    mosquitto.start()
    try:
        with subprocess.Popen(
            [
                sys.executable, "-P", "-m", "disc_stream", "serve", "--bundle", str(tmp_path / "bundle"),
                "--broker", mosquitto.url, "--state", str(tmp_path / "state"), "--no-http", "--json",
            ],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as serve:  # fmt: skip
            assert serve.stdout is not None
            line = serve.stdout.readline()  # once it is ready, the receiver has long been running
            serve.terminate()
            assert json.loads(line or "{}").get("event") == "ready", serve.communicate()[1]
    finally:
        mosquitto.discard()
    assert ran(trap) == []


@pytest.mark.broker
def test_the_processes_of_a_load_test_run_nothing_of_it(trap: Path, mosquitto: Mosquitto) -> None:
    mosquitto.start()
    try:
        order = {
            "broker": mosquitto.url, "client_id": "bare", "filter": "t", "receive_maximum": 10, "messages": 1,
        }  # fmt: skip
        process = spawn("disc_stream.load.bare", order)
        with process:
            assert read_line(process)
            process.kill()
    finally:
        mosquitto.discard()
    assert ran(trap) == []


def test_every_python_that_we_start_ignores_its_working_directory() -> None:
    """``sys.executable`` stands where the one function is, and where Python starts isolated (``-I``)."""
    places = {}
    for root in ROOTS:
        for file in sorted((REPOSITORY / root).rglob("*.py")):
            found = [
                node
                for node in ast.walk(ast.parse(file.read_text()))
                if isinstance(node, ast.Attribute) and node.attr == "executable"
            ]
            if found:
                places[file.relative_to(REPOSITORY).as_posix()] = len(found)
    assert places == {"disc_stream/interpreter.py": 1, "disc_stream/localbroker/mosquitto.py": 1}
    isolated = (REPOSITORY / "disc_stream/localbroker/mosquitto.py").read_text()
    assert '[sys.executable, "-I", "-S", "-c"' in isolated


def test_no_process_is_started_by_multiprocessing_or_a_shell() -> None:
    for root in ROOTS:
        for file in (REPOSITORY / root).rglob("*.py"):
            text = file.read_text()
            assert "multiprocessing" not in text, file
            assert "shell=True" not in text, file
            assert "os.system" not in text, file
