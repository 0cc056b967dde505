"""Nobody takes over the session of another; and whoever can take over the server's does not end it."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from disc_stream.errors import ConfigError
from disc_stream.wire.topics import Topics
from disc_stream_server.brokerconfig.devices import add_device
from disc_stream_server.brokerconfig.people import add_person, remove_person
from disc_stream_server.doctor.clock import check_clock
from disc_stream_server.doctor.probe import Probe
from tests.support.broker import free_port
from tests.support.collector import Collector
from tests.support.device import Sender
from tests.support.listener import Listener
from tests.support.scripted_broker import (
    CONNACK,
    CONNECT,
    DISCONNECT,
    SUBACK,
    SUBSCRIBE,
    Connection,
    ScriptedBroker,
)
from tests.support.secure_broker import SecureMosquitto

pytestmark = pytest.mark.broker

SERVER_ID = "disc-stream-server"
KEPT: dict[str, Any] = {"clean": False, "session_expiry_s": 600}


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureMosquitto]:
    broker = SecureMosquitto(tmp_path_factory.mktemp("secure") / "set-up")
    broker.start()
    yield broker
    broker.discard()


def ports(broker: SecureMosquitto) -> list[int]:
    plan = broker.plan
    return [plan.port, plan.service_port, getattr(plan, "people_port", plan.service_port)]


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_people_cannot_destroy_what_waits_for_the_server(secure: SecureMosquitto, role: str) -> None:
    """With its client id and a clean start they would throw it out, and delete what was confirmed."""
    device_address = secure.add(f"confirmed-{role}")
    with Probe(secure.role("server"), SERVER_ID, **KEPT) as server:
        assert server.connect().accepted
        assert server.subscribe("ds/v1/+/raw") == 1
    with Probe(device_address, "any") as device:
        assert device.connect().accepted
        for number in range(20):
            assert device.publish(f"ds/v1/confirmed-{role}/raw", f"{number}".encode()) == 0
    for port in ports(secure):
        with Probe(replace(secure.role(role), port=port), SERVER_ID) as attacker:
            attacker.connect()
    with Probe(secure.role("server"), SERVER_ID, **KEPT) as server:
        assert server.connect().session_present, "its queue is gone"
        assert server.wait_for(lambda heard: heard.payload == b"19")
        for port in ports(secure):
            with Probe(replace(secure.role(role), port=port), SERVER_ID) as attacker:
                attacker.connect()
        with Probe(device_address, "any") as device:
            assert device.connect().accepted
            assert device.publish(f"ds/v1/confirmed-{role}/raw", b"last") == 0
        assert server.wait_for(lambda heard: heard.payload == b"last"), "it was thrown out"


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_a_person_with_the_name_of_a_device_is_not_that_device(secure: SecureMosquitto, role: str) -> None:
    device_address = secure.add(f"anna-{role}")
    with Probe(device_address, "any") as device, Probe(secure.person(role, f"anna-{role}"), "x") as person:
        assert device.connect().accepted
        assert person.connect().accepted
        assert device.publish(f"ds/v1/anna-{role}/raw", b"still here") in {0, 0x10}
        assert not person.closed


def test_each_person_has_an_account_of_ones_own(secure: SecureMosquitto) -> None:
    anna, ben = secure.person("viewer", "anna"), secure.person("viewer", "ben")
    with Probe(anna, "same") as one, Probe(ben, "same") as other:
        assert one.connect().accepted
        assert other.connect().accepted
        with pytest.raises(ConfigError, match="already"):
            add_person(secure.folder, "viewer", "anna")
        with secure.reloading():
            removed = remove_person(secure.folder, "viewer", "anna")
        assert one.wait_closed(), "an account that is gone has no connection"
        assert not removed.file.exists()
        assert not other.closed
    with Probe(anna, "same") as one:
        assert not one.connect().accepted


@pytest.mark.parametrize("name", ["", "a b", "x\nuser _server", "-x", "../x", "a" * 33, "_server", "a:b"])
def test_names_that_are_none(secure: SecureMosquitto, name: str) -> None:
    with pytest.raises(ConfigError, match="not a name"):
        add_person(secure.folder, "operator", name)


RESERVED = ["disc-stream-server", "disc-stream-server-labels", "Disc-Stream-Server", "doctor-1"]


@pytest.mark.parametrize("device", RESERVED)
def test_no_device_has_a_name_of_ours(secure: SecureMosquitto, device: str) -> None:
    for certificate in (False, True):
        with pytest.raises(ConfigError, match="reserved"):
            add_device(secure.folder, device, certificate=certificate)


def test_the_server_has_no_name_of_a_device(secure: SecureMosquitto, tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "disc_stream", "serve", "--collect", "--no-http", "--client-id", "watch-17"],
        env={**os.environ, **secure.environment("server")}, capture_output=True, text=True, timeout=120,
        check=False, cwd=tmp_path,
    )  # fmt: skip
    assert told.returncode == 2
    assert "'watch-17' could be a device's" in told.stderr


def test_a_flood_of_the_devices_port_leaves_the_others_alone(tmp_path: Path) -> None:
    """It needs no credential: each connection holds a descriptor. (2.0 forgets the limit when it reloads.)"""
    broker = SecureMosquitto(tmp_path / "set-up", max_connections=16)
    device = broker.add("watch")
    broker.start()
    flood: list[socket.socket] = []
    try:
        flood += [socket.create_connection(("127.0.0.1", broker.plan.port), 10) for _ in range(40)]
        broker.wait_for_log("max_connections exceeded")
        with Probe(device, "any") as refused:
            assert not refused.connect().accepted
        for role in ("server", "operator"):
            with Probe(broker.role(role), SERVER_ID) as probe:
                assert probe.connect().accepted
    finally:
        for connection in flood:
            connection.close()
        broker.discard()


# -- whoever has the server's own password ----------------------------------------------------------------


def test_a_takeover_is_fought_counted_and_told(secure: SecureMosquitto, tmp_path: Path) -> None:
    page = f"127.0.0.1:{free_port()}"
    collector = Collector(secure.environment("server"), tmp_path / "state", "--http", page)
    listener = Listener(secure.role_url("operator"))
    listener.link.connect()
    sender = Sender(secure.added("through").url)
    try:
        collector.start()
        for times, client_id in enumerate((SERVER_ID, f"{SERVER_ID}-labels", SERVER_ID), start=1):
            with Probe(secure.role("server"), client_id, **KEPT) as thief:
                assert thief.connect().accepted
                assert thief.wait_closed(60), "the server takes its session back"
            listener.wait_for_count("takeovers", times)
        sender.raw("through", b"after it all")
        sender.flush()
        listener.wait_for_count("received", 1)
        assert collector.process.poll() is None
        assert wait_for_readiness(page, 200) == ""
        words = ""
        for _ in range(100):  # the server comes back within a second, and is thrown out again
            with Probe(secure.role("server"), SERVER_ID, **KEPT) as thief:
                assert thief.connect().accepted
                if "does another client use our id?" in (words := wait_for_readiness(page, 503)):
                    break
        assert "does another client use our id?" in words
        listener.link.close()  # an account has one connection
        finding = next(
            one
            for one in check_clock(secure.role("operator"), Topics(), "doctor")
            if one.name == "server's session"
        )
        assert finding.state.value == "fail"
        assert re.search("taken over [1-9][0-9]* times by another client", finding.detail)
        assert "renew the server's password" in finding.remedy
    finally:
        sender.link.close()
        listener.link.close()
        log = collector.stop()
    assert f"ended the connection of '{SERVER_ID}' and not our other one" in log
    assert f"ended the connection of '{SERVER_ID}-labels' and not our other one" in log
    assert "give each its own --client-id; if nobody else should know the password, renew it" in log
    assert secure.secret("server") not in log


def wait_for_readiness(page: str, wanted: int) -> str:
    """What the server says it waits for, as soon as it answers with a code; or what it said last."""
    words = ""
    for _ in range(100):
        code, words = readiness(page)
        if code == wanted:
            break
    return words


def readiness(page: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{page}/readyz", timeout=30):
            return 200, ""
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_a_program_whose_account_another_one_uses_ends_with_a_reason() -> None:
    """They would throw each other out for ever. (Mosquitto says so from 2.0.15 on.)"""

    def take_over(connection: Connection) -> None:
        connection.receive(CONNECT)
        connection.send(CONNACK, b"\x00\x00\x00")
        for _ in range(3):
            connection.send(SUBACK, connection.receive(SUBSCRIBE).mid + b"\x00\x01")
        connection.send(DISCONNECT, b"\x8e\x00")

    with ScriptedBroker(take_over) as broker:
        told = subprocess.run(
            [sys.executable, "-m", "disc_stream", "watch", "--json", "--broker", broker.url],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
    assert told.returncode == 1
    assert "another client took over the id" in told.stderr
    assert "or account" in told.stderr
    assert "Traceback" not in told.stderr
