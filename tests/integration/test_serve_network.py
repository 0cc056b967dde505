"""Faults of the network and of the broker, against a running server."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from disc_stream.errors import DiscStreamError
from disc_stream_server.receiving import receiver as module
from disc_stream_server.receiving.receiver import Receiver
from disc_stream_server.receiving.settings import ReceiverSettings
from tests.integration.conftest import StartServer
from tests.support.broker import Mosquitto
from tests.support.device import LEFT, REST, Sender, constant, make_batch
from tests.support.listener import Listener
from tests.support.silent import Resolver, seconds_of, silent_server

pytestmark = pytest.mark.broker


def forget_everything(folder: Path) -> None:
    """What a broker without persistence does when it restarts."""
    (folder / "mosquitto" / "mosquitto.db").unlink()


def wait_for_lost(listener: Listener, n: int) -> None:
    """Wait for a status of the server that counts n lost sessions."""
    listener.wait(lambda: listener.status.get("counters", {}).get("sessions_lost") == n, 60)


def test_a_broker_that_comes_back_without_our_queue_is_counted_and_said(
    mosquitto: Mosquitto, start_server: StartServer, sender: Sender, listener: Listener, tmp_path: Path
) -> None:
    start_server()
    sender.send(make_batch("watch", 0, constant(REST, 8)))
    listener.wait_for_labels(1)
    wait_for_lost(listener, 0)
    mosquitto.stop()
    forget_everything(tmp_path)
    mosquitto.start()
    wait_for_lost(listener, 1)
    sender.send(make_batch("watch", 1, constant(LEFT, 8)))
    listener.wait_for_labels(2, timeout=120)


def test_a_queue_that_was_lost_between_two_runs_is_counted_too(
    mosquitto: Mosquitto, start_server: StartServer, sender: Sender, listener: Listener, tmp_path: Path
) -> None:
    first = start_server()
    sender.send(make_batch("watch", 0, constant(REST, 8)))
    listener.wait_for_labels(1)
    assert first.stop()
    second = start_server()
    sender.send(make_batch("watch", 1, constant(REST, 8)))
    listener.wait_for_labels(2)
    wait_for_lost(listener, 0)  # the broker had kept it
    assert second.stop()
    mosquitto.stop()
    forget_everything(tmp_path)
    mosquitto.start()
    start_server()
    wait_for_lost(listener, 1)


def test_a_stop_while_the_broker_is_away_is_as_quick_as_any_other(
    mosquitto: Mosquitto, start_server: StartServer, sender: Sender, listener: Listener
) -> None:
    server = start_server()
    sender.send(make_batch("watch", 0, constant(REST, 8)))
    listener.wait_for_labels(1)
    mosquitto.stop()
    service = server._service
    deadline = time.monotonic() + 20
    while (service._link.connected or service._receiver.connected) and time.monotonic() < deadline:
        service._worker._woken.wait(0.1)
    assert not service._link.connected
    assert not service._receiver.connected
    assert (service.waits_for() or "").startswith("the broker (")
    service._link.publish("ds/v1/watch/label", b"on its way")
    assert seconds_of(lambda: server.stop(20.0)) < 2.5


def test_a_receiver_whose_resolver_is_slow_is_not_taken_for_dead(
    mosquitto: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_DEAD_S", 2.5)  # the network thread comes around once a second
    resolver = Resolver(monkeypatch)
    changed = threading.Condition()
    events: list[dict[str, Any]] = []
    errors: list[Exception] = []

    def report(event: dict[str, Any]) -> None:
        with changed:
            events.append(event)
            changed.notify_all()

    def run() -> None:
        try:
            receiver.run()
        except DiscStreamError as error:
            errors.append(error)

    def looking_up() -> int:
        return sum("looking up the address" in event.get("waits", "") for event in events)

    settings = ReceiverSettings(mosquitto.url, "ds/v1", "test", 60, 100, str(tmp_path), 2**20, 0.0)
    receiver = Receiver(settings, report)
    thread = threading.Thread(target=run)
    thread.start()
    with changed:
        assert changed.wait_for(lambda: {"event": "ready", "head": 0} in events, 60)
    resolver.hang()
    mosquitto.restart()
    with changed:
        assert changed.wait_for(lambda: looking_up() >= 8, 60), "8 reports are 4 s"
        resolver.answer()
        begin = len(events)
        assert changed.wait_for(lambda: any(event.get("connected") for event in events[begin:]), 60)
    receiver.stop()
    thread.join(5)
    assert not thread.is_alive()
    assert errors == []


def test_a_stop_while_the_server_waits_for_its_first_answer_is_immediate(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    with silent_server() as (port, accepted):
        command = [sys.executable, "-m", "disc_stream", "serve", "--bundle", str(tiny_bundle), "--no-http"]
        command += ["--broker", f"mqtt://127.0.0.1:{port}", "--state", str(tmp_path / "state")]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert accepted.acquire(timeout=60)
        process.send_signal(signal.SIGTERM)
        told: list[str] = []
        assert seconds_of(lambda: told.append(process.communicate(timeout=30)[0])) < 3
        assert process.returncode == 0, told
        assert "Traceback" not in told[0]
