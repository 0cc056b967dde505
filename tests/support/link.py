"""A link to a scripted broker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from disc_stream.wire.broker import Broker
from disc_stream.wire.mqtt import LinkListener, MqttLink, Session
from tests.support.scripted_broker import DISCONNECT, Connection, ScriptedBroker


@contextmanager
def linked(
    broker: ScriptedBroker, listener: LinkListener | None = None, session: Session | None = None
) -> Iterator[MqttLink]:
    """A link that is closed in the end; the test connects it."""
    link = MqttLink(Broker.parse(broker.url), "test", listener, session)
    try:
        yield link
    finally:
        link.close()


def until_closed(connection: Connection) -> None:
    """Script: wait until the client leaves."""
    connection.receive(DISCONNECT)
