"""However a stream is cut into chunks, and wherever it is taken up again, resampling gives the same bits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disc_stream.signal.resampling import StreamResampler, resample

pytestmark = pytest.mark.numeric

rates = st.sampled_from(
    [(100, 50), (32, 50), (20, 50), (98, 50), (50, 49.3), (64, 50), (400, 50), (33.3, 50)]
) | st.tuples(st.floats(10, 200), st.floats(20, 100))
sizes = st.lists(st.integers(0, 120), max_size=12)


def noise(n: int, n_channels: int) -> np.ndarray:
    return np.random.default_rng(n).normal(9.81, 4.0, size=(n, n_channels)).astype(np.float32)


def chunks(values: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    return np.split(values, np.minimum(np.cumsum(sizes, dtype=int), len(values)))


@given(rates, st.integers(1, 9), st.integers(1, 500), sizes)
@settings(deadline=None)
def test_in_chunks_equals_at_once(
    rates: tuple[float, float], n_channels: int, n: int, sizes: list[int]
) -> None:
    samples = noise(n, n_channels)
    stream = StreamResampler(*rates, n_channels)
    parts = [stream.push(chunk) for chunk in chunks(samples, sizes)]
    at_once = resample(samples, *rates)
    found = np.concatenate(parts)
    np.testing.assert_array_equal(found, at_once[: len(found)])
    # What is still owed waits for no more than the delay.
    assert (len(at_once) - len(found)) * stream.step <= stream.delay_samples + stream.step
    assert all(part.dtype == np.float32 and part.shape[1] == n_channels for part in parts)


@given(rates, st.integers(1, 4), st.integers(1, 200))
@settings(deadline=None, max_examples=30)
def test_sample_by_sample_equals_at_once(rates: tuple[float, float], n_channels: int, n: int) -> None:
    samples = noise(n, n_channels)
    stream, other = StreamResampler(*rates, n_channels), StreamResampler(*rates, n_channels)
    one_by_one = np.concatenate([stream.push(samples[i : i + 1]) for i in range(n)])
    np.testing.assert_array_equal(one_by_one, other.push(samples))


@given(rates, st.integers(1, 4), st.integers(0, 300), st.integers(0, 300))
@settings(deadline=None)
def test_a_stream_taken_up_elsewhere_goes_on_alike(
    rates: tuple[float, float], n_channels: int, before: int, after: int
) -> None:
    samples = noise(before + after, n_channels)
    here, there = StreamResampler(*rates, n_channels), StreamResampler(*rates, n_channels)
    here.push(samples[:before])
    *numbers, history = here.state()
    there.restore((*numbers, np.frombuffer(history.tobytes(), np.float32).reshape(history.shape)))
    np.testing.assert_array_equal(there.push(samples[before:]), here.push(samples[before:]))
    assert there.state()[:-1] == here.state()[:-1]


@given(rates, st.integers(1, 300), st.integers(0, 2))
@settings(deadline=None)
def test_channels_do_not_disturb_each_other(rates: tuple[float, float], n: int, channel: int) -> None:
    samples = noise(n, 3)
    alone = resample(np.ascontiguousarray(samples[:, channel : channel + 1]), *rates)
    np.testing.assert_array_equal(resample(samples, *rates)[:, channel : channel + 1], alone)
