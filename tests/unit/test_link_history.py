"""What is remarkable about the connections of a link, by a clock of our own."""

from __future__ import annotations

import logging

import pytest

from disc_stream.wire.broker import Broker
from disc_stream.wire.history import LinkHistory


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
