"""``/readyz`` tells the truth from outside the labelling thread."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from disc_stream.clock import SystemClock
from disc_stream.config import ServeConfig
from disc_stream_server import readiness
from disc_stream_server.app import Server
from tests.support.broker import Mosquitto
from tests.support.device import Sender, constant, make_batch
from tests.support.tiny_bundle import write_tiny_bundle

pytestmark = pytest.mark.broker


def readyz(server: Server) -> tuple[int, dict[str, Any]]:
    assert server.url is not None
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=10)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def wait_for(server: Server, done: Callable[[int, str], bool], timeout_s: float = 30.0) -> str:
    """Ask until the answer suits; the status and what it waits for."""
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while True:
        status, body = readyz(server)
        words = body.get("waiting_for", "")
        if done(status, words):
            return str(words)
        assert time.monotonic() < deadline, f"after {timeout_s:g} s still {status} {words!r}"
        pause.wait(0.05)  # an HTTP server tells nobody when its answer changes


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []
    write_tiny_bundle(tmp_path / "bundle")

    def start(broker: Mosquitto, **options: Any) -> Server:
        config = ServeConfig(
            bundle=tmp_path / "bundle", broker=broker.url, http="127.0.0.1:0", status_interval_s=0.1,
            state=tmp_path / "state",
        )  # fmt: skip
        server = Server(config, **options)
        server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop(2.0)


class Faster(SystemClock):
    """Time that can be put forward, so that a test need not wait for a hang to be old."""

    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


def test_a_labelling_thread_that_hangs_is_said_by_another_thread(
    mosquitto: Mosquitto, serve: Callable[..., Server]
) -> None:
    hangs, may_go_on = threading.Event(), threading.Event()

    class Hanging:
        """Holds up the thread that calls it."""

        def on_batch(self, batch: object) -> None:
            hangs.set()
            may_go_on.wait(60)

        def on_nothing(self, *values: object) -> None:
            pass

        on_label = on_status = on_problem = on_nothing

    clock = Faster()
    server = serve(mosquitto, observers=[Hanging()], clock=clock)
    wait_for(server, lambda status, _: status == 200)
    sender = Sender(mosquitto.url)
    try:
        sender.send(make_batch("watch", 0, constant((0, 0, 0), 16)))
        assert hangs.wait(60)
        clock.ahead = readiness.MAX_TURN_S + 5
        words = wait_for(server, lambda status, _: status == 503)
        assert words.startswith("the labelling thread (no turn for ")
        may_go_on.set()
        wait_for(server, lambda status, _: status == 200)
    finally:
        may_go_on.set()
        sender.link.close()


def test_an_access_list_that_forbids_reading_is_said_and_its_end_too(
    tmp_path: Path, serve: Callable[..., Server]
) -> None:
    folder = tmp_path / "mosquitto"
    folder.mkdir()
    access = folder / "access"
    access.write_text("topic write ds/v1/#\n")  # Mosquitto grants every subscription all the same
    broker = Mosquitto(folder, f"allow_anonymous true\nacl_file {access}")
    broker.start()
    try:
        server = serve(broker)
        words = wait_for(server, lambda status, words: status == 503 and "permission" in words)
        assert words.startswith("permission to read ds/v1/+/raw")
        access.write_text("topic readwrite ds/v1/#\n")
        broker.restart()
        wait_for(server, lambda status, _: status == 200)
    finally:
        broker.discard()


def test_reading_is_tried_without_a_trace(mosquitto: Mosquitto, serve: Callable[..., Server]) -> None:
    probed = threading.Event()

    class Watching:
        """Notes that the server's message to itself has come back."""

        def on_nothing(self, *values: object) -> None:
            pass

        on_batch = on_label = on_problem = on_nothing

        def on_status(self, status: dict[str, Any]) -> None:
            self.last = status
            if status["counters"].get("probes"):
                probed.set()

    watching = Watching()
    server = serve(mosquitto, observers=[watching])
    assert probed.wait(60)
    assert readyz(server)[0] == 200
    counters = watching.last["counters"]
    assert (counters["spooled"], counters["messages"], watching.last["rejected"]) == (0, 0, {})
