"""The replay set: bounded, balanced, recent first, the same for the same seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as renewed

from disc_stream.errors import ConfigError
from disc_stream.retraining.recent import RecentWindows
from disc_stream.retraining.replayset import ReplayChooser, ReplayRule, ReplaySet, own_ids
from disc_stream.stream.values import ReadyInput
from disc_stream.types import NOT_WORN, UNKNOWN
from disc_stream_server.dataset.replay import LabelledWindow
from disc_stream_server.storage.records import StoredLabel

HOP_US = 1_000_000
DAY = 86_400
IDS = {"m1": (7, 8, 9), "m2": (8, 11, 7)}
STRETCH = 8  # windows, at most


def stored(row: int, model: str = "m1", smoothed: int = 0, distance: float = 0.5) -> StoredLabel:
    q = np.full(3, 0.1, dtype="<f4")
    q[row] = 0.8
    return StoredLabel(
        1, "d", 1, 0, 0, HOP_US, None, 0, "n", 0.8, smoothed, 0.8, q.tobytes(), distance, None, model, 0, 0
    )


def window(
    device: str, number: int, row: int | None = None, *, boot: int = 1, segment: int = 0,
    at_us: int | None = None, model: str = "m1",
) -> LabelledWindow:  # fmt: skip
    """Every value of its samples is its number."""
    samples = np.full((4, 2), number, dtype=np.float32)
    t0 = number * HOP_US
    unix = t0 if at_us is None else at_us
    ready = ReadyInput(
        device, boot, number, t0, number, segment, samples, received_us=unix, t0_unix_us=unix
    )  # fmt: skip
    return LabelledWindow(ready, None if row is None else stored(row, model))


def chooser(windows: int, *, seed: int = 0, half_life_s: float = 1e9) -> ReplayChooser:
    return ReplayChooser(ReplayRule(windows, half_life_s, seed), own_ids(IDS))


def choose(source: Iterable[LabelledWindow], windows: int, **rule: float) -> ReplaySet:
    one = chooser(windows, **rule)  # type: ignore[arg-type]
    one.take(source)
    return one.result()


def stream(devices: int, each: int, rows: int = 3, bout: int = 10) -> Iterator[LabelledWindow]:
    """Devices side by side, whose activities last for ``bout`` windows."""
    for number in range(each):
        for device in range(devices):
            yield window(f"d{device:05d}", number, (number // bout + device) % rows)


def numbers(found: ReplaySet) -> list[int]:
    return found.x[:, 0, 0].astype(int).tolist()


def count(one: ReplayChooser) -> int:
    """Windows that are really there, whatever the chooser believes."""
    kept = [kept[-1] for heap in one._groups.values() for kept in heap]
    return sum(len(stretch.windows) for stretch in [*kept, *one._open.values()])


@pytest.mark.parametrize("devices", [1, 4, 100, 5_000])
def test_never_more_than_twice_the_windows_are_held(devices: int) -> None:
    one, most = chooser(200), 0

    def watched() -> Iterator[LabelledWindow]:
        nonlocal most
        for each in stream(devices, 20_000 // devices):
            yield each
            most = max(most, one.held)

    one.take(watched())
    found = one.result()
    assert most <= 401  # the one that makes it too many
    assert len(found) == count(one) == one.held == 200
    assert found.seen == 20_000


def test_what_is_held_owns_its_samples_and_no_larger_buffer() -> None:
    big = np.zeros((1000, 4, 2), dtype=np.float32)
    one = chooser(50)
    one.take(LabelledWindow(renewed(window("d", n).window, samples=big[n]), None) for n in range(40))
    big[:] = 1.0
    assert not one.result().x.any()


def test_fewer_windows_than_wanted_are_all_taken_as_they_are() -> None:
    found = choose([window("b", n, n % 3) for n in range(5)] + [window("a", n) for n in range(3)], 100)
    assert found.devices.tolist() == ["a"] * 3 + ["b"] * 5
    assert found.ids.tolist() == [-1, -1, -1, 7, 8, 9, 7, 8]
    assert numbers(found) == [0, 1, 2, 0, 1, 2, 3, 4]
    assert found.t0_us.tolist() == [n * HOP_US for n in (0, 1, 2, 0, 1, 2, 3, 4)]
    assert found.distance.tolist() == [0.0] * 3 + [0.5] * 5
    assert found.device_names == ["a", "b"]


def test_a_device_that_sends_a_hundred_times_as_much_gets_no_more_than_another() -> None:
    source = [window("much", n, 0) for n in range(10_000)] + [window("less", n, 0) for n in range(100)]
    found = choose(source, 160)
    assert Counter(found.devices.tolist()) == {"much": 80, "less": 80}


def test_what_a_device_cannot_fill_goes_to_the_others() -> None:
    source = [window("much", n, 0) for n in range(1000)] + [window("less", n, 0) for n in range(10)]
    assert Counter(choose(source, 160).devices.tolist()) == {"much": 150, "less": 10}


def test_a_rare_cluster_is_there_as_often_as_a_common_one() -> None:
    rows = [0] * 4000 + [1] * 40 + [2] * 400
    found = choose([window("d", n, row) for n, row in enumerate(rows)], 120)
    assert Counter(found.ids.tolist()) == {7: 40, 8: 40, 9: 40}


def test_windows_without_a_label_have_their_share() -> None:
    source = [window("d", n, None if n < 500 else 0) for n in range(1000)]
    counts = Counter(choose(source, 100).ids.tolist())
    assert abs(counts[-1] - counts[7]) <= STRETCH  # the stretch at the border has both


def test_more_pairs_than_windows_leave_each_with_one_at_most() -> None:
    """Shares smaller than a stretch: what is left of each stretch is a part, not nothing."""
    found = choose(stream(300, 24, bout=8), 600)
    assert len(found) == 600
    pairs = Counter(zip(found.devices.tolist(), found.ids.tolist(), strict=True))
    assert max(pairs.values()) <= 1
    assert len(choose(stream(300, 24, bout=8), 1800)) == 1800


def test_ten_thousand_devices_with_a_window_each() -> None:
    source = [window(f"d{n:05d}", 0, 0, at_us=n) for n in range(10_000)]
    found = choose(source, 1_000)
    assert len(found) == len(found.device_names) == 1_000
    # None came too late or too early to be chosen: 1,000 of 10,000, in tenths of the order of arrival.
    tenths = np.bincount([int(name[1:]) // 1_000 for name in found.device_names], minlength=10)
    assert tenths.min() > 60
    assert tenths.max() < 140


def test_recent_windows_first_with_half_the_odds_for_every_half_life() -> None:
    """One device over 20 half-lives, and 40 seeds: how many are drawn of each half-life."""
    half_life, n = 100.0, 2_000
    ages: list[int] = []
    source = [window("d", k, 0) for k in range(n)]
    for seed in range(40):
        found = choose(source, 80, seed=seed, half_life_s=half_life)
        ages += [(n - 1 - number) // 100 for number in numbers(found)]
    counts = Counter(ages)
    # Without replacement the newest run out, so rates are compared and not numbers.
    drawn = [counts[age] / (40 * 100) for age in range(6)]
    assert drawn == sorted(drawn, reverse=True)
    odds = [-np.log1p(-share) for share in drawn[:4]]  # rates at which they were drawn
    ratios = [odds[k + 1] / odds[k] for k in range(3)]
    assert np.mean(ratios) == pytest.approx(0.5, abs=0.12)
    assert sum(counts[age] for age in range(8, 20)) < 0.05 * len(ages)


def test_a_long_half_life_prefers_nothing() -> None:
    source = [window("d", k, 0) for k in range(2_000)]
    ages = np.concatenate([numbers(choose(source, 80, seed=seed)) for seed in range(40)])
    assert np.mean(ages) == pytest.approx(1_000, abs=100)  # 400 stretches: three and a half standard errors


def test_same_seed_same_choice_and_another_seed_another() -> None:
    def once(seed: int) -> list[tuple[str, int]]:
        found = choose(stream(5, 200), 100, seed=seed)
        return list(zip(found.devices.tolist(), numbers(found), strict=True))

    assert once(3) == once(3)
    assert once(3) != once(4)


def test_stretches_are_of_consecutive_windows_and_as_long_as_can_be() -> None:
    found = choose([window("d", n, 0) for n in range(2_000)], 400)
    runs = np.split(np.array(numbers(found)), np.flatnonzero(np.diff(numbers(found)) != 1) + 1)
    assert sum(len(run) % STRETCH != 0 for run in runs) <= 1  # the last one, in part


@pytest.mark.parametrize("change", [{"boot": 2}, {"segment": 1}])
def test_a_gap_or_a_restart_ends_a_stretch(change: dict[str, int]) -> None:
    one = chooser(100)
    one.take([window("d", 0, 0), window("d", 1, 0), window("d", 2, 0, **change), window("d", 9, 0, **change)])
    one.result()
    lengths = sorted(len(kept[-1].windows) for heap in one._groups.values() for kept in heap)
    assert lengths == [1, 1, 2]


def test_the_cluster_of_a_stretch_is_that_of_most_of_its_windows() -> None:
    one = chooser(100)
    one.take([window("d", n, row) for n, row in enumerate([0, 1, 1, 2, 1, 0, 1, 0])])
    assert list(one._groups) == [("d", 8)]


def test_own_ids_are_those_of_the_version_that_labelled_whatever_they_are_merged_into() -> None:
    own = own_ids(IDS)
    assert [own(stored(row, "m1")) for row in range(3)] == [7, 8, 9]
    assert [own(stored(row, "m2")) for row in range(3)] == [8, 11, 7]
    assert own(stored(1, "m1", smoothed=7)) == 8  # published as 7 after a merge
    assert own(stored(0, "never in production")) is None


@pytest.mark.parametrize("state", [UNKNOWN, NOT_WORN])
def test_a_window_of_no_cluster_is_no_anchor_of_the_nearest_one(state: int) -> None:
    """Else the id of the nearest cluster would go to what is new, once there is more of it."""
    assert own_ids(IDS)(stored(1)._replace(label=state)) is None


def test_what_is_unknown_is_learned_from_and_what_is_not_worn_is_not() -> None:
    windows = [window("d", number, 1) for number in range(24)]
    for place, state in (8, UNKNOWN), (16, NOT_WORN):
        for at in range(place, place + 8):
            label = windows[at].label
            assert label is not None
            windows[at] = replace(windows[at], label=label._replace(label=state))
    found = choose(windows, 100)
    assert found.ids.tolist() == [8] * 8 + [-1] * 8


def test_labels_of_several_versions_meet_in_one_group() -> None:
    one = chooser(100)
    one.take(
        [
            *(window("d", n, 0, model="m1") for n in range(8)),
            *(window("d", n, 2, model="m2") for n in range(8, 16)),
        ]
    )
    assert list(one._groups) == [("d", 7)]
    found = one.result()
    assert set(found.ids.tolist()) == {7}


def test_labels_of_a_version_that_is_not_known_count_as_none() -> None:
    found = choose([window("d", n, 0, model="elsewhere") for n in range(4)], 100)
    assert found.ids.tolist() == [-1] * 4


def test_without_windows_the_set_is_empty() -> None:
    found = choose([], 100)
    assert len(found) == found.seen == 0
    assert found.device_names == []


@pytest.mark.parametrize("rule", [{"windows": 7}, {"half_life_s": 0.0}, {"half_life_s": float("nan")}])
def test_a_rule_that_chooses_nothing_is_refused(rule: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        ReplayRule(**rule)  # type: ignore[arg-type]


@given(
    lengths=st.lists(st.integers(1, 120), min_size=1, max_size=6),
    bouts=st.lists(st.integers(1, 30), min_size=6, max_size=6),
    wanted=st.integers(100, 300),
    seed=st.integers(0, 5),
)
def test_choosing_while_windows_pass_by_is_choosing_from_all_of_them(
    lengths: list[int], bouts: list[int], wanted: int, seed: int
) -> None:
    def source() -> Iterator[LabelledWindow]:
        for number in range(max(lengths)):
            for device, length in enumerate(lengths):
                if number < length:
                    yield window(f"d{device}", number, (number // bouts[device]) % 3)

    def chosen(one: ReplayChooser) -> list[tuple[str, int]]:
        found = one.result()
        return list(zip(found.devices.tolist(), numbers(found), strict=True))

    passing, everything = chooser(wanted, seed=seed), chooser(wanted, seed=seed)
    passing.take(source())
    for each in source():
        everything._add(each)  # nothing is dropped before the end
    assert chosen(passing) == chosen(everything)
    assert passing.held == min(wanted, sum(lengths))


def test_the_last_windows_are_bounded_in_number_and_in_bytes() -> None:
    def after(**bounds: int) -> list[int]:
        recent = RecentWindows({"m1"}, {0}, **bounds)
        assert len(list(recent.watch(window("d", n, 0) for n in range(500)))) == 500
        return recent.result().window.tolist()

    assert after() == list(range(500))
    assert after(most=20) == list(range(480, 500))
    assert after(most_bytes=10 * 4 * 2 * 4) == list(range(490, 500))
    assert after(most_bytes=1) == [499]


def test_what_any_version_published_under_an_id_in_use_is_recent() -> None:
    def published(number: int, model: str, smoothed: int) -> LabelledWindow:
        return LabelledWindow(window("d", number).window, stored(0, model, smoothed))

    recent = RecentWindows(IDS, {7, 8})
    source = [
        published(0, "m1", 7), published(1, "m2", 8), published(2, "m2", 9), published(3, "elsewhere", 7),
        window("d", 4),
    ]  # fmt: skip
    assert list(recent.watch(iter(source))) == source
    found = recent.result()
    assert found.window.tolist() == [0, 1]
    assert found.label.tolist() == [7, 8]
    assert [one.samples.shape for one in found.inputs(2)] == [(2, 2)] * 2
    assert len(RecentWindows((), ()).result().inputs(2)) == 0
