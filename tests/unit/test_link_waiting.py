"""How long the network thread waits, and for what; its turns one by one, without a broker."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

import pytest

from disc_stream.wire.inbox import Inbox
from disc_stream.wire.netloop import NetworkLoop


def ignore(*_: object) -> None:
    """No broker is dialled, and nobody is told."""


def loop_of(client: Any) -> NetworkLoop:
    return NetworkLoop(client, "test", ignore, ignore, ignore)  # type: ignore[arg-type]


class Clock:
    """In place of the module ``time``."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


def test_a_link_whose_id_is_taken_comes_back_less_and_less_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("disc_stream.wire.netloop.time", clock)
    loop = loop_of(SimpleNamespace(_sock_close=ignore))
    delays = []
    for _ in range(6):
        loop.contest()
        delays.append(loop._delay_s)
        clock.now += 59.0
    assert delays == [1.0, 2.0, 4.0, 8.0, 15.0, 15.0]
    clock.now += 2.0  # and so a minute without the other one
    loop.contest()
    assert loop._delay_s == 1.0
    assert loop.stop(0), "it was never started"


def test_what_was_read_already_is_worked_on_at_once() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    inbox = Inbox(ours)
    loop = loop_of(SimpleNamespace(socket=lambda: inbox, want_write=lambda: False, _sock_close=ours.close))
    assert not loop._wait(0), "nothing has come"
    theirs.sendall(b"ab")
    assert loop._wait(60)
    assert inbox.recv(1) == b"a"
    assert loop._wait(0), "no poll tells of the second byte"
    assert inbox.recv(1) == b"b"
    assert not loop._wait(0)
    assert loop.stop(0)
    theirs.close()


class Flood:
    """A connection with more to read than anybody can, and the client that reads from it."""

    def __init__(self, piece: int) -> None:
        self._piece = piece
        self.received = self.reads = 0
        self.is_between_packets = False
        self.take_plain = self.wants = self.on_acks = None

    def pending(self) -> int:
        return 1

    def socket(self) -> Flood:
        return self

    def loop_read(self) -> None:
        self.reads += 1
        self.received += self._piece


@pytest.mark.parametrize(("piece", "reads"), [(10, 512), (2**15, 32)])
def test_a_flood_is_read_for_a_while_and_then_it_is_the_turn_of_what_is_to_be_written(
    piece: int, reads: int
) -> None:
    """After 512 packets or 1 MiB."""
    flood = Flood(piece)
    loop = loop_of(flood)
    loop._read_all()
    assert flood.reads == reads
    assert loop.stop(0)
