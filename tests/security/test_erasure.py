"""After ``data forget`` no byte of a device is left: in files, at the broker, on the page, in memory."""

# ruff: noqa: F811 - fixtures are taken by their names
from __future__ import annotations

import json
import time
from http.client import HTTPConnection
from pathlib import Path

import pytest
from typer.testing import CliRunner

from disc_stream.cli.app import app
from disc_stream.stream.sessions import PROGRESS
from disc_stream.wire.mqtt import Message, Origin
from disc_stream_server.janitor import Janitor
from disc_stream_server.receiving.ratelimiter import DeviceLimits
from disc_stream_server.storage.forget import finish
from disc_stream_server.storage.forget import forget as erase
from disc_stream_server.storage.overflow import OverflowQueue
from disc_stream_server.storage.retention import Retention
from disc_stream_server.storage.spool import Arrival, SpoolWriter
from disc_stream_server.storage.state import DeadLetter, StateStore
from tests.integration.conftest import (  # noqa: F401 - fixtures
    StartServer,
    listener,
    mosquitto,
    sender,
    start_server,
    tiny_bundle,
)
from tests.integration.test_forget_command import retained
from tests.security.test_fairness_receiving import let_go, messages, receiver_of
from tests.support.broker import Mosquitto
from tests.support.commits import commit
from tests.support.device import LEFT, Sender, constant, make_batch
from tests.support.listener import Listener


def forget(device: str, *args: object) -> dict[str, object]:
    words = ["data", "forget", device, "--yes", "--json", *map(str, args)]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    facts: dict[str, object] = json.loads(result.stdout)
    return facts


def holding(folder: Path, words: bytes) -> list[str]:
    """Files in which something stands, write-ahead logs and free pages included."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path.name for path in files if words in path.read_bytes())


@pytest.mark.broker
def test_nothing_is_left_of_a_device_while_the_server_runs(
    mosquitto: Mosquitto,
    start_server: StartServer,
    sender: Sender,
    listener: Listener,
    tmp_path: Path,
) -> None:
    state = tmp_path / "state"
    server = start_server(
        http="127.0.0.1:0",
        checkpoint_s=0.1,
        device_messages_s=1,
        device_burst_s=30,
        device_waiting_bytes=2**20,
    )
    for device in ("zanzibar", "other"):
        sender.meta(device)
        for seq in range(10):
            sender.send(make_batch(device, seq, constant(LEFT, 8)))
    sender.send(make_batch("zanzibar", 12, constant(LEFT, 8)))  # something is due: two are missing
    listener.wait_for_labels(20)
    for seq in range(13, 80):  # and many wait
        sender.send(make_batch("zanzibar", seq, constant(LEFT, 8)))
    sender.link.publish("ds/v1/zanzibar/raw", b"zanzibar keeps this", retain=True)
    sender.link.publish("ds/v1/zanzibar/status", b"{}", retain=True)
    for _ in range(3):
        sender.link.publish("ds/v1/zan zibar/raw", b"zan zibar's secret")
    listener.wait_for_rejected("topic", 3)
    listener.wait(lambda: "zanzibar" in listener.status.get("limited", {}))
    assert holding(state, b"zanzibar")
    assert b"zanzibar" in page(server.url)

    facts = forget("zanzibar", "--state", state, "--broker", mosquitto.url)
    assert facts["server"] is True, "it has dropped it too"
    receipt = facts["receipt"]
    assert isinstance(receipt, dict)
    assert receipt["spool/waiting.sqlite"] > 20
    assert {"state.sqlite, parts", "state.sqlite, labels", "state.sqlite, dead_letters"} <= receipt.keys()
    again = forget("zan zibar", "--state", state, "--broker", mosquitto.url)
    assert again["others"] == 3, "an id that breaks the grammar, of which there are dead letters"

    for words in (b"zanzibar", b"zan zibar"):
        assert holding(state, words) == []
    assert not {topic for topic in retained(mosquitto.url) if "zan" in topic}
    listener.wait(lambda: "limited" not in listener.status)
    deadline = time.monotonic() + 60
    while b"zanzibar" in page(server.url) and time.monotonic() < deadline:
        listener.wait_for_count("received", 0)
    assert b"zanzibar" not in page(server.url)
    assert b"other" in page(server.url)
    assert server.stop()
    second = start_server(checkpoint_s=0.1)
    sender.send(make_batch("other", 10, constant(LEFT, 8)))
    listener.wait_for_labels(21)
    assert second.stop()
    assert holding(state, b"zanzibar") == [], "a reconnect brings nothing back"
    assert holding(state, b"other")


def page(url: str | None) -> bytes:
    connection = HTTPConnection(str(url).removeprefix("http://"), timeout=30)
    connection.request("GET", "/api/state")
    found = connection.getresponse().read()
    connection.close()
    return found


def test_what_waits_and_what_is_due_goes_too_without_a_server(tmp_path: Path) -> None:
    receiver = receiver_of(tmp_path / "spool", DeviceLimits(1e-3, 1e9, burst_s=2e3))
    messages(receiver, "zanzibar", 9)
    messages(receiver, "other", 9)
    let_go(receiver)
    store = StateStore(tmp_path)
    progress = b"\x82\xa9watermark\x92\x01\x02\xa3due\x92\x92\x05\xa8zanzibar\x92\x06\xa5other"
    store.commit(commit(18, {PROGRESS: progress}))
    store.close()
    facts = forget("zanzibar", "--state", tmp_path)
    assert facts["messages"] == 9
    assert facts["server"] is None
    assert holding(tmp_path, b"zanzibar") == [], "not even the mark that tells a server of it"
    store = StateStore(tmp_path)
    assert b"other" in (store.state(0, "session", PROGRESS) or b"")
    store.close()


def test_what_clears_its_topics_goes_too_wherever_it_waits(tmp_path: Path) -> None:
    StateStore(tmp_path).close()
    erased = erase(tmp_path, "zanzibar", "ds/v1")
    writer = SpoolWriter(tmp_path / "spool")
    writer.append([Arrival(1, "ds/v1/zanzibar/meta", "", b""), Arrival(1, "ds/v1/other/meta", "", b"")])
    writer.close()
    overflow = OverflowQueue(tmp_path / "spool")
    names = ("zanzibar", "other")
    overflow.put([(name, Arrival(1, f"ds/v1/{name}/meta", "", b"")) for name in names])
    overflow.close()
    erased = finish(tmp_path, erased, "zanzibar", "ds/v1")
    assert erased.receipt["spool/waiting.sqlite"] == 1
    assert holding(tmp_path, b"zanzibar") == []
    assert len(holding(tmp_path, b"other")) == 2


def test_what_clears_its_topics_is_not_stored_once_the_receiver_knows(tmp_path: Path) -> None:
    receiver = receiver_of(tmp_path / "spool", DeviceLimits())
    receiver.forget("zanzibar")
    receiver.committer._round()
    clears = Message("ds/v1/zanzibar/meta", b"", "", 1, False, 1, Origin(0, 0))
    receiver._arrive(clears)
    receiver.committer.commit()
    assert receiver.committer.spool.head == 0
    messages(receiver, "zanzibar", 1)  # it is there again: what it says counts
    receiver._arrive(clears)
    receiver.committer.commit()
    assert receiver.committer.spool.head == 2
    let_go(receiver)


@pytest.mark.parametrize("device", ["", "a/b", "+", "#", "$server"])
def test_what_is_no_devices_name_is_refused(device: str, tmp_path: Path) -> None:
    StateStore(tmp_path).close()
    result = CliRunner().invoke(app, ["data", "forget", device, "--yes", "--state", str(tmp_path)])
    assert result.exit_code != 0
    assert "cannot be a device's id" in str(result.exception)


def test_dead_letters_have_an_age(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    day_us = 86_400_000_000
    letters = [DeadLetter(n, n * day_us, "t", "watch", "range", "why", "", b"x", 1) for n in range(1, 101)]
    store.commit(commit(100, dead_letters=letters))

    class Today:
        def unix_us(self) -> int:
            return 100 * day_us

        def monotonic(self) -> float:
            return 0.0

    rules = Retention(1e9, 2**40, 2**40, max_dead_age_s=30 * 86_400)
    Janitor(tmp_path, rules, Today(), done=lambda: 0)._tidy()  # type: ignore[arg-type]
    assert [one.position for one in store.dead_letters(limit=999)] == list(range(70, 101))
    store.close()
