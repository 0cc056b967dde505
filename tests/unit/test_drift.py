"""Drift of devices and of fleets, on signals whose changes are known."""

from __future__ import annotations

import math
import sys
from statistics import NormalDist

import numpy as np
import pytest

from disc_stream.clustering.drift import (
    DeviceWatch,
    DriftRule,
    DriftWatch,
    devices_needed,
    require_river,
)
from disc_stream.errors import MissingExtraError
from disc_stream.types import NOT_WORN, UNKNOWN

DAY_US = 86_400_000_000
HOP_US = 1_280_000
RULE = DriftRule(block=64, min_blocks=30)


class Steps:
    """A detector without statistics: tells whether a value differs from the first by more than 0.4."""

    def __init__(self) -> None:
        self.first: float | None = None
        self.drift_detected = False

    def update(self, x: float) -> None:
        self.first = x if self.first is None else self.first
        self.drift_detected = abs(x - self.first) > 0.4


def windows(
    device: str, n: int, rng: np.random.Generator, *, start: int = 0, factor: float = 1.0, cluster: int = 7
) -> list[tuple[str, int, float, int]]:
    """Labels of one device: log-normal novelties, in stretches of two clusters with different levels."""
    usual = rng.lognormal(-1.0, 0.3, n)
    other = (np.arange(n) // 40) % 2 == 1
    novelty = np.where(other, 0.2, 1.0) * usual * factor
    return [
        (device, cluster + int(o), float(v), (start + i) * HOP_US)
        for i, (v, o) in enumerate(zip(novelty, other, strict=True))
    ]


def test_a_day_with_other_activities_is_no_change_and_a_shift_is_one() -> None:
    watch = DeviceWatch(RULE, (Steps(), Steps()))
    rng = np.random.default_rng(0)
    calm = [watch.take(c, v) for _, c, v, _ in windows("a", 4_000, rng)]
    calm += [watch.take(8, v) for v in 0.2 * rng.lognormal(-1.0, 0.3, 2_000)]  # the other cluster alone
    assert not any(calm)
    shifted = [watch.take(c, v) for _, c, v, _ in windows("a", 320, rng, factor=2.0)]
    assert any(shifted)


def test_unknown_windows_are_a_signal_of_their_own() -> None:
    watch = DeviceWatch(RULE, (Steps(), Steps()))
    assert not any(watch.take(7, 0.5) for _ in range(64 * 40))
    assert any(watch.take(UNKNOWN if i % 2 == 0 else 7, 0.5) for i in range(64 * 4))


def test_nothing_is_said_before_there_are_enough_blocks() -> None:
    watch = DeviceWatch(RULE, (Steps(), Steps()))
    early = [watch.take(7, 0.5) for _ in range(64 * 2)] + [watch.take(7, 50.0) for _ in range(64 * 20)]
    assert not any(early)


def test_what_is_not_worn_says_nothing() -> None:
    watch = DriftWatch(RULE, Steps)
    watch.feed([("a", NOT_WORN, 99.0, 0)] * 10_000)
    assert watch.counts(0) == (0, 0)


@pytest.mark.parametrize("heard", [3, 10, 100, 1_000])
def test_more_devices_than_chance_explains_are_needed(heard: int) -> None:
    rule = DriftRule()
    needed, p = devices_needed(heard, rule), rule.false_alarms / 30
    mass = [math.comb(heard, k) * p**k * (1 - p) ** (heard - k) for k in range(heard + 1)]
    assert sum(mass[needed:]) <= rule.fleet_chance < sum(mass[needed - 1 :])


def test_the_smallest_and_the_largest_fleets() -> None:
    rule = DriftRule()
    assert [devices_needed(heard, rule) for heard in (0, 1, 2)] == [1, 1, 2]
    assert 0.034 < devices_needed(20_000, rule) / 20_000 < 0.040
    for heard in (30_000, 100_000):  # where the binomial is below any float, it is normal
        p = rule.false_alarms / 30
        normal = NormalDist(heard * p, math.sqrt(heard * p * (1 - p)))
        assert devices_needed(heard, rule) == math.ceil(normal.mean + 3 * normal.stdev)
        assert 1 - normal.cdf(devices_needed(heard, rule)) <= rule.fleet_chance


def test_one_changed_device_is_not_the_fleets_change() -> None:
    rng = np.random.default_rng(1)
    watch = DriftWatch(RULE, Steps)
    names = [f"d{number}" for number in range(10)]
    for name in names:
        watch.feed(windows(name, 2_560, rng))
    now_us = 3_500 * HOP_US
    watch.feed(windows("d0", 640, rng, start=2_560, factor=3.0))
    assert watch.counts(now_us) == (1, 10)
    assert watch.alarm(now_us) == ""
    for name in names[1:5]:
        watch.feed(windows(name, 640, rng, start=2_560, factor=3.0))
    assert watch.alarm(now_us).startswith("5 of 10 devices have moved unlike before within 24 h")
    assert watch.alarm(now_us + 2 * DAY_US) == "", "what is long ago does not count"


def test_a_device_counts_as_heard_once_it_can_have_changed_and_while_it_is_heard() -> None:
    rng = np.random.default_rng(3)
    watch = DriftWatch(RULE, Steps)
    watch.feed(windows("old", 64 * 30, rng))
    watch.feed(windows("new", 64 * 29, rng))
    end_us = 64 * 30 * HOP_US
    assert watch.counts(end_us) == (0, 1)
    assert watch.counts(end_us + 2 * DAY_US) == (0, 0)
    watch.feed(windows("new", 64, rng, start=64 * 29))
    assert watch.counts(end_us) == (0, 2)


def test_memory_is_bounded_and_an_erased_device_is_gone() -> None:
    watch = DriftWatch(DriftRule(block=4, min_blocks=1, max_devices=50), Steps)
    for number in range(500):
        watch.feed([(f"d{number}", 1, 0.5, number)] * 8)
    assert watch.counts(0) == (0, 50)
    watch.forget("d499")
    assert watch.counts(0) == (0, 49)


def test_adwin_sees_a_shift_soon_and_nothing_before() -> None:
    pytest.importorskip("river")
    rng = np.random.default_rng(2)
    watch = DriftWatch(DriftRule(block=64))
    watch.feed(windows("a", 64 * 1_500, rng))
    assert watch.changes == 0
    watch.feed(windows("a", 64 * 120, rng, start=64 * 1_500, factor=1.6))
    assert watch.changes >= 1
    assert watch.alarm(64 * 1_620 * HOP_US)


def test_without_river_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "river", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(MissingExtraError, match="drift"):
        require_river()
