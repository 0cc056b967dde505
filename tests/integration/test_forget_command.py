"""``disc-stream data forget`` against a server that runs and a real broker."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from disc_stream.cli.app import app
from disc_stream.clock import SystemClock
from disc_stream.types import Problem
from disc_stream.wire.broker import Broker
from disc_stream.wire.mqtt import LinkListener, Message, MqttLink
from disc_stream.wire.problem import encode_problem
from disc_stream_server.storage.spool import Arrival, SpoolReader, SpoolWriter
from disc_stream_server.storage.state import StateStore
from tests.integration.conftest import StartServer
from tests.support.broker import Mosquitto
from tests.support.device import LEFT, RIGHT, Sender, constant, make_batch
from tests.support.listener import Listener

pytestmark = pytest.mark.broker


def retained(url: str) -> set[str]:
    """Topics of devices that the broker retains something of."""
    found: set[str] = set()
    complete = threading.Event()

    def take(message: Message) -> None:
        if message.topic == "fence":
            complete.set()
        elif message.retained and "$server" not in message.topic:
            found.add(message.topic)

    link = MqttLink(Broker.parse(url), "looks-at-what-is-retained", LinkListener(on_message=take))
    link.subscribe("ds/v1/#")
    link.subscribe("fence")
    link.connect()
    link.publish("fence", b"x")
    assert complete.wait(60)
    link.close()
    return found


def run(*args: str | Path) -> str:
    result = CliRunner().invoke(app, ["data", "forget", *map(str, args)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("named", ["option", "variable"])
def test_a_device_is_erased_from_disk_memory_and_broker_while_the_server_runs(
    named: str,
    mosquitto: Mosquitto,
    start_server: StartServer,
    sender: Sender,
    listener: Listener,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = start_server(checkpoint_s=0.1)
    for device in ("watch", "other"):
        sender.meta(device)
        sender.raw(device, f"secret-of-{device}-".encode() * 20)
        for seq in range(10):
            sender.send(make_batch(device, seq, constant(LEFT, 8)))
    listener.wait_for_labels(20)
    listener.wait_for_rejected("encoding", 2)
    sender.link.publish(
        "ds/v1/watch/problem", encode_problem(Problem("no-window", "none", 1, 1)), retain=True
    )
    assert sender.link.flush(10)
    of_watch = {f"ds/v1/watch/{kind}" for kind in ("meta", "label", "problem")}
    assert of_watch | {"ds/v1/other/label"} <= retained(mosquitto.url)

    if named == "variable":
        monkeypatch.setenv("DISC_STREAM_BROKER", mosquitto.url)
    option = ("--broker", mosquitto.url) if named == "option" else ()
    facts = json.loads(run("watch", "--state", tmp_path / "state", *option, "--yes", "--json"))
    assert facts["messages"] >= 12, "10 batches, a description and poison"
    assert {topic for topic in retained(mosquitto.url) if "watch" in topic} == set()
    assert {"ds/v1/other/meta", "ds/v1/other/label"} <= retained(mosquitto.url)

    erased = SystemClock().unix_us()
    listener.wait(lambda: listener.status["updated"] > erased)  # by then the server has noticed
    before = len(listener.labels)
    for seq in range(3):
        sender.send(make_batch("watch", seq, constant(RIGHT, 8)))
    listener.wait_for_labels(before + 3)
    assert [(label.device, label.seq) for label in listener.labels[before:]] == [
        ("watch", n) for n in range(3)
    ], "it is a new device: what it sends is no repetition of anything"
    assert server.stop()

    everything = b"".join(path.read_bytes() for path in (tmp_path / "state").rglob("*.sqlite*"))
    assert b"secret-of-watch" not in everything
    assert b"secret-of-other" in everything
    store = StateStore(tmp_path / "state")
    assert len(store.labels(device="watch", limit=99)) == 3
    assert len(store.labels(device="other", limit=99)) == 10
    assert {letter.device for letter in store.dead_letters()} == {"other"}
    assert store.forgotten(0) == [], "the mark went with the next checkpoint"
    store.close()


def test_without_a_server_and_without_a_broker(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path / "spool")
    for n in range(4):
        writer.append([Arrival(n, f"ds/v1/d{n % 2}/raw", "", b"x")])
    writer.close()
    StateStore(tmp_path).close()
    text = run("d1", "--state", tmp_path, "--yes")
    assert "d1 is erased: 2 messages" in text
    assert "--broker" in text
    reader = SpoolReader(tmp_path / "spool")
    assert [row.topic for row in reader.read(0, 9)] == ["ds/v1/d0/raw"] * 2
    reader.close()
