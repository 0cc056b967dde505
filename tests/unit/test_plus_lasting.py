"""Labels that last, and the directions in which motion changes slowly."""

from __future__ import annotations

import numpy as np
import pytest

from disc_stream.clustering.metrics import accuracy
from disc_stream.clustering.smoothing import forward_backward
from disc_stream.training.estimators import DiscPlus
from disc_stream.training.plus.config import PlusConfig
from disc_stream.training.plus.discriminant import DiscriminantFitter
from disc_stream.training.plus.mixture import TiedMixture
from disc_stream.training.plus.persistence import Persistence, _Chains
from disc_stream.training.plus.slowness import slow_components
from disc_stream.types import IntArray
from tests.support.people import people

pytestmark = pytest.mark.numeric

Rows = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def bouts(seed: int, *, apart: float = 2.0) -> tuple[Rows, IntArray, IntArray]:
    """Two activities in bouts of twenty windows, told apart little by one, and a fidget that varies more.

    Returns:
        x (480, 3), the activities and the devices (480,).
    """
    random = np.random.default_rng(seed)
    truth = np.repeat(np.arange(24) % 2, 20)
    x = random.normal(size=(480, 3))
    x[:, 1] += apart * truth
    x[:, 2] = 3.0 * random.choice([-1.0, 1.0], 480) + 0.3 * random.normal(size=480)
    return (x - x.mean(0)) / x.std(0), truth, np.repeat([0, 1, 2], 160)


def persistence(x: Rows, devices: IntArray, **settings: object) -> Persistence:
    config = PlusConfig().but(**{"settling": 15, **settings})
    return Persistence(x, devices, DiscriminantFitter(x, config.shrinkage), config)


def test_chains_side_by_side_are_smoothed_like_each_alone() -> None:
    random = np.random.default_rng(0)
    devices = random.permutation(np.repeat([3, 5, 9, 11], [1, 7, 30, 12]))
    evidence = random.uniform(0.01, 1.0, (50, 4))
    smoothed = _Chains(devices).smooth(evidence, 0.9)
    for device in np.unique(devices):
        alone = forward_backward(evidence[devices == device], stay=0.9)
        np.testing.assert_allclose(smoothed[devices == device], alone, atol=1e-12)
    np.testing.assert_array_equal(_Chains(devices).smooth(np.ones((50, 1)), 0.9), 1.0)


def test_labels_settle_as_ones_that_last() -> None:
    x, truth, devices = bouts(1)
    noisy = np.where(np.random.default_rng(2).uniform(size=480) < 0.25, 1 - truth, truth)
    settled = persistence(x, devices).settle(noisy, 2)
    assert settled is not None
    assert accuracy(truth, noisy) < 0.8
    alone = DiscriminantFitter(x, 0.01).fit(truth, 2).predict(x)
    assert accuracy(truth, settled) > 0.95 > accuracy(truth, alone) + 0.05


def test_no_rounds_leave_labels_as_they_are_and_a_lost_cluster_is_told() -> None:
    x, truth, devices = bouts(1)
    np.testing.assert_array_equal(persistence(x, devices, settling=0).settle(truth, 2), truth)
    lonely = truth.copy()
    lonely[10] = 2
    assert persistence(x, devices).settle(lonely, 3) is None


def test_slow_components_are_what_lasts_whatever_varies_more() -> None:
    x, truth, devices = bouts(3)
    slow = slow_components(x, devices, PlusConfig())
    assert slow is not None
    assert abs(np.corrcoef(slow[:, 0], truth)[0, 1]) > 0.65
    assert slow.std(0)[0] > 2.0 * slow.std(0)[1:].max(initial=0.0)
    assert slow_components(x, np.arange(480), PlusConfig()) is None, "no window has a next one"


def test_the_order_of_devices_among_the_rows_does_not_matter() -> None:
    x, _, devices = bouts(4)
    slow = slow_components(x, devices, PlusConfig())
    mixed = np.argsort(np.tile(np.arange(160), 3), kind="stable")
    other = slow_components(x[mixed], devices[mixed], PlusConfig())
    assert slow is not None
    assert other is not None
    np.testing.assert_allclose(other, slow[mixed], atol=1e-9)


def test_the_likelihood_of_labels_is_that_of_the_mixture_that_they_are() -> None:
    x, truth, _ = bouts(5)
    mixture = TiedMixture(x)
    settled, likelihood = mixture.fit(truth, 2)
    assert mixture.likelihood(settled, 2) == pytest.approx(likelihood, abs=0.05)
    assert mixture.likelihood(np.roll(settled, 10), 2) < likelihood


def test_lasting_candidates_are_looked_at_where_they_are_wanted() -> None:
    x, y, who = people()
    few = {"restarts": 2, "moves": 3, "spans": [1], "slow_restarts": 2}
    both = DiscPlus(4, settings={**few, "slow_spans": [1], "settling": 15}).fit(x, devices=who)
    one = DiscPlus(4, settings={**few, "settling": 15}).fit(x, devices=who)
    plain = DiscPlus(4, settings=few).fit(x, devices=who)
    assert len(both.history_) > len(one.history_) == len(plain.history_)
    assert accuracy(y, both.found_labels_) > 0.9
    assert accuracy(y, one.found_labels_) >= accuracy(y, plain.found_labels_)
