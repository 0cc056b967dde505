"""Whatever the stamps: a right rate is kept, a wrong one is found, and a saved state goes on alike."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disc_stream.signal.rate import RateEstimator, RateVerdict

Batch = tuple[float, int, float | None]

seeds = st.integers(0, 2**32)
ratios = st.floats(1 / 8, 8)


def steps_of(times: np.ndarray, n: int | list[int], declared: float) -> list[Batch]:
    sizes = [n] * len(times) if isinstance(n, int) else n
    steps = [None, *map(float, np.diff(np.round(times)))]
    return [(declared, size, step) for size, step in zip(sizes, steps, strict=True)]


def observe(rate: RateEstimator, batches: list[Batch]) -> list[RateVerdict]:
    return [rate.observe(*batch) for batch in batches]


def even(n: int, fs: float, declared: float, batches: int) -> list[Batch]:
    return steps_of(np.arange(batches) * n * 1e6 / fs, n, declared)


def lasting(seconds: float, n: int, fs: float) -> int:
    return int(seconds * fs / n) + 2


@pytest.mark.parametrize(
    ("declared", "real", "n"),
    [(50, 25, 50), (50, 100, 50), (100, 50, 100), (50, 32, 50), (32, 50, 64), (25, 104, 50)],
)
def test_a_wrong_rate_is_contested_at_the_first_step_and_found_at_the_fourth(
    declared: float, real: float, n: int
) -> None:
    first, *verdicts = observe(RateEstimator(), even(n, real, declared, 40))
    assert first == RateVerdict(declared, False, False, False)
    assert [one.contested for one in verdicts[:4]] == [True, True, True, False]
    assert [one.changed for one in verdicts] == [False] * 3 + [True] + [False] * 35
    for one in verdicts[3:]:
        assert one.fs == pytest.approx(real, rel=1e-6)
        assert one.differs
        assert not one.contested


@given(
    st.sampled_from([20.0, 50.0, 100.0]),
    ratios,
    st.floats(0.1, 3.0),
    st.sampled_from([0, 20, 100, 200]),
    seeds,
)
@settings(deadline=None)
def test_every_wrong_rate_is_found_under_jitter(
    declared: float, ratio: float, batch_s: float, jitter_ms: int, seed: int
) -> None:
    """Within four minutes, and 3 % of the truth."""
    fs = declared * ratio
    n = max(1, round(batch_s * fs))
    batches = lasting(max(240.0, 90 * n / fs), n, fs)
    rng = np.random.default_rng(seed)
    times = np.arange(batches) * n * 1e6 / fs + rng.uniform(-1000, 1000, batches) * jitter_ms
    last = observe(RateEstimator(), steps_of(times, n, declared))[-1]
    assert last.fs == pytest.approx(fs, rel=0.03)
    assert not last.contested
    if abs(ratio - 1) > 0.04:
        assert last.differs
    assert last.differs == (last.fs != declared)


@given(
    st.sampled_from([20.0, 32.0, 50.0, 100.0, 400.0]), st.floats(0.05, 10.0), st.integers(0, 200),
    st.booleans(), st.sampled_from([0.0, 0.01, 0.1]), seeds,
)  # fmt: skip
@settings(deadline=None)
def test_a_right_rate_is_never_left_nor_contested_under_jitter_and_lost_batches(
    fs: float, batch_s: float, jitter_ms: int, vary: bool, lost: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    n = max(1, round(batch_s * fs))
    sizes = rng.integers(1, 2 * n + 1, 300) if vary else np.full(300, n)
    times = (
        np.concatenate([[0], np.cumsum(sizes)[:-1]]) * 1e6 / fs + rng.uniform(-1000, 1000, 300) * jitter_ms
    )
    rate = RateEstimator()
    gone = False
    for batch in steps_of(times, sizes.tolist(), fs):
        if rng.random() < lost:
            gone = True
            continue
        assert rate.observe(batch[0], batch[1], None if gone else batch[2]) == RateVerdict(
            fs, False, False, False
        )
        gone = False


@given(st.floats(0.2, 10.0), st.integers(0, 200), st.integers(4, 40), st.floats(0.0, 120.0), seeds)
@settings(deadline=None)
def test_gaps_that_the_numbers_do_not_show_are_no_other_rate(
    batch_s: float, jitter_ms: int, every: int, gap_s: float, seed: int
) -> None:
    """The device pauses, its numbers go on."""
    fs = 50.0
    rng = np.random.default_rng(seed)
    n = max(1, round(batch_s * fs))
    pauses = np.cumsum((np.arange(300) % every == every - 1) * gap_s * 1e6)
    times = np.arange(300) * n * 1e6 / fs + pauses + rng.uniform(-1000, 1000, 300) * jitter_ms
    if gap_s < 1.1 or gap_s < 0.35 * batch_s:  # too short to be told from jitter or rate
        times -= pauses
    verdicts = observe(RateEstimator(), steps_of(times, n, fs))
    assert {one.fs for one in verdicts} == {fs}
    assert not verdicts[-1].differs


@given(st.floats(0.3, 2.5), st.integers(2, 3), st.integers(0, 50), seeds)
@settings(deadline=None)
def test_batches_that_are_stamped_together_are_no_other_rate(
    batch_s: float, together: int, jitter_ms: int, seed: int
) -> None:
    """A gateway stamps several batches at once, when the last of them has come."""
    n = round(batch_s * 50)
    rng = np.random.default_rng(seed)
    which = np.arange(400)
    times = (which // together * together + together - 1) * n * 20_000.0 + which % together * 3_000
    times += rng.uniform(0, 1000, 400) * jitter_ms
    assert {one.fs for one in observe(RateEstimator(), steps_of(times, n, 50.0))} == {50.0}


@given(st.floats(0.1, 12.0), st.integers(0, 999_999))
@settings(deadline=None)
def test_stamps_of_whole_seconds_are_no_other_rate(batch_s: float, phase: int) -> None:
    n = max(1, round(batch_s * 50))
    times = (np.arange(600) * n * 20_000 + phase) // 1_000_000 * 1_000_000
    assert {one.fs for one in observe(RateEstimator(), steps_of(times, n, 50.0))} == {50.0}


@given(st.floats(0.001, 0.02), seeds)
@settings(deadline=None)
def test_a_declared_rate_that_varies_is_one_rate(spread: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    batches = [
        (float(50 * rng.uniform(1 - spread, 1 + spread)), n, step) for _, n, step in even(50, 50, 50, 600)
    ]
    verdicts = observe(RateEstimator(), batches)
    assert sum(one.changed for one in verdicts) <= 1  # where the first was far from the others
    assert len({one.fs for one in verdicts}) <= 2
    assert verdicts[-1].fs == pytest.approx(50, rel=max(spread, 0.0175))
    assert not any(one.contested or one.differs for one in verdicts)
    if spread <= 0.006:
        assert not any(one.changed for one in verdicts)


@pytest.mark.parametrize(("before", "after"), [(50, 100), (100, 50), (50, 55), (25, 200)])
def test_a_change_of_the_declared_rate_is_followed_at_once(before: float, after: float) -> None:
    rate = RateEstimator()
    observe(rate, even(50, before, before, 20))
    verdicts = [rate.observe(after, 50, 50e6 / before), *observe(rate, even(50, after, after, 40)[1:])]
    assert verdicts[0] == RateVerdict(after, True, False, False)
    assert set(verdicts[1:]) == {RateVerdict(after, False, False, False)}


def test_a_small_lasting_change_of_the_declared_rate_is_followed() -> None:
    rate = RateEstimator()
    observe(rate, even(50, 50, 50, 60))
    verdicts = observe(rate, even(50, 51.5, 51.5, 200)[1:])
    assert sum(one.changed for one in verdicts) <= 3
    assert verdicts[-1].fs == pytest.approx(51.5, rel=0.0125)


def test_two_declared_rates_in_turn_do_not_flip() -> None:
    batches = [(50.0 if i % 2 else 100.0, 50, 1e6 if i else None) for i in range(200)]
    verdicts = observe(RateEstimator(), batches)
    assert sum(one.changed for one in verdicts) <= 3
    assert verdicts[-1].fs == 50


def test_of_two_declared_rates_in_turn_the_other_is_believed_the_fourth_time_in_a_row() -> None:
    rate = RateEstimator()
    observe(rate, even(50, 50, 50, 20))
    step = 50e6 / 60
    declared = [60.0] * 4 + [50.0, 60.0] + [50.0] * 4
    verdicts = observe(rate, [(fs, 50, step) for fs in declared])
    assert [one.fs for one in verdicts] == [60.0] * 9 + [50.0]
    assert [one.changed for one in verdicts] == [True] + [False] * 8 + [True]


@pytest.mark.parametrize("ratio", [0.95, 0.97, 1.03, 1.05])
def test_a_small_difference_is_found_after_a_minute(ratio: float) -> None:
    verdicts = observe(RateEstimator(), even(50, 50 * ratio, 50, 300))
    assert all(one.fs == 50 and not one.contested for one in verdicts[:58])
    assert verdicts[100].fs == pytest.approx(50 * ratio, rel=1e-6)
    assert verdicts[-1].differs
    assert sum(one.changed for one in verdicts) == 1


def test_a_rate_that_goes_right_again_is_the_declared_one() -> None:
    rate = RateEstimator()
    assert observe(rate, even(50, 25, 50, 20))[-1] == RateVerdict(25, False, False, True)
    verdicts = observe(rate, even(50, 50, 50, 30)[1:])
    assert verdicts[3] == RateVerdict(50, True, False, False)
    assert set(verdicts[4:]) == {RateVerdict(50, False, False, False)}


def test_a_rate_that_changes_later_is_found() -> None:
    rate = RateEstimator()
    assert {one.fs for one in observe(rate, even(50, 50, 50, 1000))} == {50}
    verdicts = observe(rate, even(50, 100, 50, 30)[1:])
    assert [one.contested for one in verdicts[:4]] == [False, True, True, False]
    assert verdicts[3] == RateVerdict(100, True, False, True)


@pytest.mark.parametrize(
    ("steps", "fs"),
    [
        ([2.0, 2.0, 2.0, 2.4], 200 / 8.4),
        ([2.0, 2.0, 2.0, 2.6], 50.0),  # more than a quarter above their median
        ([2.0, 2.0, 2.0, 1.6], 200 / 7.6),
        ([2.0, 2.0, 2.0, 1.48], 50.0),  # and below
    ],
)
def test_steps_in_a_row_that_are_alike_are_a_rate_and_others_are_pauses(
    steps: list[float], fs: float
) -> None:
    rate = RateEstimator()
    observe(rate, even(50, 50, 50, 100))
    last = observe(rate, [(50.0, 50, step * 1e6) for step in steps])[-1]
    assert last.fs == pytest.approx(fs)
    assert last.changed == (fs != 50.0)
    if fs == 50.0:
        assert {one.fs for one in observe(rate, even(50, 50, 50, 100)[1:])} == {50.0}


@pytest.mark.parametrize("step", [0.0, 1_000.0, 1.0, 1e9, -5e6])
def test_a_clock_at_fault_is_no_evidence(step: float) -> None:
    batches: list[Batch] = [(50.0, 50, step if i else None) for i in range(200)]
    assert set(observe(RateEstimator(), batches)) == {RateVerdict(50, False, False, False)}


@pytest.mark.parametrize(("stall_s", "batches"), [(8, 10), (60, 84)])
def test_catching_up_after_a_stall_is_no_other_rate(stall_s: float, batches: int) -> None:
    """Stamps of arrival: nothing for a while, then a batch every 0.3 s until all are there."""
    steps = [1e6] * 30 + [stall_s * 1e6] + [0.3e6] * batches + [1e6] * 30
    verdicts = observe(RateEstimator(), [(50.0, 50, None), *((50.0, 50, step) for step in steps)])
    assert {one.fs for one in verdicts} == {50.0}


@st.composite
def anything(draw: st.DrawFn) -> list[Batch]:
    rng = np.random.default_rng(draw(seeds))
    n, fs, jitter = (
        draw(st.sampled_from([5, 50, 250])),
        draw(st.floats(5, 400)),
        draw(st.sampled_from([0, 1e4, 3e5])),
    )
    batches: list[Batch] = []
    for _ in range(draw(st.integers(0, 150))):
        step = n * 1e6 / fs + float(rng.uniform(-jitter, jitter))
        if rng.random() < 0.05:
            step *= float(rng.choice([0, 0.3, 2, 3, 1000]))
        batches.append((50.0 * float(rng.uniform(0.99, 1.01)), n, None if rng.random() < 0.05 else step))
        if rng.random() < 0.02:
            fs *= float(rng.choice([0.5, 2]))
    return batches


@given(anything(), st.integers(0, 150))
@settings(deadline=None)
def test_a_saved_state_goes_on_alike(batches: list[Batch], cut: int) -> None:
    here, there = RateEstimator(), RateEstimator()
    observe(here, batches[:cut])
    there.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(here.state())))
    assert there.state() == here.state()
    assert observe(there, batches[cut:]) == observe(here, batches[cut:])
    assert there.state() == here.state()


@given(
    st.lists(
        st.tuples(
            st.floats(0, 1e5, exclude_min=True), st.integers(1, 65_536),
            st.none() | st.floats(-(2.0**63), 2.0**63),
        ),
        max_size=60,
    )
)  # fmt: skip
@settings(deadline=None)
def test_it_judges_whatever_comes(batches: list[Batch]) -> None:
    for one in observe(RateEstimator(), batches):
        assert 0 < one.fs < np.inf
        assert not (one.contested and one.changed)
