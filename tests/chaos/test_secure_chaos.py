"""Takeovers, expiry, renewals and removals on a secured broker: what was confirmed reaches the spool.

The short form runs with all tests; ``make chaos`` runs the long one.
"""

from __future__ import annotations

import os
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from disc_stream.wire.broker import Broker
from disc_stream.wire.mqtt import LinkListener, MqttLink, Session
from disc_stream_server.brokerconfig.authority import Authority
from disc_stream_server.brokerconfig.devices import remove_device
from disc_stream_server.brokerconfig.people import add_person, remove_person
from disc_stream_server.brokerconfig.setup import write_setup
from disc_stream_server.doctor.probe import Probe
from disc_stream_server.storage.spool import SpoolReader
from tests.support.collector import Collector
from tests.support.courier import Courier
from tests.support.secure_broker import SecureMosquitto

pytestmark = [pytest.mark.broker, pytest.mark.timeout(3600)]

SERVER_ID = "disc-stream-server"
DEVICES = {"pw-1": False, "pw-2": False, "crt-1": True, "crt-2": True}


class SecureWorld:
    """A secured broker, a server that collects, devices that send all the time, and what happens to them."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.broker = SecureMosquitto(folder / "set-up")
        self.broker.start()
        self.state = folder / "state"
        self.server = Collector(self.broker.environment("server"), self.state, "--no-http")
        self.server.start()
        self.couriers = {
            device: Courier(device, self.broker.add(device, certificate=certificate))
            for device, certificate in DEVICES.items()
        }
        for courier in self.couriers.values():
            courier.start()
        self._random = random.Random(seed)
        self.happened: Counter[str] = Counter()
        self.starts = 1

    def kinds(self) -> dict[str, Callable[[], None]]:
        """What can happen, the likeliest to lose something first."""
        return {
            "takeover by people": self._people_take_over,
            "takeover with the server's password": self._server_is_taken_over,
            "renewal": self._renew,
            "removal": self._remove,
            "expiry": self._expire,
            "the broker's renewal": self._renew_broker,
            "people come and go": self._people,
            "broker restarts": self.broker.restart,
            "server is killed": self._kill,
        }

    def disturb(self, what: str) -> None:
        """One round; it is over when all devices get messages through again."""
        self.kinds()[what]()
        self.happened[what] += 1
        if self.server.process.poll() is not None:
            self.server.start()
            self.starts += 1
        for courier in self.couriers.values():
            courier.wait_for_more()

    def _any(self, *, certificate: bool | None = None) -> Courier:
        return self.couriers[
            self._random.choice([d for d, c in DEVICES.items() if certificate is None or c is certificate])
        ]

    def _people_take_over(self) -> None:
        plan = self.broker.plan
        for role in ("viewer", "operator"):
            for port in plan.ports:
                for client_id in (SERVER_ID, f"{SERVER_ID}-labels"):
                    with Probe(replace(self.broker.role(role), port=port), client_id) as attacker:
                        attacker.connect()

    def _server_is_taken_over(self) -> None:
        """By somebody who takes messages and never acknowledges one."""
        came = threading.Event()
        thief = MqttLink(
            self.broker.role("server"),
            SERVER_ID,
            LinkListener(on_message=lambda _message: came.set()),
            Session(expiry_s=86_400, manual_ack=True),
        )
        thief.connect()
        assert came.wait(60)
        thief.close()

    def _renew(self) -> None:
        courier = self._any()
        courier.use(Broker.parse(self.broker.added(courier.device, renew=True).url))

    def _remove(self) -> None:
        courier = self._any()
        with self.broker.reloading():
            removed = remove_device(self.broker.folder, courier.device)
        assert removed.told.confirmed
        courier.use(self.broker.add(courier.device, certificate=DEVICES[courier.device]))

    def _expire(self) -> None:
        courier = self._any(certificate=True)
        authority = Authority(self.broker.layout.authority)
        issued = authority.issued()
        authority._save(
            [replace(one, not_after=1) if one.device == courier.device else one for one in issued]
        )
        self.broker.add(f"new-{self.happened.total()}")  # a command, after which it has no rights
        courier.use(Broker.parse(self.broker.added(courier.device, certificate=True, renew=True).url))

    def _renew_broker(self) -> None:
        folder = self.broker.layout.broker
        soon = Authority(self.broker.layout.authority).issue_broker(self.broker.plan.hosts, days=10)
        (folder / "broker.crt").write_bytes(soon.certificate)
        (folder / "broker.key").write_bytes(soon.key)
        with self.broker.reloading():
            done = write_setup(self.broker.folder)
        assert {path.name for path in done.written} == {"broker.crt", "broker.key"}

    def _people(self) -> None:
        name = f"p{self.happened.total()}"
        with Probe(self.broker.person("viewer", name), "any") as person:
            assert person.connect().accepted
            add_person(self.broker.folder, "operator", name)
            with self.broker.reloading():
                remove_person(self.broker.folder, "viewer", name)
            assert person.wait_closed()

    def _kill(self) -> None:
        self.server.kill()

    def spooled(self) -> set[bytes]:
        reader = SpoolReader(self.state / "spool")
        found: set[bytes] = set()
        position = 0
        try:
            while rows := reader.read(position, 10_000):
                found |= {bytes(row.payload) for row in rows}
                position = rows[-1].position
        finally:
            reader.close()
        return found

    def close(self) -> None:
        for courier in self.couriers.values():
            courier._stop.set()
        if self.server.process.poll() is None:
            self.server.kill()
        self.broker.discard()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[SecureWorld]:
    world = SecureWorld(tmp_path, int(os.environ.get("DISC_STREAM_CHAOS_SEED", "1")))
    yield world
    world.close()


def run_chaos(world: SecureWorld, rounds: int) -> None:
    kinds = list(world.kinds())
    for number in range(rounds):
        world.disturb(kinds[number % len(kinds)])
    for courier in world.couriers.values():
        courier.finish()
    confirmed = set().union(*(courier.confirmed for courier in world.couriers.values()))
    last = b"the last one"
    with Probe(world.broker.add("last"), "any") as probe:
        assert probe.connect().accepted
        assert probe.publish("ds/v1/last/raw", last) == 0
    waited = threading.Event()
    for _ in range(600):  # another process writes the spool, and tells nobody when
        spooled = world.spooled()
        if last in spooled:
            break
        waited.wait(0.1)
    assert last in spooled
    lost = confirmed - spooled
    assert not lost, f"{len(lost)} of {len(confirmed)} confirmed messages never came: {sorted(lost)[:5]}"
    sent = sum(courier.sent for courier in world.couriers.values())
    refused = sum(courier.refused for courier in world.couriers.values())
    links = sum(courier.connections for courier in world.couriers.values())
    print(
        f"\n{rounds} rounds {dict(world.happened)}: {sent} messages sent over {links} connections, "
        f"{len(confirmed)} confirmed, {refused} refused, {len(lost)} lost; {world.starts} starts of serve"
    )


def test_a_few_rounds(world: SecureWorld) -> None:
    run_chaos(world, 6)


@pytest.mark.chaos_long
def test_many_rounds(world: SecureWorld) -> None:
    run_chaos(world, int(os.environ.get("DISC_STREAM_CHAOS_ROUNDS", "100")))
