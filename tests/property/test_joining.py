"""Sensors in separate messages: however they are cut and interleave, the joined samples are the same."""

from __future__ import annotations

from itertools import accumulate, pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from disc_stream.signal.joining import Joiner, JoinerState
from disc_stream.types import Channel, SampleBatch

NOW_US = 1_700_000_000_000_000
ACC = tuple(Channel(f"acc_{axis}", "g") for axis in "xyz")
GYRO = tuple(Channel(f"gyro_{axis}", "rad/s") for axis in "xyz")
MODEL = ACC + GYRO


def signal(times_us: np.ndarray, channels: tuple[Channel, ...]) -> np.ndarray:
    """Each channel a sine of its own over device time, in physical units."""
    phase = np.array([MODEL.index(channel) for channel in channels])
    values: np.ndarray = np.sin(times_us[:, None] * 2e-6 + phase).astype(np.float32)
    return values


def record(
    channels: tuple[Channel, ...], fs: float, seconds: float, start_us: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    times = start_us + np.arange(round(seconds * fs)) * 1e6 / fs
    return times, signal(times, channels)


def cut(
    channels: tuple[Channel, ...], fs: float, recording: tuple[np.ndarray, np.ndarray], sizes: list[int]
) -> list[SampleBatch]:
    """Batches of these sizes in turn; seq numbers the batches of this part."""
    times, samples = recording
    batches, at, seq = [], 0, 0
    while at < len(times):
        n = sizes[seq % len(sizes)]
        batches.append(SampleBatch("watch", 1, seq, round(times[at]), fs, channels, samples[at : at + n]))
        at, seq = at + n, seq + 1
    return batches


def end_us(batch: SampleBatch) -> int:
    return batch.t0_us + round(len(batch.samples) * 1e6 / batch.fs)


def deliver(
    joiner: Joiner, *parts: list[SampleBatch], lags_us: tuple[int, ...] = (0, 0)
) -> list[SampleBatch]:
    """Push each part's batches when they are complete, plus the part's lag; those of a part in order."""
    arrivals = [
        (came + lag, number, place, batch)
        for number, (part, lag) in enumerate(zip(parts, lags_us, strict=True))
        for place, (came, batch) in enumerate(zip(accumulate(map(end_us, part), max), part, strict=True))
    ]
    start = min(arrivals)[0]
    joined = []
    for came, _, _, batch in sorted(arrivals, key=lambda one: one[:3]):
        joined += joiner.push(batch, NOW_US + came - start)
    return joined


def flat(joined: list[SampleBatch]) -> tuple[np.ndarray, np.ndarray]:
    if not joined:
        return np.empty(0), np.empty((0, len(MODEL)), dtype=np.float32)
    times = [batch.t0_us + np.arange(len(batch.samples)) * 1e6 / batch.fs for batch in joined]
    return np.concatenate(times), np.concatenate([batch.samples for batch in joined])


def check_form(joined: list[SampleBatch]) -> None:
    assert [batch.seq for batch in joined] == list(range(len(joined)))
    for batch in joined:
        assert batch.channels == MODEL
        assert batch.samples.dtype == np.float32
        assert (batch.device, batch.boot) == ("watch", 1)
    times, _ = flat(joined)
    assert np.all(np.diff(times) > 0)


sizes = st.lists(st.integers(1, 150), min_size=1, max_size=8)
short = st.lists(st.integers(1, 100), min_size=1, max_size=8)
rates = st.sampled_from([25.0, 32.0, 50.0, 60.0, 104.0])
starts = st.sampled_from([0, 123_457, NOW_US])
lags = st.integers(0, 5_000_000)


@given(rates, starts, sizes, sizes, lags, lags)
@settings(deadline=None, max_examples=50)
def test_parts_of_one_recording_are_the_recording_again(
    fs: float, start_us: int, acc_sizes: list[int], gyro_sizes: list[int], acc_lag: int, gyro_lag: int
) -> None:
    # A part waits for the other for 10 s; one that comes later is given up.
    parts = ((acc_lag, acc_sizes), (gyro_lag, gyro_sizes))
    assume(max(lag + max(sizes) * 1e6 / fs for lag, sizes in parts) < 9e6)
    acc, gyro = record(ACC, fs, 12, start_us), record(GYRO, fs, 12, start_us)
    joiner = Joiner(MODEL)
    joined = deliver(
        joiner, cut(ACC, fs, acc, acc_sizes), cut(GYRO, fs, gyro, gyro_sizes), lags_us=(acc_lag, gyro_lag)
    )
    check_form(joined)
    times, samples = flat(joined)
    np.testing.assert_allclose(times, acc[0], atol=2)
    np.testing.assert_array_equal(samples, np.concatenate([acc[1], gyro[1]], axis=1))
    assert all(batch.fs == fs for batch in joined)
    assert joiner.late == joiner.expire(NOW_US + 20_000_000) == 0


@given(
    st.tuples(rates, rates),
    st.tuples(starts, st.integers(-900_000, 900_000)),
    short,
    short,
    st.integers(0, 1_500_000),
    st.integers(0, 1_500_000),
    st.data(),
)
@settings(deadline=None, max_examples=40)
def test_any_cut_and_any_order_of_arrival_give_the_same_samples(
    fs: tuple[float, float], start: tuple[int, int], acc_sizes: list[int], gyro_sizes: list[int],
    acc_lag: int, gyro_lag: int, data: st.DataObject,
) -> None:  # fmt: skip
    """With rates and begins of their own, and gaps in both.

    Until the batch after a gap has shown that the rate is right, joined samples are held; with the longest
    batches and lags here, parts wait for nearly 10 s.
    """
    first = start[0] + 1_000_000
    recordings = [record(ACC, fs[0], 30, first), record(GYRO, fs[1], 30, first + start[1])]
    for number, (times, samples) in enumerate(recordings):
        hole = data.draw(st.tuples(st.floats(2, 11), st.sampled_from([0.0, 1.0, 2.5])))
        seconds = (times - first) / 1e6
        kept = (seconds < hole[0]) | (seconds >= hole[0] + hole[1])
        recordings[number] = times[kept], samples[kept]

    def parts(acc: list[int], gyro: list[int]) -> list[list[SampleBatch]]:
        found = []
        for channels, rate, (times, samples), pattern in zip(
            (ACC, GYRO), fs, recordings, (acc, gyro), strict=True
        ):
            gaps = np.flatnonzero(np.diff(times) > 1.5e6 / rate + 250_000) + 1
            bounds = [0, *gaps.tolist(), len(times)]
            found.append(
                [
                    batch
                    for a, b in pairwise(bounds)
                    for batch in cut(channels, rate, (times[a:b], samples[a:b]), pattern)
                ]
            )
        return found

    whole = deliver(Joiner(MODEL), *parts([100], [100]))
    other = deliver(Joiner(MODEL), *parts(acc_sizes, gyro_sizes), lags_us=(acc_lag, gyro_lag))
    check_form(whole)
    check_form(other)
    for one, two in zip(flat(whole), flat(other), strict=True):
        np.testing.assert_allclose(one, two, rtol=0, atol=4 if one.ndim == 1 else 1e-5)
    times, samples = flat(other)
    assert len(times) > 0
    np.testing.assert_allclose(samples, signal(times, MODEL), atol=2e-3)  # of interpolation at 25 Hz
    for part, rate in zip(recordings, fs, strict=True):  # nothing is made up where a part has a gap
        gap = np.flatnonzero(np.diff(part[0]) > 1.5e6 / rate + 250_000)
        for at in gap:
            assert not np.any((times > part[0][at] + 2) & (times < part[0][at + 1] - 2))


def test_the_slower_part_is_interpolated_to_the_faster() -> None:
    acc, gyro = record(ACC, 100, 6), record(GYRO, 50, 6)
    joined = deliver(Joiner(MODEL), cut(ACC, 100, acc, [100]), cut(GYRO, 50, gyro, [50]))
    times, samples = flat(joined)
    np.testing.assert_array_equal(times, acc[0][: len(times)])
    assert len(times) == 599  # the very last one lies beyond the last sample of the gyroscope
    np.testing.assert_array_equal(samples[:, :3], acc[1][:599])
    np.testing.assert_array_equal(samples[::2, 3:], gyro[1])
    middle = (gyro[1][:-1].astype(np.float64) + gyro[1][1:]) / 2
    np.testing.assert_allclose(samples[1::2, 3:], middle, atol=1e-6)
    assert all(batch.fs == 100 for batch in joined)


def test_a_part_that_becomes_the_faster_one_is_what_the_others_are_interpolated_to_at_once() -> None:
    slow, fast = record(GYRO, 25, 6), record(GYRO, 100, 6, 6_000_000)
    joined = deliver(
        Joiner(MODEL),
        cut(ACC, 50, record(ACC, 50, 12), [50]),
        cut(GYRO, 25, slow, [25]) + cut(GYRO, 100, fast, [100]),
    )
    assert {batch.fs for batch in joined if batch.t0_us < 5_900_000} == {50.0}
    later = [batch for batch in joined if batch.t0_us >= 5_900_000]
    assert {batch.fs for batch in later} == {100.0}
    times, samples = flat(later)
    np.testing.assert_allclose(samples, signal(times, MODEL), atol=2e-4)
    assert len(times) > 580


def test_counts_become_physical_and_units_are_kept() -> None:
    counts = np.arange(150, dtype=np.int16).reshape(50, 3)
    acc = tuple(Channel(channel.name, "mg", 0.5) for channel in ACC)
    extra = (*GYRO[::-1], Channel("temperature", "1"))
    joiner = Joiner(MODEL)
    assert joiner.push(SampleBatch("watch", 1, 0, 0, 50.0, acc, counts), NOW_US) == []
    values = np.arange(200, dtype=np.float32).reshape(50, 4)
    (joined,) = joiner.push(SampleBatch("watch", 1, 0, 0, 50.0, extra, values), NOW_US)
    assert joined.channels == (*(Channel(channel.name, "mg") for channel in ACC), *GYRO)
    np.testing.assert_array_equal(joined.samples[:, :3], counts * np.float32(0.5))
    np.testing.assert_array_equal(joined.samples[:, 3:], values[:, [2, 1, 0]])


@pytest.mark.parametrize("seq", ["shared", "separate", "zero"])
def test_numbers_of_the_parts_do_not_matter(seq: str) -> None:
    parts = []
    for number, channels in enumerate((ACC, GYRO)):
        batches = cut(channels, 50, record(channels, 50, 8), [50])
        numbers = [{"shared": 2 * at + number, "separate": at, "zero": 0}[seq] for at in range(len(batches))]
        parts.append([replace(batch, seq=one) for batch, one in zip(batches, numbers, strict=True)])
    joined = deliver(Joiner(MODEL), *parts)
    assert [(batch.t0_us, len(batch.samples)) for batch in joined] == [(k * 1_000_000, 50) for k in range(8)]


def test_repeated_and_late_batches_are_dropped_and_counted() -> None:
    acc, gyro = (cut(channels, 50, record(channels, 50, 8), [50]) for channels in (ACC, GYRO))
    joiner = Joiner(MODEL)
    joined = []
    for number in range(8):
        joined += joiner.push(acc[number], NOW_US + number * 1_000_000)
        joined += joiner.push(gyro[number], NOW_US + number * 1_000_000)
        if number == 5:
            for again in (acc[5], gyro[5], acc[2]):
                assert joiner.push(again, NOW_US + number * 1_000_000) == []
    assert joiner.late == 3
    check_form(joined)
    assert len(flat(joined)[0]) == 400


def test_what_finds_no_counterpart_is_dropped_after_ten_seconds_and_named() -> None:
    joiner = Joiner(MODEL)
    for number, batch in enumerate(cut(ACC, 50, record(ACC, 50, 30), [50])):
        assert joiner.push(batch, NOW_US + number * 1_000_000) == []
        if number == 9:
            assert joiner.expire(NOW_US + 9_999_999) == 0
    now = NOW_US + 29_000_000
    assert joiner.expire(now) == 19 * 50
    assert joiner.missing(now) == ("gyro_x", "gyro_y", "gyro_z")
    assert joiner.expire(now + 10_000_001) == 11 * 50
    assert joiner.missing(now + 10_000_001) == tuple(channel.name for channel in MODEL)
    gyro = cut(GYRO, 50, record(GYRO, 50, 41), [50])[40]
    acc = cut(ACC, 50, record(ACC, 50, 41), [50])[40]
    assert joiner.push(gyro, now + 11_000_000) == []
    (joined,) = joiner.push(acc, now + 11_000_000)
    assert joined.t0_us == 40_000_000
    assert joiner.missing(now + 11_000_000) == ()


@pytest.mark.parametrize("fs", [50.0, 1000.0])
def test_memory_is_bounded(fs: float) -> None:
    """Even where time seems to stand still, as when files are read."""
    joiner = Joiner(MODEL)
    for batch in cut(ACC, fs, record(ACC, fs, 120), [round(fs)]):
        joiner.push(batch, 0)
    state = joiner.state()
    assert len(state.parts[0].times) <= 8 * 11 * fs  # 10 s and the last batch
    assert joiner.expire(0) == 109 * fs


def test_three_parts_and_a_part_with_a_wrong_rate() -> None:
    magnet = (Channel("mag_x", "uT"),)
    parts = [cut(ACC, 50, record(ACC, 50, 40), [50]), cut(GYRO, 50, record(GYRO, 25, 40), [50])]
    times = np.arange(40 * 10) * 1e5
    parts.append(cut(magnet, 10, (times, np.zeros((400, 1), dtype=np.float32)), [10]))
    joiner = Joiner(MODEL + magnet)
    joined = deliver(joiner, *parts, lags_us=(0, 0, 0))
    assert joiner.differs == (50.0, 25.0)
    found, samples = flat(joined)
    late = found > 12_000_000  # by then the rate has been measured
    assert np.count_nonzero(late) > 1000
    np.testing.assert_allclose(samples[late, :6], signal(found[late], MODEL), atol=2e-3)


def test_clocks_that_count_milliseconds_are_joined() -> None:
    parts = []
    for channels in (ACC, GYRO):
        batches = cut(channels, 50, record(channels, 50, 30), [50])
        parts.append([replace(batch, t0_us=batch.t0_us // 1000) for batch in batches])
    joiner = Joiner(MODEL)
    joined = [
        one
        for number, pair in enumerate(zip(*parts, strict=True))
        for batch in pair
        for one in joiner.push(batch, NOW_US + number * 1_000_000)
    ]
    times, samples = flat(joined)
    assert len(times) == 30 * 50
    expected = np.concatenate([record(ACC, 50, 30)[1], record(GYRO, 50, 30)[1]], axis=1)
    np.testing.assert_array_equal(samples, expected)


@given(st.integers(0, 200_000), sizes, st.integers(0, 2**32))
@settings(deadline=None, max_examples=40)
def test_stamps_that_jitter_do_not_tear_the_stream_apart(
    jitter_us: int, pattern: list[int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    parts = []
    for channels in (ACC, GYRO):
        batches = cut(channels, 50, record(channels, 50, 40, 1_000_000), [40 + size for size in pattern])
        later = [
            replace(batch, t0_us=batch.t0_us + int(rng.uniform(-jitter_us, jitter_us)))
            for batch in batches[1:]
        ]
        parts.append([batches[0], *later])
    joined = deliver(Joiner(MODEL), *parts)
    check_form(joined)
    times, _ = flat(joined)
    assert len(times) > 0.95 * 2000
    assert np.count_nonzero(np.diff(times) > 250_000) <= 2  # until the clock's jitter is known


@given(st.integers(0, 30), st.tuples(rates, rates), sizes, sizes)
@settings(deadline=None, max_examples=40)
def test_a_saved_state_goes_on_alike(
    at: int, fs: tuple[float, float], acc_sizes: list[int], gyro_sizes: list[int]
) -> None:
    acc = cut(ACC, fs[0], record(ACC, fs[0], 10), acc_sizes)
    gyro = cut(GYRO, fs[1], record(GYRO, fs[1], 10), gyro_sizes)
    arrivals = sorted([*acc, *gyro], key=end_us)
    here, there = Joiner(MODEL), Joiner(MODEL)
    for batch in arrivals[:at]:
        here.push(batch, NOW_US + end_us(batch))
    saved = msgspec.msgpack.encode(here.state())
    there.restore(msgspec.msgpack.decode(saved, type=JoinerState))
    assert msgspec.msgpack.encode(there.state()) == saved
    for batch in arrivals[at:]:
        one, two = here.push(batch, NOW_US + end_us(batch)), there.push(batch, NOW_US + end_us(batch))
        assert [(x.seq, x.t0_us, x.fs) for x in one] == [(x.seq, x.t0_us, x.fs) for x in two]
        for x, y in zip(one, two, strict=True):
            np.testing.assert_array_equal(x.samples, y.samples)
    assert msgspec.msgpack.encode(there.state()) == msgspec.msgpack.encode(here.state())


@given(
    st.lists(
        st.tuples(
            st.booleans(), st.integers(0, 2**63 - 1), st.floats(0, 1e5, exclude_min=True), st.integers(1, 40),
            st.integers(0, 2**50),
        ),
        max_size=30,
    )
)  # fmt: skip
@settings(deadline=None)
def test_it_joins_whatever_comes(arrivals: list[tuple[bool, int, float, int, int]]) -> None:
    joiner = Joiner(MODEL)
    for seq, (is_acc, t0_us, fs, n, now_us) in enumerate(arrivals):
        channels = ACC if is_acc else GYRO
        joined = joiner.push(
            SampleBatch("watch", 1, seq, t0_us, fs, channels, np.zeros((n, 3), dtype=np.float32)), now_us
        )
        for batch in joined:
            assert batch.samples.shape[1] == 6
            assert abs(batch.t0_us) <= 2**63
        assert joiner.expire(now_us) >= 0
        joiner.missing(now_us)
