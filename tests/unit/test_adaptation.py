"""Centroids that follow a device: what they get right, and what keeps them from going wrong."""

from __future__ import annotations

import numpy as np
import pytest

from disc_stream.benchmarks.followed import adapt_recordings, adapt_sequences, occurrences_of
from disc_stream.clustering.adaptation import AdaptationRule, Adapter, DeviceMeans, Occurrence
from disc_stream.clustering.assignment import soft_assignment
from disc_stream.clustering.smoothing import filter_sequence, likelihood_exponent
from disc_stream.errors import ConfigError
from disc_stream.types import Float32Array, IntArray

FLEET = np.array([[-2.0, 0.0], [2.0, 0.0]], dtype=np.float32)
WIDE = (1e30, 1e30)
S = 1_000_000
QUICK = AdaptationRule(prior_windows=10.0)


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
        int(adapter.step([device], one[None], [Occurrence((start_s + k * step_s) * S, k == 0)]).q[0].argmax())
        for k, one in enumerate(z)
    ]
    return np.array(rows)


class TestHelps:
    """A person whose motion lies beside the fleet's."""

    def test_labels_of_a_person_with_an_offset_get_right(self) -> None:
        z, y = person(offset=1.7)
        fleet = soft_assignment(z, FLEET).argmax(1)
        own = stream(Adapter(FLEET, WIDE, QUICK), Adapter(FLEET, WIDE, QUICK).new(), z)
        assert (fleet[100:] == y[100:]).mean() < 0.9
        assert (own[100:] == y[100:]).mean() > 0.97

    def test_the_centroids_go_where_the_windows_are(self) -> None:
        adapter = Adapter(FLEET, WIDE, AdaptationRule(prior_windows=1.0))
        device = adapter.new()
        stream(adapter, device, person(offset=1.0, n=400)[0])
        np.testing.assert_allclose(adapter.centroids_of(device), FLEET + np.array([1.0, 0.0]), atol=0.2)

    def test_the_first_window_is_the_fleets(self) -> None:
        adapter = Adapter(FLEET, WIDE)
        z, _ = person(offset=1.0, n=1)
        found = adapter.step([adapter.new()], z, [Occurrence(S)])
        np.testing.assert_allclose(found.q, soft_assignment(z, FLEET), rtol=1e-6)
        assert found.shift[0] == 0.0

    def test_nothing_of_one_device_is_seen_by_another(self) -> None:
        adapter = Adapter(FLEET, WIDE)
        one, other = adapter.new(), adapter.new()
        stream(adapter, one, person(offset=1.5)[0])
        np.testing.assert_array_equal(adapter.centroids_of(other), FLEET)


class TestBound:
    """No centroid leaves its ball."""

    @pytest.mark.parametrize("bound", [0.0, 0.1, 0.49])
    def test_no_centroid_moves_farther(self, bound: float) -> None:
        adapter = Adapter(FLEET, WIDE, AdaptationRule(prior_windows=0.1, bound=bound))
        device = adapter.new()
        stream(adapter, device, person(offset=50.0)[0])
        moved = np.linalg.norm(adapter.centroids_of(device) - FLEET, axis=1)
        np.testing.assert_allclose(adapter.radius, bound * 4.0)
        np.testing.assert_allclose(moved, adapter.radius, rtol=1e-5)

    def test_clusters_at_one_place_and_a_single_one_do_not_move(self) -> None:
        for centroids in (FLEET[:1], FLEET[[0, 0]]):
            adapter = Adapter(centroids, [1e30] * len(centroids))
            device = adapter.new()
            stream(adapter, device, person(offset=1.0)[0])
            np.testing.assert_array_equal(adapter.centroids_of(device), centroids)

    def test_a_window_that_is_absurdly_far_spoils_nothing(self) -> None:
        adapter = Adapter(FLEET, WIDE)
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
        adapter = Adapter(FLEET, WIDE)
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
        adapter = Adapter(FLEET, WIDE, AdaptationRule(half_life_s=3600.0))
        device = adapter.new()
        z, _ = person(offset=1.5)
        stream(adapter, device, z)
        middle = np.array([[0.4, 0.0]], dtype=np.float32)
        soon = adapter.step([device], middle, [Occurrence((len(z) + 1) * S, counts=False)])
        late = adapter.step([device], middle, [Occurrence((len(z) + 40 * 3600) * S, counts=False)])
        assert soon.q[0].argmax() == 0
        np.testing.assert_allclose(late.q, soft_assignment(middle, FLEET), rtol=1e-3)

    def test_a_clock_that_goes_back_is_no_time(self) -> None:
        adapter = Adapter(FLEET, WIDE, AdaptationRule(half_life_s=100.0))
        device = adapter.new()
        stream(adapter, device, FLEET[:1], start_s=1000)
        adapter.step([device], FLEET[:1], [Occurrence(S)])
        assert device.last_us == 1000 * S
        assert device.counts[0] > 1.5

    def test_arrivals_that_come_unevenly_change_nothing(self) -> None:
        z, _ = person(offset=1.0, n=50)
        states = []
        for step_s in (1, 17):
            adapter = Adapter(FLEET, WIDE, AdaptationRule(half_life_s=100.0))
            device = adapter.new()
            stream(adapter, device, z, step_s=step_s)
            states.append(device)
        np.testing.assert_array_equal(states[0].means, states[1].means)

    def test_another_person_puts_it_on(self) -> None:
        """Windows like the fleet's again: the gain is lost, the statistics fade within some windows."""
        slow = AdaptationRule(memory_windows=1e6)
        adapter = Adapter(FLEET, WIDE, slow)
        device = adapter.new()
        stream(adapter, device, person(offset=1.5, n=400)[0])
        gained = device.gain
        stream(adapter, device, person(offset=-0.5, n=100, seed=1)[0], start_s=401)
        assert gained > 0.05
        assert np.abs(adapter.centroids_of(device) - FLEET).max() < 0.75
        assert device.counts.sum() < 150  # of 500 windows

    def test_forgotten_beyond_the_memory(self) -> None:
        adapter = Adapter(FLEET, WIDE, AdaptationRule(memory_windows=20.0))
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
        adapter = Adapter(FLEET, WIDE)
        device, other = adapter.new(), adapter.new()
        adapter.step([device, other], FLEET + np.float32(0.5), [Occurrence(S, counts=False), Occurrence(S)])
        assert len(device.moved) == 0
        assert len(other.moved) > 0

    def test_where_the_model_cannot_say_nothing_is_learned(self) -> None:
        adapter = Adapter(FLEET, (None, 1e30))
        device = adapter.new()
        stream(adapter, device, FLEET[[0, 0, 0]])
        assert len(device.moved) == 0
        stream(adapter, device, FLEET[[1, 1, 1]])
        assert device.counts[1] > 1.9
        assert device.counts[0] < 0.1  # what a window of the other counts for it

    def test_unknown_is_judged_by_the_model_and_not_by_the_devices_centroids(self) -> None:
        """Motion that drifts away from all that is known cannot take the centroids along."""
        adapter = Adapter(FLEET, (4.0, 4.0), AdaptationRule(prior_windows=1.0))
        device = adapter.new()
        away = FLEET[1] + np.linspace(0.0, 6.0, 300)[:, None].astype(np.float32) * [0.0, 1.0]
        stream(adapter, device, away.astype(np.float32))
        assert adapter.centroids_of(device)[1, 1] < 2.0


class TestPosteriors:
    """What a window counts depends on those before it."""

    BETWEEN = np.array([[0.2, 0.0]], dtype=np.float32)

    def learned(self, *before: int, begins: bool = False) -> Float32Array:
        """What the last window, a little nearer to the second cluster, has counted for each."""
        adapter = Adapter(FLEET, WIDE)
        device = adapter.new()
        stream(adapter, device, FLEET[list(before)])
        counts = device.counts.copy()
        adapter.step([device], self.BETWEEN, [Occurrence(100 * S, begins)])
        return device.counts - counts

    def test_a_window_between_counts_for_what_its_neighbours_are(self) -> None:
        alone, after = self.learned(1, 0, 0, 0, begins=True), self.learned(1, 0, 0, 0)
        assert alone[1] > 0.5 > alone[0]
        assert after[0] > 0.6
        assert after[1] < 0.5

    def test_a_stretch_begins_with_nothing_known(self) -> None:
        np.testing.assert_allclose(
            self.learned(0, 0, 0, begins=True)[1], self.learned(1, 1, 1, begins=True)[1], atol=0.02
        )

    def test_they_are_those_of_the_sticky_filter(self) -> None:
        z, _ = person(offset=0.5, n=60)
        adapter = Adapter(FLEET, WIDE, AdaptationRule(bound=0.0))
        device, rule = adapter.new(), adapter.rule
        stream(adapter, device, z)
        expected = filter_sequence(soft_assignment(z, FLEET), stay=rule.stay, exponent=likelihood_exponent(2))
        np.testing.assert_allclose(device.now, expected[-1], atol=1e-4)


class TestShift:
    """How far a device's centroids have gone, in words a person can use."""

    def test_it_is_told_in_standard_deviations(self) -> None:
        rule = AdaptationRule(prior_windows=1e-3)
        adapter = Adapter(FLEET, WIDE, rule, spread=[0.5, 0.5])
        device = adapter.new()
        assert adapter.shift_of(device) == 0.0
        stream(adapter, device, FLEET[[0, 0, 0, 0]] + np.float32([0.5, 0.0]))
        assert adapter.shift_of(device) == pytest.approx(1.0, rel=0.1)

    def test_a_window_says_how_far_they_were_when_it_was_assigned(self) -> None:
        adapter = Adapter(FLEET, WIDE, QUICK)
        device = adapter.new()
        stream(adapter, device, person(offset=1.0)[0])
        before = adapter.shift_of(device)
        found = adapter.step([device], FLEET[:1], [Occurrence(201 * S)])
        assert found.shift[0] == pytest.approx(before, rel=1e-3)


class TestRecording:
    """All windows at once."""

    def test_the_first_windows_gain_from_the_later_ones(self) -> None:
        z, y = person(offset=1.7)
        device = np.zeros(len(z), dtype=np.int64)
        found = occurrences_of(device, np.zeros(len(z), dtype=np.bool_), 1.0)
        adapter = Adapter(FLEET, WIDE, QUICK)
        past = adapt_sequences(adapter, z, device, found).q.argmax(1)
        whole = adapt_recordings(adapter, z, device, found).q.argmax(1)
        assert (whole[:20] == y[:20]).mean() > (past[:20] == y[:20]).mean()
        assert (whole == y).mean() > 0.97

    def test_nothing_that_may_not_count_counts(self) -> None:
        z, _ = person(offset=1.0, n=50)
        adapter = Adapter(FLEET, (1e-9, 1e-9), QUICK)
        found = adapter.over_recording(z, [Occurrence(k * S) for k in range(50)])
        np.testing.assert_allclose(found.q, soft_assignment(z, FLEET), rtol=1e-6)
        assert not found.learned.any()
        assert not found.shift.any()

    def test_stretches_whose_first_window_does_not_count_stay_apart(self) -> None:
        """Else the smoothing would go across a gap."""
        z = np.concatenate([np.tile(FLEET[0], (5, 1)), np.tile(FLEET[1], (5, 1))]).astype(np.float32)
        parted = [Occurrence(k * S, k in {0, 5}, counts=k != 5) for k in range(10)]
        joined = [Occurrence(k * S, k == 0, counts=k != 5) for k in range(10)]
        first = np.array([[0.3, 0.0]], dtype=np.float32)  # right behind the gap, in doubt
        z[6] = first
        adapter = Adapter(FLEET, WIDE, AdaptationRule(prior_windows=1.0, stay=0.999))
        assert adapter.over_recording(z, parted).q[6, 1] != adapter.over_recording(z, joined).q[6, 1]


def test_many_devices_at_once_as_one_by_one() -> None:
    rng = np.random.default_rng(3)
    centroids = rng.normal(size=(5, 8)).astype(np.float32)
    z = (centroids[rng.integers(0, 5, 300)] + rng.normal(scale=0.4, size=(300, 8))).astype(np.float32)
    device = rng.integers(0, 7, 300)
    when = [Occurrence(1 + k * S, k % 50 == 0) for k in range(300)]
    adapter = Adapter(centroids, [3.0, 1e30, 2.0, 2.0, None])
    for how in (adapt_sequences, adapt_recordings):
        together = how(adapter, z, device, when)
        for one in range(7):
            mine = np.flatnonzero(device == one)
            alone = how(adapter, z[mine], device[mine], [when[row] for row in mine.tolist()])
            np.testing.assert_array_equal(together.q[mine], alone.q)
            np.testing.assert_array_equal(together.shift[mine], alone.shift)


def test_the_same_again_is_the_same() -> None:
    z, _ = person(offset=1.0)
    device, when = np.zeros(len(z), dtype=np.int64), [Occurrence(1 + k * S) for k in range(len(z))]
    first, second = (adapt_sequences(Adapter(FLEET, WIDE), z, device, when) for _ in range(2))
    np.testing.assert_array_equal(first.q, second.q)


def test_no_windows() -> None:
    empty = np.zeros(0, dtype=np.int64)
    for how in (adapt_sequences, adapt_recordings):
        found = how(Adapter(FLEET, WIDE), np.zeros((0, 2), dtype=np.float32), empty, [])
        assert found.q.shape == (0, 2)
