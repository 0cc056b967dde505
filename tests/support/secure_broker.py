"""A real Mosquitto that runs on what ``disc-stream broker config`` writes."""

from __future__ import annotations

import getpass
import os
import signal
import threading
from pathlib import Path

import pytest

from disc_stream.wire.broker import Broker
from disc_stream_server.brokerconfig.devices import Added, add_device
from disc_stream_server.brokerconfig.people import Role, add_person
from disc_stream_server.brokerconfig.plan import ROLES, Layout
from disc_stream_server.brokerconfig.setup import write_setup
from tests.support.broker import Mosquitto, free_port

PASSWORD = "DISC_STREAM_BROKER_PASSWORD"  # noqa: S105


def four_ports() -> dict[str, int]:
    ports: set[int] = set()
    while len(ports) < 4:
        ports.add(free_port())
    names = ("port", "certificate_port", "service_port", "people_port")
    return dict(zip(names, sorted(ports), strict=True))


class SecureMosquitto(Mosquitto):
    """A broker on loopback, started as whoever runs the test.

    Args:
        folder: of the set-up; made here.
        settings: those of ``Plan``.
    """

    def __init__(self, folder: Path, **settings: object) -> None:
        self.folder = folder
        done = write_setup(folder, **{**four_ports(), "user": getpass.getuser(), **settings})
        self.plan, self.layout = done.plan, Layout(folder)
        self.port = self.plan.port
        self._config = self.layout.broker / "mosquitto.conf"
        self._process = None

    def environment(self, role: str) -> dict[str, str]:
        """What is in a role's file."""
        lines = self.layout.role(role).read_text().splitlines()
        return {name: value.strip("'") for name, _, value in (line.partition("=") for line in lines)}

    def secret(self, role: str) -> str:
        return self.environment(role)[PASSWORD]

    def role(self, role: str) -> Broker:
        """Address and credentials of a role."""
        return Broker.parse(self.role_url(role))

    def role_url(self, role: str) -> str:
        """The same as a URL that needs nothing from the environment."""
        url = self.environment(role)["DISC_STREAM_BROKER"]
        return url.replace(f"{ROLES[role]}@", f"{ROLES[role]}:{self.secret(role)}@")

    def person(self, role: Role, name: str) -> Broker:
        """Make an account for a person, and wait until the broker knows."""
        user, file = f"_{role}-{name}", f"{role}-{name}"
        with self.reloading():
            add_person(self.folder, role, name)
        address = self.environment(file)["DISC_STREAM_BROKER"]
        return Broker.parse(address.replace(f"{user}@", f"{user}:{self.secret(file)}@"))

    def add(self, device: str, *, certificate: bool = False) -> Broker:
        """Let a device in, and wait until the broker knows."""
        return Broker.parse(self.added(device, certificate=certificate).url)

    def added(
        self,
        device: str,
        *,
        certificate: bool | None = None,
        renew: bool = False,
        labels: bool | None = None,
    ) -> Added:
        with self.reloading():
            return add_device(self.folder, device, certificate=certificate, renew=renew, labels=labels)

    def reloading(self) -> _Reloading:
        """Wait, at the end of a block, until the broker has read its files again, if it runs."""
        return _Reloading(self)

    def _read(self, process: object) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        with self._process.stderr as stream:
            for line in stream:
                with self._heard:
                    self._said.append(line)
                    self._heard.notify_all()
                if "running" in line:
                    self._running.set()
                if "Reloading config" in line:
                    self._reloads.release()

    def start(self) -> None:
        self._reloads = threading.Semaphore(0)
        self._heard = threading.Condition()
        super().start()

    def wait_for_log(self, text: str) -> None:
        """Wait until the broker has logged something."""
        with self._heard:
            assert self._heard.wait_for(lambda: any(text in line for line in self._said), 60), text

    @property
    def runs(self) -> bool:
        return self._process is not None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid


class _Reloading:
    def __init__(self, broker: SecureMosquitto) -> None:
        self._broker = broker

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None or not self._broker.runs:
            return
        while self._broker._reloads.acquire(blocking=False):
            pass
        for _ in range(10):  # a signal that comes while it still reads is lost
            os.kill(self._broker.pid, signal.SIGHUP)
            if self._broker._reloads.acquire(timeout=1):
                return
        pytest.fail("the broker has not reloaded")
