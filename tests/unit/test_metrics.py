"""Measures of agreement, against brute force and against values worked by hand."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from disc_stream.clustering.metrics import accuracy, ami, ari, contingency, nmi, score

pairs = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30)


def split(rows: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    truth, clusters = np.array(rows).T
    return truth, clusters


@given(pairs)
def test_accuracy_is_the_best_of_all_one_to_one_mappings(rows: list[tuple[int, int]]) -> None:
    truth, clusters = split(rows)
    best = max(np.mean(truth == np.array(mapping)[clusters]) for mapping in permutations(range(4)))
    assert accuracy(truth, clusters) == pytest.approx(best)


@given(pairs, st.permutations(range(4)))
def test_the_numbering_does_not_matter(rows: list[tuple[int, int]], renamed: list[int]) -> None:
    truth, clusters = split(rows)
    for name, value in score(truth, np.array(renamed)[clusters]).items():
        assert value == pytest.approx(score(truth, clusters)[name], abs=1e-9)


def test_nmi_of_equation_19_by_hand() -> None:
    """Four windows, two labels; one cluster holds one of them, the other three.

    I = 1/4 ln(1/4 / (1/2·1/4)) + 1/4 ln(1/4 / (1/2·3/4)) + 1/2 ln(1/2 / (1/2·3/4))
    H(y) = ln 2,  H(c) = -(1/4 ln 1/4 + 3/4 ln 3/4)
    """
    mutual = 0.25 * np.log(2) + 0.25 * np.log(2 / 3) + 0.5 * np.log(4 / 3)
    entropies = np.log(2) - (0.25 * np.log(0.25) + 0.75 * np.log(0.75))
    assert nmi(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])) == pytest.approx(2 * mutual / entropies)


def test_ari_by_hand() -> None:
    """Pairs together in both: 1 (2, 3). In truth: 2, in clusters: 3, of 6 pairs; expected 2·3/6 = 1."""
    truth, clusters = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    assert ari(truth, clusters) == pytest.approx((1 - 1) / ((2 + 3) / 2 - 1))


def test_chance_is_taken_out_of_ami() -> None:
    rng = np.random.default_rng(0)
    truth, clusters = rng.integers(0, 5, 300), rng.integers(0, 50, 300)
    assert nmi(truth, clusters) > 0.1
    assert abs(ami(truth, clusters)) < 0.05


def test_perfect_agreement_is_one() -> None:
    truth = np.array([3, 3, 7, 7, 9])
    assert score(truth, np.array([1, 1, 0, 0, 2])) == pytest.approx({"nmi": 1, "acc": 1, "ari": 1, "ami": 1})


def test_more_clusters_than_labels_leave_windows_unmatched() -> None:
    assert accuracy(np.array([0, 0, 0, 0]), np.array([0, 0, 1, 2])) == 0.5


def test_contingency_counts_every_window() -> None:
    assert contingency(np.array([5, 5, 8]), np.array([1, 2, 2])).tolist() == [[1, 1], [0, 1]]


@pytest.mark.parametrize(("truth", "clusters"), [([], []), ([1, 2], [1]), ([[1]], [[1]])], ids=str)
def test_labels_that_do_not_match_are_refused(truth: list[int], clusters: list[int]) -> None:
    with pytest.raises(ValueError, match="equally long"):
        accuracy(np.array(truth, dtype=int), np.array(clusters, dtype=int))
