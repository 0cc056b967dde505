"""Rounding errors that depend on a row's place in its batch decide nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from disc_stream.clustering.distinct import ROUNDING, count_distinct
from disc_stream.clustering.metrics import accuracy
from disc_stream.errors import TrainingError
from disc_stream.training.centroids import initial_centroids
from disc_stream.training.estimators import DISC
from disc_stream.training.grouping import group
from disc_stream.training.plus.config import PlusConfig
from disc_stream.training.plus.fitting import describe_windows
from disc_stream.training.recipes.stacked import balanced_subset
from disc_stream.types import Float32Array
from tests.support.lastbits import PlaceDependentLastBits
from tests.support.motion import TINY, grouped_windows
from tests.support.people import people

pytestmark = pytest.mark.numeric


def nearly(rows: Float32Array, times: int, seed: int = 0) -> Float32Array:
    """Every row ``times`` times, each copy a few units in the last place off."""
    copies = np.repeat(rows, times, axis=0).astype(np.float32)
    units = np.random.default_rng(seed).integers(-3, 4, copies.shape)
    return (copies * (1 + units * 2.0**-23)).astype(np.float32)


def distinct_rows(n: int, d: int = 5) -> Float32Array:
    return np.random.default_rng(1).normal(size=(n, d)).astype(np.float32)


def test_the_stand_in_for_other_processors_changes_equal_rows_by_their_place() -> None:
    x, weight = torch.ones(10, 7), torch.full((3, 7), 0.3)
    with PlaceDependentLastBits():
        first, second = x @ weight.T, x @ weight.T
    assert torch.equal(first, second)  # as two runs on one machine
    assert len(torch.unique(first, dim=0)) > 1
    torch.testing.assert_close(first, x @ weight.T, rtol=4e-7, atol=0.0)


@pytest.mark.parametrize("n", [1, 2, 7, 300])
def test_rows_that_differ_by_rounding_alone_count_once(n: int) -> None:
    x = nearly(distinct_rows(n), 4)
    assert len(np.unique(x, axis=0)) > n
    assert count_distinct(x, 1000) == n
    assert count_distinct(x[np.random.default_rng(2).permutation(len(x))], 1000) == n
    assert count_distinct(x, 1) == 1


def test_what_counts_as_rounding_goes_by_the_largest_magnitude() -> None:
    for scale in (1e-20, 1.0, 1e20):
        apart = np.array([[scale, 0.0], [scale, 4 * ROUNDING * scale]])
        alike = np.array([[scale, 0.0], [scale, 0.5 * ROUNDING * scale]])
        assert count_distinct(apart, 10) == 2
        assert count_distinct(alike, 10) == 1
    assert count_distinct(np.zeros((5, 3)), 10) == 1


@pytest.mark.parametrize("init", ["kmeans", "ward"])
def test_centroids_need_as_many_embeddings_that_differ_by_more_than_rounding(init: str) -> None:
    z = nearly(distinct_rows(4), 20)
    with pytest.raises(TrainingError, match="only 4 different embeddings, too few for 5 clusters"):
        initial_centroids(z, 5, init=init, seed=0, ward_sample=100)
    found = initial_centroids(z, 4, init=init, seed=0, ward_sample=100)
    order = np.argsort(found[:, 0])
    np.testing.assert_allclose(
        found[order], distinct_rows(4)[np.argsort(distinct_rows(4)[:, 0])], rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("algorithm", ["kmeans", "average", "complete", "ward"])
def test_grouping_needs_rows_that_differ_by_more_than_rounding(algorithm: str) -> None:
    x = nearly(distinct_rows(3), 10)
    with pytest.raises(ValueError, match="x has 3 different rows; expected at least n_clusters=4"):
        group(x, 4, algorithm, 0)
    labels = group(x, 3, algorithm, 0)
    assert accuracy(np.repeat(np.arange(3), 10), labels) == 1.0


def test_a_balanced_subset_cuts_no_cells_out_of_rounding() -> None:
    exact, rounded = np.repeat(distinct_rows(40), 10, axis=0), nearly(distinct_rows(40), 10)
    assert len(balanced_subset(rounded, 3, 0)) == len(balanced_subset(exact, 3, 0))


def test_equal_windows_cannot_be_told_apart_whatever_their_place_in_the_batch() -> None:
    equal = np.repeat(grouped_windows()[0][:1], 10, axis=0)
    with (
        PlaceDependentLastBits(),
        pytest.raises(TrainingError, match="only 1 different embeddings, too few for 3 clusters"),
    ):
        DISC(3, epochs=1, refine_epochs=1, settings=TINY).fit(equal)


def test_a_training_on_such_a_processor_finds_the_groups_and_repeats_itself() -> None:
    x, groups = grouped_windows()
    with PlaceDependentLastBits():
        first, second = (DISC(3, epochs=3, refine_epochs=3, settings=TINY).fit(x) for _ in range(2))
    assert accuracy(groups, first.labels_) > 0.95
    np.testing.assert_array_equal(first.labels_, second.labels_)
    np.testing.assert_array_equal(first.cluster_centers_, second.cluster_centers_)


def test_descriptors_that_are_alike_but_for_rounding_carry_nothing() -> None:
    x, _, _ = people()
    pressure = np.full((*x.shape[:2], 1), 101325.3, dtype=np.float32)
    with PlaceDependentLastBits():
        _, described, _ = describe_windows(np.concatenate([x, pressure], axis=2), PlusConfig())
    levels = described.std(0)[:4]  # of each channel; what tells windows apart has deviation 1
    np.testing.assert_allclose(levels[:3], 1.0, rtol=1e-6)
    assert levels[3] < 0.1
