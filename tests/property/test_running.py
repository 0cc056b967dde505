"""Normalisation by a device's past: what it must not know, and what it comes to."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disc_stream.signal.running import Prior, RunningStatistics, running_standardise, running_zscore

MEAN, VARIANCE = np.array([1.0, -2.0]), np.array([4.0, 0.25])


def windows(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(3.0, 2.0, size=(n, 6, 2)).astype(np.float32)


@given(n=st.integers(1, 12), cut=st.integers(1, 12), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_what_comes_later_changes_nothing(n: int, cut: int, seed: int) -> None:
    x, devices = windows(n, seed), np.random.default_rng(seed).integers(0, 3, n)
    cut = min(cut, n)
    whole = running_standardise(x, devices, mean=MEAN, variance=VARIANCE)
    part = running_standardise(x[:cut], devices[:cut], mean=MEAN, variance=VARIANCE)
    np.testing.assert_allclose(part, whole[:cut], atol=1e-5)


@given(n=st.integers(1, 8), seed=st.integers(0, 99), weight=st.floats(0.5, 100))
@settings(deadline=None, max_examples=40)
def test_it_is_prior_and_past_weighed_together(n: int, seed: int, weight: float) -> None:
    x = windows(n, seed)
    found = running_standardise(x, np.zeros(n, int), mean=MEAN, variance=VARIANCE, weight=weight)
    seen = x.astype(np.float64).mean(1).mean(0)
    square = np.square(x.astype(np.float64)).mean(1).mean(0)
    mean = (weight * MEAN + n * seen) / (weight + n)
    second = (weight * (VARIANCE + MEAN**2) + n * square) / (weight + n)
    expected = (x[-1] - mean) / np.sqrt(second - mean**2)
    np.testing.assert_allclose(found[-1], expected, rtol=1e-3, atol=1e-3)


def test_devices_do_not_see_each_other() -> None:
    x = windows(6, 0)
    both = running_standardise(x, np.array([0, 1, 0, 1, 0, 1]), mean=MEAN, variance=VARIANCE)
    alone = running_standardise(x[::2], np.zeros(3, int), mean=MEAN, variance=VARIANCE)
    np.testing.assert_allclose(both[::2], alone)


def test_a_prior_must_weigh_something() -> None:
    with pytest.raises(ValueError, match="weight must be above 0, got 0"):
        running_standardise(windows(1, 0), np.zeros(1, int), mean=MEAN, variance=VARIANCE, weight=0.0)


@given(cuts=st.lists(st.integers(0, 9), max_size=6), seed=st.integers(0, 99), weight=st.floats(0.1, 100))
@settings(deadline=None, max_examples=60)
def test_chunks_give_what_one_shot_gives(cuts: list[int], seed: int, weight: float) -> None:
    random, n = np.random.default_rng(seed), 30
    rows, devices = random.normal(1e4, 3.0, size=(n, 2)), random.integers(0, 3, n)
    prior = Prior(MEAN, VARIANCE, weight)
    statistics, out = RunningStatistics(prior), np.empty_like(rows)
    for chunk in np.split(np.arange(n), np.minimum(np.cumsum(cuts), n).astype(int)):
        for device in np.unique(devices[chunk]):
            own = chunk[devices[chunk] == device]
            mean, deviation = statistics.update(int(device), rows[own])
            out[own] = (rows[own] - mean) / deviation
    np.testing.assert_allclose(out, running_zscore(rows, devices, prior), rtol=1e-6, atol=1e-9)


def test_every_prefix_is_what_numpy_says_of_prior_and_prefix() -> None:
    # A prior of 4 observations, held as 4 rows with just that mean and variance.
    rows = np.random.default_rng(0).normal(5.0, 2.0, size=(20, 2))
    before = MEAN + np.sqrt(VARIANCE) * np.array([[1.0], [-1.0], [1.0], [-1.0]])
    mean, deviation = RunningStatistics(Prior(MEAN, VARIANCE, 4.0)).update("wrist", rows)
    for t in range(len(rows)):
        known = np.concatenate([before, rows[: t + 1]])
        np.testing.assert_allclose(mean[t], known.mean(0))
        np.testing.assert_allclose(deviation[t], known.std(0))


def test_a_large_offset_costs_no_precision() -> None:
    rows = 1e8 + np.random.default_rng(0).normal(size=(5000, 1))
    statistics = RunningStatistics(Prior(np.array([1e8]), np.array([1.0]), 1.0))
    for chunk in np.split(rows, 50):
        _, deviation = statistics.update(0, chunk)
    assert deviation[-1, 0] == pytest.approx(rows.std(), rel=1e-3)


def test_a_device_can_be_forgotten_and_refused_rows_change_nothing() -> None:
    statistics = RunningStatistics(Prior(MEAN, VARIANCE))
    row = np.array([[7.0, 7.0]])
    first = statistics.update(0, row)[0]
    for bad, message in ((np.array([[np.nan, 0.0]]), "NaN or infinity"), (np.zeros((2, 3)), r"\(2, 3\)")):
        with pytest.raises(ValueError, match=message):
            statistics.update(0, bad)
    assert statistics.update(0, np.empty((0, 2)))[0].shape == (0, 2)
    second = statistics.update(0, row)[0]
    assert (abs(second - row) < abs(first - row)).all()
    assert len(statistics) == 1
    statistics.forget(0)
    np.testing.assert_array_equal(statistics.update(0, row)[0], first)


def test_features_that_never_move_divide_by_something() -> None:
    rows = np.ones((3, 2))
    found = running_zscore(rows, np.zeros(3, int), Prior(np.ones(2), np.zeros(2)))
    np.testing.assert_array_equal(found, np.zeros((3, 2)))


@pytest.mark.parametrize(
    ("mean", "variance", "weight", "message"),
    [
        (MEAN, VARIANCE[:1], 1.0, r"\(2,\) and \(1,\)"),
        (MEAN, -VARIANCE, 1.0, "variance not negative"),
        (MEAN, VARIANCE, 0.0, "weight must be above 0 and finite, got 0"),
    ],
)
def test_impossible_priors_are_refused(
    mean: np.ndarray, variance: np.ndarray, weight: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Prior(mean, variance, weight)
