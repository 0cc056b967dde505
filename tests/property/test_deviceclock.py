"""Whatever a device says the time is: the clock does not fall over, and never runs backwards."""

from __future__ import annotations

import cbor2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from disc_stream.signal.deviceclock import ClockFault, DeviceClock, Verdict

NOW_US = 1_700_000_000_000_000

Batch = tuple[int, int, float, int]

times = st.integers(0, 2**63 - 1) | st.integers(0, 2**33) | st.integers(NOW_US // 1_000_000, NOW_US)
rates = st.floats(0, 10_000, exclude_min=True) | st.sampled_from([25.0, 50.0, 100.0])
sizes = st.integers(1, 65_536)
anything = st.lists(st.tuples(times, sizes, rates, st.integers(0, 2**62)), max_size=40)


@st.composite
def plausible(draw: st.DrawFn) -> list[Batch]:
    """A device with some clock in some unit and width, that drifts, trembles, loses batches and jumps."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    unit_ns = draw(st.sampled_from([1, 1_000, 1_000_000, 1_000_000_000]))
    modulus = draw(st.sampled_from([2**32, 2**63]))
    n = draw(st.sampled_from([5, 50, 500]))
    tremble, delay = draw(st.sampled_from([0, 20_000, 300_000])), draw(st.sampled_from([0, 50_000]))
    start = draw(st.sampled_from([0, 2**32 - 30_000_000, NOW_US]))
    skew, lost = draw(st.floats(-2e-4, 2e-4)), draw(st.floats(0, 0.2))
    batches, jump = [], 0
    for i in range(draw(st.integers(0, 120))):
        if rng.random() < lost:
            continue
        if rng.random() < 0.01:
            jump = int(rng.integers(-(10**8), 10**8))
        device_us = start + i * n * 20_000 + jump + int(rng.uniform(0, tremble + 1))
        received_us = NOW_US + round((i + 1) * n * 20_000 * (1 + skew) + rng.exponential(delay + 1))
        batches.append((max(0, device_us) * 1_000 // unit_ns % modulus, n, 50.0, received_us))
    return batches


def observe(clock: DeviceClock, batches: list[Batch]) -> list[Verdict]:
    return [clock.observe(*batch) for batch in batches]


@given(anything | plausible(), st.lists(st.integers(0, 2**63 - 1), min_size=2, max_size=8))
@settings(deadline=None)
def test_it_judges_whatever_comes_and_time_never_runs_backwards(
    batches: list[Batch], moments: list[int]
) -> None:
    clock = DeviceClock()
    for batch in batches:
        verdict = clock.observe(*batch)
        assert isinstance(verdict.t0_us, int)
        assert isinstance(verdict.fault, ClockFault)
        assert verdict.missing_samples >= 0
        assert not (verdict.continuous and verdict.missing_samples)
        near = [verdict.t0_us + k for k in range(-3, 4)]
        mapped = [clock.to_server_us(moment) for moment in sorted([*moments, *near])]
        known = [moment for moment in mapped if moment is not None]
        assert len(known) == len(mapped)
        assert known == sorted(known)


@given(anything | plausible(), st.integers(0, 120))
@settings(deadline=None)
def test_a_clock_taken_up_elsewhere_goes_on_alike(batches: list[Batch], cut: int) -> None:
    here, there = DeviceClock(), DeviceClock()
    observe(here, batches[:cut])
    there.restore(cbor2.loads(cbor2.dumps(here.state())))
    assert there.state() == here.state()
    assert observe(there, batches[cut:]) == observe(here, batches[cut:])
    assert there.state() == here.state()
    assert (there.skew_ppm, there.offset_us, there.uncertainty_us, there.fault) == (
        here.skew_ppm, here.offset_us, here.uncertainty_us, here.fault,
    )  # fmt: skip


@st.composite
def of_day(draw: st.DrawFn) -> list[Batch]:
    """A clock that knows the time of day, and drifts, trembles, loses batches and is set."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n, fs = draw(st.sampled_from([1, 10, 50, 400])), draw(st.sampled_from([20.0, 50.0, 98.0]))
    tremble, skew = draw(st.sampled_from([0, 60_000, 400_000])), draw(st.floats(-2e-4, 2e-4))
    batches, jump, period = [], 0, n / fs * 1e6
    for i in range(draw(st.integers(1, 120))):
        if rng.random() < 0.1:
            continue
        if rng.random() < 0.02:
            jump += int(rng.integers(-(10**8), 10**8))
        t0_us = NOW_US + round(i * period) + jump + int(rng.uniform(0, tremble + 1))
        received_us = NOW_US + round((i + 1) * period * (1 + skew) + rng.exponential(50_000))
        batches.append((t0_us, n, fs, received_us))
    return batches


@given(of_day(), st.integers(0, 999))
@settings(deadline=None)
def test_a_time_of_day_in_nanoseconds_is_judged_as_in_microseconds(batches: list[Batch], digits: int) -> None:
    """To the microsecond: the same times, gaps and jumps, the same line to the server's clock."""
    micro, nano = DeviceClock(), DeviceClock()
    same = {ClockFault.NONE: ClockFault.NANOSECONDS}
    for t0_us, n, fs, received_us in batches:
        wanted = micro.observe(t0_us, n, fs, received_us)
        got = nano.observe(t0_us * 1_000 + digits, n, fs, received_us)
        assert got == replace(wanted, fault=same.get(wanted.fault, wanted.fault))
        assert (nano.offset_us, nano.skew_ppm) == (micro.offset_us, micro.skew_ppm)


@given(
    st.integers(0, 40 * 86_400 * 10**6), st.sampled_from([1, 1_000, 1_000_000]),
    st.sampled_from([5, 25, 50, 200]), st.integers(0, 2**32),
)  # fmt: skip
@settings(deadline=None)
def test_every_unit_is_found_whenever_it_begins_to_be_counted(
    start_us: int, unit_ns: int, n: int, seed: int
) -> None:
    """Since the boot; from three seconds on, each time is that of the device to its unit."""
    rng = np.random.default_rng(seed)
    clock = DeviceClock()
    found = max(3, -(-2_000_000 // (n * 20_000)))
    for i in range(2 * found + 20):
        true_us = start_us + i * n * 20_000
        verdict = clock.observe(
            (true_us * 1_000 + int(rng.integers(1_000))) // unit_ns, n, 50.0,
            NOW_US + (i + 1) * n * 20_000 + int(rng.exponential(30_000)),
        )  # fmt: skip
        assert verdict.continuous or i == found
        if i >= found:
            assert -unit_ns // 1_000 <= verdict.t0_us - true_us <= 0


@given(plausible())
@settings(deadline=None)
def test_the_same_batches_get_the_same_verdicts(batches: list[Batch]) -> None:
    assert observe(DeviceClock(), batches) == observe(DeviceClock(), batches)


@given(
    st.integers(0, 2**40), st.sampled_from([1, 10, 50, 400]),
    st.sampled_from([20.0, 32.0, 50.0, 98.0, 400.0]),
    st.lists(st.booleans(), min_size=1, max_size=80),
)  # fmt: skip
@settings(deadline=None)
def test_a_good_clock_is_at_no_fault_and_tells_every_long_gap(
    start: int, n: int, fs: float, kept: list[bool]
) -> None:
    """Batches are lost wherever ``kept`` is False; the first is always there."""
    clock = DeviceClock()
    period, last = n / fs * 1e6, -1
    for i, here in enumerate([True, *kept]):
        if not here:
            continue
        t0_us = start + round(i * period)
        verdict = clock.observe(t0_us, n, fs, NOW_US + round((i + 1) * period) + 40_000)
        assert (verdict.t0_us, verdict.fault) == (t0_us, ClockFault.NONE)
        lost_us = (i - last - 1) * period
        if lost_us < 240_000:
            assert verdict.continuous
        elif lost_us > 2_100_000 + 0.02 * period:  # in between, it depends on what came before
            assert not verdict.continuous
            assert abs(verdict.missing_samples - lost_us * fs / 1e6) <= 1 + n * 0.02 + 0.25 * fs
        last = i
