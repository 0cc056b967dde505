"""The whole way over TLS, each with credentials of its own; and what a wrong password gives away: nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.device import LEFT, REST, Sender, constant, make_batch
from tests.support.listener import Listener
from tests.support.scripted_broker import CONNACK, CONNECT, Connection, ScriptedBroker
from tests.support.secure_broker import PASSWORD, SecureMosquitto

pytestmark = pytest.mark.broker

SECRET = "Zw9-secret-Kq7"  # noqa: S105
BAD_CREDENTIALS = bytes([0, 0x86, 0])


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[SecureMosquitto]:
    broker = SecureMosquitto(tmp_path / "set-up")
    broker.start()
    yield broker
    broker.discard()


def environment(**variables: str) -> dict[str, str]:
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith("DISC_STREAM_BROKER")
    }
    return {**inherited, "OMP_NUM_THREADS": "1", **variables}


def test_devices_a_server_and_a_viewer_work_together_over_tls(
    secure: SecureMosquitto, tiny_bundle: Path, tmp_path: Path
) -> None:
    serve = [
        sys.executable,
        "-m",
        "disc_stream",
        "serve",
        "--bundle",
        str(tiny_bundle),
        "--no-http",
        "--json",
    ]
    process = subprocess.Popen(
        [*serve, "--state", str(tmp_path / "state"), "--threads", "1"],
        env=environment(**secure.environment("server")),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    listener = Listener(secure.role_url("viewer"))
    listener.link.connect()
    senders = {
        "by-password": Sender(secure.added("by-password").url),
        "by-certificate": Sender(secure.added("by-certificate", certificate=True).url),
    }
    try:
        ready = json.loads(process.stdout.readline())
        assert ready["event"] == "ready"
        assert ready["broker"] == f"mqtts://localhost:{secure.plan.service_port}"
        for seq in range(4):
            for device, sender in senders.items():
                sender.send(make_batch(device, seq, constant(REST, 8)))
        listener.wait_for_labels(8)
        for sender in senders.values():  # samples that are not theirs
            sender.send(make_batch("by-nobody", 0, constant(LEFT, 8)))
            sender.flush()
            assert sender.link.refused == 1
        for device, sender in senders.items():
            sender.send(make_batch(device, 4, constant(REST, 8)))
        listener.wait_for_labels(10)
        assert {(label.device, label.window) for label in listener.labels} == {
            (device, window) for device in senders for window in range(5)
        }
        assert listener.status["counters"]["refused"] == 0
    finally:
        for sender in senders.values():
            sender.link.close()
        listener.link.close()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert secure.secret("server") not in out + err


def test_publishing_as_another_device_is_told_what_to_add(secure: SecureMosquitto) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "disc_stream", "edge", "publish", "--synthetic", "--seconds", "1",
         "--broker", secure.added("mine").url],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert result.returncode == 1
    assert "add --device mine" in result.stderr


# -- what is shown of a password --------------------------------------------------------------------------


def command(name: str, bundle: Path, tmp_path: Path) -> list[str]:
    rest = (
        ["--bundle", str(bundle), "--no-http", "--state", str(tmp_path / "state")] if name == "serve" else []
    )
    return [sys.executable, "-m", "disc_stream", name, *rest, "--verbose"]


@pytest.mark.parametrize("name", ["watch", "serve", "doctor"])
@pytest.mark.parametrize("way", ["variable", "file", "file-of-variable", "url"])
def test_a_wrong_password_is_shown_nowhere(name: str, way: str, tiny_bundle: Path, tmp_path: Path) -> None:
    """The process is looked at while it waits for the broker's answer, and all it says afterwards."""
    file = tmp_path / "password"
    file.write_text(SECRET + "\n")
    file.chmod(0o600)
    asked, look_is_over = threading.Event(), threading.Event()
    received: list[bytes] = []

    def refuse(connection: Connection) -> None:
        received.append(connection.receive(CONNECT).body)
        asked.set()
        look_is_over.wait(20)
        connection.send(CONNACK, BAD_CREDENTIALS)

    connections = 2 if name == "doctor" else 1  # it tries the older version of MQTT, too
    with ScriptedBroker(*[refuse] * connections) as broker:
        address = broker.url.removeprefix("mqtt://")
        url, variables = {
            "variable": (f"mqtt://me@{address}", {PASSWORD: SECRET}),
            "file": (f"mqtt://me@{address}?password-file={file}", {}),
            "file-of-variable": (f"mqtt://me@{address}", {PASSWORD + "_FILE": str(file)}),
            "url": (f"mqtt://me:{SECRET}@{address}", {}),
        }[way]
        process = subprocess.Popen(
            [*command(name, tiny_bundle, tmp_path), "--broker", url],
            env=environment(**variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert asked.wait(60), "it did not connect"
            seen = command_lines(process.pid)
        finally:
            look_is_over.set()
            out, err = process.communicate(timeout=120)
    assert SECRET.encode() in received[0], "the password did not arrive"
    assert process.returncode == 1
    assert "Bad user name or password" in out + err
    assert SECRET not in out + err
    assert "Traceback" not in out + err
    own, others = seen[0], seen[1:]
    assert SECRET not in " ".join(others), "a child's command line shows the password"
    assert (SECRET in own) == (way == "url")
    assert ("stands in the command line" in err) == (way == "url")


def command_lines(pid: int) -> list[str]:
    """Of a process and its descendants, as `ps` shows them."""
    process = psutil.Process(pid)
    return [" ".join(one.cmdline()) for one in (process, *process.children(recursive=True))]
