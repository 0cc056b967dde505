"""A set-up of an earlier version: `broker config` closes its holes, and nobody loses a message by it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from disc_stream.cli.app import app
from disc_stream.errors import ConfigError
from disc_stream.wire.broker import Broker
from disc_stream_server.brokerconfig import authority as module
from disc_stream_server.brokerconfig.authority import Authority
from disc_stream_server.brokerconfig.devices import add_device, remove_device
from disc_stream_server.brokerconfig.people import add_person
from disc_stream_server.doctor.probe import NOT_AUTHORIZED, Probe
from tests.support.older_setup import make_older
from tests.support.secure_broker import SecureMosquitto

pytestmark = pytest.mark.broker

KEPT: dict[str, Any] = {"clean": False, "session_expiry_s": 600}
TAKEN = {0x00, 0x10}


Older = tuple[SecureMosquitto, dict[str, Broker]]


@pytest.fixture
def older(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Older]:
    """A broker that runs on an older set-up, with the credentials of its devices."""
    broker = SecureMosquitto(tmp_path / "set-up")
    monkeypatch.setattr(module, "_common_name", lambda device, _serial: device)  # as it was then
    devices = {
        "by-password": Broker.parse(add_device(broker.folder, "by-password").url),
        "by-certificate": Broker.parse(add_device(broker.folder, "by-certificate", certificate=True).url),
    }
    monkeypatch.undo()
    make_older(broker.plan, broker.layout)
    broker.start()
    yield broker, devices
    broker.discard()


def upgrade(broker: SecureMosquitto) -> dict[str, Any]:
    with broker.reloading():
        done = CliRunner().invoke(app, ["broker", "config", "--out", str(broker.folder), "--json"])
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


def test_other_commands_say_what_to_do(older: Older) -> None:
    broker, _ = older
    for command in (
        lambda: add_device(broker.folder, "w1"),
        lambda: remove_device(broker.folder, "by-password"),
        lambda: add_person(broker.folder, "viewer", "anna"),
    ):
        with pytest.raises(ConfigError, match="earlier version") as caught:
            command()
        assert f"disc-stream broker config --out {broker.folder}" in str(caught.value.remedy)


def test_devices_and_server_go_on_and_people_change_their_port(
    older: Older,
) -> None:
    broker, devices = older
    server_before, viewer_before = broker.role("server"), broker.role("viewer")
    with Probe(server_before, "disc-stream-server", **KEPT) as server, Probe(viewer_before, "v") as viewer:
        assert server.connect().accepted
        assert server.subscribe("ds/v1/+/raw") == 1
        assert viewer.connect().accepted
        with Probe(devices["by-password"], "a") as one, Probe(devices["by-certificate"], "b") as other:
            assert one.connect().accepted
            assert other.connect().accepted
            told = upgrade(broker)
            assert told["upgraded"]
            assert viewer.wait_closed(), "before the restart, too"
            for probe, device in ((one, "by-password"), (other, "by-certificate")):
                assert probe.publish(f"ds/v1/{device}/raw", device.encode()) in TAKEN
            assert server.wait_for(lambda heard: heard.payload == b"by-certificate")
    before = broker.layout.broker / "mosquitto.conf.before"
    assert before.read_text().count("listener ") == 3
    with Probe(devices["by-password"], "a") as one:
        assert one.connect().accepted
        assert one.publish("ds/v1/by-password/raw", b"waits") in TAKEN
    broker.restart()
    assert broker.role("server") == server_before
    with Probe(server_before, "disc-stream-server", **KEPT) as server:
        assert server.connect().session_present
        assert server.wait_for(lambda heard: heard.payload == b"waits")
        with Probe(viewer_before, "disc-stream-server") as attacker:
            assert not attacker.connect().accepted
        for role in ("viewer", "operator"):
            assert broker.role(role).password == broker.secret(role)
            with Probe(broker.role(role), "any") as person:
                assert person.connect().accepted
        assert not server.closed
    again = upgrade(broker)
    assert not again["upgraded"]
    assert again["written"] == []


@pytest.mark.parametrize("restart", [False, True])
def test_a_certificate_of_then_is_good_until_it_is_renewed(
    older: Older, tmp_path: Path, restart: bool
) -> None:
    broker, devices = older
    upgrade(broker)
    if restart:
        broker.restart()
    copy = tmp_path / "pair.pem"
    device = devices["by-certificate"]
    copy.write_bytes(b"".join(Path(str(file)).read_bytes() for file in (device.cert_file, device.key_file)))
    copy.chmod(0o600)
    thief = replace(device, ca_file=str(broker.layout.ca), cert_file=str(copy), key_file=None)
    with Probe(thief, "any") as probe:
        assert probe.connect().accepted
        assert probe.publish("ds/v1/by-certificate/raw", b"good") in TAKEN
        added = broker.added("by-certificate", renew=True)
        assert added.told.confirmed
        assert added.told.cut == ("by-certificate",)
        assert probe.wait_closed()
    assert [one.user != "by-certificate" for one in Authority(broker.layout.authority).good()] == [True]
    with Probe(Broker.parse(added.url), "any") as probe:
        assert probe.connect().accepted
        assert probe.publish("ds/v1/by-certificate/raw", b"new") in TAKEN
        assert probe.publish("ds/v1/by-password/raw", b"forged") == NOT_AUTHORIZED
