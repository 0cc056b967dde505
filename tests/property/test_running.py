"""Normalisation by a device's past: what it must not know, and what it comes to."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disc_stream.signal.running import running_standardise

pytestmark = pytest.mark.numeric

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
