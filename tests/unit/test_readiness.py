"""Readiness, judged from outside the labelling thread."""

from __future__ import annotations

from dataclasses import replace

import pytest

from disc_stream.clock import ManualClock
from disc_stream_server.readiness import MAX_TURN_S, Facts, Heartbeat, ReadingProbe, waits_for

NOW = 1_000.0
FINE = Facts(turned_at=NOW - 0.1, status_at=NOW - 1.0, status_interval_s=2.0)


def test_ready_while_the_thread_turns_and_nothing_is_missing() -> None:
    assert waits_for(FINE, NOW) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"turned_at": None}, "the labelling thread (it has not begun)"),
        ({"turned_at": None, "missing": "the broker"}, "the broker"),
        ({"turned_at": NOW - 20}, "the labelling thread (no turn for 20 s)"),
        # A thread that hangs knows nothing of its parts any more.
        (
            {"turned_at": NOW - 20, "missing": "space"},
            "the labelling thread (no turn for 20 s)",
        ),
        ({"missing": "the broker"}, "the broker"),
        ({"missing": "the broker", "unreadable": "ds/v1/+/raw"}, "the broker"),
        ({"status_at": NOW - 16}, "a status of the labelling thread (the last one is 16 s old)"),
        ({"status_at": NOW - 149, "status_interval_s": 30.0}, None),
        ({"status_at": NOW - 151, "status_interval_s": 30.0}, "a status of the labelling thread"),
        ({"status_at": None}, None),
    ],
)
def test_what_is_missing_is_said(change: dict[str, float | str | None], words: str | None) -> None:
    found = waits_for(replace(FINE, **change), NOW)  # type: ignore[arg-type]
    assert (found is None) if words is None else (found is not None and found.startswith(words))


def test_an_access_list_that_forbids_reading_is_said() -> None:
    found = waits_for(replace(FINE, unreadable="ds/v1/+/raw"), NOW)
    assert found is not None
    assert found.startswith("permission to read ds/v1/+/raw")
    assert "access list" in found


def test_the_heartbeat_of_a_thread_that_stops_grows_old_without_it() -> None:
    clock = ManualClock()
    heart = Heartbeat(clock, 2.0)
    assert heart.waits_for("the broker", None) == "the broker"
    heart.turned()
    heart.published()
    assert heart.waits_for(None, None) is None
    clock.advance(MAX_TURN_S)
    assert heart.waits_for(None, None) is None
    clock.advance(0.1)
    assert heart.waits_for(None, None) == "the labelling thread (no turn for 15 s)"
    heart.turned()
    assert heart.waits_for(None, None) == "a status of the labelling thread (the last one is 15 s old)"
    heart.published()
    assert heart.waits_for(None, None) is None


class Sent:
    """A probe on its way, with the broker's answer."""

    def __init__(self) -> None:
        self.is_answered = self.refused = False

    def answer(self, *, refused: bool = False) -> None:
        self.is_answered, self.refused = True, refused


class Broker:
    """Notes the probes."""

    def __init__(self) -> None:
        self.probes: list[Sent] = []

    def publish(self) -> Sent:
        self.probes.append(Sent())
        return self.probes[-1]


class TestReadingProbe:
    def make(self) -> tuple[ManualClock, Broker, ReadingProbe]:
        """A server that has just connected, and has sent its first probe."""
        clock, broker = ManualClock(), Broker()
        probe = ReadingProbe(clock, broker.publish, "ds/v1/+/raw")
        probe.step(7, connected=True)
        assert len(broker.probes) == 1
        return clock, broker, probe

    def wait(self, clock: ManualClock, probe: ReadingProbe, seconds: int, received: int = 7) -> None:
        for _ in range(seconds):
            clock.advance(1.0)
            probe.step(received, connected=True)

    def test_while_messages_arrive_nothing_more_is_sent(self) -> None:
        clock, broker, probe = self.make()
        broker.probes[0].answer()
        for second in range(200):
            clock.advance(1.0)
            probe.step(8 + second, connected=True)
        assert len(broker.probes) == 1
        assert probe.unreadable is None

    def test_a_probe_that_comes_back_shows_that_reading_works_until_it_is_quiet_again(self) -> None:
        clock, broker, probe = self.make()
        broker.probes[0].answer()
        self.wait(clock, probe, 30, received=8)
        assert len(broker.probes) == 1
        assert probe.unreadable is None
        self.wait(clock, probe, 1, received=8)
        assert len(broker.probes) == 2

    def test_a_probe_that_does_not_come_back_shows_that_it_does_not_until_something_comes(self) -> None:
        clock, broker, probe = self.make()
        broker.probes[0].answer()
        self.wait(clock, probe, 4)
        assert probe.unreadable is None
        self.wait(clock, probe, 1)
        assert probe.unreadable == "ds/v1/+/raw"
        assert len(broker.probes) == 2  # it goes on trying
        probe.step(8, connected=True)
        assert probe.unreadable is None

    def test_a_broker_that_refuses_the_probe_proves_nothing_and_is_asked_no_more(self) -> None:
        clock, broker, probe = self.make()
        broker.probes[0].answer(refused=True)
        self.wait(clock, probe, 100)
        assert (len(broker.probes), probe.unreadable) == (1, None)

    def test_a_broker_that_closes_the_connection_over_the_probe_is_asked_no_more(self) -> None:
        clock, broker, probe = self.make()
        probe.step(7, connected=False)
        self.wait(clock, probe, 100)
        assert (len(broker.probes), probe.unreadable) == (1, None)

    def test_an_answer_that_is_still_on_its_way_proves_nothing(self) -> None:
        clock, broker, probe = self.make()
        self.wait(clock, probe, 60)
        assert (len(broker.probes), probe.unreadable) == (1, None)
        broker.probes[0].answer()
        self.wait(clock, probe, 1)
        assert probe.unreadable == "ds/v1/+/raw"

    def test_after_a_reconnect_reading_is_tried_at_once(self) -> None:
        clock, broker, probe = self.make()
        broker.probes[0].answer()
        self.wait(clock, probe, 2, received=8)
        probe.step(8, connected=False)
        self.wait(clock, probe, 1, received=8)
        assert len(broker.probes) == 2
