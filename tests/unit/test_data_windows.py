from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from disc_stream.data.types import Recording, Split
from disc_stream.data.windows import (
    WindowPlan,
    default_test_subjects,
    drop_unscored,
    fingerprint,
    majority_labels,
    plan_windows,
    split_recordings,
    window_recordings,
)
from disc_stream.errors import ConfigError, DataError
from disc_stream.types import Channel

CHANNELS = (Channel("acc_x", "g"), Channel("acc_y", "g"))
NAMES = ("rest", "walk", "run")


def recording(labels: list[int], subject: int = 1, name: str = "r") -> Recording:
    """Sample i of the recording has the value i in every channel."""
    samples = np.repeat(np.arange(len(labels), dtype=np.float32)[:, np.newaxis], 2, axis=1)
    return Recording(name, subject, 10.0, CHANNELS, samples, np.array(labels, dtype=np.int16), NAMES)


def test_windows_of_256_hundredths_at_50_hz_are_128_samples_with_a_hop_of_64() -> None:
    assert plan_windows(50.0, 2.56, 0.5) == WindowPlan(128, 64)
    assert plan_windows(98.0, 2.0, 0.5) == WindowPlan(196, 98)


def test_the_length_is_even_so_that_it_can_be_halved() -> None:
    assert plan_windows(20.0, 2.56, 0.5) == WindowPlan(52, 26)  # 51.2 samples
    assert plan_windows(50.0, 1.0, 0.0) == WindowPlan(50, 50)


@pytest.mark.parametrize("overlap", [-0.1, 1.0, 1.5])
def test_an_overlap_outside_its_range_is_refused(overlap: float) -> None:
    with pytest.raises(ConfigError, match="overlap"):
        plan_windows(50.0, 2.56, overlap)


def test_windows_know_their_place_and_person() -> None:
    # r: 0123456789      windows of 4, hop 2: [0..3] [2..5] [4..7] [6..9]
    # s: 01234           windows of 4, hop 2: [0..3]
    windows = window_recordings([recording([0] * 10, 3), recording([1] * 5, 4)], WindowPlan(4, 2))
    assert windows.start.tolist() == [0, 2, 4, 6, 0]
    assert windows.group.tolist() == [0, 0, 0, 0, 1]
    assert windows.subject.tolist() == [3, 3, 3, 3, 4]
    assert windows.y.tolist() == [0, 0, 0, 0, 1]
    assert windows.x[:, 0, 0].tolist() == [0, 2, 4, 6, 0]
    assert windows.x.shape == (5, 4, 2)
    assert windows.x.flags.c_contiguous


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([1, 1, 1, 0], 1),
        ([-1, -1, -1, 2], -1),
        ([-1, -1, 2, 2], 2),  # a label wins over "unlabelled"
        ([1, 1, 0, 0], 0),  # the lower label wins
        ([-1, -1, -1, -1], -1),
    ],
)
def test_the_majority_of_a_window_is_its_label(labels: list[int], expected: int) -> None:
    assert majority_labels(np.array(labels, dtype=np.int16), WindowPlan(4, 4), 3).tolist() == [expected]


def test_people_are_held_out() -> None:
    recordings = [recording([0] * 8, subject) for subject in (1, 2, 3, 2)]
    train, test, protocol = split_recordings(recordings, WindowPlan(4, 4), [2])
    assert set(train.subject) == {1, 3}
    assert set(test.subject) == {2}
    assert set(test.group) == {1, 3}, "groups are numbered over the whole dataset"
    assert "people 2 are held out" in protocol


def test_without_people_to_hold_out_the_end_of_every_activity_is_tested_on() -> None:
    # 20 samples of rest, then 20 of walk: 14 + 6 and 14 + 6
    #   rrrrrrrrrrrrrr|RRRRRR|wwwwwwwwwwwwww|WWWWWW       capitals: test part
    train, test, protocol = split_recordings([recording([0] * 20 + [1] * 20)], WindowPlan(4, 2), [])
    assert train.start.tolist() == [0, 2, 4, 6, 8, 10, 20, 22, 24, 26, 28, 30]
    assert test.start.tolist() == [14, 16, 34, 36]
    assert test.y.tolist() == [0, 0, 1, 1]
    assert test.x[0, :, 0].tolist() == [14, 15, 16, 17]
    assert "last 30 % of every activity" in protocol


def test_an_empty_part_is_an_error() -> None:
    with pytest.raises(DataError, match="the test part has no recordings"):
        split_recordings([recording([0] * 8)], WindowPlan(4, 4), [7])
    with pytest.raises(DataError, match="the training part has no recordings"):
        split_recordings([recording([0] * 8)], WindowPlan(4, 4), [1])
    with pytest.raises(DataError, match="no recordings to cut"):
        window_recordings([], WindowPlan(4, 4))
    with pytest.raises(DataError, match="as long as one window of 16 samples"):
        window_recordings([recording([0] * 8)], WindowPlan(16, 4))


def test_recordings_of_different_kinds_are_not_mixed() -> None:
    other = replace(recording([0] * 8, name="other"), fs=20.0)
    with pytest.raises(DataError, match=r"and 'other' differ in their rates: [0-9.]+ Hz and 20 Hz"):
        window_recordings([recording([0] * 8), other], WindowPlan(4, 4))


def test_about_a_third_of_the_people_spread_evenly_are_the_test_part() -> None:
    assert default_test_subjects(range(1, 11)) == (2, 6, 9)
    assert default_test_subjects([5, 5, 9, 1]) == (5,)
    assert default_test_subjects([1, 2, 2]) == ()


def test_unscored_windows_can_be_dropped() -> None:
    windows = window_recordings([recording([0] * 4 + [-1] * 4 + [2] * 4)], WindowPlan(4, 4))
    everything = Split(windows, windows, "p", 2, ())
    assert drop_unscored(everything).train.y.tolist() == [0, 2]
    assert drop_unscored(replace(everything, scored=(0, 1))).test.y.tolist() == [0]


def test_the_fingerprint_covers_everything_and_nothing_else() -> None:
    windows = window_recordings([recording([0] * 10)], WindowPlan(4, 2))
    same = replace(windows, x=np.asfortranarray(windows.x))
    assert fingerprint(same) == fingerprint(windows), "the layout in memory does not matter"
    one_bit = windows.x.copy()
    one_bit[2, 1, 0] = np.nextafter(one_bit[2, 1, 0], np.float32(9))
    changed = [
        replace(windows, x=one_bit),
        replace(windows, y=windows.y + np.int16(1)),
        replace(windows, subject=windows.subject + 1),
        replace(windows, subject=windows.subject + 2**16),
        replace(windows, subject=windows.subject + 2**32),
        replace(windows, group=windows.group + np.int32(1)),
        replace(windows, start=windows.start + 1),
        replace(windows, fs=11.0),
        replace(windows, channels=(Channel("acc_x", "g"), Channel("acc_y", "mg"))),
        replace(windows, label_names=("a", "b", "c")),
    ]
    assert len({fingerprint(w) for w in (windows, *changed)}) == 1 + len(changed)
