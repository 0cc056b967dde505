"""Resampling: what passes, what is stopped, where outputs lie, and how long one waits for them."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import scipy.signal

from disc_stream.signal.resampling import RATE_ERROR, StreamResampler, is_identity, resample

pytestmark = pytest.mark.numeric

RATES = [(100, 50), (32, 50), (20, 50), (98, 50), (200, 50), (50, 20), (33.3, 50), (59.5, 50), (104, 50)]


def tone(frequency: float, fs: float, n: int) -> np.ndarray:
    return np.sin(2 * np.pi * frequency * np.arange(n) / fs).astype(np.float32)[:, None]


def middle(values: np.ndarray) -> np.ndarray:
    """Without the ends, where the recording begins and stops."""
    return values[len(values) // 4 : -len(values) // 4]


def loss_db(frequency: float, fs_in: float, fs_out: float) -> float:
    """How much weaker a tone comes out; at whatever frequency it comes out."""
    out = middle(resample(tone(frequency, fs_in, 4_000), fs_in, fs_out)).astype(np.float64)
    return -20 * math.log10(max(1e-12, math.sqrt(2) * float(np.sqrt(np.mean(out**2)))))


@pytest.mark.parametrize(("fs_in", "fs_out"), RATES)
@pytest.mark.parametrize("share", [0.02, 0.31, 0.62, 0.8])
def test_what_is_below_four_fifths_of_the_slower_nyquist_frequency_passes(
    fs_in: float, fs_out: float, share: float
) -> None:
    assert abs(loss_db(share * min(fs_in, fs_out) / 2, fs_in, fs_out)) < 0.1


@pytest.mark.parametrize(("fs_in", "fs_out"), [pair for pair in RATES if pair[0] > 1.5 * pair[1]])
@pytest.mark.parametrize("share", [1.1, 1.21, 1.5, 1.77])
def test_what_would_fold_is_stopped(fs_in: float, fs_out: float, share: float) -> None:
    assert loss_db(share * fs_out / 2, fs_in, fs_out) > 60


@pytest.mark.parametrize(("fs_in", "fs_out"), RATES)
def test_a_tone_comes_out_as_itself_at_its_own_time(fs_in: float, fs_out: float) -> None:
    """Images, folds and delays would all show as a difference."""
    frequency = 0.37 * min(fs_in, fs_out) / 2
    stream = StreamResampler(fs_in, fs_out, 1)
    out = resample(tone(frequency, fs_in, 2_000), fs_in, fs_out)
    places = np.array([stream.input_time_of(k) for k in range(len(out))])
    expected = np.sin(2 * np.pi * frequency * places / fs_in)[:, None]
    np.testing.assert_allclose(middle(out), middle(expected), atol=2.5e-3)


@pytest.mark.parametrize(("up", "down", "fs_in"), [(1, 2, 100), (25, 16, 32), (5, 2, 20), (25, 49, 98)])
def test_it_agrees_with_scipy(up: int, down: int, fs_in: float) -> None:
    """Given the same filter, but for the phases' sums; with scipy's own, as far as both are flat."""
    rng = np.random.default_rng(up)
    samples = rng.normal(size=(1_000, 3)).astype(np.float32)
    slower = min(1.0, up / down)
    half = math.ceil(12 / slower) * up
    t = np.arange(-half, half + 1) / up
    prototype = 0.94 * slower * np.sinc(0.94 * slower * t) * np.kaiser(2 * half + 1, 5.65)
    found = middle(resample(samples, fs_in, 50))
    prototype /= prototype.sum()
    same = middle(scipy.signal.resample_poly(samples.astype(np.float64), up, down, window=prototype))
    np.testing.assert_allclose(found, same, atol=2e-3)  # phases are normalised here, and not there
    band = scipy.signal.firwin(201, 0.3 * slower)
    smooth = scipy.signal.filtfilt(band, 1.0, samples, axis=0).astype(np.float32)
    theirs = middle(scipy.signal.resample_poly(smooth, up, down))
    np.testing.assert_allclose(middle(resample(smooth, fs_in, 50)), theirs, atol=3e-3)


@pytest.mark.parametrize(("fs_in", "fs_out"), RATES)
def test_a_constant_stays_what_it_is_from_the_first_sample_to_the_last(fs_in: float, fs_out: float) -> None:
    out = resample(np.full((301, 2), [9.80665, -4096.0], dtype=np.float32), fs_in, fs_out)
    np.testing.assert_allclose(out, np.tile([9.80665, -4096.0], (len(out), 1)), rtol=5e-7)


@pytest.mark.parametrize(("fs_in", "fs_out"), RATES)
def test_a_recording_gives_an_output_for_every_step_within_it(fs_in: float, fs_out: float) -> None:
    for n in (0, 1, 2, 49, 300):
        out = resample(np.zeros((n, 2), dtype=np.float32), fs_in, fs_out)
        step = StreamResampler(fs_in, fs_out, 2).step
        assert out.shape == (math.ceil(round(n / step, 9)), 2)


@pytest.mark.parametrize(("fs_in", "fs_out"), RATES)
def test_an_output_is_given_as_soon_as_the_inputs_that_it_needs_are_there(
    fs_in: float, fs_out: float
) -> None:
    stream = StreamResampler(fs_in, fs_out, 1)
    assert stream.delay_samples == math.ceil(12 * max(1.0, stream.step))
    given = 0
    for received in range(1, 300):
        given += len(stream.push(np.zeros((1, 1), dtype=np.float32)))
        # inputs 0 … received − 1 are there; the next output, ``given``, needs those up to its place + delay
        assert received - 1 < math.floor(stream.input_time_of(given)) + stream.delay_samples
        if given:
            assert received - 1 >= math.floor(stream.input_time_of(given - 1)) + stream.delay_samples


def test_the_first_sample_is_taken_to_have_been_there_before() -> None:
    """With silence before it, a resting device would begin with a step that rings."""
    gravity = np.full((100, 1), 9.81, dtype=np.float32)
    np.testing.assert_allclose(StreamResampler(100, 50, 1).push(gravity), 9.81, rtol=1e-6)


@pytest.mark.parametrize(("fs_in", "fs_out"), [*RATES, (31.4159, 50.0), (1 / 3, 5.0), (10_000.0, 50.0)])
def test_the_ratio_of_the_rates_is_met(fs_in: float, fs_out: float) -> None:
    stream = StreamResampler(fs_in, fs_out, 1)
    assert abs(stream.step * fs_out / fs_in - 1) <= RATE_ERROR
    assert stream.input_time_of(3) == pytest.approx(3 * fs_in / fs_out, rel=RATE_ERROR)


def test_usual_ratios_are_exact() -> None:
    for fs_in, up, down in ((100, 1, 2), (32, 25, 16), (20, 5, 2), (98, 25, 49), (52, 25, 26)):
        assert StreamResampler(fs_in, 50, 1).state()[:2] == (up, down)


def test_filters_are_shared_and_history_is_short() -> None:
    one, other = StreamResampler(98, 50, 3), StreamResampler(98, 50, 3)
    assert one._table is other._table
    for _ in range(40):
        one.push(np.ones((50, 3), dtype=np.float32))
    history = one.state()[-1]
    assert history.shape[1] <= 2 * one.delay_samples
    assert history.base is None, "a view would keep every chunk it is cut from"


@pytest.mark.parametrize(
    ("fs_in", "fs_out", "tolerance", "same"),
    [(50, 50, 0.0, True), (50.4, 50, 0.01, True), (49.4, 50, 0.01, False), (100, 50, 0.01, False)],
)
def test_rates_within_the_tolerance_are_the_same(
    fs_in: float, fs_out: float, tolerance: float, same: bool
) -> None:
    assert is_identity(fs_in, fs_out, tolerance) is same


@pytest.mark.parametrize(
    ("fs_in", "fs_out", "n_channels", "says"),
    [
        (0.0, 50.0, 3, "fs_in must be a rate above 0 Hz, got 0.0"),
        (math.nan, 50.0, 3, "fs_in must be a rate above 0 Hz, got nan"),
        (50.0, math.inf, 3, "fs_out must be a rate above 0 Hz, got inf"),
        (50.0, 0.1, 3, r"fs_out must be 1/256 to 16 times fs_in \(50.0 Hz\), got 0.1 Hz"),
        (2.0, 50.0, 3, r"fs_out must be 1/256 to 16 times fs_in \(2.0 Hz\), got 50.0 Hz"),
        (50.0, 100.0, 0, "n_channels must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_resampled_is_refused(fs_in: float, fs_out: float, n_channels: int, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        StreamResampler(fs_in, fs_out, n_channels)


def test_samples_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"samples must be \(n, 3\), got shape \(4, 2\)"):
        StreamResampler(100, 50, 3).push(np.zeros((4, 2), dtype=np.float32))
    with pytest.raises(ValueError, match=r"samples must be \(n, n_channels\), got shape \(4,\)"):
        resample(np.zeros(4, dtype=np.float32), 100, 50)


def test_a_state_of_another_stream_is_refused() -> None:
    state = StreamResampler(100, 50, 3).state()
    with pytest.raises(ValueError, match="state must be of ratio 25/49, got 1/2"):
        StreamResampler(98, 50, 3).restore(state)
    with pytest.raises(ValueError, match=r"state must have history \(2, n\), got \(3, 0\)"):
        StreamResampler(100, 50, 2).restore(state)


def test_scipy_is_not_needed_to_resample() -> None:
    code = (
        "import sys, disc_stream.signal.resampling as r; r.StreamResampler(98, 50, 3); "
        "sys.exit('scipy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
