"""What the link makes of a broker's answers, the unusual ones included."""

from __future__ import annotations

import contextlib
import logging
import threading
import time

import pytest

from disc_stream.errors import BrokerError
from disc_stream.wire.broker import Broker
from disc_stream.wire.mqtt import LinkListener, Message, MqttLink, Session
from tests.support.link import linked, until_closed
from tests.support.scripted_broker import (
    CONNACK,
    CONNECT,
    DISCONNECT,
    PUBACK,
    PUBLISH,
    SUBACK,
    SUBSCRIBE,
    Connection,
    ScriptedBroker,
)


@pytest.mark.parametrize(
    ("code", "says"),
    [(0x86, "Bad user name or password"), (0x87, "Not authorized"), (0x88, "Server unavailable")],
)
def test_a_refusal_is_an_error_with_its_reason(code: int, says: str) -> None:
    def refuse(connection: Connection) -> None:
        connection.receive(CONNECT)
        connection.send(CONNACK, bytes([0, code, 0]))

    with (
        ScriptedBroker(refuse) as broker,
        linked(broker) as link,
        pytest.raises(BrokerError, match=f"refused the connection: {says}"),
    ):
        link.connect(5)


def test_a_closed_connection_is_an_error() -> None:
    with (
        ScriptedBroker(lambda connection: None) as broker,
        linked(broker) as link,
        pytest.raises(BrokerError, match="closed by the broker"),
    ):
        link.connect(5)


def test_silence_is_an_error_after_the_time_given() -> None:
    enough = threading.Event()
    with ScriptedBroker(lambda connection: enough.wait(10)) as broker, linked(broker) as link:
        try:
            with pytest.raises(BrokerError, match=r"did not answer within 0\.2 s"):
                link.connect(0.2)
        finally:
            enough.set()


def test_a_refused_subscription_is_an_error() -> None:
    def refuse(connection: Connection) -> None:
        connection.accept()
        for code in (0x01, 0x87):
            connection.send(SUBACK, connection.receive(SUBSCRIBE).mid + bytes([0, code]))
        until_closed(connection)

    with ScriptedBroker(refuse) as broker, linked(broker) as link:
        link.subscribe("a/meta")
        link.subscribe("a/raw")
        with pytest.raises(
            BrokerError, match=r"refused to subscribe us to a/raw: Not authorized.*access rights"
        ):
            link.connect(5)


def test_connect_waits_for_the_subscriptions() -> None:
    granted = threading.Event()

    def grant(connection: Connection) -> None:
        connection.accept()
        packet = connection.receive(SUBSCRIBE)
        granted.set()
        connection.send(SUBACK, packet.mid + b"\x00\x01")
        until_closed(connection)

    with ScriptedBroker(grant) as broker, linked(broker) as link:
        link.subscribe("a/raw")
        link.connect(5)
        assert granted.is_set()
        assert link.connected


def test_whoever_takes_our_id_ends_the_link() -> None:
    errors: list[BrokerError] = []
    told = threading.Event()

    def take_over(connection: Connection) -> None:
        connection.accept()
        connection.send(DISCONNECT, b"\x8e\x00")

    def tell(error: BrokerError) -> None:
        errors.append(error)
        told.set()

    with ScriptedBroker(take_over) as broker, linked(broker, LinkListener(on_fatal=tell)) as link:
        link.connect(5)
        assert told.wait(60)
        assert not link.connected
    assert "another client took over the id 'test'" in str(errors[0])
    assert "--client-id" in str(errors[0])


def test_a_link_that_may_not_give_up_comes_back_when_its_id_is_taken() -> None:
    """Less and less quickly, or both would do nothing else."""
    accepted: list[float] = []
    back = threading.Event()

    def take_over(connection: Connection) -> None:
        connection.accept()
        accepted.append(time.monotonic())
        connection.send(DISCONNECT, b"\x8e\x00")

    def stay(connection: Connection) -> None:
        connection.accept()
        accepted.append(time.monotonic())
        back.set()
        connection.receive(DISCONNECT)

    with ScriptedBroker(take_over, take_over, stay) as broker, linked(broker, LinkListener()) as link:
        link.connect(5)
        assert back.wait(60)
        assert link.history.takeovers == 2
        assert list(link.history.ends) == [], "the broker said why"
    # Delays of 1 and 2 s, of which chance takes up to half, so that many links do not come back at once.
    assert accepted[1] - accepted[0] >= 0.5
    assert accepted[2] - accepted[1] >= 1.0


def test_messages_of_an_earlier_connection_are_not_acknowledged_on_a_later_one() -> None:
    messages: list[Message] = []
    came, came_again, all_seen = threading.Event(), threading.Event(), threading.Event()
    acknowledged: list[bytes] = []

    def first(connection: Connection) -> None:
        connection.accept()
        connection.publish("t", b"old", mid=7)
        came.wait(5)

    def second(connection: Connection) -> None:
        connection.accept()
        connection.publish("t", b"new", mid=9)
        acknowledged.append(connection.receive(PUBACK).mid)
        all_seen.set()
        until_closed(connection)

    def take(message: Message) -> None:
        messages.append(message)
        (came if message.payload == b"old" else came_again).set()

    with (
        ScriptedBroker(first, second) as broker,
        linked(broker, LinkListener(on_message=take), Session(manual_ack=True, expiry_s=60)) as link,
    ):
        link.connect(5)
        assert came_again.wait(60)
        for message in messages:
            link.ack(message)
        assert all_seen.wait(60)
    assert [message.payload for message in messages] == [b"old", b"new"]
    assert acknowledged == [(9).to_bytes(2, "big")]


def test_an_exception_in_a_handler_does_not_end_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    second_came = threading.Event()

    def send_two(connection: Connection) -> None:
        connection.accept()
        connection.publish("t", b"1", mid=1)
        connection.publish("t", b"2", mid=2)
        until_closed(connection)

    def take(message: Message) -> None:
        if message.payload == b"1":
            raise ValueError("on purpose")
        second_came.set()

    with ScriptedBroker(send_two) as broker, linked(broker, LinkListener(on_message=take)) as link:
        link.connect(5)
        assert second_came.wait(60)
    assert "error in the on_message handler" in caplog.text


def test_a_topic_that_is_no_text_does_not_end_the_connection() -> None:
    came = threading.Event()

    def send_two(connection: Connection) -> None:
        connection.accept()
        connection.publish("t/\udcff", b"1", mid=1)
        connection.publish("t", b"2", mid=2)
        until_closed(connection)

    with (
        ScriptedBroker(send_two) as broker,
        linked(broker, LinkListener(on_message=lambda _: came.set())) as link,
    ):
        link.connect(5)
        assert came.wait(60)


def test_what_is_published_while_the_connection_is_away_is_sent_later() -> None:
    payloads: list[bytes] = []
    is_down = threading.Event()

    def drop(connection: Connection) -> None:
        connection.accept()

    def confirm(connection: Connection) -> None:
        connection.accept()
        packet = connection.receive(PUBLISH)
        payloads.append(packet.body[-5:])
        connection.send(PUBACK, packet.body[3:5])
        until_closed(connection)

    with (
        ScriptedBroker(drop, confirm) as broker,
        linked(broker, LinkListener(on_down=lambda _reason: is_down.set())) as link,
    ):
        link.connect(5)
        assert is_down.wait(60)
        delivery = link.publish("t", b"later")
        assert not delivery.is_answered
        assert not link.flush(0)
        assert link.flush(10)
    assert payloads == [b"later"]


def test_a_refused_message_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(connection: Connection) -> None:
        connection.accept()
        for _ in range(3):
            connection.send(PUBACK, connection.receive(PUBLISH).body[3:5] + b"\x87\x00")
        until_closed(connection)

    with (
        caplog.at_level(logging.ERROR),
        ScriptedBroker(refuse) as broker,
        linked(broker) as link,
    ):
        link.connect(5)
        for _ in range(3):
            link.publish("t", b"x")
        assert link.flush(5)
    assert caplog.text.count("Not authorized") == 1


def test_the_broker_s_limit_of_unconfirmed_messages_is_kept() -> None:
    seen_at_once: list[int] = []

    def limit_two(connection: Connection) -> None:
        connection.receive(CONNECT)
        connection.send(CONNACK, b"\x00\x00\x03\x21\x00\x02")  # Receive Maximum 2
        for _ in range(3):
            mids = [connection.receive(PUBLISH).body[3:5] for _ in range(2)]
            connection.socket.settimeout(0.2)
            try:
                connection.receive(PUBLISH)
                seen_at_once.append(3)
            except TimeoutError:
                seen_at_once.append(2)
            connection.socket.settimeout(10)
            for mid in mids:
                connection.send(PUBACK, mid)
        until_closed(connection)

    with ScriptedBroker(limit_two) as broker, linked(broker) as link:
        link.connect(5)
        for _ in range(6):
            link.publish("t", b"x")
        assert link.flush(10)
    assert seen_at_once == [2, 2, 2]


def test_unreachable() -> None:
    with ScriptedBroker() as broker:
        url = broker.url
    link = MqttLink(Broker.parse(url), "test")
    with pytest.raises(BrokerError, match="cannot reach the broker at mqtt://127"):
        link.connect(5)
    link.close()


def with_properties(topic: bytes, properties: bytes, payload: bytes, mid: int) -> bytes:
    """Body of a PUBLISH with QoS 1 (MQTT 5, 3.3)."""
    return (
        len(topic).to_bytes(2, "big")
        + topic
        + mid.to_bytes(2, "big")
        + bytes([len(properties)])
        + properties
        + payload
    )


def test_messages_are_the_same_whether_paho_unpacks_them_or_we_do() -> None:
    content_type = b"\x03\x00\x10application/cbor"
    user, expiry = b"\x26\x00\x01a\x00\x01b", b"\x02\x00\x00\x00\x3c"
    sent = [b"", content_type, user, expiry + content_type, content_type + user, b"\x03\x00\x00"]
    messages: list[Message] = []
    all_here = threading.Event()
    acknowledged: list[int] = []

    def send_all(connection: Connection) -> None:
        connection.accept()
        for mid, properties in enumerate(sent, start=1):
            connection.send(PUBLISH, with_properties(b"a/b", properties, b"payload", mid), flags=0b0010)
        acknowledged.extend(int.from_bytes(connection.receive(PUBACK).mid, "big") for _ in sent)
        until_closed(connection)

    def take(message: Message) -> None:
        messages.append(message)
        if len(messages) == len(sent):
            all_here.set()

    with ScriptedBroker(send_all) as broker, linked(broker, LinkListener(on_message=take)) as link:
        link.connect(5)
        assert all_here.wait(60)
    types = ["", "application/cbor", "", "application/cbor", "application/cbor", ""]
    assert [message.content_type for message in messages] == types
    assert {(message.topic, message.payload, message.qos, message.retained) for message in messages} == {
        ("a/b", b"payload", 1, False)
    }
    assert [message.mid for message in messages] == [1, 2, 3, 4, 5, 6]
    assert acknowledged == [1, 2, 3, 4, 5, 6], "without manual_ack each is acknowledged at once"


def test_labels_in_bulk_are_sent_again_after_a_break_and_counted_in_order() -> None:
    seen: list[list[tuple[bytes, bool]]] = []
    is_down = threading.Event()

    def take(connection: Connection, n: int) -> list[bytes]:
        packets = [connection.receive(PUBLISH) for _ in range(n)]
        seen.append([(packet.body[-2:], bool(packet.flags & 0x08)) for packet in packets])
        return [packet.body[3:5] for packet in packets]

    def first(connection: Connection) -> None:
        connection.accept()
        mids = take(connection, 4)
        connection.send(PUBACK, mids[2])  # out of order, and the others never
        connection.receive(PUBLISH)  # the mark behind: the confirmation has been read by then

    def second(connection: Connection) -> None:
        connection.accept()
        for mid in take(connection, 4):
            connection.send(PUBACK, mid)
        until_closed(connection)

    with (
        ScriptedBroker(first, second) as broker,
        linked(broker, LinkListener(on_down=lambda _reason: is_down.set())) as link,
    ):
        link.connect(5)
        link.publish_many([("t", b"m%d" % n) for n in range(4)])
        assert not link.flush(0.2)
        assert link.settled == 0, "the third is confirmed, but not the first"
        link.publish_many([("t", b"m4")])
        assert is_down.wait(60)
        assert link.flush(10)
        assert link.settled == link.sent == 5
    assert [payload for payload, _ in seen[0]] == [b"m0", b"m1", b"m2", b"m3"]
    assert seen[1] == [(b"m0", True), (b"m1", True), (b"m3", True), (b"m4", True)]


def test_an_error_of_ours_ends_the_connection_as_any_break_does(caplog: pytest.LogCaptureFixture) -> None:
    messages: list[Message] = []
    reasons: list[str] = []
    came_again = threading.Event()
    acknowledged: list[bytes] = []

    def first(connection: Connection) -> None:
        connection.accept()
        connection.publish("t", b"x", mid=7)
        with contextlib.suppress(ConnectionError):
            acknowledged.append(connection.receive(PUBACK).mid)

    def second(connection: Connection) -> None:
        connection.accept()
        connection.publish("t", b"x", mid=9)
        acknowledged.append(connection.receive(PUBACK).mid)
        until_closed(connection)

    def commit() -> None:
        if len(messages) == 1 and not reasons:
            raise OSError("on purpose")
        if len(messages) == 2:
            link.ack(*messages)
            came_again.set()

    with (
        ScriptedBroker(first, second) as broker,
        linked(
            broker,
            LinkListener(on_message=messages.append, on_burst=commit, on_down=reasons.append),
            Session(manual_ack=True, expiry_s=60),
        ) as link,
    ):  # fmt: skip
        link.connect(5)
        assert came_again.wait(60)
    assert reasons == ["an error in the network thread"]
    assert acknowledged == [(9).to_bytes(2, "big")], "the first belongs to a connection that is gone"
    assert "the connection starts anew" in caplog.text
