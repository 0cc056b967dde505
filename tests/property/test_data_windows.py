"""Properties of windows and splits that hold for any recording."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from disc_stream.data.readers.runs import runs
from disc_stream.data.types import Recording
from disc_stream.data.windows import WindowPlan, majority_labels, split_recordings
from disc_stream.errors import DataError
from disc_stream.types import Channel

LABELS = st.lists(st.integers(-1, 2), min_size=1, max_size=60)
PLANS = st.integers(2, 6).flatmap(
    lambda half: st.integers(1, 2 * half).map(lambda hop: WindowPlan(2 * half, hop))
)


@given(LABELS, PLANS)
def test_majority_labels_agree_with_counting(labels: list[int], plan: WindowPlan) -> None:
    expected = []
    for start in range(0, len(labels) - plan.length + 1, plan.hop):
        counts = Counter(labels[start : start + plan.length])
        expected.append(max(counts, key=lambda label: (counts[label], label >= 0, -label)))
    assert majority_labels(np.array(labels, dtype=np.int16), plan, 3).tolist() == expected


@given(LABELS, PLANS)
def test_a_split_in_time_shares_no_sample_and_tests_on_what_comes_last(
    labels: list[int], plan: WindowPlan
) -> None:
    n = len(labels)
    samples = np.arange(n, dtype=np.float32)[:, np.newaxis]
    recording = Recording(
        "r", 1, 10.0, (Channel("a", "g"),), samples, np.array(labels, dtype=np.int16), ("a", "b", "c")
    )
    try:
        train, test, _ = split_recordings([recording], plan, [])
    except DataError:
        return  # too short for a window in each part
    seen, held = set(train.x.ravel().tolist()), set(test.x.ravel().tolist())
    assert not seen & held
    for label in set(labels):
        of_label = {float(i) for i in range(n) if labels[i] == label}
        assert max(seen & of_label, default=-1) < min(held & of_label, default=n)
    for part in (train, test):
        assert np.array_equal(part.x[:, 0, 0], part.start)


@given(st.lists(st.booleans(), max_size=40))
def test_runs_cover_every_row_once(begins: list[bool]) -> None:
    stretches = list(runs(np.array(begins, dtype=np.bool_)))
    assert [row for start, stop in stretches for row in range(start, stop)] == list(range(len(begins) + 1))
    assert len(stretches) == sum(begins) + 1
    assert all(begins[start - 1] for start, _ in stretches[1:])
