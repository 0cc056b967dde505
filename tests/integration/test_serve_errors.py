"""What a user does wrong: one line on stderr that says so, an exit code, no traceback."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from disc_stream_server.storage.lock import FolderLock
from tests.support.broker import Mosquitto, free_port
from tests.support.commandline import CommandLine, Done

pytestmark = pytest.mark.broker


def serve(*options: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "disc_stream", "serve", *map(str, options)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def assert_one_line(result: subprocess.CompletedProcess[str] | Done, code: int, *patterns: str) -> None:
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, result.stderr
    assert "Traceback" not in result.stderr
    for pattern in patterns:
        assert re.search(pattern, errors[0]), errors[0]
    assert result.returncode == code
    assert result.stdout == ""


def test_unreachable_broker(tiny_bundle: Path) -> None:
    port = free_port()
    result = serve("--bundle", tiny_bundle, "--broker", f"mqtt://127.0.0.1:{port}", "--no-http")
    assert_one_line(result, 1, rf"cannot reach the broker at mqtt://127.0.0.1:{port}", "Check that it runs")


def test_something_that_is_no_broker(tiny_bundle: Path) -> None:
    with socket.socket() as silent:  # accepts connections, says nothing, closes when we give up
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        result = serve("--bundle", tiny_bundle, "--broker", f"mqtt://127.0.0.1:{port}", "--no-http")
    assert_one_line(result, 1, "did not answer within 10 s", "Check that an MQTT broker listens there")


def test_refusing_broker_and_no_password_shown(tmp_path: Path, tiny_bundle: Path) -> None:
    (tmp_path / "passwords").write_text("")
    subprocess.run(
        ["mosquitto_passwd", "-b", tmp_path / "passwords", "server", "right"], check=True, capture_output=True
    )
    broker = Mosquitto(tmp_path, f"allow_anonymous false\npassword_file {tmp_path / 'passwords'}")
    broker.start()
    try:
        url = broker.url.replace("mqtt://", "mqtt://server:wr0ng@")
        result = serve("--bundle", tiny_bundle, "--broker", url, "--no-http")
    finally:
        broker.stop()
    assert_one_line(result, 1, "refused the connection: Not authorized", "Check user name, password")
    assert "wr0ng" not in result.stderr


def test_occupied_port(mosquitto: Mosquitto, tiny_bundle: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        result = serve(
            "--bundle", tiny_bundle, "--broker", mosquitto.url, "--http", f"127.0.0.1:{port}"
        )  # fmt: skip
    assert_one_line(result, 1, rf"{port}.* in use")


def test_broken_bundles(mosquitto: Mosquitto, tiny_bundle: Path, tmp_path: Path) -> None:
    common = ("--broker", mosquitto.url, "--no-http")
    assert_one_line(serve("--bundle", tmp_path / "none", *common), 2, "does not exist")

    damaged = tmp_path / "damaged"
    shutil.copytree(tiny_bundle, damaged)
    model = damaged / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"\x00")
    assert_one_line(serve("--bundle", damaged, *common), 1, "model.onnx .* changed or damaged")

    newer = tmp_path / "newer"
    shutil.copytree(tiny_bundle, newer)
    manifest = newer / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"schema_version": 99}))
    assert_one_line(serve("--bundle", newer, *common), 1, "newer disc-stream", "Upgrade")


def test_configuration_files(command_line: CommandLine, tiny_bundle: Path, tmp_path: Path) -> None:
    serve = partial(command_line, "serve")
    file = tmp_path / "serve.yaml"
    assert_one_line(serve("--config", file), 2, "serve.yaml' does not exist")
    file.write_text("bundel: x\n")
    assert_one_line(serve("--config", file), 2, r"'bundel' in '.*serve\.yaml'", "bundle")
    file.write_text(f"bundle: {tiny_bundle}\nmax_batch: many\n")
    assert_one_line(serve("--config", file), 2, r"'max_batch' in '.*serve\.yaml' is not usable")
    assert_one_line(serve("--config", file, "--max-batch", "0"), 2, "option --max-batch is not usable")
    file.write_text("bundle: [unclosed\n")
    assert_one_line(serve("--config", file), 2, "not valid YAML at line")
    assert_one_line(serve(), 2, "'bundle' is missing", "Give --bundle")
    assert_one_line(serve("--bundle", tiny_bundle, "--http", "nowhere"), 2, "'nowhere' is not HOST:PORT")
    assert_one_line(
        serve("--bundle", tiny_bundle, "--broker", "http://x"), 2, "broker URL 'http://x' is not valid"
    )
    assert_one_line(
        serve("--bundle", tiny_bundle, "--prefix", "a/#", "--no-http"), 2, "topic prefix 'a/#' is not valid"
    )


def test_state_folders(mosquitto: Mosquitto, tiny_bundle: Path, tmp_path: Path) -> None:
    common = ("--bundle", tiny_bundle, "--broker", mosquitto.url, "--no-http")
    (tmp_path / "file").write_text("")
    assert_one_line(serve(*common, "--state", tmp_path / "file"), 1, "state folder .*file' cannot be used")
    lock = FolderLock(tmp_path / "state")
    try:
        result = serve(*common, "--state", tmp_path / "state")
    finally:
        lock.release()
    assert_one_line(result, 1, rf"is in use by process {os.getpid()}", "give this one its own --state")
