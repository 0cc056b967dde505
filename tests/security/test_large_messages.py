"""Messages that are too large never reach the disk, whatever the broker takes; those seen are counted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from disc_stream.wire.broker import Broker, Protocol
from disc_stream_server.doctor.connection import check_connection
from disc_stream_server.doctor.probe import Probe
from tests.integration.conftest import listener, start_server, tiny_bundle  # noqa: F401 - fixtures
from tests.support.broker import Mosquitto
from tests.support.device import REST, Sender, constant, make_batch
from tests.support.listener import Listener

pytestmark = pytest.mark.broker

LIMIT = 262_144


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """One that takes messages of any size."""
    folder = tmp_path / "mosquitto"
    folder.mkdir()
    broker = Mosquitto(folder, "allow_anonymous true\nmax_packet_size 268435455")
    broker.start()
    yield broker
    broker.discard()


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_what_is_too_large_is_not_spooled(
    mosquitto: Mosquitto,
    start_server: object,  # noqa: F811
    listener: Listener,  # noqa: F811
    tmp_path: Path,
    version: Protocol,
) -> None:
    start_server(broker=f"{mosquitto.url}?version={version}")  # type: ignore[operator]
    broker = Broker.parse(mosquitto.url)
    with Probe(broker, "large") as probe:
        assert probe.connect().accepted
        for number, length in enumerate([LIMIT + 1, 900_000, 10_000_000, 40_000_000]):
            assert probe.publish(f"ds/v1/large-{number}/raw", b"x" * length) == 0
    sender = Sender(mosquitto.url)
    try:
        sender.send(make_batch("watch", 0, constant(REST, 8)))
        listener.wait_for_labels(1)
    finally:
        sender.link.close()
    # With MQTT 5 the broker keeps those above the limit of a packet from us, and confirms them all the same.
    listener.wait_for_rejected("oversized", 2 if version == "5" else 4)
    # Four times what is left of each: spool, dead letter, and the log of both. 51 MB were sent.
    assert size(tmp_path / "state") < 4 * 4 * (LIMIT + 65_536)


def test_the_doctor_tells_that_a_broker_takes_what_is_dropped(mosquitto: Mosquitto) -> None:
    findings, _ = check_connection(Broker.parse(mosquitto.url), "doctor")
    (found,) = [one for one in findings if one.name == "too large messages"]
    assert found.state.value == "warning"
    assert "drops it" in found.detail
    assert "max_packet_size" in found.remedy
