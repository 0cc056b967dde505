"""Ports on loopback, and waiting for what is to listen on them."""

from __future__ import annotations

import socket
import time
from typing import Protocol

from disc_stream.errors import BrokerError

HOST = "127.0.0.1"
_START_S = 10.0
_POLL_S = 0.02


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
