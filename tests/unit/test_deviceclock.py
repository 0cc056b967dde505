"""What a device's clock is caught at, and what it is trusted with."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from disc_stream.signal.deviceclock import ClockFault, DeviceClock, Verdict

NOW_US = 1_700_000_000_000_000
SECOND_US = 1_000_000
FS = 50.0


def run(
    clock: DeviceClock, times: Iterable[float], *, n: int = 50, fs: float = FS, lag_us: int = 30_000
) -> list[Verdict]:
    """Batches with these t0, each received as its samples end: so the true time passes with the samples."""
    return [
        clock.observe(round(t0), n, fs, NOW_US + round((i + 1) * n / fs * 1e6) + lag_us)
        for i, t0 in enumerate(times)
    ]


def faults(verdicts: list[Verdict]) -> set[ClockFault]:
    return {verdict.fault for verdict in verdicts}


def seconds(first: int, last: int, step: float = 1.0) -> np.ndarray:
    return np.arange(first, last, step) * SECOND_US


def test_a_good_clock_is_passed_on_as_it_is() -> None:
    verdicts = run(DeviceClock(), seconds(5, 605))
    assert verdicts == [Verdict(t * SECOND_US, True, 0, ClockFault.NONE) for t in range(5, 605)]


def test_times_of_day_are_good_clocks_too() -> None:
    verdicts = run(DeviceClock(), NOW_US + seconds(0, 60))
    assert faults(verdicts) == {ClockFault.NONE}
    assert verdicts[7].t0_us == NOW_US + 7 * SECOND_US


@pytest.mark.parametrize("skew_ppm", [-200, 200])
def test_device_time_is_turned_into_server_time(skew_ppm: int) -> None:
    rng = np.random.default_rng(1)
    clock = DeviceClock()
    assert clock.to_server_us(0) is clock.offset_us is clock.uncertainty_us is None
    for i in range(1_800):
        taken = NOW_US + round((i + 1) * SECOND_US * (1 + skew_ppm / 1e6))
        clock.observe(i * SECOND_US, 50, FS, taken + round(rng.exponential(50_000)))
    assert clock.skew_ppm == pytest.approx(skew_ppm, abs=5)
    expected = NOW_US + round(1_800 * SECOND_US * (1 + skew_ppm / 1e6))
    assert clock.to_server_us(1_800 * SECOND_US) == pytest.approx(expected, abs=5_000)
    assert clock.offset_us == pytest.approx(expected - 1_800 * SECOND_US, abs=5_000)
    assert clock.uncertainty_us is not None
    assert clock.uncertainty_us < 10_000


# -- gaps -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gap_s", [0.3, 2.0, 75.0])
def test_missing_samples_are_seen_and_counted(gap_s: float) -> None:
    # | 0 s | 1 s | 2 s |   gap   | 3 s + gap |        the server waited as long
    clock = DeviceClock()
    run(clock, seconds(0, 20))
    late_us = round((20 + gap_s) * SECOND_US)
    verdict = clock.observe(late_us, 50, FS, NOW_US + late_us + SECOND_US + 30_000)
    assert verdict == Verdict(late_us, False, round(gap_s * FS), ClockFault.NONE)
    after = clock.observe(late_us + SECOND_US, 50, FS, NOW_US + late_us + 2 * SECOND_US + 30_000)
    assert after == Verdict(late_us + SECOND_US, True, 0, ClockFault.NONE)


def test_a_gap_within_a_backlog_is_no_jump() -> None:
    """All come at once, long after: that nobody waited says nothing."""
    clock = DeviceClock()
    run(clock, seconds(0, 60))
    sent = NOW_US + 7_200 * SECOND_US
    for i in range(60, 90):
        clock.observe(i * SECOND_US, 50, FS, sent)
    verdict = clock.observe(990 * SECOND_US, 50, FS, sent)
    assert verdict == Verdict(990 * SECOND_US, False, 900 * 50, ClockFault.NONE)


@pytest.mark.parametrize(("fs", "off_us", "continuous"), [(50, 240_000, True), (50, 300_000, False)])
@pytest.mark.parametrize("n", [1, 10, 50])
def test_less_than_a_quarter_second_is_no_gap(fs: float, off_us: int, continuous: bool, n: int) -> None:
    clock = DeviceClock()
    period = round(n / fs * SECOND_US)
    run(clock, [i * period for i in range(20)], n=n, fs=fs)
    verdict = clock.observe(20 * period + off_us, n, fs, NOW_US + 21 * period + off_us + 30_000)
    assert verdict.continuous is continuous


def test_nor_are_four_samples() -> None:
    clock = DeviceClock()
    run(clock, seconds(0, 200, 10), n=20, fs=2.0)
    assert clock.observe(202 * SECOND_US, 20, 2.0, NOW_US + 212 * SECOND_US).continuous
    assert not clock.observe(215 * SECOND_US, 20, 2.0, NOW_US + 225 * SECOND_US).continuous


@pytest.mark.parametrize("n", [10, 50, 65_536])
def test_a_rate_that_is_one_percent_off_is_no_gap(n: int) -> None:
    for rate in (0.99, 1.01):
        verdicts = run(DeviceClock(), [i * n / FS * 1e6 * rate for i in range(100)], n=n)
        assert all(verdict.continuous for verdict in verdicts)
        assert faults(verdicts) == {ClockFault.NONE}


# -- times that tremble ---------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("kind", ["uniform", "exponential", "bursts"])
def test_times_that_tremble_about_the_right_ones_are_no_fault(kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    base = 10 * SECOND_US + seconds(0, 400, 0.5)
    tremble = {
        "uniform": rng.uniform(0, 240_000, 800),
        "exponential": np.minimum(rng.exponential(60_000, 800), 400_000),
        "bursts": np.where(np.arange(800) % 4 == 0, 200_000, 0) + rng.normal(0, 10_000, 800),
    }[kind]
    verdicts = run(DeviceClock(), base + tremble, n=25)
    assert faults(verdicts) == {ClockFault.NONE}
    assert sum(not verdict.continuous for verdict in verdicts) <= 1


def test_greater_trembling_is_learned() -> None:
    rng = np.random.default_rng(3)
    verdicts = run(DeviceClock(), 10 * SECOND_US + seconds(0, 400) + rng.uniform(0, 900_000, 400))
    assert faults(verdicts) == {ClockFault.NONE}
    assert all(verdict.continuous for verdict in verdicts[20:])


def test_a_gap_is_seen_all_the_same_where_it_is_longer_than_the_trembling() -> None:
    rng = np.random.default_rng(4)
    clock = DeviceClock()
    run(clock, seconds(0, 100) + rng.uniform(0, 100_000, 100))
    verdict = clock.observe(102 * SECOND_US, 50, FS, NOW_US + 103 * SECOND_US)
    assert not verdict.continuous
    assert verdict.missing_samples == pytest.approx(100, abs=6)


def test_a_loss_at_every_batch_is_no_trembling() -> None:
    verdicts = run(DeviceClock(), seconds(0, 400, 1.5))
    assert sum(not verdict.continuous for verdict in verdicts) > 0.9 * len(verdicts)


# -- steps ----------------------------------------------------------------------------------------------


def test_a_clock_put_forward_is_told_from_a_gap_by_the_arrival() -> None:
    clock = DeviceClock()
    run(clock, seconds(0, 60))
    verdict = clock.observe(660 * SECOND_US, 50, FS, NOW_US + 61 * SECOND_US + 30_000)
    assert verdict == Verdict(660 * SECOND_US, False, 0, ClockFault.JUMP_FORWARD)
    assert clock.fault is ClockFault.JUMP_FORWARD
    # and the map to server time begins anew
    assert clock.to_server_us(661 * SECOND_US) == NOW_US + 61 * SECOND_US + 30_000
    again = clock.observe(661 * SECOND_US, 50, FS, NOW_US + 62 * SECOND_US + 30_000)
    assert again == Verdict(661 * SECOND_US, True, 0, ClockFault.NONE)


def test_a_clock_that_learns_the_time_of_day_has_jumped() -> None:
    clock = DeviceClock()
    run(clock, seconds(0, 30))
    verdict = clock.observe(NOW_US + 30 * SECOND_US, 50, FS, NOW_US + 31 * SECOND_US + 30_000)
    assert verdict.fault is ClockFault.JUMP_FORWARD
    assert verdict.t0_us == NOW_US + 30 * SECOND_US


@pytest.mark.parametrize("back_s", [3, 40])
def test_a_clock_put_back(back_s: int) -> None:
    clock = DeviceClock()
    run(clock, seconds(0, 60))
    t0_us = (60 - back_s) * SECOND_US
    verdict = clock.observe(t0_us, 50, FS, NOW_US + 61 * SECOND_US)
    assert verdict == Verdict(t0_us, False, 0, ClockFault.JUMP_BACK)
    after = clock.observe(t0_us + SECOND_US, 50, FS, NOW_US + 62 * SECOND_US)
    assert after == Verdict(t0_us + SECOND_US, True, 0, ClockFault.NONE)


def test_without_times_of_day_from_the_server_a_step_forward_is_a_gap() -> None:
    clock = DeviceClock()
    clock.observe(0, 50, FS, 0)
    assert clock.observe(11 * SECOND_US, 50, FS, 0) == Verdict(11 * SECOND_US, False, 500, ClockFault.NONE)


# -- wraps ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tremble_us", [0, 150_000])
def test_a_32_bit_counter_of_microseconds_goes_on(tremble_us: int) -> None:
    rng = np.random.default_rng(5)
    true = 2**32 - 20 * SECOND_US + seconds(0, 9_000) + rng.uniform(0, tremble_us + 1, 9_000).round()
    verdicts = run(DeviceClock(), true % 2**32)
    assert [verdict.t0_us for verdict in verdicts] == true.astype(int).tolist()
    assert all(verdict.continuous for verdict in verdicts)
    assert [verdict.fault for verdict in verdicts].count(ClockFault.WRAP32) == 3
    assert faults(verdicts) == {ClockFault.NONE, ClockFault.WRAP32}


def test_samples_that_are_missing_at_the_wrap_are_counted() -> None:
    clock = DeviceClock()
    run(clock, 2**32 - 60 * SECOND_US + seconds(0, 59))
    verdict = clock.observe(29 * SECOND_US, 50, FS, NOW_US + 90 * SECOND_US + 30_000)
    assert verdict == Verdict(2**32 + 29 * SECOND_US, False, 30 * 50, ClockFault.WRAP32)


def test_a_clock_of_64_bits_does_not_wrap() -> None:
    """It was put back by as much as a counter of 32 bits would be."""
    clock = DeviceClock()
    run(clock, NOW_US + seconds(0, 60))
    back = NOW_US + 60 * SECOND_US - 2**32
    assert clock.observe(back, 50, FS, NOW_US + 61 * SECOND_US) == Verdict(
        back, False, 0, ClockFault.JUMP_BACK
    )


def test_a_counter_that_has_wrapped_learns_the_time_of_day() -> None:
    clock = DeviceClock()
    run(clock, (2**32 - 20 * SECOND_US + seconds(0, 40)) % 2**32)
    verdict = clock.observe(NOW_US + 40 * SECOND_US, 50, FS, NOW_US + 41 * SECOND_US + 30_000)
    assert verdict == Verdict(NOW_US + 40 * SECOND_US, False, 0, ClockFault.JUMP_FORWARD)


def test_a_restart_from_zero_is_no_wrap() -> None:
    clock = DeviceClock()
    run(clock, seconds(1_000, 1_060))
    assert clock.observe(0, 50, FS, NOW_US + 61 * SECOND_US).fault is ClockFault.JUMP_BACK


@pytest.mark.parametrize("modulus", [2**32, 2**32 // 1_000], ids=["of milliseconds", "of microseconds"])
def test_a_counter_of_milliseconds_wraps_too(modulus: int) -> None:
    true = modulus - 20_000 + np.arange(0, 60_000, 1_000)
    verdicts = run(DeviceClock(), true % modulus)
    assert [verdict.t0_us // 1_000 for verdict in verdicts[6:]] == pytest.approx(true[6:].tolist(), abs=1)
    assert faults(verdicts[6:]) == {ClockFault.MILLISECONDS, ClockFault.WRAP32}
    assert all(verdict.continuous for verdict in verdicts[6:])


# -- units ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit_us", "fault"), [(1_000, ClockFault.MILLISECONDS), (1_000_000, ClockFault.SECONDS)]
)
@pytest.mark.parametrize("n", [10, 25, 50, 200])
@pytest.mark.parametrize("start_s", [0, 86_400])
def test_another_unit_is_recognised_and_mended(unit_us: int, fault: ClockFault, n: int, start_s: int) -> None:
    true = start_s * SECOND_US + np.arange(400) * n * 20_000
    verdicts = run(DeviceClock(), true // unit_us, n=n)
    found = next(i for i, verdict in enumerate(verdicts) if verdict.fault is fault)
    assert true[found] - true[0] <= max(7 * SECOND_US, 5 * n * 20_000)
    assert faults(verdicts[:found]) <= {ClockFault.NONE}
    assert faults(verdicts[found:]) == {fault}
    assert all(verdict.continuous for verdict in verdicts[:found] + verdicts[found + 1 :])
    for verdict, t0_us in zip(verdicts[found:], true[found:], strict=True):
        assert 0 <= t0_us - verdict.t0_us < max(unit_us, n * 20_000)


@pytest.mark.parametrize("n", [5, 10, 25, 50, 200])
@pytest.mark.parametrize("start_s", [0, 3, 86_400, 30 * 86_400])
@pytest.mark.parametrize("tremble_us", [0, 60_000])
def test_nanoseconds_since_the_boot_are_recognised_within_seconds(
    n: int, start_s: int, tremble_us: int
) -> None:
    """As Android stamps its sensor events."""
    rng = np.random.default_rng(n)
    true_us = start_s * SECOND_US + np.arange(400) * n * 20_000
    sent = (true_us + rng.uniform(0, tremble_us + 1, 400).astype(int)) * 1_000 + rng.integers(0, 1_000, 400)
    verdicts = run(DeviceClock(), sent.tolist(), n=n)
    found = next(i for i, verdict in enumerate(verdicts) if verdict.fault is ClockFault.NANOSECONDS)
    assert true_us[found] - true_us[0] <= max(3 * SECOND_US, 4 * n * 20_000)
    assert faults(verdicts[found:]) == {ClockFault.NANOSECONDS}
    assert [verdict.t0_us for verdict in verdicts[found:]] == (sent[found:] // 1_000).tolist()
    assert all(verdict.continuous for verdict in verdicts[:found] + verdicts[found + 1 :])


@pytest.mark.parametrize("ahead_days", [0, -70, 400], ids=["as the server", "behind", "ahead"])
def test_times_of_day_in_nanoseconds_are_mended_from_the_first_batch_on(ahead_days: int) -> None:
    """No other unit could have counted so far, whatever time the server believes it is."""
    start_us = NOW_US + ahead_days * 86_400 * SECOND_US
    sent = [(start_us + t * SECOND_US) * 1_000 + 789 for t in range(60)]
    verdicts = run(DeviceClock(), sent)
    wanted = ClockFault.FUTURE if ahead_days > 0 else ClockFault.NANOSECONDS
    assert verdicts == [Verdict(start_us + t * SECOND_US, True, 0, wanted) for t in range(60)]
    assert all(isinstance(verdict.t0_us, int) for verdict in verdicts)


@pytest.mark.parametrize("start_us", [NOW_US, 7_200 * SECOND_US])
def test_a_clock_of_nanoseconds_maps_to_server_time(start_us: int) -> None:
    clock = DeviceClock()
    for i in range(1_800):
        taken = NOW_US + round((i + 1) * SECOND_US * (1 + 150e-6))
        clock.observe((start_us + i * SECOND_US) * 1_000, 50, FS, taken + 40_000)
    assert clock.skew_ppm == pytest.approx(150, abs=5)
    end_us = start_us + 1_800 * SECOND_US
    assert clock.to_server_us(end_us) == pytest.approx(taken + 40_000, abs=5_000)


def test_a_clock_of_nanoseconds_put_back_by_seconds_has_not_wrapped() -> None:
    clock = DeviceClock()
    run(clock, ((1_000 + np.arange(60)) * 10**9).tolist())
    verdict = clock.observe(1_056 * 10**9, 50, FS, NOW_US + 61 * SECOND_US)
    assert verdict == Verdict(1_056 * SECOND_US, False, 0, ClockFault.JUMP_BACK)


@pytest.mark.parametrize("gap_s", [600, 1_000, 2_000])
@pytest.mark.parametrize("before", [1, 2, 3])
def test_a_long_gap_at_the_start_is_no_nanoseconds(gap_s: int, before: int) -> None:
    """The server waited as long as the device's clock says."""
    clock = DeviceClock()
    run(clock, seconds(0, before))
    late_us = (before + gap_s) * SECOND_US
    verdict = clock.observe(late_us, 50, FS, NOW_US + late_us + SECOND_US + 30_000)
    assert verdict == Verdict(late_us, False, gap_s * 50, ClockFault.NONE)


@pytest.mark.parametrize("gap_s", [600, 1_000, 2_000])
@pytest.mark.parametrize("before", [1, 2, 3, 4])
def test_nor_is_one_in_stored_data_that_comes_all_at_once(gap_s: int, before: int) -> None:
    """The gap may be noticed up to three batches late, but the clock goes on in microseconds."""
    clock = DeviceClock()
    sent = [*seconds(0, before), *(gap_s * SECOND_US + seconds(before, 30))]
    verdicts = [clock.observe(round(t0), 50, FS, NOW_US + 7_200 * SECOND_US) for t0 in sent]
    assert faults(verdicts) <= {ClockFault.NONE, ClockFault.JUMP_FORWARD}, "nobody can tell these two apart"
    assert [verdict.t0_us for verdict in verdicts[before + 3 :]] == sent[before + 3 :]
    assert sum(not verdict.continuous for verdict in verdicts) == 1


UNITS_NS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
UNIT_FAULT = {
    "ns": ClockFault.NANOSECONDS,
    "us": ClockFault.NONE,
    "ms": ClockFault.MILLISECONDS,
    "s": ClockFault.SECONDS,
}


@pytest.mark.parametrize("of_day", [False, True], ids=["since the boot", "time of day"])
@pytest.mark.parametrize("after", UNITS_NS)
@pytest.mark.parametrize("before", UNITS_NS)
def test_a_unit_that_changes_on_the_way_is_recognised_again(before: str, after: str, of_day: bool) -> None:
    """A library was changed, or the device learned the time of day and tells it in another unit."""
    clock = DeviceClock()
    first_us, then_us = 5_000 * SECOND_US, (NOW_US if of_day else 5_000 * SECOND_US)
    sent = [(first_us + t * SECOND_US) * 1_000 // UNITS_NS[before] for t in range(60)]
    sent += [(then_us + t * SECOND_US) * 1_000 // UNITS_NS[after] for t in range(60, 180)]
    verdicts = run(clock, sent)
    assert faults(verdicts[10:60]) == {UNIT_FAULT[before]}
    assert faults(verdicts[75:]) == {UNIT_FAULT[after]}
    assert [verdict.t0_us for verdict in verdicts[75:]] == [then_us + t * SECOND_US for t in range(75, 180)]
    assert all(verdict.continuous for verdict in verdicts[75:])
    at_once = [verdict.t0_us for verdict in verdicts[61:75]] == [
        then_us + t * SECOND_US for t in range(61, 75)
    ]
    assert at_once or not of_day, "a time of day needs no second look"


@pytest.mark.parametrize(
    ("unit_us", "fault"), [(1_000, ClockFault.MILLISECONDS), (1_000_000, ClockFault.SECONDS)]
)
def test_times_of_day_in_another_unit_are_mended_from_the_first_batch_on(
    unit_us: int, fault: ClockFault
) -> None:
    verdicts = run(DeviceClock(), (NOW_US + seconds(0, 60)) // unit_us)
    assert faults(verdicts) == {fault}
    assert [verdict.t0_us for verdict in verdicts] == [NOW_US + t * SECOND_US for t in range(60)]


@pytest.mark.parametrize(("unit_us", "gap_s"), [(1_000, 1), (1_000_000, 3)])
def test_gaps_are_seen_in_other_units(unit_us: int, gap_s: int) -> None:
    clock = DeviceClock()
    run(clock, seconds(0, 60) // unit_us)
    late_us = (60 + gap_s) * SECOND_US
    verdict = clock.observe(late_us // unit_us, 50, FS, NOW_US + late_us + SECOND_US + 30_000)
    assert (verdict.continuous, verdict.missing_samples) == (False, gap_s * 50)


def test_whole_seconds_are_judged_to_a_second() -> None:
    # batches of 0.7 s: 0 0 1 2 2 3 4 4 5 ...
    verdicts = run(DeviceClock(), np.floor(np.arange(300) * 0.7), n=35)
    assert all(verdict.continuous for verdict in verdicts)
    assert faults(verdicts) == {ClockFault.NONE, ClockFault.SECONDS}


@pytest.mark.parametrize("resumes_s", [6, 8])
def test_a_burst_at_the_start_is_not_milliseconds(resumes_s: int) -> None:
    """Three batches stamped as they arrived, within milliseconds, then one a second."""
    stamps = [5 * SECOND_US, 5 * SECOND_US + 900, 5 * SECOND_US + 2_000, *seconds(resumes_s, 60)]
    verdicts = run(DeviceClock(), stamps)
    assert faults(verdicts) <= {ClockFault.NONE, ClockFault.JUMP_BACK}
    assert [verdict.t0_us for verdict in verdicts[3:]] == stamps[3:]


# -- clocks that stand still ----------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, 77, NOW_US])
def test_a_clock_that_stands_still_is_named_and_its_samples_are_counted(value: int) -> None:
    verdicts = run(DeviceClock(), [value] * 60)
    assert all(verdict.continuous for verdict in verdicts)
    assert [verdict.t0_us for verdict in verdicts] == [value + t * SECOND_US for t in range(60)]
    assert faults(verdicts[5:]) == {ClockFault.FROZEN}


def test_a_frozen_clock_still_maps_to_server_time() -> None:
    clock = DeviceClock()
    run(clock, [0] * 600)
    assert clock.to_server_us(600 * SECOND_US) == pytest.approx(NOW_US + 600 * SECOND_US + 30_000, abs=10)


def test_a_clock_that_crawls_is_frozen() -> None:
    """One count a batch, as when the number of the batch is sent for the time."""
    verdicts = run(DeviceClock(), range(3, 303), n=5)
    assert all(verdict.continuous for verdict in verdicts)
    assert faults(verdicts[:100]) == {ClockFault.NONE}
    verdicts = run(DeviceClock(), range(3, 303), n=500)
    assert faults(verdicts[8:]) == {ClockFault.FROZEN}


# -- ahead of the server --------------------------------------------------------------------------------


def test_a_clock_that_is_ahead_of_the_server_by_a_day() -> None:
    verdicts = run(DeviceClock(), NOW_US + seconds(86_400, 86_460))
    assert faults(verdicts) == {ClockFault.FUTURE}
    assert all(verdict.continuous for verdict in verdicts)


def test_a_clock_ahead_by_less_than_minutes_or_behind_is_no_fault() -> None:
    for ahead_s in (200, -86_400):
        assert faults(run(DeviceClock(), NOW_US + seconds(ahead_s, ahead_s + 60))) == {ClockFault.NONE}
