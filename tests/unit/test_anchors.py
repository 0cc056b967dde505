"""Anchors: bounded, balanced, weighted, reproducible, and on disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from disc_stream.artifacts.manifest import ChannelInfo
from disc_stream.clustering.anchors import AnchorSet, Bounds, share_out
from disc_stream.data.anchorfile import read_anchors, write_anchors
from disc_stream.errors import ConfigError, DataError, InputNotFoundError

CHANNELS = [ChannelInfo(name="acc_x", unit="m/s2"), ChannelInfo(name="acc_y", unit="m/s2")]


def published(n: int, *, seed: int = 0, n_ids: int = 3, n_devices: int = 4) -> AnchorSet:
    rng = np.random.default_rng(seed)
    devices = np.array([f"watch-{i}" for i in rng.integers(0, n_devices, n)])
    return AnchorSet.published(
        rng.normal(size=(n, 6, 2)).astype(np.float32), rng.integers(0, n_ids, n) + 7, devices,
        when_us=1_000_000 * rng.permutation(n), distance=rng.exponential(size=n).astype(np.float32),
    )  # fmt: skip


def test_every_id_and_device_has_its_share() -> None:
    chosen = published(2000).reduced(Bounds(per_id=20))
    for own in (7, 8, 9):
        devices, counts = np.unique(chosen.devices[chosen.ids == own], return_counts=True)
        assert counts.tolist() == [5, 5, 5, 5]
        assert devices.tolist() == ["watch-0", "watch-1", "watch-2", "watch-3"]


def test_a_device_with_few_windows_leaves_its_share_to_others() -> None:
    everything = published(900, n_ids=1, n_devices=3)
    one = np.flatnonzero(everything.devices == "watch-0")
    few = everything.select(np.concatenate([one[:2], np.flatnonzero(everything.devices != "watch-0")]))
    chosen = few.reduced(Bounds(per_id=30))
    assert np.unique(chosen.devices, return_counts=True)[1].tolist() == [2, 14, 14]
    assert chosen.weights.sum() == pytest.approx(len(few))


def test_core_and_border_are_both_there() -> None:
    everything = published(5000, n_ids=1, n_devices=1)
    chosen = everything.reduced(Bounds(per_id=50))
    ranks = np.searchsorted(np.sort(everything.distance), chosen.distance) / len(everything)
    assert np.histogram(ranks, bins=10, range=(0, 1))[0].tolist() == [5] * 10


def test_weights_stand_for_the_windows() -> None:
    everything = published(3000)
    chosen = everything.reduced(Bounds(per_id=40))
    for own in (7, 8, 9):
        assert chosen.weights[chosen.ids == own].sum() == pytest.approx((everything.ids == own).sum())
    far = everything.distance > 1.0
    estimate = chosen.weights[chosen.distance > 1.0].sum()
    assert estimate == pytest.approx(far.sum(), rel=0.1)


def test_batch_by_batch_stays_bounded_and_says_the_same() -> None:
    everything = published(6000)
    kept = everything.select(np.arange(0))
    for start in range(0, 6000, 500):
        kept = kept.joined(everything.select(np.arange(start, start + 500))).reduced(
            Bounds(per_id=60), seed=3
        )
        assert len(kept) <= 180
    assert kept.weights.sum() == pytest.approx(6000)
    assert kept.weights[kept.distance > 1.0].sum() == pytest.approx(
        (everything.distance > 1.0).sum(), rel=0.15
    )


def test_the_same_windows_in_any_order_give_the_same_anchors() -> None:
    everything = published(800)
    shuffled = everything.select(np.random.default_rng(1).permutation(800))
    one, other = everything.reduced(Bounds(20), seed=5), shuffled.reduced(Bounds(20), seed=5)
    assert one.when_us.tolist() == other.when_us.tolist()
    assert np.allclose(one.weights, other.weights)
    assert one.when_us.tolist() != everything.reduced(Bounds(20), seed=6).when_us.tolist()


def test_the_total_bounds_many_ids() -> None:
    chosen = published(5000, n_ids=400).reduced(Bounds(per_id=100, total=1000))
    assert len(np.unique(chosen.ids)) == 400
    assert len(chosen) <= 1000


def test_few_windows_are_all_kept() -> None:
    everything = published(30)
    chosen = everything.reduced(Bounds())
    assert sorted(chosen.when_us.tolist()) == sorted(everything.when_us.tolist())
    assert chosen.weights.tolist() == [1.0] * 30
    assert len(everything.select(np.arange(0)).reduced(Bounds())) == 0


def test_an_erased_device_leaves_no_window() -> None:
    everything = published(100)
    left = everything.without_device("watch-2")
    assert "watch-2" not in left.devices
    assert len(left) == int((everything.devices != "watch-2").sum())


def test_shares_never_exceed_what_is_there() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        sizes = rng.integers(0, 12, rng.integers(1, 8)).tolist()
        quota = int(rng.integers(0, 40))
        shares = share_out(quota, sizes, rng)
        assert sum(shares) == min(quota, sum(sizes))
        assert all(share <= size for share, size in zip(shares, sizes, strict=True))
        unsatisfied = [share for share, size in zip(shares, sizes, strict=True) if share < size]
        assert not unsatisfied or max(shares) - min(unsatisfied) <= 1


def test_what_is_written_is_read(tmp_path: Path) -> None:
    anchors = published(50)
    header = write_anchors(tmp_path / "anchors.npz", anchors, fs=50.0, channels=CHANNELS)
    again, read = read_anchors(tmp_path / "anchors.npz")
    assert read == header
    for name in ("windows", "ids", "devices", "when_us", "distance", "weights"):
        assert np.array_equal(getattr(again, name), getattr(anchors, name))
    assert again.windows.dtype == np.float32


def test_no_anchors_are_written_and_read(tmp_path: Path) -> None:
    write_anchors(tmp_path / "a.npz", published(4).select(np.arange(0)), fs=50.0, channels=CHANNELS)
    assert len(read_anchors(tmp_path / "a.npz")[0]) == 0


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    file = tmp_path / "anchors.npz"
    write_anchors(file, published(50), fs=50.0, channels=CHANNELS)
    whole = dict(np.load(file, allow_pickle=False))
    whole["ids"] = whole["ids"][::-1].copy()
    np.savez(file, **whole)
    with pytest.raises(DataError, match="not those it says"):
        read_anchors(file)
    del whole["weights"]
    np.savez(file, **whole)
    with pytest.raises(DataError, match="no usable array 'weights'"):
        read_anchors(file)
    file.write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(DataError):
        read_anchors(file)
    with pytest.raises(InputNotFoundError):
        read_anchors(tmp_path / "none.npz")


def test_a_window_at_its_centroid_is_an_anchor() -> None:
    at_centroid = replace(published(3), distance=np.zeros(3, dtype=np.float32))
    assert len(at_centroid.reduced(Bounds(per_id=3))) == 3


def test_arrays_that_do_not_fit() -> None:
    good = published(3)
    with pytest.raises(DataError, match="3 anchors need 3 ids"):
        AnchorSet(good.windows, good.ids[:2], good.devices, good.when_us, good.distance, good.weights)
    with pytest.raises(DataError, match=r"windows of shape \(n, T, C\), got \(3, 6, 2, 1\)"):
        replace(good, windows=good.windows[..., None])
    with pytest.raises(DataError, match="at least 0"):
        replace(good, distance=np.array([0.0, 1.0, -1e-6], dtype=np.float32))
    with pytest.raises(DataError, match="above 0"):
        AnchorSet(good.windows, good.ids, good.devices, good.when_us, good.distance, np.zeros(3))
    with pytest.raises(DataError, match="cannot be joined"):
        good.joined(AnchorSet.published(good.windows[:, :2], good.ids, good.devices,
                                        when_us=good.when_us, distance=good.distance))  # fmt: skip
    with pytest.raises(ConfigError, match="at least one anchor"):
        Bounds(per_id=0)
