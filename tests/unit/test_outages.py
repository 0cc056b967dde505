"""What the log says of broken connections."""

from __future__ import annotations

import pytest

from disc_stream.wire.outages import Outages


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_an_outage_of_many_connections_is_one_line_with_its_length(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    outages = Outages(clock)
    for link in range(50):
        outages.lost("mqtt://b", link, "Keep alive timeout")
    clock.now += 2.5
    for link in range(50):
        outages.back("mqtt://b", link)
    assert caplog.messages == [
        "broker mqtt://b is back after 2.5 s, 50 connections (lost: Keep alive timeout)"
    ]


def test_one_that_lasts_is_told_while_it_lasts_and_once(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    outages = Outages(clock)
    outages.lost("mqtt://b", 1, "gone")
    for link in (1, 2) * 30:
        clock.now += 60
        outages.failed("mqtt://b", link, "refused")
    outages.back("mqtt://other", 1)
    outages.back("mqtt://b", 1)
    outages.ended("mqtt://b", 2)
    assert caplog.messages == ["broker mqtt://b is not reachable (refused); trying again"]
    outages.failed("mqtt://b", 1, "refused")
    clock.now += 1
    outages.back("mqtt://b", 1)
    assert caplog.messages[-1] == "broker mqtt://b is back after 1.0 s"
    outages.back("mqtt://b", 1)
    assert len(caplog.messages) == 3
