"""``disc-stream watch`` as a process, against a real Mosquitto that goes away and comes back."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from disc_stream.types import Label, Problem, SoftLabel
from disc_stream.wire.broker import Broker
from disc_stream.wire.label import encode_label
from disc_stream.wire.mqtt import MqttLink
from disc_stream.wire.problem import encode_problem
from disc_stream.wire.status import ServerStatus, State, encode_server_status
from tests.support.broker import Mosquitto, free_port


def label(device: str, window: int) -> Label:
    soft = SoftLabel(3, "cluster-3", 0.8)
    return Label(device, 1, window, 0, 0, soft, (soft,), soft, 1.0, 0.5, "m1", window, 0)


class Watch:
    """The command with ``--json``, its lines read by a thread."""

    def __init__(self, url: str, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "disc_stream", "watch", "--broker", url, "--json", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)

    def wait_for(self, **fields: object) -> dict[str, Any]:
        """The next event that has these values."""
        while True:
            event: dict[str, Any] = json.loads(self._lines.get(timeout=120))
            if event.items() >= fields.items():
                return event

    def end(self) -> tuple[int, str]:
        """Ctrl-C; exit code and what stderr holds."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(20)
        self._reader.join(10)
        assert self.process.stderr is not None
        assert self.process.stdout is not None
        with self.process.stderr, self.process.stdout:
            return code, self.process.stderr.read()


@pytest.fixture
def link(mosquitto: Mosquitto) -> Iterator[MqttLink]:
    link = MqttLink(Broker.parse(mosquitto.url), "test-labeller")
    link.connect()
    yield link
    link.close()


@pytest.mark.broker
def test_watch_lives_through_poison_a_lost_broker_and_an_offline_server(
    mosquitto: Mosquitto, link: MqttLink
) -> None:
    link.publish("ds/v1/d1/label", encode_label(label("d1", 0)), retain=True)
    assert link.flush(10)
    watch = Watch(mosquitto.url, "--devices", "d?")
    assert watch.wait_for(event="label", device="d1", window=0)["retained"]

    link.publish("ds/v1/d1/label", b"\xff not a label")
    link.publish("ds/v1/other/label", encode_label(label("other", 0)))
    link.publish("ds/v1/d1/label", encode_label(label("d1", 1)))
    assert watch.wait_for(event="unreadable")["topic"] == "ds/v1/d1/label"
    assert not watch.wait_for(event="label", window=1)["retained"]

    mosquitto.restart()
    watch.wait_for(event="broker", connected=False)
    watch.wait_for(event="broker", connected=True)
    # Retained, for the subscriptions may be renewed a moment after the connection.
    link.publish("ds/v1/d1/label", encode_label(label("d1", 2)), retain=True)
    watch.wait_for(event="label", window=2)

    problem = Problem("no-meta", "its description has not come", 1_700_000_000_000_000, 2, "Publish meta")
    link.publish("ds/v1/d2/problem", encode_problem(problem), retain=True)
    assert watch.wait_for(event="problem", device="d2")["problem"]["remedy"] == "Publish meta"
    link.publish("ds/v1/d2/problem", b"", retain=True)
    assert watch.wait_for(event="problem", device="d2")["problem"] is None

    link.publish("ds/v1/$server/status", encode_server_status(ServerStatus(State.OFFLINE, None)))
    watch.wait_for(event="server", state="offline")
    code, said = watch.end()
    assert code == 0
    assert "Traceback" not in said


@pytest.mark.broker
def test_watch_ends_after_its_duration_with_nothing_heard(mosquitto: Mosquitto) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "disc_stream", "watch", "--broker", mosquitto.url, "--duration", "0.5"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (result.returncode, result.stdout) == (0, "")


def test_a_broker_that_is_not_there_is_one_line() -> None:
    url = f"mqtt://127.0.0.1:{free_port()}"
    result = subprocess.run(
        [sys.executable, "-m", "disc_stream", "watch", "--broker", url],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 1
    assert "cannot reach the broker" in result.stderr
    assert "Traceback" not in result.stderr
