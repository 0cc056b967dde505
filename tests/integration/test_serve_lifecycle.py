"""Restarts, breaks and stops: nothing is lost and nothing hangs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from disc_stream.config import ServeConfig
from disc_stream.errors import BrokerError
from disc_stream.wire.codecs import Encoding
from disc_stream_server.app import Server
from tests.integration.conftest import StartServer
from tests.support.broker import Mosquitto, free_port
from tests.support.device import LEFT, REST, RIGHT, Sender, constant, make_batch
from tests.support.listener import Listener

pytestmark = pytest.mark.broker


def test_a_server_that_could_not_start_can_be_stopped(tiny_bundle: Path) -> None:
    broker = f"mqtt://127.0.0.1:{free_port()}"
    server = Server(ServeConfig(bundle=tiny_bundle, broker=broker, http=f"127.0.0.1:{free_port()}"))
    with pytest.raises(BrokerError):
        server.start()
    assert server.stop(1.0)


def test_what_came_while_the_server_was_away_is_labelled_after_it_is_back(
    start_server: StartServer, sender: Sender, listener: Listener
) -> None:
    first = start_server()
    sender.meta("packed-watch")
    sender.send(make_batch("watch", 0, constant(REST, 8)))
    listener.wait_for_labels(1)
    assert first.stop(), "everything was finished before the deadline"
    listener.wait(lambda: listener.status["state"] == "offline")

    for seq in range(1, 100):
        sender.send(make_batch("watch", seq, constant(LEFT, 8)))
        sender.send(make_batch("packed-watch", seq, constant(RIGHT, 8)), Encoding.PACKED)
    sender.flush()
    start_server(receive_maximum=16)  # less than what waits: the broker must hold back
    listener.wait_for_labels(1 + 2 * 99)
    listener.wait_for_count("messages", 2 * 99)
    seqs = {
        device: [label.seq for label in listener.labels if label.device == device]
        for device in ("watch", "packed-watch")
    }
    assert seqs == {"watch": list(range(100)), "packed-watch": list(range(1, 100))}
    assert listener.status["rejected"] == {}, "packed samples found the meta that the broker had retained"


def test_a_restart_of_the_broker_is_survived(
    mosquitto: Mosquitto, start_server: StartServer, sender: Sender, listener: Listener
) -> None:
    start_server()
    sender.send(make_batch("watch", 0, constant(REST, 12)))
    listener.wait_for_labels(1)
    mosquitto.restart()
    for seq in range(1, 10):
        sender.send(make_batch("watch", seq, constant(LEFT, 12)))
    listener.wait(lambda: {label.window for label in listener.labels} == set(range(15)), timeout=120)
    first = {label.window: label for label in reversed(listener.labels)}
    for label in listener.labels:
        assert label == first[label.window], "QoS 1 may deliver a message again, but never another one"
    listener.wait(lambda: listener.status["state"] == "online")


def test_a_broker_of_the_older_protocol_keeps_the_queue_too(
    mosquitto: Mosquitto, start_server: StartServer, sender: Sender, listener: Listener
) -> None:
    url = f"{mosquitto.url}?version=3.1.1"
    first = start_server(broker=url)
    sender.send(make_batch("watch", 0, constant(REST, 8)))
    listener.wait_for_labels(1)
    assert first.stop()
    for seq in range(1, 50):
        sender.send(make_batch("watch", seq, constant(LEFT, 8)))
    sender.flush()
    start_server(broker=url, receive_maximum=10)
    listener.wait_for_labels(50)
    assert [label.seq for label in listener.labels] == list(range(50))


def test_a_broker_that_hangs_delays_the_stop_no_longer_than_the_deadline(
    mosquitto: Mosquitto, start_server: StartServer, sender: Sender, listener: Listener
) -> None:
    server = start_server()
    sender.send(make_batch("watch", 0, constant(REST, 8)))
    listener.wait_for_labels(1)
    mosquitto.pause()
    try:
        began = time.monotonic()
        assert not server.stop(1.0), "it could not say goodbye"
        assert time.monotonic() - began < 4.0
    finally:
        mosquitto.resume()


class Command:
    """``disc-stream serve`` as a process, with JSON lines on stdout."""

    def __init__(self, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "disc_stream", "serve", *options, "--json"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def wait_until_ready(self) -> dict[str, str]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate(timeout=120)[1]
        ready = json.loads(line)
        assert ready["event"] == "ready"
        return dict(ready)

    def end(self) -> tuple[int, str, str]:
        """Wait for its end; exit code, stdout, stderr."""
        out, err = self.process.communicate(timeout=120)
        return self.process.returncode, out, err


@pytest.fixture
def serve() -> Iterator[type[Command]]:
    """Starts ``disc-stream serve``; whatever still runs at the end is killed."""
    started: list[Command] = []

    class Tracked(Command):
        def __init__(self, *options: str) -> None:
            super().__init__(*options)
            started.append(self)

    yield Tracked
    for command in started:
        command.process.kill()
        command.process.communicate(timeout=120)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_gracefully(
    serve: type[Command],
    mosquitto: Mosquitto,
    sender: Sender,
    listener: Listener,
    tiny_bundle: Path,
    number: signal.Signals,
) -> None:
    command = serve("--bundle", str(tiny_bundle), "--broker", mosquitto.url, "--http", "127.0.0.1:0")
    ready = command.wait_until_ready()
    assert ready["http"].startswith("http://127.0.0.1:")
    for seq in range(200):
        sender.send(make_batch("watch", seq, constant(REST, 8)))
    listener.wait_for_labels(1)
    command.process.send_signal(number)
    code, out, err = command.end()
    assert code == 0, err
    assert "Traceback" not in err
    assert json.loads(out.splitlines()[-1])["event"] == "stopped"
    listener.wait(lambda: listener.status["state"] == "offline")
    counted = listener.status["counters"]
    listener.wait_for_labels(counted["labels"])
    assert counted["labels"] == counted["windows"] == counted["batches"] == len(listener.labels)


def test_a_signal_that_another_thread_receives_ends_it_too(
    mosquitto: Mosquitto, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its handler runs in the main thread alone, which must not sleep for ever meanwhile."""
    config = ServeConfig(bundle=tiny_bundle, broker=mosquitto.url, http=None, state=tmp_path / "state")
    server = Server(config)
    handled, given_up = threading.Event(), threading.Event()
    request_stop = server.request_stop

    def stop() -> None:
        handled.set()
        request_stop()

    def give_up() -> None:
        given_up.set()
        request_stop()

    monkeypatch.setattr(server, "request_stop", stop)
    main = threading.main_thread().ident or 0
    watchdog = threading.Timer(60, give_up)

    def send() -> None:
        while "wait" not in [
            frame.name for frame in traceback.extract_stack(sys._current_frames()[main])[-2:]
        ]:
            time.sleep(0)  # it is about to wait
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    def ready() -> None:
        watchdog.start()
        threading.Thread(target=send).start()

    server.run(on_ready=ready)
    watchdog.cancel()
    assert handled.is_set()
    assert not given_up.is_set()


def test_killed_without_warning_it_is_reported_offline_and_its_queue_kept(
    serve: type[Command],
    mosquitto: Mosquitto,
    start_server: StartServer,
    sender: Sender,
    listener: Listener,
    tiny_bundle: Path,
) -> None:
    command = serve("--bundle", str(tiny_bundle), "--broker", mosquitto.url, "--no-http")
    command.wait_until_ready()
    sender.send(make_batch("watch", 0, constant(REST, 8)))
    listener.wait_for_labels(1)
    command.process.kill()
    listener.wait(lambda: listener.status["state"] == "offline")
    assert listener.status["since"] is None, "that is the last will"
    sender.send(make_batch("watch", 1, constant(LEFT, 8)))
    start_server()
    # It may have died before its acknowledgement went out: then the same label comes again.
    listener.wait(lambda: len({label.t0_us for label in listener.labels}) == 2)
    assert {label.t0_us: label.best.name for label in listener.labels} == {0: "rest", 160_000: "left"}
