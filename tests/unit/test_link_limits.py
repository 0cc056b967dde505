"""What one connection may have on its way, and to which connection an acknowledgement belongs."""

from __future__ import annotations

import logging
import threading

import pytest

from disc_stream.wire.mqtt import LinkListener, Message, Session
from tests.support.link import linked, until_closed
from tests.support.scripted_broker import (
    CONNACK,
    CONNECT,
    PUBACK,
    PUBLISH,
    SUBSCRIBE,
    Connection,
    ScriptedBroker,
)


@pytest.mark.parametrize("limit", [1, 4])
def test_all_messages_of_a_link_share_the_broker_s_receive_maximum(limit: int) -> None:
    seen: list[bytes] = []
    at_once: list[int] = []

    def take(connection: Connection) -> None:
        connection.receive(CONNECT)
        connection.send(CONNACK, bytes([0, 0, 3, 0x21, 0, limit]))  # Receive Maximum
        connection.receive(SUBSCRIBE)  # sent after all messages, and counts for nothing
        first = [packet for packet in connection.received if packet.kind == PUBLISH]
        at_once.append(len(first))
        for packet in first:
            seen.append(packet.body[5:])
            connection.send(PUBACK, packet.body[3:5])
        while len(seen) < 26:
            packet = connection.receive(PUBLISH)
            seen.append(packet.body[5:])
            connection.send(PUBACK, packet.body[3:5])
        until_closed(connection)

    with ScriptedBroker(take) as broker, linked(broker) as link:
        link.connect(5)
        link.publish_many([("t", b"%02d" % n) for n in range(10)])
        singles = [link.publish("t", b"%02d" % n) for n in range(10, 16)]
        link.publish_many([("t", b"%02d" % n) for n in range(16, 26)])
        assert not any(single.is_answered for single in singles)
        link.subscribe("t/#")
        assert link.flush(10)
        assert all(single.is_answered and not single.refused for single in singles)
        assert link.settled == link.sent == 26
    assert at_once == [limit]
    assert [body[1:] for body in seen] == [b"%02d" % n for n in range(26)], "in the order of publishing"


def test_a_content_type_is_sent_along() -> None:
    bodies: list[bytes] = []

    def take(connection: Connection) -> None:
        connection.accept()
        packet = connection.receive(PUBLISH)
        bodies.append(packet.body)
        connection.send(PUBACK, packet.body[3:5] + b"\x87\x00")
        until_closed(connection)

    with ScriptedBroker(take) as broker, linked(broker) as link:
        link.connect(5)
        delivery = link.publish("t", b"x", retain=True, content_type="application/cbor")
        assert delivery.wait(60)
        assert delivery.refused
    assert bodies[0][5:] == b"\x13\x03\x00\x10application/cbor" + b"x"


def test_what_is_sent_again_keeps_its_message_id_and_no_other_message_gets_it() -> None:
    mids: list[list[bytes]] = []

    def first(connection: Connection) -> None:
        connection.accept()
        mids.append([connection.receive(PUBLISH).body[3:5] for _ in range(2)])

    def second(connection: Connection) -> None:
        connection.accept()
        packets = [connection.receive(PUBLISH) for _ in range(3)]
        mids.append([packet.body[3:5] for packet in packets])
        for packet in packets:
            connection.send(PUBACK, packet.body[3:5])
        until_closed(connection)

    is_down = threading.Event()
    with (
        ScriptedBroker(first, second) as broker,
        linked(broker, LinkListener(on_down=lambda _reason: is_down.set())) as link,
    ):
        link.connect(5)
        link.publish("t", b"1")
        link.publish("t", b"2")
        assert is_down.wait(60)
        link.publish("t", b"3")
        assert link.flush(10)
    assert mids[1][:2] == mids[0]
    assert len(set(mids[1])) == 3


def test_a_message_is_acknowledged_over_the_link_that_brought_it_and_over_no_other() -> None:
    acknowledged: dict[str, list[bytes]] = {"one": [], "other": []}

    def script(name: str, mid: int) -> ScriptedBroker:
        def send(connection: Connection) -> None:
            connection.accept()
            connection.publish(name, b"x", mid=mid)
            acknowledged[name].append(connection.receive(PUBACK).mid)
            until_closed(connection)

        return ScriptedBroker(send)

    messages: list[Message] = []
    came = threading.Semaphore(0)

    def take(message: Message) -> None:
        messages.append(message)
        came.release()

    listener, session = LinkListener(on_message=take), Session(manual_ack=True)
    with (
        script("one", 7) as first,
        script("other", 9) as second,
        linked(first, listener, session) as one,
        linked(second, listener, session) as other,
    ):
        one.connect(5)
        other.connect(5)
        assert came.acquire(timeout=60)
        assert came.acquire(timeout=60)
        for link in (one, other):  # each is the first connection of its link
            link.ack(*messages)
        for link in (one, other):
            link.close()
    assert acknowledged == {"one": [(7).to_bytes(2, "big")], "other": [(9).to_bytes(2, "big")]}


@pytest.mark.parametrize(("present", "lost"), [(True, 0), (False, 1)])
def test_a_session_that_the_broker_has_lost_is_warned_of_and_counted(
    present: bool, lost: int, caplog: pytest.LogCaptureFixture
) -> None:
    is_back = threading.Event()

    def first(connection: Connection) -> None:
        connection.accept()

    def second(connection: Connection) -> None:
        connection.receive(CONNECT)
        connection.send(CONNACK, bytes([present, 0, 0]))
        until_closed(connection)

    def on_up() -> None:
        if ups.append(None) or len(ups) == 2:  # type: ignore[func-returns-value]
            is_back.set()

    ups: list[None] = []
    with (
        caplog.at_level(logging.WARNING),
        ScriptedBroker(first, second) as broker,
        linked(broker, LinkListener(on_up=on_up), Session(expiry_s=60)) as link,
    ):
        link.connect(5)
        assert is_back.wait(60)
        assert link.history.session_present is present
        assert link.history.sessions_lost == lost
    assert caplog.text.count("has lost the session of 'test'") == lost


def test_a_link_that_keeps_no_session_loses_none() -> None:
    ups = threading.Semaphore(0)

    with (
        ScriptedBroker(
            lambda first: first.accept(), lambda second: second.accept() or until_closed(second)
        ) as broker,
        linked(broker, LinkListener(on_up=ups.release)) as link,
    ):
        link.connect(5)
        assert ups.acquire(timeout=60)
        assert ups.acquire(timeout=60)
        assert link.history.sessions_lost == 0
