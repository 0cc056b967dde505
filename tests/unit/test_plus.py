"""disc-plus: its parts by hand, and the whole on motion whose answer is known."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.mixture import GaussianMixture

from disc_stream.clustering.metrics import accuracy
from disc_stream.errors import ConfigError, TrainingError
from disc_stream.models.descriptors import DescriptorNet, Descriptors, band_matrix
from disc_stream.training.estimators import DiscPlus
from disc_stream.training.plus.candidates import average_over_time, standardise_by_device
from disc_stream.training.plus.config import PlusConfig, resolve_plus
from disc_stream.training.plus.discriminant import DiscriminantFitter
from disc_stream.training.plus.mixture import TiedMixture, split_and_merge
from disc_stream.training.plus.selection import CarryOver, mutual_information
from tests.support.people import people

pytestmark = pytest.mark.numeric


def test_descriptors_are_what_numpy_computes() -> None:
    x = np.random.default_rng(1).normal(size=(2, 16, 4)).astype(np.float32)
    scale = torch.tensor([1.0, 2.0, 0.5, 1.0])
    net = Descriptors(16, scale, bands=3, axes=3)  # four channels: no magnitude of three
    out = net(torch.from_numpy(x)).numpy()
    s = x.astype(np.float64) * scale.numpy()
    centred = s - s.mean(1, keepdims=True)
    power = np.abs(np.fft.rfft(centred * np.hanning(16)[None, :, None], axis=1)) ** 2
    bands = np.log(np.einsum("bfc,kf->bck", power, band_matrix(9, 3)) + 1e-6)
    related = np.array([np.corrcoef(w.T)[np.triu_indices(4, 1)] for w in s])
    parts = [s.mean(1), np.log(centred.var(1) + 1e-8), bands.reshape(2, -1), related]
    expected = np.concatenate(parts, axis=1)
    assert out.shape == expected.shape == (2, net.n_descriptors)
    np.testing.assert_allclose(out, expected, atol=2e-3)


def exactly(net: Descriptors, x: torch.Tensor) -> torch.Tensor:
    """The descriptors in double precision."""
    return copy.deepcopy(net).double()(x.double())


def test_a_turning_sensor_of_constant_length_has_no_power_of_magnitude() -> None:
    """Gravity: rounding of the roots would look like motion, and every runtime rounds them otherwise."""
    angle = torch.linspace(0.0, 3.0, 128)
    gravity = torch.stack([angle.cos(), angle.sin(), torch.full_like(angle, 0.5)], dim=1)[None]
    net = Descriptors(128, torch.full((3,), 20.0))
    found, exact = net(gravity), exactly(net, gravity)
    assert (found.double() - exact).abs().max() < 5e-5
    power = slice(3 * (2 + net.n_bands) + 2, 4 * (2 + net.n_bands))
    assert (found[:, power] - np.log(1e-6)).max() < 1e-3  # the floor


def test_faint_motion_on_a_large_slow_one_keeps_its_digits() -> None:
    time = torch.arange(128) / 128
    x = (50.0 * torch.sin(2 * torch.pi * 0.7 * time) + 2e-4 * torch.sin(2 * torch.pi * 50 * time))[
        None, :, None
    ]
    net = Descriptors(128, torch.ones(1))
    assert (net(x).double() - exactly(net, x)).abs().max() < 5e-3


def test_a_level_is_told_from_the_usual_one() -> None:
    """Air pressure in Pa: changes of a thousandth of a deviation are seen."""
    scale, usual = torch.tensor([0.1]), torch.tensor([101_325.0])
    x = torch.full((2, 16, 1), 101_325.0)
    x[1] += 0.0078125
    net = Descriptors(16, scale, usual, bands=3)
    found = net(x)
    np.testing.assert_allclose(found[:, 0], [0.0, 0.00078125], rtol=1e-6)
    torch.testing.assert_close(found[1, 1:], found[0, 1:])


def test_beyond_all_measure_labels_are_those_of_double_precision() -> None:
    random = torch.Generator().manual_seed(0)
    net = Descriptors(32, torch.ones(3), bands=4)
    project = torch.randn(net.n_descriptors, 4, generator=random)
    network = DescriptorNet(net, project, torch.zeros(4), torch.randn(5, 4, generator=random))
    x = torch.randn(200, 32, 3, generator=random) * 10.0 ** torch.linspace(0, 38, 200)[:, None, None]
    z, q, distance = network(x)
    exact = copy.deepcopy(network).double()(x.double())
    assert all(part.isfinite().all() for part in (z, q, distance))
    assert (q.argmax(1) == exact[1].argmax(1)).all()


def test_weights_of_an_older_version_are_read() -> None:
    net = Descriptors(16, torch.ones(3), bands=4)
    old = DescriptorNet(net, torch.ones(net.n_descriptors, 2), torch.zeros(2), torch.zeros(3, 2))
    state = {**old.state_dict(), "descriptors.cosines": torch.zeros(9, 16)}
    del state["descriptors.offset"]
    again = DescriptorNet.of_state(state, 16, bands=4, axes=3)
    x = torch.randn(2, 16, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(again(x), old(x))
    with pytest.raises(RuntimeError, match="affine map"):
        DescriptorNet.of_state(state, 16, bands=3, axes=3)


def test_magnitudes_do_not_change_when_a_sensor_is_turned() -> None:
    x = torch.randn(5, 16, 3, generator=torch.Generator().manual_seed(0))
    net = Descriptors(16, torch.ones(3), bands=4)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1)))[0]
    per_channel = 3 * (2 + net.n_bands)
    magnitude = slice(per_channel, per_channel + 2 + net.n_bands)
    torch.testing.assert_close(net(x)[:, magnitude], net(x @ turn)[:, magnitude], atol=1e-3, rtol=1e-3)


def test_bands_share_out_every_frequency_but_the_constant() -> None:
    for n in (3, 9, 33, 65):
        matrix = band_matrix(n, 10)
        assert matrix[:, 0].sum() == 0
        np.testing.assert_array_equal(matrix[:, 1:].sum(0), 1)
        assert (matrix.sum(1) > 0).all()


@pytest.mark.parametrize(
    ("n_frequencies", "n_bands", "bands"),
    [  # borders by hand, before rounding
        (9, 3, [[1], [2, 3], [4, 5, 6, 7, 8]]),  # 1, 2.08, 4.33, 9
        (33, 4, [[1], range(2, 6), range(6, 14), range(14, 33)]),  # 1, 2.40, 5.74, 13.8, 33
        (65, 2, [range(1, 8), range(8, 65)]),  # 1, 8.06, 65
        (5, 10, [[1], [2], [3], [4]]),  # six of the ten would be empty
        (3, 1, [[1, 2]]),
    ],
)
def test_the_band_matrix_is_the_table_made_by_hand(
    n_frequencies: int, n_bands: int, bands: list[Iterable[int]]
) -> None:
    expected = np.zeros((len(bands), n_frequencies))
    for number, frequencies in enumerate(bands):
        expected[number, list(frequencies)] = 1.0
    np.testing.assert_array_equal(band_matrix(n_frequencies, n_bands), expected)


def test_averaging_stays_within_a_device_and_shrinks_at_its_ends() -> None:
    x = np.array([[1.0], [2.0], [6.0], [10.0], [20.0]])
    averaged = average_over_time(x, np.array([0, 0, 0, 1, 1]), 1)
    np.testing.assert_allclose(averaged[:, 0], [1.5, 3.0, 4.0, 15.0, 15.0])


def test_standardising_by_device_forgets_offset_and_size() -> None:
    x = np.random.default_rng(0).normal(size=(20, 3))
    devices = np.repeat([0, 1], 10)
    moved = np.where(devices[:, None] == 1, 5.0 + 3.0 * x, x)
    np.testing.assert_allclose(
        standardise_by_device(moved, devices), standardise_by_device(x, devices), atol=1e-5
    )


def test_devices_with_few_windows_are_standardised_together() -> None:
    x = np.random.default_rng(0).normal(size=(40, 3)) + 2.0
    many, few = np.zeros(20, dtype=np.int64), np.repeat(np.arange(1, 11), 2)
    got = standardise_by_device(x, np.concatenate([many, few]))
    for rows in (slice(0, 20), slice(20, 40)):
        np.testing.assert_allclose(got[rows].mean(0), 0.0, atol=1e-9)
        np.testing.assert_allclose(got[rows].std(0), 1.0, atol=1e-5)
    assert np.abs(got[20:]).max() > 1.0 + 1e-3, "two windows alone would all be at one deviation"


def test_one_window_of_each_device_is_enough() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 60)
    x = (random.normal(size=(60, 16, 3)) * (1.0 + 4.0 * labels[:, None, None])).astype(np.float32)
    found = DiscPlus(2, settings={"moves": 5}).fit_predict(x, devices=np.arange(60))
    assert accuracy(labels, found) > 0.95


def test_the_mixture_is_scikit_learns_where_that_starts_alike() -> None:
    random = np.random.default_rng(0)
    means = np.array([[0.0, 0.0], [4.0, 1.0], [0.0, 5.0]])
    truth = random.integers(0, 3, 600)
    x = means[truth] + random.normal(size=(600, 2)) @ np.array([[1.0, 0.6], [0.0, 0.5]])
    labels, likelihood = TiedMixture(x).fit(truth, 3)
    theirs = GaussianMixture(3, covariance_type="tied", means_init=means, reg_covar=1e-3, tol=1e-6).fit(x)
    assert likelihood == pytest.approx(theirs.score(x), abs=2e-3)
    assert accuracy(theirs.predict(x), labels) > 0.99


def test_a_move_joins_two_clusters_and_cuts_a_third() -> None:
    x = np.array([[0.0], [1.0], [5.0], [6.0], [20.0], [30.0]])
    moved = split_and_merge(x, np.array([0, 0, 1, 1, 2, 2]), (0, 1), 2)
    assert moved[:4].tolist() == [0, 0, 0, 0]
    assert sorted(moved[4:].tolist()) == [1, 2]


def test_the_discriminant_of_more_columns_than_rows_is_that_of_its_definition() -> None:
    random = np.random.default_rng(3)
    labels = random.integers(0, 5, 80)
    x = random.normal(size=(80, 120)) + random.normal(size=(5, 120))[labels]
    x = (x - x.mean(0)) / x.std(0)
    ours = DiscriminantFitter(x, 0.01).fit(labels, 5)
    means = np.stack([x[labels == k].mean(0) for k in range(5)])
    within = (x - means[labels]).T @ (x - means[labels]) / 80
    within = 0.99 * within + 0.01 * np.trace(within) / 120 * np.eye(120)
    apart = means - x.mean(0)
    expected = apart @ np.linalg.solve(within, apart.T)
    centroids = ours.centroids[:, :-1]
    np.testing.assert_allclose(centroids @ centroids.T, expected, atol=1e-8)
    np.testing.assert_allclose(ours.project[:, :-1].T @ within @ ours.project[:, :-1], np.eye(4), atol=1e-8)


def test_the_discriminant_labels_like_scikit_learns() -> None:
    random = np.random.default_rng(2)
    labels = np.repeat([0, 1, 2, 3], [200, 100, 50, 10])
    x = random.normal(size=(360, 6)) + random.normal(size=(4, 6))[labels]
    ours = DiscriminantFitter(x, 1e-6).fit(labels, 4)
    theirs = LinearDiscriminantAnalysis().fit(x, labels)
    np.testing.assert_array_equal(ours.predict(x), theirs.predict(x))
    z = x @ ours.project + ours.shift
    distance = np.square(z[:, None] - ours.centroids).sum(2)
    log_odds = -0.5 * (distance - distance[:, :1])
    np.testing.assert_allclose(
        log_odds, theirs.decision_function(x) - theirs.decision_function(x)[:, :1], atol=0.2
    )


def test_a_class_without_rows_is_never_predicted() -> None:
    x = np.random.default_rng(0).normal(size=(50, 3))
    ours = DiscriminantFitter(x, 0.01).fit(np.repeat([0, 2], 25), 4)
    assert set(ours.predict(x).tolist()) <= {0, 2}


def test_mutual_information_by_hand() -> None:
    a = np.array([0, 0, 1, 1])
    assert mutual_information(a, a, 2) == pytest.approx(np.log(2))
    assert mutual_information(a, np.array([0, 1, 0, 1]), 2) == pytest.approx(0)


def test_what_tells_only_devices_apart_carries_nothing_over() -> None:
    x, y, who = people()
    speed = np.abs(np.diff(x, axis=1)).mean((1, 2)).astype(np.float64)[:, None]
    carry_over = CarryOver((speed - speed.mean()) / speed.std(), who, PlusConfig(), 0)
    assert carry_over.score(who, 6) == pytest.approx(0)
    assert carry_over.score(np.random.default_rng(0).integers(0, 4, len(y)), 4) < 0.05
    fast = np.asarray(y == 3, dtype=np.int64)
    assert carry_over.score(fast, 2) > 0.3


def test_activities_are_found_and_single_windows_assigned_to_them() -> None:
    x, y, who = people()
    model = DiscPlus(4, settings={"restarts": 5, "moves": 40}).fit(x, devices=who)
    assert accuracy(y, model.found_labels_) > 0.9  # what is averaged over time blurs at changes
    assert accuracy(y, model.labels_) > 0.95


def test_moves_only_ever_improve_the_score() -> None:
    x, _, who = people()
    still = DiscPlus(4, settings={"restarts": 2, "moves": 0}).fit(x, devices=who)
    moved = DiscPlus(4, settings={"restarts": 2, "moves": 30}).fit(x, devices=who)
    assert moved.score_ >= still.score_
    assert len(moved.history_) > len(still.history_)


def test_devices_must_fit_the_windows() -> None:
    x, _, who = people()
    for devices in (who[:-1], who.astype(float), who[:, None]):
        with pytest.raises(ValueError, match=r"devices has shape .*; expected \(576,\) whole numbers"):
            DiscPlus(4).fit(x, devices=devices)


def test_windows_that_are_all_alike_are_refused() -> None:
    x = np.tile(np.array([[0.0, 1.0], [1.0, 0.0]], dtype=np.float32).repeat(4, 0), (20, 1, 1))
    with pytest.raises(TrainingError, match="all windows are alike: there is nothing to tell apart"):
        DiscPlus(3, settings={"restarts": 2}).fit(x)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 3}, "disc-plus has no setting 'epochs'"),
        ({"bands": 0}, "bands must be at least 1, got 0"),
        ({"spans": []}, "spans must have at least one value"),
        ({"spans": [1, -1]}, "spans must be a list, each value at least 0, got -1"),
        ({"spans": [1.5]}, r"spans must be a list, each value a whole number, got 1\.5"),
        ({"tied": 1}, "tied must be true or false, got 1"),
        ({"explained": 1.0}, "explained must be between 0 and 1"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve_plus(settings)
