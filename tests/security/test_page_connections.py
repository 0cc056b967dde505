"""Connections to the live page: whoever opens many, or never asks, or never reads, harms himself alone."""

from __future__ import annotations

import http.client
import json
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from disc_stream_server.dashboard import Dashboard, PageAccess, hub
from disc_stream_server.dashboard.connections import Connections, GuardedProtocol
from tests.support.broker import Mosquitto
from tests.support.device import REST, Sender, constant, make_batch
from tests.support.listener import Listener
from tests.support.tiny_bundle import write_tiny_bundle

PATIENCE_S = 30


@pytest.fixture
def many_files() -> Iterator[None]:
    """This process, the attacker, may have more files open than the default."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 4_096:
        pytest.skip(f"this system allows {hard} open files only, the attack needs more")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4_096), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.broker
def test_a_thousand_half_open_connections_cost_no_label(tmp_path: Path, many_files: None) -> None:
    write_tiny_bundle(tmp_path / "bundle")
    broker = Mosquitto(tmp_path)
    broker.start()
    # A hard limit of 1,024 files, as many systems set it: the server cannot raise it.
    serve = [
        "sh", "-c", 'ulimit -n 1024; exec "$@"', "sh", sys.executable, "-m", "disc_stream", "serve", "--json",
        "--bundle", str(tmp_path / "bundle"), "--broker", broker.url, "--http", "127.0.0.1:0",
        "--state", str(tmp_path / "state"),
    ]  # fmt: skip
    with ExitStack() as stack:
        stack.callback(broker.discard)
        server = stack.enter_context(
            subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
        stack.callback(server.kill)
        assert server.stdout is not None
        port = int(json.loads(server.stdout.readline())["http"].rpartition(":")[2])
        listener, sender = Listener(broker.url), Sender(broker.url)
        stack.callback(listener.link.close)
        stack.callback(sender.link.close)
        listener.link.connect()
        for _ in range(1_100):
            half_open = stack.enter_context(socket.socket())
            half_open.setblocking(False)
            half_open.connect_ex(("127.0.0.1", port))
        for seq in range(20):
            sender.send(make_batch("watch", seq, constant(REST, 8)))
        listener.wait_for_labels(20)
        page = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        page.request("GET", "/readyz")
        assert page.getresponse().status == 200
        page.close()
        server.send_signal(signal.SIGTERM)
        _, said = server.communicate(timeout=120)
        assert server.returncode == 0, said
        assert "Too many open files" not in said


@pytest.fixture
def start() -> Iterator[type[Dashboard]]:
    """Dashboards that are stopped at the end."""
    started: list[Dashboard] = []

    class Started(Dashboard):
        def __init__(self, connections: Connections | None = None) -> None:
            super().__init__(PageAccess(port=0), connections=connections)
            self.start()
            started.append(self)

    yield Started
    for page in started:
        page.stop()


def connect(page: Dashboard, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", page.port), PATIENCE_S, (source, 0))


def is_closed(connection: socket.socket) -> bool:
    """Wait until the other side closes it; an answer that comes instead is a failure."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize(
    "begun",
    [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: 1\r\n"],
    ids=["no", "part", "slow"],
)
def test_a_connection_without_a_whole_request_is_closed(begun: bytes, start: type[Dashboard]) -> None:
    page = start(Connections(request_s=0.2))
    with connect(page) as connection:
        connection.sendall(begun)
        assert is_closed(connection)


def test_a_request_whose_body_never_ends_is_closed(start: type[Dashboard]) -> None:
    page = start(Connections(request_s=0.2))
    with connect(page) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\nx")
        answer = b""
        while more := connection.recv(65_536):
            answer += more
        assert answer.startswith(b"HTTP/1.1 200")


def test_an_open_stream_is_no_idle_connection(start: type[Dashboard]) -> None:
    page = start(Connections(request_s=0.2))
    stream = http.client.HTTPConnection("127.0.0.1", page.port, timeout=PATIENCE_S)
    stream.request("GET", "/api/stream")
    answer = stream.getresponse()
    events = [answer.readline() for _ in range(9)]  # a state, and two updates: one each second
    assert [e for e in events if e.startswith(b"event")] == [b"event: state\n", *[b"event: update\n"] * 2]
    stream.close()


class WatchedConnections(Connections):
    """Tells when one is closed; the other side does not hear of it before it has read all that was sent."""

    def __init__(self, read_s: float) -> None:
        super().__init__(read_s=read_s)
        self.closed = threading.Event()

    def leave(self, old: GuardedProtocol) -> None:
        super().leave(old)
        self.closed.set()


def test_whoever_does_not_read_is_cut_off(start: type[Dashboard]) -> None:
    connections = WatchedConnections(read_s=0.2)
    page = start(connections)
    with connect(page) as connection:
        connection.settimeout(0.05)
        asked = b"GET /main.js HTTP/1.1\r\nHost: localhost\r\n\r\n" * 64
        with suppress(OSError):  # full, or closed
            while not connections.closed.is_set():
                connection.send(asked)
        assert connections.closed.wait(PATIENCE_S)


def test_an_idle_connection_makes_room(start: type[Dashboard]) -> None:
    page = start(Connections(limit=8))
    with ExitStack() as stack:
        idle = [stack.enter_context(connect(page)) for _ in range(8)]
        asking = http.client.HTTPConnection("127.0.0.1", page.port, timeout=PATIENCE_S)
        asking.request("GET", "/healthz")
        assert asking.getresponse().status == 200
        assert is_closed(idle[0])
        asking.close()


def test_busy_connections_are_not_cut_for_more(start: type[Dashboard]) -> None:
    connections = Connections(limit=2)
    page = start(connections)
    with ExitStack() as stack:
        streams = [stack.enter_context(connect(page)) for _ in range(2)]
        for stream in streams:
            stream.sendall(b"GET /api/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert stream.recv(8) == b"HTTP/1.1"
        assert is_closed(stack.enter_context(connect(page)))
        assert (connections.open, connections.refused) == (2, 1)
        assert all(stream.recv(1) for stream in streams)


def test_one_machine_does_not_take_all_streams(
    start: type[Dashboard], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "MAX_CLIENTS", 4)
    page = start()
    with ExitStack() as stack:

        def stream(source: str) -> http.client.HTTPResponse:
            connection = http.client.HTTPConnection(
                "127.0.0.1", page.port, timeout=PATIENCE_S, source_address=(source, 0)
            )
            stack.callback(connection.close)
            connection.request("GET", "/api/stream")
            return connection.getresponse()

        greedy = [stream("127.0.0.1") for _ in range(4)]
        assert [answer.status for answer in greedy] == [200] * 4
        assert stream("127.0.0.2").status == 200
        while greedy[0].readline():
            pass  # the oldest of the four was ended
        refused = stream("127.0.0.1")
        assert (refused.status, refused.getheader("retry-after")) == (503, "10")
        assert stream("127.0.0.3").status == 200
        assert stream("127.0.0.2").status == 503, "two each: nobody holds more than the newcomer would"
        assert greedy[3].readline() == b"event: state\n"
