"""When Home Assistant is told of a state: once it has stayed, 5 s apart at least, and while it holds."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from disc_stream_server.homeassistant.pace import Gate, Pace

PACE = Pace(dwell_s=5, apart_s=5, heartbeat_s=60)


def play(states: str, pace: Pace = PACE) -> list[tuple[int, str]]:
    """What is told, and when, of a device that is seen in one state each second (. for silence)."""
    gate, told = Gate(pace), []
    for second, state in enumerate(states):
        if state != ".":
            gate.see("watch", state, ord(state), float(second), second * 10**6)
        told += [(second, one.state) for one in gate.due(float(second))]
    return told


@pytest.mark.parametrize(
    ("states", "told"),
    [
        ("A", [(0, "A")]),
        # A holds: nothing more until the heartbeat.
        ("A" * 30, [(0, "A")]),
        # B is told once it has stayed for 5 s ...
        ("AAAAAAAABBBBBBBB", [(0, "A"), (13, "B")]),
        # ... and not while it only flickers.
        ("AAAABAAAABBAAABBBBAAAA", [(0, "A")]),
        # Two changes at once: C counts from its own beginning.
        ("AAAAAAAABBBCCCCCCC", [(0, "A"), (16, "C")]),
        # A device that stays in nothing is not shown in a state that it left long ago.
        ("A" + "BC" * 20, [(0, "A"), (31, "B")]),
        # Silent: no heartbeat, so that the state expires.
        ("A" + "." * 130, [(0, "A")]),
        # It holds: told every minute.
        ("A" * 130, [(0, "A"), (60, "A"), (120, "A")]),
        # Heard again after silence in the same state.
        ("A" + "." * 65 + "A" * 60, [(0, "A"), (120, "A")]),
    ],
)
def test_a_timeline(states: str, told: list[tuple[int, str]]) -> None:
    assert play(states) == told


@given(st.text("ABC.", max_size=300), st.integers(0, 20))
def test_states_are_apart_and_every_one_was_seen(states: str, dwell_s: int) -> None:
    told = play(states, Pace(float(dwell_s), 5, 60))
    times = [second for second, _ in told]
    assert all(after - before >= 5 for before, after in pairwise(times))
    assert all(states[: second + 1].rstrip(".")[-1] == state for second, state in told), (
        "told late, not wrong"
    )
    if states.strip("."):
        assert told[0][1] == states.lstrip(".")[0], "the first state is told at once"


@given(st.text("AB", min_size=1, max_size=60))
def test_what_stays_is_told_in_the_end(states: str) -> None:
    told = play(states + states[-1] * 40)
    assert told[-1][1] == states[-1]


def test_all_are_told_again_to_a_broker_that_may_have_lost_them() -> None:
    gate = Gate(PACE)
    for device in ("one", "two"):
        gate.see(device, "A", 1, 0.0, 7)
    assert [one.device for one in gate.due(0.0)] == ["one", "two"]
    assert not list(gate.due(1.0))
    gate.again()
    assert [(one.device, one.since_us) for one in gate.due(1.0)] == [("one", 7), ("two", 7)]


def test_devices_that_are_gone_or_erased_take_no_memory() -> None:
    gate = Gate(PACE)
    gate.see("gone", "A", 1, 0.0, 0)
    gate.see("erased", "A", 1, 0.0, 0)
    assert len(list(gate.due(0.0))) == 2
    assert gate.forget("erased")
    assert not gate.forget("erased")
    for second in range(0, 90_000, 60):
        assert not list(gate.due(float(second)))
    assert len(gate) == 0
