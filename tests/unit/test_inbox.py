"""Messages taken apart where they lie, and payloads that nobody wants, over a real pair of sockets."""

from __future__ import annotations

import random
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from disc_stream.load.wire import remaining_length
from disc_stream.wire.inbox import LARGE, Inbox, Takers
from disc_stream_server.brokerconfig.authority import Authority

Found = list[tuple[bytes, int, bytes, int, int]]


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    yield ours, theirs
    ours.close()
    theirs.close()


def publish(topic: bytes, payload: bytes, mid: int, content_type: bytes = b"") -> bytes:
    """A PUBLISH of MQTT 5, QoS 1 (3.3)."""
    properties = b"\x03" + len(content_type).to_bytes(2, "big") + content_type if content_type else b""
    head = len(topic).to_bytes(2, "big") + topic + mid.to_bytes(2, "big") + bytes([len(properties)])
    body = head + properties + payload
    return b"\x32" + remaining_length(len(body)) + body


def read_all(inbox: Inbox, asked: list[tuple[bytes, int]] | None = None) -> Found:
    """All that has arrived: topic, size, first byte, message id, bytes read over; "bad" is not wanted."""
    found: Found = []

    def take(topic: bytes, payload: bytes, _kind: bytes, _retained: bool, mid: int, dropped: int) -> None:
        found.append((topic, len(payload), payload[:1], mid, dropped))

    def wants(topic: bytes, size: int) -> bool:
        if asked is not None:
            asked.append((topic, size))
        return topic != b"bad"

    before = -1
    while before < inbox.received:
        before = inbox.received
        assert not inbox.take(Takers(take, wants)), "nothing is paho's"
    return found


@pytest.mark.parametrize("content_type", [b"", b"application/cbor"])
@pytest.mark.parametrize("piece", [1, 7, 1_000, 2**15, 2**20])
def test_unwanted_payloads_are_read_over_and_everything_else_arrives_whole(
    pair: tuple[socket.socket, socket.socket], piece: int, content_type: bytes
) -> None:
    ours, theirs = pair
    rng = random.Random(piece)
    sizes = (0, 1, 300, LARGE - 1, LARGE, LARGE + 1, 3 * LARGE)
    kinds = [(topic, size) for topic in (b"bad", b"good") for size in sizes] * (1 if piece == 1 else 3)
    rng.shuffle(kinds)
    packets = [
        publish(topic, bytes([65 + n % 26]) * size, n + 1, content_type)
        for n, (topic, size) in enumerate(kinds)
    ]
    stream = b"".join(packets)
    inbox = Inbox(ours)
    found: Found = []
    while stream:
        part, stream = stream[:piece], stream[piece:]
        while part:  # as much as the socket takes
            part = part[theirs.send(part[: 2**15]) :]
            found += read_all(inbox)
    assert found == [
        (topic, 0, b"", n + 1, size)
        if topic == b"bad" and size >= LARGE
        else (topic, size, bytes([65 + n % 26])[: min(1, size)], n + 1, 0)
        for n, (topic, size) in enumerate(kinds)
    ]
    assert not inbox.pending()


def test_what_is_asked_is_asked_before_the_payload_has_come(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    packet = publish(b"bad", bytes(10 * LARGE), 1)
    inbox = Inbox(ours)
    asked: list[tuple[bytes, int]] = []
    theirs.sendall(packet[:100])
    assert read_all(inbox, asked) == []
    assert not asked, "a long topic or properties may still be on their way"
    theirs.sendall(packet[100:200])
    assert read_all(inbox, asked) == []
    assert asked == [(b"bad", 10 * LARGE)]
    assert len(inbox._data) == 0, "nothing of it is kept"
    theirs.sendall(packet[200:] + publish(b"good", b"x", 2))
    assert read_all(inbox, asked) == [(b"bad", 0, b"", 1, 10 * LARGE), (b"good", 1, b"x", 2, 0)]
    assert len(asked) == 1, "once it is decided nobody is asked again"


def test_the_end_of_the_connection_within_an_unwanted_payload_is_for_paho_to_see(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    inbox = Inbox(ours)
    theirs.sendall(publish(b"bad", bytes(LARGE), 1)[:-1])
    assert read_all(inbox) == []
    theirs.close()
    found: Found = []
    assert inbox.take(Takers(lambda *_: found.append((b"", 0, b"", 0, 0)), lambda *_: False))
    assert inbox.ended
    assert found == [], "a message without its end is none"
    assert inbox.recv(10) == b""


def test_the_end_of_the_connection_within_a_wanted_message_is_for_paho_to_see(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    inbox = Inbox(ours)
    begun = publish(b"good", b"x" * 300, 1)[:-1]
    theirs.sendall(begun)
    assert read_all(inbox) == []
    assert inbox.pending() == 0, "nothing can be done before the rest is here"
    theirs.close()
    assert inbox.take(Takers(lambda *_: pytest.fail("a message without its end is none")))
    assert inbox.pending() == len(begun), "there will be no rest"
    assert inbox.recv(1_000) == begun
    assert inbox.recv(1) == b""


class Torrent:
    """A connection that always has as much as is asked for, until it has only one byte."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.ebbs = False
        self.send = self.recv_into = None

    def recv(self, n: int) -> bytes:
        self.asked.append(n)
        return b"x" if self.ebbs else bytes(n)


def test_pieces_grow_while_there_is_more() -> None:
    torrent = Torrent()
    inbox = Inbox(torrent)  # type: ignore[arg-type]
    for _ in range(7):
        inbox.recv(2**21)
    torrent.ebbs = True
    inbox.recv(1)
    inbox.recv(1)
    assert torrent.asked == [2**16, 2**17, 2**18, 2**19, 2**20, 2**20, 2**20, 2**20, 2**16]


def test_a_message_whose_length_has_no_end_is_for_paho_to_refuse(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    """MQTT 5, 1.5.5: four bytes at most."""
    ours, theirs = pair
    inbox = Inbox(ours)
    theirs.sendall(b"\x32\xff\xff\xff\xff\x01")
    assert inbox.take(Takers(lambda *_: pytest.fail("it is none")))
    assert inbox.pending() == 6


def test_unwanted_payloads_are_read_over_on_a_connection_with_tls(tmp_path: Path) -> None:
    pair = Authority.create(tmp_path, "test").issue_broker(["localhost"])
    for name, pem in (("certificate", pair.certificate), ("key", pair.key)):
        (tmp_path / name).write_bytes(pem)
    theirs_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs_context.load_cert_chain(tmp_path / "certificate", tmp_path / "key")
    ours_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ours_context.check_hostname, ours_context.verify_mode = False, ssl.CERT_NONE  # encryption is all we need
    plain_ours, plain_theirs = socket.socketpair()
    kinds = [(b"bad", 5 * LARGE), (b"good", 300), (b"bad", LARGE), (b"good", 2 * LARGE)] * 5
    stream = b"".join(publish(topic, b"x" * size, n + 1) for n, (topic, size) in enumerate(kinds))

    taken = threading.Event()

    def send() -> None:
        with theirs_context.wrap_socket(plain_theirs, server_side=True) as theirs:
            theirs.sendall(stream)
            taken.wait(20.0)

    thread = threading.Thread(target=send)
    thread.start()
    with ours_context.wrap_socket(plain_ours) as ours:
        ours.setblocking(False)
        inbox = Inbox(ours)
        found: Found = []
        while len(found) < len(kinds):
            assert inbox.pending() or select.select([ours], [], [], 20.0)[0], "everything comes"
            found += read_all(inbox)
        assert not inbox.pending()
        assert found == [
            (topic, 0, b"", n + 1, size) if topic == b"bad" else (topic, size, b"x", n + 1, 0)
            for n, (topic, size) in enumerate(kinds)
        ]
        taken.set()
    thread.join()
