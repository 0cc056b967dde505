"""The demo's own broker: Mosquitto where there is one, else one inside this process."""

from __future__ import annotations

import shutil
import socket
import time
from pathlib import Path
from typing import Protocol

from disc_stream.errors import BrokerError, PortInUseError

HOST = "127.0.0.1"
_ALSO_LOOKED_AT = ("/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "/opt/homebrew/sbin/mosquitto")
_START_S = 10.0
_POLL_S = 0.02


class LocalBroker(Protocol):
    """A running broker that only this demo uses."""

    @property
    def kind(self) -> str:
        """``mosquitto`` or ``embedded``."""
        ...

    @property
    def url(self) -> str:
        """For ``Broker.parse``."""
        ...

    @property
    def notice(self) -> str | None:
        """What people must know about it, if anything."""
        ...

    def why_dead(self) -> str | None:
        """Why it has ended, None while it runs."""
        ...

    def stop(self) -> None:
        """End it and free its port."""
        ...


def find_mosquitto() -> Path | None:
    """The Mosquitto program; Debian puts it where ordinary users' PATH does not look."""
    found = shutil.which("mosquitto")
    if found is not None:
        return Path(found)
    return next((Path(p) for p in _ALSO_LOOKED_AT if Path(p).is_file()), None)


def start_broker(port: int | None, *, embedded: bool = False) -> LocalBroker:
    """Start a broker on loopback and wait until it takes connections.

    Args:
        port: TCP port; None for one that is free.
        embedded: do without Mosquitto even where there is one.

    Raises:
        PortInUseError: if the port is taken.
        BrokerError: if the broker does not start, with what it said.
        MissingExtraError: if there is no Mosquitto and amqtt is not installed.
    """
    if port is not None and port_taken(port):
        raise PortInUseError(
            f"port {port} on {HOST} is already in use",
            remedy="Choose another --broker-port, or leave it out for one that is free",
        )
    program = None if embedded else find_mosquitto()
    if program is not None:
        from disc_stream.cli.demonstration.mosquitto import Mosquitto

        return Mosquitto(program, port)
    from disc_stream.cli.demonstration.embedded import EmbeddedBroker

    return EmbeddedBroker(port)


def port_taken(port: int) -> bool:
    """Whether something holds the port already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
    return False


def free_port() -> int:
    """A port that nobody uses right now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class _Start(Protocol):
    """A broker that is coming up."""

    def is_up(self) -> bool:
        """Whether it takes connections."""
        ...

    def why_dead(self) -> str | None:
        """Why it will never come up, or None while it may."""
        ...


def wait_until_up(broker: _Start, what: str) -> None:
    """Wait until a broker takes connections.

    Raises:
        BrokerError: if it died or does not come up.
    """
    deadline = time.monotonic() + _START_S
    while not broker.is_up():
        if (reason := broker.why_dead()) is not None:
            raise BrokerError(f"{what} did not start: {reason}", remedy="Mend it, or try --embedded-broker")
        if time.monotonic() > deadline:
            raise BrokerError(f"{what} does not take connections after {_START_S:g} s")
        time.sleep(_POLL_S)
