"""The time of day of stored, live and late data: right or left out, and never backwards."""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disc_stream.signal.deviceclock import DeviceClock
from disc_stream.signal.walltime import WallTime

NOW_US = 1_700_000_000_000_000
HOUR_US = 3_600_000_000


@dataclass(frozen=True)
class Sent:
    """A batch: device time of its first sample and its end, when that was, and when it arrived (µs)."""

    t0_us: int
    end_us: int
    true_us: int
    received_us: int


def windows(batches: list[Sent]) -> list[tuple[int, int | None]]:
    """(true, told) time of two moments of every batch, as its windows begin."""
    clock, wall = DeviceClock(), WallTime()
    found = []
    for batch in batches:
        duration_us = batch.end_us - batch.t0_us
        verdict = clock.observe(batch.t0_us, 50, 50e6 / duration_us, batch.received_us)
        wall.observe(verdict.t0_us, verdict.t0_us + duration_us, batch.received_us)
        for part in (0, duration_us // 2):
            moment = verdict.t0_us + part
            found.append((batch.true_us + part, wall.at(moment, clock.to_server_us(moment))))
    return found


def record(
    seconds: float, *, batch_s: float = 1.0, boot_us: int = 0, skew: float = 0.0, delays_s: float = 0.0,
    offline: tuple[tuple[float, float], ...] = (), seed: int = 0,
) -> list[Sent]:  # fmt: skip
    """A device that samples without pause and sends what it has kept, fast, when it is online again."""
    rng = np.random.default_rng(seed)
    batches, last = [], 0
    for i in range(int(seconds / batch_s)):
        true_us, end_true_us = round(i * batch_s * 1e6), round((i + 1) * batch_s * 1e6)
        sent_us = end_true_us
        for begin, end in offline:
            if begin * 1e6 <= sent_us < end * 1e6:
                sent_us = round(end * 1e6)
        received_us = max(last + 1_000, sent_us + 30_000 + round(float(rng.exponential(delays_s)) * 1e6))
        last = received_us
        device = [boot_us + round(t * (1 + skew)) for t in (true_us, end_true_us)]
        batches.append(Sent(device[0], device[1], NOW_US + true_us, NOW_US + received_us))
    return batches


def check(found: list[tuple[int, int | None]], within_us: int) -> None:
    told = [one for _, one in found if one is not None]
    assert told == sorted(told)
    for true_us, one in found:
        assert one is None or abs(one - true_us) <= within_us


def test_stored_data_with_a_time_of_day_keeps_it() -> None:
    """Ten minutes of correctly stamped motion, an hour old, sent within seconds."""
    batches = record(600, boot_us=NOW_US, offline=((0, 600 + 3600),))
    assert all(told == true for true, told in windows(batches))


@pytest.mark.parametrize("off_us", [-2 * HOUR_US, -120_000_000, 0, 240_000_000])
def test_a_clock_that_shows_the_time_of_day_is_used_as_it_is(off_us: int) -> None:
    found = windows(record(120, boot_us=NOW_US + off_us))
    assert all(told == true + off_us for true, told in found)


@pytest.mark.parametrize("boot_us", [0, NOW_US])
def test_where_the_server_has_no_time_of_day_nobody_knows_one(boot_us: int) -> None:
    """A server that has just started, without a battery for its clock; it learns the time after a minute.

    The clock line then goes through arrivals of before: it counts to within a second.
    """
    first, *_ = batches = record(120, boot_us=boot_us)
    off_us = first.received_us - 1_000_000
    early = [replace(one, received_us=one.received_us - off_us) for one in batches[:60]]
    found = windows([*early, *batches[60:]])
    assert all(told is None for _, told in found[:120])
    check(found, 1_000_000)
    assert all(told is not None for _, told in found[140:])


@pytest.mark.parametrize("boot_us", [NOW_US + HOUR_US, NOW_US - 3 * 366 * 24 * HOUR_US, 946_684_800_000_000])
def test_a_clock_set_to_another_time_is_mapped_like_one_since_the_boot(boot_us: int) -> None:
    """An hour ahead, three years behind, and the year 2000."""
    found = windows(record(120, boot_us=boot_us))
    check(found, 100_000)
    assert all(told is not None for _, told in found[10:])


@given(
    st.floats(0.1, 60.0),
    st.integers(0, 10**12),
    st.floats(-2e-4, 2e-4),
    st.floats(0, 0.3),
    st.integers(0, 99),
)
@settings(deadline=None)
def test_live_data_is_mapped_from_three_seconds_on(
    batch_s: float, boot_us: int, skew: float, delays_s: float, seed: int
) -> None:
    seconds = 60 + 20 * batch_s
    found = windows(
        record(seconds, batch_s=batch_s, boot_us=boot_us, skew=skew, delays_s=delays_s, seed=seed)
    )
    check(found, round((0.4 + 6 * delays_s) * 1e6))
    late = found[2 * (2 + int(12 / batch_s)) :]
    assert late
    assert np.mean([told is not None for _, told in late]) > (0.999 if delays_s < 0.02 else 0.8)


@given(st.floats(0.5, 60.0), st.floats(100, 2500), st.floats(0, 0.2), st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_what_was_stored_before_the_device_first_came_online_has_no_time(
    batch_s: float, offline_s: float, delays_s: float, seed: int
) -> None:
    batches = record(
        offline_s + 40 + 6 * batch_s, batch_s=batch_s, offline=((0, offline_s),), delays_s=delays_s, seed=seed
    )
    found = windows(batches)
    check(found, 2_000_000)
    stored = [told for true, told in found if true < NOW_US + (offline_s - batch_s) * 1e6]
    assert set(stored) == {None}
    assert found[-1][1] is not None


@given(st.floats(0.5, 30.0), st.floats(90, 2500), st.integers(0, 99))
@settings(deadline=None, max_examples=60)
def test_after_an_outage_stored_data_has_its_time_or_none_and_live_data_has_it_again(
    batch_s: float, outage_s: float, seed: int
) -> None:
    end = 200 + outage_s
    found = windows(record(end + 100, batch_s=batch_s, offline=((200, end),), delays_s=0.05, seed=seed))
    check(found, 1_500_000)
    assert found[-1][1] is not None
    oldest = [told for true, told in found if 200e6 <= true - NOW_US < (end - 80 - batch_s) * 1e6]
    assert set(oldest) <= {None}


@given(st.floats(0.2, 60.0), st.floats(1, 10))
@settings(deadline=None)
def test_a_stall_of_the_network_does_not_make_live_data_unknown(batch_s: float, stall_s: float) -> None:
    begin = 4 * batch_s + 20
    seconds = begin + stall_s + 4 * batch_s + 10
    found = windows(record(seconds, batch_s=batch_s, offline=((begin, begin + stall_s),)))
    check(found, 500_000)
    assert all(told is not None for true, told in found if true - NOW_US > (2 * batch_s + 5) * 1e6)


def test_a_device_that_sends_once_a_minute_has_times() -> None:
    every_minute = tuple((60.0 * k, 60.0 * (k + 1) - 0.1) for k in range(20))
    found = windows(record(1200, offline=every_minute))
    check(found, 1_100_000)  # the last batch of a minute waits for 0.9 s
    assert all(told is not None for true, told in found if true - NOW_US > 120e6)


def test_a_pause_in_the_middle_of_stored_data_does_not_make_it_live() -> None:
    stored = record(600, offline=((0, 3600),))
    later = [
        Sent(one.t0_us, one.end_us, one.true_us, one.received_us + (5_000_000 if i >= 300 else 0))
        for i, one in enumerate(stored)
    ]
    assert {told for _, told in windows(later)} == {None}


def test_files_have_no_time_of_day() -> None:
    batches = [Sent(one.t0_us, one.end_us, one.true_us, 0) for one in record(60, boot_us=NOW_US)]
    assert {told for _, told in windows(batches)} == {None}


def test_a_clock_that_is_set_back_is_followed() -> None:
    before = record(60, boot_us=NOW_US)
    after = [
        Sent(one.t0_us - 300_000_000, one.end_us - 300_000_000, one.true_us, one.received_us)
        for one in record(120, boot_us=NOW_US)[60:]
    ]
    found = windows([*before, *after])
    assert all(told == true for true, told in found[:120])
    assert all(told == true - 300_000_000 for true, told in found[120:])


moments = st.integers(-(2**62), 2**62) | st.integers(NOW_US - HOUR_US, NOW_US + HOUR_US)
anything = st.lists(
    st.tuples(moments, st.integers(0, 10**8), st.just(0) | st.integers(NOW_US, NOW_US + HOUR_US), moments),
    max_size=40,
)


@given(anything)
@settings(deadline=None)
def test_times_never_go_back_until_the_clock_does(rows: list[tuple[int, int, int, int]]) -> None:
    wall = WallTime()
    last_t0, last_told = -(2**63), 0
    for t0_us, duration_us, received_us, line_us in rows:
        wall.observe(t0_us, t0_us + duration_us, received_us)
        if t0_us < last_t0 - 2_000_000 or received_us == 0:
            last_told = 0
        told = wall.at(t0_us, line_us)
        if received_us == 0:
            assert told is None
        if told is not None:
            assert told >= last_told
            last_told = told
        last_t0 = t0_us


@given(anything, st.integers(0, 40))
@settings(deadline=None)
def test_a_saved_state_goes_on_alike(rows: list[tuple[int, int, int, int]], cut: int) -> None:
    def go(wall: WallTime, part: list[tuple[int, int, int, int]]) -> list[int | None]:
        found = []
        for t0_us, duration_us, received_us, line_us in part:
            wall.observe(t0_us, t0_us + duration_us, received_us)
            found.append(wall.at(t0_us, line_us))
        return found

    here, there = WallTime(), WallTime()
    go(here, rows[:cut])
    there.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(here.state())))
    assert go(there, rows[cut:]) == go(here, rows[cut:])
    assert there.state() == here.state()
