"""The line from a device's clock to the server's."""

from __future__ import annotations

from itertools import combinations
from statistics import median_high

import numpy as np
import pytest

from disc_stream.signal.clockline import MAX_SKEW, ClockLine

BOOTED_US = 1_700_000_000_000_000


def arrivals(seconds: int, skew: float, delays_us: np.ndarray) -> list[tuple[int, int]]:
    """One message a second: device time, server time."""
    return [
        (i * 1_000_000, BOOTED_US + round(i * 1_000_000 * (1 + skew)) + int(delays_us[i]))
        for i in range(seconds)
    ]


def true_time(device_us: int, skew: float) -> int:
    return BOOTED_US + round(device_us * (1 + skew))


def follow(line: ClockLine, messages: list[tuple[int, int]]) -> None:
    for device_us, received_us in messages:
        line.observe(device_us, received_us)


def error_us(line: ClockLine, device_us: int, skew: float) -> int:
    return device_us + line.offset_at(device_us) - true_time(device_us, skew)


@pytest.mark.parametrize("skew_ppm", [-200, -20, 0, 20, 200])
@pytest.mark.parametrize("seed", range(4))
def test_skew_and_offset_are_found_through_one_sided_delays(skew_ppm: int, seed: int) -> None:
    delays = np.random.default_rng(seed).exponential(50_000, 3_600)
    line = ClockLine()
    follow(line, arrivals(3_600, skew_ppm / 1e6, delays))
    assert line.skew * 1e6 == pytest.approx(skew_ppm, abs=3)
    assert abs(error_us(line, 3_599_000_000, skew_ppm / 1e6)) < 5_000
    assert line.spread_us is not None
    assert line.spread_us < 10_000


@pytest.mark.parametrize("seconds", [30, 120, 600])
def test_the_offset_is_good_before_the_skew_is(seconds: int) -> None:
    delays = np.random.default_rng(seconds).exponential(50_000, seconds)
    line = ClockLine()
    follow(line, arrivals(seconds, 100e-6, delays))
    assert abs(error_us(line, (seconds - 1) * 1_000_000, 100e-6)) < 15_000


def test_a_backlog_does_not_bend_the_line() -> None:
    # live for 20 minutes | an hour without network, all sent at its end | live for a minute
    rng = np.random.default_rng(0)
    delays = rng.exponential(20_000, 4_860)
    hour = np.arange(1_200, 4_800)
    delays[hour] += (4_800 - hour) * 1e6
    line = ClockLine()
    messages = arrivals(4_860, 50e-6, delays)
    follow(line, messages[:4_800])
    assert abs(error_us(line, 4_800_000_000, 50e-6)) < 60_000
    follow(line, messages[4_800:])
    assert abs(error_us(line, 4_860_000_000, 50e-6)) < 30_000


def test_a_backlog_at_the_start_is_outlived_with_the_first_message_that_is_on_time() -> None:
    # What was kept before the first connection comes an hour late; then a message comes at once.
    delays = np.concatenate([np.arange(3_600, 0, -1) * 1e6, np.full(1, 10_000.0)])
    line = ClockLine()
    follow(line, arrivals(3_601, 0.0, delays))
    assert error_us(line, 3_600_000_000, 0.0) == 10_000


def test_a_few_late_messages_change_nothing() -> None:
    delays = np.full(600, 10_000.0)
    undisturbed, disturbed = ClockLine(), ClockLine()
    follow(undisturbed, arrivals(600, 1e-4, delays))
    delays[::7] += 5_000_000
    follow(disturbed, arrivals(600, 1e-4, delays))
    for device_us in (0, 300_000_000, 599_000_000):
        assert abs(disturbed.offset_at(device_us) - undisturbed.offset_at(device_us)) <= 200


def test_after_hours_the_points_are_still_few() -> None:
    line = ClockLine()
    follow(line, [(i * 30_000_000, BOOTED_US + i * 30_000_000) for i in range(3_000)])
    anchors = line.state()[-1]
    assert len(anchors) <= 16
    assert anchors[-1][0] - anchors[0][0] > 3_600_000_000, "and reach back more than an hour"


@pytest.mark.parametrize("tremble_s", [0.0, 5.0, 300.0, 4000.0])
def test_the_points_stay_few_whatever_the_times_do(tremble_s: float) -> None:
    """Also where times tremble by more than a stretch, so that each message seems to begin another one."""
    rng = np.random.default_rng(1)
    line, counts = ClockLine(), set()
    for i in range(4_000):
        device_us = i * 1_000_000 + round(rng.normal() * tremble_s * 1e6)
        line.observe(device_us, BOOTED_US + i * 1_000_000)
        counts.add(len(line.state()[-1]))
    assert max(counts) == 15, "sixteen are merged at once"


def test_merged_points_are_the_less_late_of_two() -> None:
    # stretches of 20 s; in every second one all messages are 0.5 s late
    line = ClockLine()
    follow(line, [(i * 1_000_000, BOOTED_US + i * 1_000_000 + (i // 20 % 2) * 500_000) for i in range(321)])
    anchors = line.state()[-1]
    assert len(anchors) == 8
    assert [delay for _, delay in anchors] == [BOOTED_US] * 8
    assert [device // 20_000_000 for device, _ in anchors] == list(range(0, 16, 2))


@pytest.mark.parametrize("n", [4, 5, 8, 13])
def test_the_slope_is_the_median_of_those_of_all_pairs(n: int) -> None:
    """One message in each stretch of 20 s; the last stretch is not over."""
    delays = np.random.default_rng(n).integers(0, 50_000, n + 1).tolist()
    points = [(place * 20_000_000, delay) for place, delay in enumerate(delays)]
    line = ClockLine()
    follow(line, [(device_us, BOOTED_US + device_us + delay) for device_us, delay in points])
    slopes = [(d - b) / (c - a) for (a, b), (c, d) in combinations(points[:-1], 2)]
    assert line.skew == pytest.approx(median_high(slopes), abs=1e-11)


def test_a_message_that_is_faster_moves_the_line_at_once_but_for_20_ms_once_there_is_a_slope() -> None:
    line = ClockLine()
    follow(line, [(0, BOOTED_US + 90_000), (1_000_000, BOOTED_US + 1_080_000)])
    assert line.offset_at(1_000_000) == BOOTED_US + 80_000
    follow(line, arrivals(200, 0.0, np.full(200, 40_000.0))[2:])
    assert line.spread_us == 0
    for number, (faster_us, moves) in enumerate([(19_000, False), (21_000, True)]):
        device_us = 200_000_000 + number * 1_000_000
        line.observe(device_us, BOOTED_US + device_us + 40_000 - faster_us)
        assert line.offset_at(device_us) == BOOTED_US + 40_000 - (faster_us if moves else 0)


def test_before_a_slope_the_shortest_delay_counts() -> None:
    line = ClockLine()
    assert not line.known
    follow(line, [(0, BOOTED_US + 90_000), (1_000_000, BOOTED_US + 1_030_000)])
    follow(line, [(2_000_000, BOOTED_US + 2_070_000)])
    assert line.known
    assert line.offset_at(2_000_000) == BOOTED_US + 30_000
    assert (line.skew, line.spread_us) == (0.0, None)


def test_a_restart_forgets_the_offset_and_keeps_the_skew() -> None:
    line = ClockLine()
    follow(line, arrivals(600, 150e-6, np.zeros(600)))
    skew = line.skew
    line.restart()
    assert not line.known
    line.observe(5, BOOTED_US)
    assert line.offset_at(5) == BOOTED_US - 5
    assert line.skew == skew == pytest.approx(150e-6, abs=1e-6)


def test_no_clock_is_taken_to_run_at_another_speed() -> None:
    line = ClockLine()
    follow(line, [(i * 1_000_000, BOOTED_US + i * 1_040_000) for i in range(600)])
    assert abs(line.skew) <= MAX_SKEW


def test_a_network_that_has_become_slower_is_believed_after_minutes() -> None:
    delays = np.full(1_800, 20_000.0)
    delays[600:] += 3_000_000
    line = ClockLine()
    follow(line, arrivals(1_800, 0.0, delays))
    assert abs(error_us(line, 1_799_000_000, 0.0) - 3_020_000) < 1_000_000
