"""Connecting is not hanging: slow resolvers and brokers that say nothing, and how quickly all of it ends."""

from __future__ import annotations

import itertools
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from disc_stream.errors import BrokerError
from disc_stream.wire import dial, netloop
from disc_stream.wire.broker import Broker
from disc_stream.wire.mqtt import LinkListener, MqttLink
from tests.support.link import linked, until_closed
from tests.support.scripted_broker import Connection, ScriptedBroker
from tests.support.silent import Resolver, seconds_of, silent_server

AT_ONCE_S = 1.0  # a stop takes milliseconds; the shortest wait that it must cut short takes longer than this


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    one = Resolver(monkeypatch)
    yield one
    one.answer()


def drop(connection: Connection) -> None:
    connection.accept()


def stay(connection: Connection) -> None:
    connection.accept()
    until_closed(connection)


def test_while_the_resolver_hangs_the_network_thread_comes_around_and_says_what_it_waits_for(
    resolver: Resolver,
) -> None:
    bursts, ups = threading.Semaphore(0), threading.Semaphore(0)
    with (
        ScriptedBroker(drop, stay) as broker,
        linked(broker, LinkListener(on_up=ups.release, on_burst=bursts.release)) as link,
    ):
        link.connect(5)
        assert ups.acquire(timeout=60)
        assert resolver.asked.acquire(timeout=60)
        resolver.hang()
        assert resolver.asked.acquire(timeout=60), "the reconnect asks for the address again"
        while bursts.acquire(blocking=False):
            pass
        for _ in range(3):
            assert bursts.acquire(timeout=60)
            assert link.silent_s < 2
        assert link.connecting.startswith("looking up the address of '127.0.0.1'")
        assert not link.connected
        resolver.answer()
        assert ups.acquire(timeout=60)
        assert link.connecting == ""


def test_a_stop_while_the_resolver_hangs_is_immediate(resolver: Resolver) -> None:
    with ScriptedBroker(drop) as broker, linked(broker) as link:
        link.connect(5)
        assert resolver.asked.acquire(timeout=60)
        resolver.hang()
        assert resolver.asked.acquire(timeout=60)
        assert seconds_of(link.close) < AT_ONCE_S


def test_a_stop_ends_the_wait_before_the_next_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netloop, "_FIRST_DELAY_S", 60.0)
    is_down = threading.Event()
    listener = LinkListener(on_down=lambda _reason: is_down.set())
    with ScriptedBroker(drop) as broker, linked(broker, listener) as link:
        link.connect(5)
        assert is_down.wait(60)
        assert seconds_of(link.close) < AT_ONCE_S


def test_wake_ends_the_wait_before_the_next_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netloop, "_FIRST_DELAY_S", 60.0)
    monkeypatch.setattr(netloop, "_TICK_S", 60.0)
    is_down, bursts = threading.Event(), threading.Semaphore(0)
    listener = LinkListener(on_down=lambda _reason: is_down.set(), on_burst=bursts.release)
    with ScriptedBroker(drop) as broker, linked(broker, listener) as link:
        link.connect(5)
        assert is_down.wait(60)
        while bursts.acquire(blocking=False):
            pass
        link.wake()
        assert bursts.acquire(timeout=30)  # half of what it waits without


def test_a_stop_from_another_thread_ends_the_first_connect(resolver: Resolver) -> None:
    resolver.hang()
    errors: list[BrokerError] = []
    link = MqttLink(Broker.parse("mqtt://127.0.0.1:1"), "test")

    def connect() -> None:
        with pytest.raises(BrokerError) as caught:
            link.connect(30)
        errors.append(caught.value)

    thread = threading.Thread(target=connect)
    thread.start()
    assert resolver.asked.acquire(timeout=60)
    assert seconds_of(link.close) < AT_ONCE_S
    thread.join(AT_ONCE_S)
    assert not thread.is_alive()
    assert "was broken off" in str(errors[0])


def test_a_resolver_that_never_answers_is_an_error_that_names_it(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dial, "LOOKUP_S", 0.2)
    resolver.hang()
    link = MqttLink(Broker.parse("mqtt://broker.example:1"), "test")
    with pytest.raises(BrokerError) as caught:
        link.connect(5)
    assert str(caught.value).startswith(
        "cannot reach the broker at mqtt://broker.example:1: looking up the address of 'broker.example' took "
        "longer than 0.2 s. Check the host's name"
    )


def test_a_resolver_that_never_answers_holds_few_threads(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dial, "LOOKUP_S", 0.01)
    for name in ("_FIRST_DELAY_S", "_LONGEST_DELAY_S"):
        monkeypatch.setattr(netloop, name, 0.01)
    bursts = threading.Semaphore(0)
    with ScriptedBroker(drop) as broker, linked(broker, LinkListener(on_burst=bursts.release)) as link:
        resolver.hang()
        link._loop.start()  # as after a first connection that broke
        for _ in range(3):
            assert resolver.asked.acquire(timeout=60)
        for _ in range(100):
            assert bursts.acquire(timeout=60)
        assert resolver.calls == 3
        assert link.silent_s < 2


def test_a_broker_that_accepts_and_says_nothing_is_an_error() -> None:
    with silent_server() as (port, accepted):
        link = MqttLink(Broker.parse(f"mqtt://127.0.0.1:{port}"), "test")
        with pytest.raises(BrokerError, match=r"it did not answer within 0\.2 s\. Check that an MQTT broker"):
            link.connect(0.2)
        assert accepted.acquire(timeout=60)


def test_a_reconnect_to_a_broker_that_says_nothing_is_bounded_and_ends_at_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(netloop, "_FIRST_DELAY_S", 0.01)
    asked = threading.Semaphore(0)

    def say_nothing(connection: Connection) -> None:
        asked.release()
        until_closed(connection)

    with ScriptedBroker(drop, say_nothing, say_nothing) as broker, linked(broker) as link:
        link.connect(0.3)
        assert asked.acquire(timeout=60)
        assert asked.acquire(timeout=60), "it is tried again"
        assert seconds_of(link.close) < AT_ONCE_S
    assert "is not reachable (it did not answer within 0.3 s); trying again" in caplog.text


def test_a_handshake_that_is_never_answered_is_an_error() -> None:
    with silent_server() as (port, _):
        link = MqttLink(Broker.parse(f"mqtts://127.0.0.1:{port}"), "test")
        with pytest.raises(BrokerError, match=r"cannot reach the broker.*timed out.*speaks TLS"):
            link.connect(0.3)


def test_an_address_that_refuses_is_passed_over_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def two(host: str, port: int, **options: Any) -> Any:
        refusing = socket.create_server(("127.0.0.1", 0))
        other = refusing.getsockname()[1]
        refusing.close()
        return list(itertools.chain(real("127.0.0.1", other, **options), real("127.0.0.1", port, **options)))

    monkeypatch.setattr(socket, "getaddrinfo", two)
    with ScriptedBroker(stay) as broker, linked(broker) as link:
        link.connect(5)
        assert link.connected


class TestDialling:
    """One connection, and waiting for it."""

    def test_it_is_there_as_soon_as_somebody_answers(self) -> None:
        found: list[socket.socket] = []
        with silent_server() as (port, _):
            broker = Broker.parse(f"mqtt://127.0.0.1:{port}")
            assert seconds_of(lambda: found.append(dial.dial(broker, None, 60.0))) < 30
            with found[0] as connection:  # while somebody listens: else it may have been reset
                assert connection.getpeername() == ("127.0.0.1", port)

    def test_a_refusal_is_an_error_at_once(self) -> None:
        closed = socket.create_server(("127.0.0.1", 0))
        broker = Broker.parse(f"mqtt://127.0.0.1:{closed.getsockname()[1]}")
        closed.close()

        def refused() -> None:
            with pytest.raises(ConnectionRefusedError):
                dial.dial(broker, None, 60.0)

        assert seconds_of(refused) < 30

    def test_a_handshake_that_is_never_answered_ends_with_its_time(self) -> None:
        context = ssl.create_default_context()
        with silent_server() as (port, accepted):
            with pytest.raises(TimeoutError):
                dial.dial(Broker.parse(f"mqtts://127.0.0.1:{port}"), context, 0.3)
            assert accepted.acquire(timeout=60)

    def test_a_resolver_that_never_answers_is_given_up(
        self, resolver: Resolver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(dial, "LOOKUP_S", 0.1)
        resolver.hang()
        with pytest.raises(OSError, match=r"looking up the address of 'localhost' took longer than 0\.1 s"):
            dial.dial(Broker.parse("mqtt://localhost"), None, 60.0)
