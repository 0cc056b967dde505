"""The programs in `examples`, run as they stand against a real Mosquitto and a real server."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from disc_stream.artifacts.manifest import WindowInfo
from disc_stream.load.trivial import write_trivial_bundle
from disc_stream.types import Channel
from tests.integration.conftest import StartServer
from tests.support.broker import Mosquitto
from tests.support.listener import Listener

pytestmark = pytest.mark.broker

ROOT = Path(__file__).parents[2]
MODULES = Path(os.environ.get("DISC_STREAM_EXAMPLE_MODULES", ROOT / ".make/examples"))
GO_PATH = Path("/usr/share/gocode")  # where Debian's packages of libraries are
CHANNELS = tuple(Channel(f"acc_{a}", "g") for a in "xyz") + tuple(
    Channel(f"gyro_{a}", "deg/s") for a in "xyz"
)
SECONDS, LABELS = 6, 4  # windows of which the first half is read: one after 1.28 s, and then every 1.28 s


@pytest.fixture
def server(start_server: StartServer, tmp_path: Path) -> None:
    bundle = tmp_path / "six"
    write_trivial_bundle(bundle, CHANNELS, 50.0, WindowInfo(samples=128, hop=64, input_samples=64))
    start_server(bundle=bundle)


def run(command: Sequence[object], **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)), check=True, capture_output=True, text=True, timeout=300, **more
    )  # type: ignore[call-overload,no-any-return]


def check(listener: Listener, device: str) -> None:
    """Every sample was taken, and the device was there and has gone."""
    listener.wait_for_labels(LABELS)
    assert [(label.device, label.window) for label in listener.labels] == [(device, k) for k in range(LABELS)]
    listener.wait_for_count("messages", SECONDS * 2)
    assert listener.status["rejected"] == {}


@pytest.mark.usefixtures("server")
def test_javascript(mosquitto: Mosquitto, listener: Listener, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None or not (MODULES / "node_modules/mqtt").is_dir():
        pytest.skip("node, or what the examples need of npm, is not here: make standards")
    for example in (ROOT / "examples/javascript").glob("*.mjs"):  # beside their libraries
        shutil.copy(example, tmp_path)
    (tmp_path / "node_modules").symlink_to(MODULES / "node_modules")
    reader = subprocess.Popen(
        [node, tmp_path / "labels.mjs", mosquitto.url, str(LABELS)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with reader:
        assert reader.stderr is not None
        assert "listening" in reader.stderr.readline()
        run([node, tmp_path / "publish.mjs", mosquitto.url, "js-1", SECONDS, 20])
        check(listener, "js-1")
        printed, _ = reader.communicate(timeout=60)
    lines = printed.splitlines()
    assert len(lines) == LABELS
    assert lines[0].startswith("js-1: window 0: ")


@pytest.mark.usefixtures("server")
def test_go(mosquitto: Mosquitto, listener: Listener) -> None:
    go = shutil.which("go")
    if go is None or not (GO_PATH / "src/github.com/eclipse/paho.mqtt.golang").is_dir():
        pytest.skip("go, or golang-github-eclipse-paho.mqtt.golang-dev, is not here")
    environment = {**os.environ, "GO111MODULE": "off", "GOPATH": str(GO_PATH), "GOFLAGS": "-p=1"}
    run([go, "run", ROOT / "examples/go/publish.go", mosquitto.url, "go-1", SECONDS, 20], env=environment)
    check(listener, "go-1")
