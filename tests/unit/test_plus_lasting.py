"""Labels that last, the directions in which motion changes slowly, and cuts across them."""

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
from disc_stream.training.plus.recutting import Recutter, _joined, _relabelled
from disc_stream.training.plus.selection import CarryOver
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


def worn_at_angles(seed: int) -> tuple[Rows, Rows, IntArray, IntArray]:
    """Three activities of four people; two are told apart by a little, people and a fidget by much.

    Returns:
        x (960, 4) as it is, and without each person's own angle; the activities and the devices (960,).
    """
    random = np.random.default_rng(seed)
    truth = np.tile(np.repeat([0, 1, 2, 1, 0, 2], 40), 4)
    devices = np.repeat([0, 1, 2, 3], 240)
    x = random.normal(size=(960, 4))
    x[:, 0] += 8.0 * (truth == 2)
    x[:, 1] += 2.5 * (truth == 1)
    x[:, 2] = 3.0 * random.choice([-1.0, 1.0], 960) + 0.3 * x[:, 2]
    alike = (x - x.mean(0)) / x.std(0)
    x[:, 1] += np.array([-2.0, -1.0, 1.0, 2.0])[devices]
    return (x - x.mean(0)) / x.std(0), alike, truth, devices


def test_a_cluster_is_cut_where_its_motion_changes_slowly() -> None:
    x, alike, truth, devices = worn_at_angles(6)
    config = PlusConfig().but(settling=15, recuts=5)
    recutter = Recutter(alike, x, devices, config, seed=0)
    fidget = (alike[:, 2] > 0).astype(np.int64)
    mixed = np.where(truth == 2, 1 + fidget, 0)  # two activities in one cluster, the third one in two
    rounds = list(recutter.rounds(mixed, 3))
    scores = [score for _, score in rounds]
    assert scores == sorted(scores)
    assert accuracy(truth, mixed) < 0.75
    assert accuracy(truth, rounds[-1][0]) > 0.9
    assert list(recutter.rounds(rounds[-1][0], 3)) == [], "nothing more is gained"


def test_joining_predictions_is_predicting_with_joined_clusters() -> None:
    """Only an estimate of a new discriminant's, but exactly what its table says."""
    x, _, truth, devices = worn_at_angles(7)
    carry_over = CarryOver(x, devices, PlusConfig(), 0)
    tables = carry_over.tables(truth, 3)
    assert carry_over.information(tables) == carry_over.score(truth, 3)
    joined = _joined(tables, 0, 2)
    assert joined.shape == (4, 2, 2)
    np.testing.assert_array_equal(joined.sum((1, 2)), tables.sum((1, 2)))
    assert 0 < carry_over.information(joined) < carry_over.information(tables)
    np.testing.assert_array_equal(_relabelled(np.array([0, 1, 2, 3]), 0, 2), [0, 1, 0, 2])


def test_recuts_are_looked_at_where_they_are_wanted() -> None:
    x, y, who = people()
    few = {"restarts": 2, "moves": 3, "spans": [1], "settling": 15}
    plain = DiscPlus(4, settings=few).fit(x, devices=who)
    cut = DiscPlus(4, settings={**few, "recuts": 3}).fit(x, devices=who)
    rounds = [entry for entry in cut.history_ if entry["kind"] == "recut"]
    assert len(cut.history_) == len(plain.history_) + len(rounds)
    assert accuracy(y, cut.found_labels_) >= accuracy(y, plain.found_labels_) - 0.02
