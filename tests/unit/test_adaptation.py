"""Centroids that follow a device: what they get right, and what keeps them from going wrong."""

from __future__ import annotations

import numpy as np
import pytest

from disc_stream.clustering.adaptation import AdaptationRule, Adapter, DeviceMeans, adapt_sequences
from disc_stream.clustering.assignment import soft_assignment
from disc_stream.errors import ConfigError
from disc_stream.types import Float32Array, IntArray

FLEET = np.array([[-2.0, 0.0], [2.0, 0.0]], dtype=np.float32)
NONE = (None, None)
S = 1_000_000


def person(offset: float, n: int = 200, seed: int = 0) -> tuple[Float32Array, IntArray]:
    """Windows of two activities in turn, ten of each, all beside their centroids by the same offset."""
    rng = np.random.default_rng(seed)
    y = (np.arange(n) // 10) % 2
    z = FLEET[y] + [offset, 0.0] + rng.normal(scale=0.5, size=(n, 2))
    return z.astype(np.float32), y


def stream(
    adapter: Adapter, device: DeviceMeans, z: Float32Array, start_s: int = 1, step_s: int = 1
) -> IntArray:
    """Rows of the windows of one device, one after the other."""
    rows = [
        int(adapter.step([device], one[None], [(start_s + k * step_s) * S]).q[0].argmax())
        for k, one in enumerate(z)
    ]
    return np.array(rows)


class TestHelps:
    """A person whose motion lies beside the fleet's."""

    def test_labels_of_a_person_with_an_offset_get_right(self) -> None:
        z, y = person(offset=1.7)
        fleet = soft_assignment(z, FLEET).argmax(1)
        own = stream(Adapter(FLEET, NONE), Adapter(FLEET, NONE).new(), z)
        assert (fleet[100:] == y[100:]).mean() < 0.9
        assert (own[100:] == y[100:]).mean() > 0.97

    def test_the_centroids_go_where_the_windows_are(self) -> None:
        adapter = Adapter(FLEET, NONE, AdaptationRule(prior_windows=1.0, sharpness=4.0))
        device = adapter.new()
        stream(adapter, device, person(offset=1.0, n=400)[0])
        np.testing.assert_allclose(adapter.centroids_of(device), FLEET + np.array([1.0, 0.0]), atol=0.2)

    def test_the_first_window_is_the_fleets(self) -> None:
        adapter = Adapter(FLEET, NONE)
        z, _ = person(offset=1.0, n=1)
        found = adapter.step([adapter.new()], z, [S])
        np.testing.assert_allclose(found.q, soft_assignment(z, FLEET), rtol=1e-6)
        np.testing.assert_allclose(found.distance[0], np.square(z - FLEET).sum(1), rtol=1e-6)

    def test_nothing_of_one_device_is_seen_by_another(self) -> None:
        adapter = Adapter(FLEET, NONE)
        one, other = adapter.new(), adapter.new()
        stream(adapter, one, person(offset=1.5)[0])
        np.testing.assert_array_equal(adapter.centroids_of(other), FLEET)


class TestBound:
    """No centroid leaves its ball."""

    @pytest.mark.parametrize("bound", [0.0, 0.1, 0.49])
    def test_no_centroid_moves_farther(self, bound: float) -> None:
        adapter = Adapter(FLEET, NONE, AdaptationRule(prior_windows=0.1, bound=bound, sharpness=0.1))
        device = adapter.new()
        stream(adapter, device, person(offset=50.0)[0])
        moved = np.linalg.norm(adapter.centroids_of(device) - FLEET, axis=1)
        np.testing.assert_allclose(adapter.radius, bound * 4.0)
        np.testing.assert_allclose(moved, adapter.radius, rtol=1e-5)

    def test_clusters_at_one_place_and_a_single_one_do_not_move(self) -> None:
        for centroids in (FLEET[:1], FLEET[[0, 0]]):
            adapter = Adapter(centroids, [None] * len(centroids))
            device = adapter.new()
            stream(adapter, device, person(offset=1.0)[0])
            np.testing.assert_array_equal(adapter.centroids_of(device), centroids)

    def test_a_window_that_is_absurdly_far_spoils_nothing(self) -> None:
        adapter = Adapter(FLEET, NONE)
        device = adapter.new()
        stream(adapter, device, np.array([[1e15, -1e15]], dtype=np.float32))
        assert np.isfinite(adapter.centroids_of(device)).all()

    def test_unusable_rules_are_refused(self) -> None:
        with pytest.raises(ConfigError, match="bound of the adaptation must be at least 0 and below a half"):
            AdaptationRule(bound=0.5)
        with pytest.raises(ConfigError, match="prior_windows of the adaptation must be above 0"):
            AdaptationRule(prior_windows=0.0)


class TestWayBack:
    """From a device's centroids to the fleet's."""

    def test_reset(self) -> None:
        adapter = Adapter(FLEET, NONE)
        device = adapter.new()
        stream(adapter, device, person(offset=1.5)[0])
        assert len(device.moved) == 2
        device.reset()
        np.testing.assert_array_equal(adapter.centroids_of(device), FLEET)
        assert len(device.moved) == 0
        fresh = adapter.new()
        np.testing.assert_array_equal(device.means, fresh.means)
        for one in (device, fresh):
            stream(adapter, one, person(offset=1.0)[0])
        np.testing.assert_array_equal(adapter.centroids_of(device), adapter.centroids_of(fresh))

    def test_silence(self) -> None:
        adapter = Adapter(FLEET, NONE, AdaptationRule(half_life_s=3600.0))
        device = adapter.new()
        z, _ = person(offset=1.5)
        stream(adapter, device, z)
        middle = np.array([[0.4, 0.0]], dtype=np.float32)
        soon = adapter.step([device], middle, [(len(z) + 1) * S], [False])
        late = adapter.step([device], middle, [(len(z) + 40 * 3600) * S], [False])
        assert soon.q[0].argmax() == 0
        np.testing.assert_allclose(late.q, soft_assignment(middle, FLEET), rtol=1e-3)

    def test_a_clock_that_goes_back_is_no_time(self) -> None:
        adapter = Adapter(FLEET, NONE, AdaptationRule(half_life_s=10.0))
        device = adapter.new()
        stream(adapter, device, FLEET[:1], start_s=1000)
        adapter.step([device], FLEET[:1], [S])
        assert device.last_us == 1000 * S
        assert device.counts[0] > 1.5

    def test_another_person_puts_it_on(self) -> None:
        """Windows like the fleet's again: the gain is lost, the statistics fade within some windows."""
        slow = AdaptationRule(memory_windows=1e6)
        adapter = Adapter(FLEET, NONE, slow)
        device = adapter.new()
        stream(adapter, device, person(offset=1.5, n=400)[0])
        gained = device.gain
        stream(adapter, device, person(offset=-0.5, n=100, seed=1)[0], start_s=401)
        assert gained > 0.05
        assert np.abs(adapter.centroids_of(device) - FLEET).max() < 0.75
        assert device.counts.sum() < 150  # of 500 windows

    def test_forgotten_beyond_the_memory(self) -> None:
        adapter = Adapter(FLEET, NONE, AdaptationRule(memory_windows=20.0))
        device = adapter.new()
        stream(adapter, device, person(offset=0.3, n=400)[0])
        assert device.counts.max() <= 20.0 + 1e-3


class TestUnknown:
    """What is not known teaches nothing."""

    def test_unknown_windows_change_nothing(self) -> None:
        adapter = Adapter(FLEET, (1.0, 1.0))
        device = adapter.new()
        far = np.array([[2.0, 3.0], [-2.0, -3.0], [0.0, 0.0]], dtype=np.float32)
        stream(adapter, device, far)
        assert len(device.moved) == 0
        assert (device.gain, device.last_us) == (0.0, 0)
        stream(adapter, device, FLEET + np.array([0.0, 0.5], dtype=np.float32))
        assert len(device.moved) == 2

    def test_windows_that_may_not_count_change_nothing(self) -> None:
        adapter = Adapter(FLEET, NONE)
        device, other = adapter.new(), adapter.new()
        adapter.step([device, other], FLEET + np.float32(0.5), [S, S], [False, True])
        assert len(device.moved) == 0
        assert len(other.moved) > 0


def test_many_devices_at_once_as_one_by_one() -> None:
    rng = np.random.default_rng(3)
    centroids = rng.normal(size=(5, 8)).astype(np.float32)
    z = (centroids[rng.integers(0, 5, 300)] + rng.normal(scale=0.4, size=(300, 8))).astype(np.float32)
    device, when = rng.integers(0, 7, 300), np.arange(300) * S + 1
    adapter = Adapter(centroids, [3.0, None, 2.0, 2.0, None])
    together = adapt_sequences(adapter, z, device, when)
    for one in range(7):
        mine = device == one
        alone = adapt_sequences(adapter, z[mine], device[mine], when[mine])
        np.testing.assert_allclose(together.q[mine], alone.q, rtol=1e-3)
        np.testing.assert_allclose(together.distance[mine], alone.distance, rtol=1e-3, atol=1e-4)


def test_the_same_again_is_the_same() -> None:
    z, _ = person(offset=1.0)
    device, when = np.zeros(len(z), dtype=np.int64), np.arange(len(z)) * S + 1
    first, second = (adapt_sequences(Adapter(FLEET, NONE), z, device, when) for _ in range(2))
    np.testing.assert_array_equal(first.q, second.q)


def test_no_windows() -> None:
    empty = np.zeros(0, dtype=np.int64)
    found = adapt_sequences(Adapter(FLEET, NONE), np.zeros((0, 2), dtype=np.float32), empty, empty)
    assert found.q.shape == (0, 2)
