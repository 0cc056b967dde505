"""Groups of new motion: found where several devices make it, and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from disc_stream.clustering.newmotion import (
    KnownMotion,
    NewMotion,
    NewMotionRule,
    Whitening,
    find_new_motion,
    near_to,
)
from disc_stream.errors import ConfigError, DataError, TrainingError
from disc_stream.training.births import MOVED, offset_of, untouched
from disc_stream.training.known import Known
from tests.support.people import people

F = 12


def windows_of(devices: range, centres: dict[int, Any], n: int = 40, seed: int = 0) -> tuple[Any, Any, Any]:
    """Features, rows and devices: every device does everything in turn, each in a way of its own."""
    random = np.random.default_rng(seed)
    features, rows, who = [], [], []
    for device in devices:
        for row, centre in centres.items():
            own = random.normal(0, 0.5, F)
            features.append(centre + own + random.normal(0, 1, (n, F)))
            rows += [row] * n
            who += [device] * n
    return np.concatenate(features).astype(np.float32), np.array(rows), np.array(who)


def at(**places: float) -> Any:
    """A point that is 0 but for the features named."""
    centre = np.zeros(F)
    for name, value in places.items():
        centre[int(name[1:])] = value
    return centre


OLD = {0: at(f0=0.0), 1: at(f0=8.0)}
KNOWN = KnownMotion(*windows_of(range(6), OLD))


def look(now: tuple[Any, Any, Any], known: KnownMotion = KNOWN) -> NewMotion:
    return find_new_motion(*now, known)


@pytest.mark.parametrize("seed", range(5))
def test_other_people_with_known_motion_are_not_new(seed: int) -> None:
    assert look(windows_of(range(9), OLD, seed=seed + 1)).groups == ()


def test_what_several_devices_do_now_and_nobody_did_before_is_one_group() -> None:
    x, rows, who = windows_of(range(9), OLD, seed=1)
    more = windows_of(range(6, 9), {0: at(f5=7.0)}, seed=2)  # the model calls it 0
    now = tuple(np.concatenate(parts) for parts in zip((x, rows, who), more, strict=True))
    order = np.argsort(now[2], kind="stable")
    truth = (np.arange(len(order)) >= len(x))[order]
    found = look((now[0][order], now[1][order], now[2][order]))
    assert len(found.groups) == 1
    assert truth[found.groups[0]].all()
    assert len(found.groups[0]) > 0.8 * truth.sum()
    assert found.near[truth].mean() < 0.1
    assert found.near[~truth].mean() > 0.9
    assert not (untouched(found) & truth).any()


def test_two_kinds_are_two_groups_the_larger_first() -> None:
    one, other = (windows_of(range(6, 9), {0: at(**{f: 7.0})}, n) for f, n in (("f5", 40), ("f9", 60)))
    order = np.argsort(np.concatenate([one[2], other[2]]), kind="stable")
    now = tuple(np.concatenate(parts)[order] for parts in zip(one, other, strict=True))
    groups = look(now).groups
    assert len(groups) == 2
    assert len(groups[0]) > len(groups[1])


def test_one_device_alone_is_not_enough_and_it_stays_new_until_another_does_the_same() -> None:
    alone = windows_of(range(6, 7), {0: at(f5=7.0)}, seed=2)
    assert look(alone).groups == ()
    near = near_to(KNOWN, *alone[:2])
    assert not near.any()
    known = KNOWN.joined(KnownMotion(*(part[near] for part in alone)))
    other = windows_of(range(7, 8), {0: at(f5=7.0)}, seed=3)
    both = tuple(np.concatenate(parts) for parts in zip(alone, other, strict=True))
    assert len(look(both, known).groups) == 1


def test_what_a_device_did_before_is_known_though_no_other_did_it() -> None:
    odd = windows_of(range(5, 6), {0: at(f5=7.0)}, seed=2)
    known = KNOWN.joined(KnownMotion(*odd))
    other = windows_of(range(7, 8), {0: at(f5=7.0)}, seed=3)
    both = tuple(np.concatenate(parts) for parts in zip(odd, other, strict=True))
    assert look(both, known).groups == ()


def test_with_one_known_device_all_is_near() -> None:
    known = KnownMotion(*windows_of(range(1), OLD))
    now = windows_of(range(1, 4), {0: at(f5=7.0)})
    assert look(now, known).near.all()
    assert near_to(known, *now[:2]).all()


@pytest.mark.parametrize("n_known", [1, 2])
def test_with_one_or_two_known_devices_nothing_is_said(n_known: int) -> None:
    known = KnownMotion(*windows_of(range(n_known), OLD))
    now = windows_of(range(n_known + 3), OLD | {2: at(f5=7.0)})
    assert find_new_motion(now[0], np.minimum(now[1], 1), now[2], known).groups == ()


@pytest.mark.parametrize("n_known", [1, 2])
@pytest.mark.parametrize("n_now", [1, 2, 3])
@pytest.mark.parametrize("n", [1, 4, 40])
def test_the_smallest_fleets_and_samples_are_no_error(n_known: int, n_now: int, n: int) -> None:
    known = KnownMotion(*windows_of(range(n_known), OLD, n))
    now = windows_of(range(n_now), OLD, n, seed=1)
    found = find_new_motion(*now, known)
    assert found.groups == ()
    assert len(found.near) == len(found.surplus) == len(now[0])
    assert near_to(known, now[0], now[1]).shape == (len(now[0]),)


def test_a_sample_keeps_every_cluster_of_every_device_and_nothing_twice() -> None:
    x, rows, who = windows_of(range(4), {0: at(f0=0.0)}, n=200)
    rare = windows_of(range(4, 5), {1: at(f0=8.0)}, n=10)
    motion = KnownMotion(*(np.concatenate(p) for p in zip((x, rows, who), rare, strict=True)))
    few = motion.reduced(100, seed=3)
    assert len(few) == 100
    assert (few.rows == 1).sum() == 10
    assert np.bincount(few.devices)[:4].tolist() == pytest.approx([22, 23, 22, 23], abs=1)
    again = motion.joined(KnownMotion(motion.features + np.float32(1e-6), motion.rows, motion.devices))
    assert len(again) == len(motion)
    others = motion.joined(KnownMotion(motion.features, motion.rows, motion.devices + 50))
    assert len(others) == 2 * len(motion)


def test_whitened_clusters_are_round() -> None:
    x, rows, _ = windows_of(range(8), OLD)
    stretched = x * np.geomspace(0.01, 100, F)
    y = Whitening.of(stretched, rows)(stretched)
    inner = np.concatenate([y[rows == row] - y[rows == row].mean(0) for row in (0, 1)])
    variances = np.linalg.eigvalsh(np.cov(inner.T))
    assert variances[1:] == pytest.approx(np.ones(F - 1), abs=0.1)
    assert 0.5 < variances[0] < 1.0  # narrow beside what is between the clusters: there shrinkage counts
    constant = np.column_stack([x, np.full(len(x), 3.0)])
    assert np.isfinite(Whitening.of(constant, rows)(constant)).all()


def test_numbers_that_make_no_sense() -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        NewMotionRule(devices=0)
    with pytest.raises(DataError, match="known motion needs"):
        KnownMotion(np.zeros((3, 2), dtype=np.float32), np.zeros(2, dtype=int), np.zeros(3, dtype=int))


class TestBounds:
    """What a fresh centroid may take."""

    old = np.array([[0.0]])
    known = np.r_[np.ones(1000, dtype=bool), np.zeros(50, dtype=bool)]
    group = np.arange(1000, 1050)

    def line(self, apart: float) -> Any:
        random = np.random.default_rng(0)
        return np.r_[random.normal(0, 1, 1000), random.normal(apart, 1, 50)][:, None]

    def test_what_is_far_apart_takes_nothing(self) -> None:
        assert offset_of(self.line(8.0), self.old, np.array([8.0]), self.group, self.known) == 0.0

    def test_the_border_moves_until_known_windows_stay(self) -> None:
        z, centroid = self.line(4.5), np.array([4.5])
        offset = offset_of(z, self.old, centroid, self.group, self.known)
        assert offset is not None
        taken = np.square(z - centroid).sum(1) + offset < np.square(z).sum(1)
        assert taken[self.known].mean() <= MOVED
        assert taken[self.group].mean() > 0.9

    def test_what_cannot_be_told_apart_gets_none(self) -> None:
        assert offset_of(self.line(2.0), self.old, np.array([2.0]), self.group, self.known) is None


class TestKept:
    """Beside a run."""

    def known(self) -> Known:
        x, _, who = people(4)
        return Known.of(x, who % 3, who, n_clusters=3, seed=0)

    def test_it_is_read_as_it_was_written(self, tmp_path: Path) -> None:
        known = self.known()
        known.save(tmp_path)
        again = Known.load(tmp_path, known.n_samples, 3)
        assert again is not None
        assert again.digest == known.digest
        assert Known.load(tmp_path / "nothing", 32, 3) is None
        (tmp_path / "known.safetensors").write_bytes(b"no")
        with pytest.raises(TrainingError, match=r"known.safetensors' cannot be read"):
            Known.load(tmp_path, 32, 3)

    def test_windows_of_another_shape_do_not_fit(self) -> None:
        known = self.known()
        assert known.fits(np.zeros((5, 32, 3), dtype=np.float32))
        assert not known.fits(np.zeros((5, 16, 3), dtype=np.float32))

    def test_with_fewer_clusters_than_before_all_is_known(self) -> None:
        x, _, who = people(4)
        odd = np.concatenate([x, x[:20] + 50])
        who = np.r_[who, np.full(20, 9)]
        rows = np.zeros(len(odd), dtype=int)
        before = self.known()
        same = Known.of(odd, rows, who, n_clusters=3, seed=0, before=before)
        fewer = Known.of(odd, rows, who, n_clusters=2, seed=0, before=before)
        assert 9 not in same.motion.devices
        assert 9 in fewer.motion.devices
