"""Thresholds beyond which a window is unknown."""

from __future__ import annotations

import numpy as np
import pytest

from disc_stream.clustering.novelty import calibrate, optimism, weighted_quantile
from disc_stream.errors import DataError


def fleet(
    people: int, windows: int, seed: int, spread: float = 0.3
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distances of two clusters, the second ten times as wide; each person has a factor of their own."""
    rng = np.random.default_rng(seed)
    device = np.repeat(np.arange(people), windows)
    row = rng.integers(0, 2, len(device))
    factor = np.exp(spread * rng.standard_normal(people))[device]
    return rng.chisquare(5, len(device)) * factor * np.where(row == 1, 10.0, 1.0), row, device


def test_new_people_are_called_unknown_at_the_stated_rate() -> None:
    distance, row, _ = fleet(300, 200, seed=1)
    for rate in (0.01, 0.02, 0.05):
        thresholds = calibrate(*fleet(60, 300, seed=0), 2, rate)

        unknown = thresholds.novelty(distance, row) > 1.0

        assert rate / 2 < unknown.mean() < 2 * rate
        for k in (0, 1):
            assert rate / 2 < unknown[row == k].mean() < 2 * rate


def test_one_person_with_many_windows_does_not_decide() -> None:
    distance, row, device = fleet(20, 100, seed=2)
    chatty = 50 * np.ones(20_000)

    thresholds = calibrate(
        np.concatenate([distance, chatty]),
        np.concatenate([row, np.zeros(20_000, dtype=np.int64)]),
        np.concatenate([device, np.full(20_000, 99)]),
        2,
        rate=0.1,
    )

    assert thresholds.distance[0] < 50
    assert thresholds.devices == 21


def test_a_small_cluster_has_the_common_threshold_in_its_own_units() -> None:
    distance, row, device = fleet(20, 200, seed=3)
    small = np.flatnonzero(row == 1)[:40]
    kept = np.concatenate([np.flatnonzero(row == 0), small])

    thresholds = calibrate(distance[kept], row[kept], device[kept], 3, rate=0.02)

    assert thresholds.own.tolist() == [True, False, False]
    assert 5 < thresholds.distance[1] / thresholds.distance[0] < 20
    assert np.isnan(thresholds.distance[2])
    assert np.isnan(thresholds.novelty(np.array([1.0]), np.array([2]))).all()


def test_what_training_flatters_is_widened() -> None:
    distance, row, device = fleet(40, 200, seed=4)
    far, far_row, far_device = fleet(10, 200, seed=5)

    factor = optimism((distance, row), (2 * far, far_row), (device, far_device), rate=0.02)

    assert factor == pytest.approx(2.0, rel=0.25)
    assert optimism((distance, row), (far / 2, far_row), (device, far_device)) == 1.0
    thresholds = calibrate(distance, row, device, 2)
    assert thresholds.widened(2.0).distance == pytest.approx(2 * thresholds.distance)


def test_quantiles_keep_room_for_one_more() -> None:
    values, equal = np.arange(1.0, 100.0), np.ones(99)

    assert weighted_quantile(values, equal, 0.9) == 90.0
    assert weighted_quantile(values, equal, 0.999) == 99.0
    assert weighted_quantile(np.array([3.0, 1.0]), np.array([1.0, 9.0]), 0.5) == 1.0


@pytest.mark.parametrize(
    ("n", "rate", "words"), [(0, 0.02, "need windows"), (5, 0.0, "rate"), (5, 0.7, "rate")]
)
def test_bad_input_is_refused_with_words(n: int, rate: float, words: str) -> None:
    rows = np.zeros(n, dtype=np.int64)
    with pytest.raises(DataError, match=words) as error:
        calibrate(np.ones(n), rows, rows, 1, rate)
    assert error.value.remedy
