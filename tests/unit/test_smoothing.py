"""Causal smoothing, against values worked by hand."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest

from disc_stream.clustering.smoothing import (
    StickyFilter,
    filter_sequence,
    forward_backward,
    likelihood_exponent,
)

pytestmark = pytest.mark.numeric


def test_two_steps_by_hand() -> None:
    smooth = StickyFilter(3, stay=0.8)
    # First window: no past, so p = q.
    assert smooth.update(np.array([0.6, 0.3, 0.1])) == pytest.approx([0.6, 0.3, 0.1])
    # Second: prior = 0.1 + 0.7 p = [.52, .31, .17]; times q = [.104, .155, .034]; sum .293.
    assert smooth.update(np.array([0.2, 0.5, 0.2])) == pytest.approx(
        [0.104 / 0.293, 0.155 / 0.293, 0.034 / 0.293]
    )


def test_the_exponent_sharpens_the_likelihood() -> None:
    # q² = [.36, .16]; no past.
    p = StickyFilter(2, stay=0.8, exponent=2).update(np.array([0.6, 0.4]))
    assert p == pytest.approx([0.36 / 0.52, 0.16 / 0.52])


def test_the_exponent_turns_q_into_the_student_t_density() -> None:
    # Squared distances 1 and 3 to two centroids in 3 dimensions. One degree of freedom:
    # density ratio (1 + 1)^-2 / (1 + 3)^-2 = 4; q ratio (1 + 1)^-1 / (1 + 3)^-1 = 2 = 4^(1/2).
    assert likelihood_exponent(3) == 2
    q = np.array([1 / 2, 1 / 4])
    p = StickyFilter(2, exponent=likelihood_exponent(3)).update(q / q.sum())
    assert p[0] / p[1] == pytest.approx(4)


def test_one_odd_window_does_not_flip_a_steady_activity_but_two_do() -> None:
    smooth = StickyFilter(2, stay=0.9)
    steady, odd = np.array([0.8, 0.2]), np.array([0.2, 0.8])
    labels = [int(smooth.update(q).argmax()) for q in (steady, steady, steady, odd, odd, odd)]
    assert labels == [0, 0, 0, 0, 1, 1]


def test_after_a_reset_the_past_is_forgotten() -> None:
    smooth = StickyFilter(2, stay=0.9)
    smooth.update(np.array([0.99, 0.01]))
    smooth.reset()
    assert smooth.update(np.array([0.4, 0.6])) == pytest.approx([0.4, 0.6])


def test_a_wide_embedding_underflows_nothing() -> None:
    smooth = StickyFilter(3, exponent=likelihood_exponent(512))
    for _ in range(50):
        p = smooth.update(np.array([1e-6, 0.5, 0.499999], dtype=np.float32))
        assert np.isfinite(p).all()
        assert p.sum() == pytest.approx(1)
        assert p.argmax() == 1


def test_one_cluster_is_certain() -> None:
    assert StickyFilter(1).update(np.array([1.0])) == pytest.approx([1.0])


@pytest.mark.parametrize(("stay", "exponent"), [(0.0, 1.0), (1.0, 1.0), (0.5, 0.0), (0.5, float("nan"))])
def test_impossible_settings_are_refused(stay: float, exponent: float) -> None:
    with pytest.raises(ValueError, match=r"must be"):
        StickyFilter(2, stay, exponent)


def brute_force(q: np.ndarray, stay: float, exponent: float) -> np.ndarray:
    """Marginals of every window from all K^n paths."""
    n, k = q.shape
    marginals = np.zeros((n, k))
    for path in product(range(k), repeat=n):
        p = np.prod([q[t, state] ** exponent for t, state in enumerate(path)])
        for before, after in pairwise(path):
            p *= stay if before == after else (1 - stay) / (k - 1)
        for t, state in enumerate(path):
            marginals[t, state] += p
    return marginals / marginals.sum(1, keepdims=True)


def test_smoothing_both_ways_is_the_marginal_over_all_paths() -> None:
    q = np.random.default_rng(0).dirichlet(np.ones(3), size=5)
    for exponent in (1.0, 2.5):
        found = forward_backward(q, stay=0.7, exponent=exponent)
        np.testing.assert_allclose(found, brute_force(q, 0.7, exponent), atol=1e-12)


def test_the_last_window_has_no_future() -> None:
    q = np.random.default_rng(1).dirichlet(np.ones(4), size=9)
    causal, both = filter_sequence(q, stay=0.9), forward_backward(q, stay=0.9)
    np.testing.assert_allclose(causal[-1], both[-1])
    assert not np.allclose(causal[0], both[0])
    assert forward_backward(np.ones((3, 1))).tolist() == [[1.0]] * 3


@pytest.mark.parametrize("n_filters", [1, 2, 7])
@pytest.mark.parametrize("exponent", [1.0, 3.5])
def test_many_filters_at_once_are_each_by_itself(n_filters: int, exponent: float) -> None:
    random = np.random.default_rng(4)
    together = [StickyFilter(4, 0.9, exponent) for _ in range(n_filters)]
    alone = [StickyFilter(4, 0.9, exponent) for _ in range(n_filters)]
    for step in range(5):
        q = random.dirichlet(np.ones(4), size=n_filters)
        if step == 3:  # one of them begins anew, the others go on
            together[0].reset()
            alone[0].reset()
        expected = [one.update(row) for one, row in zip(alone, q, strict=True)]
        np.testing.assert_allclose(StickyFilter.update_each(together, q), expected, rtol=1e-12)
