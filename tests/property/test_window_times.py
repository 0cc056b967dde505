"""When each window happened: under stamps that jitter, clocks that drift, overlap and resampling."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from disc_stream.stream.saved import load_device
from disc_stream.stream.sessions import Sessions
from disc_stream.stream.values import ReadyInput
from disc_stream.types import Channel, SampleBatch, WindowSpec
from tests.support.stream import new_sessions
from tests.support.tiny_bundle import CHANNELS, FS

NOW_US = 1_700_000_000_000_000
PERIOD_US = 20_000

windows = st.sampled_from(
    [
        WindowSpec(8, 4, 4),
        WindowSpec(16, 8, 16),
        WindowSpec(16, 3, 12),
        WindowSpec(40, 40, 7),
        WindowSpec(9, 1, 9),
    ]
)


def batches_of(sizes: list[int], t0s_us: np.ndarray, fs: float = FS) -> list[SampleBatch]:
    """Every sample holds its own number."""
    starts = np.cumsum([0, *sizes])
    return [
        SampleBatch(
            "watch", 1, seq, round(t0_us), fs, CHANNELS,
            np.tile(np.arange(start, end, dtype=np.float32)[:, None], (1, 3)),
        )
        for seq, ((start, end), t0_us) in enumerate(zip(pairwise(starts.tolist()), t0s_us, strict=True))
    ]  # fmt: skip


def feed(
    sessions: Sessions, batches: list[SampleBatch], *, delay_us: int = 50_000, real_fs: float = FS
) -> list[ReadyInput]:
    """Each batch arrives when its last sample has been taken, and a delay later."""
    found, taken = [], 0
    for batch in batches:
        taken += len(batch.samples)
        received_us = NOW_US + round(taken * 1e6 / real_fs) + delay_us
        found += sessions.advance(received_us)
        found += sessions.push(batch, received_us) or []
    return found


def first_samples(ready: list[ReadyInput]) -> np.ndarray:
    return np.array([float(one.samples[0, 0]) for one in ready])


@given(
    windows, st.lists(st.integers(10, 80), min_size=1, max_size=5), st.sampled_from([0, 30_000, 200_000]),
    st.booleans(), st.integers(0, 2**32),
)  # fmt: skip
@settings(deadline=None, max_examples=40)
def test_the_time_of_a_window_is_off_by_no_more_than_its_batch_was_stamped_wrong(
    window: WindowSpec, pattern: list[int], jitter_us: int, unix: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    sizes = [pattern[i % len(pattern)] for i in range(60)]
    true_us = np.concatenate([[0], np.cumsum(sizes)[:-1]]) * PERIOD_US
    boot_us = NOW_US if unix else 5_000_000
    batches = batches_of(sizes, boot_us + true_us + np.round(rng.uniform(-1, 1, 60) * jitter_us))
    ready = feed(new_sessions(window=window), batches)
    off_us = np.array([one.t0_us for one in ready]) - (boot_us + first_samples(ready) * PERIOD_US)
    assert len(ready) > 0
    assert np.max(np.abs(off_us)) <= jitter_us + 1
    if not jitter_us:
        assert len(ready) == (sum(sizes) - window.input_samples) // window.hop + 1
    for one in ready:  # nothing is cut across a place where the clock said that samples are missing
        np.testing.assert_array_equal(np.diff(one.samples[:, 0]), 1)
    assert [one.window for one in ready] == list(range(len(ready)))
    for before, after in pairwise(ready):
        if before.segment == after.segment:
            assert after.samples[0, 0] - before.samples[0, 0] == window.hop
    told = [one.t0_unix_us for one in ready if one.t0_unix_us is not None]
    assert told == sorted(told)
    true_unix = NOW_US + first_samples(ready) * PERIOD_US
    for one, true in zip(ready, true_unix, strict=True):
        # A clock that shows the time of day is as right as its stamps; the other is off by the delay, too.
        assert one.t0_unix_us is None or abs(one.t0_unix_us - true) <= 2 * jitter_us + 60_000
    if unix:
        assert len(told) == len(ready)
    else:
        live = [one for one, true in zip(ready, true_unix, strict=True) if true > NOW_US + 10_000_000]
        assert all(one.t0_unix_us is not None for one in live)


@given(windows, st.integers(1, 100), st.floats(-0.01, 0.01))
@settings(deadline=None, max_examples=40)
def test_a_clock_that_drifts_against_the_rate_does_not_move_the_windows_away(
    window: WindowSpec, n: int, drift: float
) -> None:
    """The times follow the stamps: what is off is the drift within one batch, however long it goes on."""
    sizes = [n] * (3000 // n)
    true_us = np.arange(len(sizes)) * n * PERIOD_US * (1 + drift)
    ready = feed(new_sessions(window=window), batches_of(sizes, true_us))
    off_us = np.array([one.t0_us for one in ready]) - first_samples(ready) * PERIOD_US * (1 + drift)
    assert np.max(np.abs(off_us)) <= n * PERIOD_US * abs(drift) + 2
    assert len(ready) == (sum(sizes) - window.input_samples) // window.hop + 1
    assert len({one.segment for one in ready}) == 1


@given(windows, st.sampled_from([20.0, 32.0, 98.0, 104.0, 200.0]), st.integers(20, 120))
@settings(deadline=None, max_examples=40)
def test_a_converted_stream_has_the_times_of_its_windows(window: WindowSpec, fs: float, n: int) -> None:
    """Values are sample numbers, so a window's first value tells the place that it was resampled to."""
    sizes = [n] * (3000 // n)
    t0s_us = 7_000_000 + np.arange(len(sizes)) * n * 1e6 / fs
    ready = feed(new_sessions(window=window), batches_of(sizes, t0s_us, fs), real_fs=fs)
    assert len(ready) > 5
    places = (np.array([one.t0_us for one in ready]) - 7_000_000) * fs / 1e6
    np.testing.assert_allclose(np.diff(places), window.hop * fs / FS, atol=1e-3 * fs + 1e-3)
    inner = places > 40  # before, the filter still feels the beginning
    np.testing.assert_allclose(first_samples(ready)[inner], places[inner], atol=0.05)


@given(windows, st.integers(1, 60), st.sampled_from([FS, 98.0]))
@settings(deadline=None, max_examples=25)
def test_what_is_kept_to_tell_times_is_bounded(window: WindowSpec, n: int, fs: float) -> None:
    """Only the batches that an unfinished window can begin in."""
    sizes = [n] * 200
    sessions = new_sessions(window=window)
    longest = 0
    for batch in batches_of(sizes, np.arange(200) * n * 1e6 / fs, fs):
        sessions.push(batch, NOW_US + batch.t0_us)
        longest = max(longest, len(load_device(sessions.capture()["watch"]).grid.anchors))
    # Dropped when a window is complete, so up to a hop of newer ones lie beside those it can reach back to.
    reach = (max(window.input_samples, window.hop) + window.hop) * fs / FS + (60 if fs != FS else 0)
    assert longest <= reach / n + 3


@pytest.mark.parametrize(
    ("says", "sends", "unnoticed", "known"),
    # In batches. All times of the last are whole seconds, and could be rounded.
    [(50.0, 25.0, 1, 4), (50.0, 100.0, 1, 4), (100.0, 50.0, 2, 5)],
)
def test_a_wrong_rate_is_measured_and_the_windows_have_the_right_times(
    says: float, sends: float, unnoticed: int, known: int
) -> None:
    n = 50
    sizes = [n] * 30
    t0s_us = np.arange(30) * n * 1e6 / sends
    sessions = new_sessions(window=WindowSpec(16, 8, 8))
    ready = feed(sessions, batches_of(sizes, t0s_us, says), real_fs=sends)
    problem = sessions.problems.of("watch")
    assert problem is not None
    assert problem.code == "rate-differs"
    seconds = 30 * n / sends
    assert len(ready) > (seconds - (known + 1) * n / sends - 1) / (8 / FS)
    first = first_samples(ready)
    later = first >= unnoticed * n - 1
    assert np.min(first[later]) == pytest.approx(known * n, abs=1)
    places = np.array([one.t0_us for one in ready])[later] * sends / 1e6
    np.testing.assert_allclose(first[later][10:], places[10:], atol=0.1)


def test_stored_motion_keeps_the_time_at_which_it_was_recorded() -> None:
    """Ten minutes, an hour old, sent within a second and a half."""
    sizes = [50] * 600
    batches = batches_of(sizes, NOW_US + np.arange(600) * 1e6)
    sessions = new_sessions()
    ready: list[ReadyInput] = []
    for number, batch in enumerate(batches):
        received_us = NOW_US + 4_200_000_000 + number * 2_500
        ready += sessions.advance(received_us)
        ready += sessions.push(batch, received_us) or []
    assert len(ready) == 7500
    told = [one.t0_unix_us for one in ready]
    assert told == [NOW_US + round(first) * PERIOD_US for first in first_samples(ready)]


@pytest.mark.parametrize("sends", [50.0, 25.0])
def test_sensors_in_separate_messages_make_windows_of_both(sends: float) -> None:
    """Each declares 50 Hz; where both send 25, that is measured and told."""
    gyro = tuple(Channel(f"gyro_{axis}", "rad/s") for axis in "xyz")
    sessions = new_sessions(channels=(*CHANNELS, *gyro), window=WindowSpec(16, 8, 16))
    ready: list[ReadyInput] = []
    t0s_us = np.arange(30) * 50 * 1e6 / sends
    for number, whole in enumerate(batches_of([50] * 30, t0s_us)):
        for part, channels in enumerate((CHANNELS, gyro)):
            received_us = NOW_US + round((number + 1) * 50e6 / sends) + part * 10_000
            batch = replace(
                whole, seq=2 * number + part, channels=channels, samples=whole.samples + 5000 * part
            )
            ready += sessions.advance(received_us)
            ready += sessions.push(batch, received_us) or []
    told = sessions.problems.of("watch")
    assert (None if told is None else told.code) == (None if sends == 50 else "rate-differs")
    assert len(ready) > 25 * 50 / sends * 50 / 8 * 0.9
    for one in ready[5:]:
        np.testing.assert_allclose(one.samples[:, 3:] - one.samples[:, :3], 5000, atol=0.01)
        assert one.samples[0, 0] == pytest.approx(one.t0_us * sends / 1e6, abs=0.1)
