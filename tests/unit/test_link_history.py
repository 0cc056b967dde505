"""What a link makes of connections that break again and again, by a clock of our own."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any, cast

import pytest

from disc_stream.wire.broker import Broker
from disc_stream.wire.history import LinkHistory
from disc_stream.wire.netloop import NetworkLoop


class Clock:
    """In place of the module ``time``."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


def lived(history: LinkHistory, clock: Clock, seconds: float) -> None:
    history.up(session_present=True)
    clock.now += seconds
    history.down()


def test_three_connections_in_a_row_that_break_at_once_are_warned_of_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    monkeypatch.setattr("disc_stream.wire.history.time", clock)
    history = LinkHistory(Broker.parse("mqtt://localhost"), "me", keeps_session=True)
    with caplog.at_level(logging.WARNING):
        for seconds in (1.0, 4.9, 5.1, 0.0, 4.9):
            lived(history, clock, seconds)
        assert not caplog.records, "the long one between them begins the count anew"
        for _ in range(4):
            lived(history, clock, 0.1)
    [record] = caplog.records
    assert "keep breaking at once; does another client use the id 'me' too?" in record.getMessage()


def test_a_link_whose_id_is_taken_comes_back_less_and_less_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("disc_stream.wire.netloop.time", clock)
    ignore: Any = lambda *_: None  # noqa: E731 - no broker is dialled
    client = cast("Any", SimpleNamespace(_sock_close=ignore))
    loop = NetworkLoop(client, "test", ignore, ignore, ignore)
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
