"""The demo's own broker: Mosquitto where there is one, else one inside this process."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Protocol

from disc_stream.errors import PortInUseError
from disc_stream.localbroker.embedded import EmbeddedBroker
from disc_stream.localbroker.mosquitto import Mosquitto
from disc_stream.localbroker.ports import HOST, port_taken

_ALSO_LOOKED_AT = ("/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "/opt/homebrew/sbin/mosquitto")


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
        """Its limits, as a sentence for the user; None if there are none."""
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
        return Mosquitto(program, port)
    return EmbeddedBroker(port)
