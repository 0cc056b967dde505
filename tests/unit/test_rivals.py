"""Whether another client came with our id, from how two connections end."""

from __future__ import annotations

import logging

import pytest

from disc_stream_server.receiving.rivals import End, Rivals


def test_a_connection_that_ends_alone_was_taken_over(caplog: pytest.LogCaptureFixture) -> None:
    rivals = Rivals()
    rivals.look(101.0, [End("server", 100.0)], stayed_since=50.0)
    assert rivals.count == 0, "the other one may end yet"
    with caplog.at_level(logging.ERROR):
        rivals.look(102.0, [], stayed_since=50.0)
    assert rivals.count == 1
    assert "ended the connection of 'server' and not our other one" in caplog.text
    rivals.look(110.0, [], stayed_since=50.0)
    assert rivals.count == 1


@pytest.mark.parametrize("stayed_since", [None, 100.5])
def test_a_broker_that_goes_away_takes_both(stayed_since: float | None) -> None:
    """None: the other one is away as well. 100.5: it has come back since."""
    rivals = Rivals()
    rivals.look(103.0, [End("server", 100.0)], stayed_since=stayed_since)
    rivals.look(110.0, [], stayed_since=50.0)
    assert rivals.count == 0
