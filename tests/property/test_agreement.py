"""The streaming agreement against the functions over whole arrays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disc_stream.clustering.agreement import Agreement, score_table
from disc_stream.clustering.metrics import Labels, accuracy, ari, nmi

K, ACTIVITIES = 7, 5


def whole(truth: Labels, clusters: Labels) -> dict[str, float]:
    """The functions over whole arrays."""
    return {"nmi": nmi(truth, clusters), "acc": accuracy(truth, clusters), "ari": ari(truth, clusters)}


pairs = st.lists(st.tuples(st.integers(0, ACTIVITIES - 1), st.integers(0, K - 1)), min_size=2, max_size=200)


@settings(deadline=None, max_examples=150)
@given(pairs, st.integers(0, 200))
def test_any_stream_in_any_pieces_scores_as_the_whole_arrays_do(
    stream: list[tuple[int, int]], cut: int
) -> None:
    truth, clusters = (np.array(column) for column in zip(*stream, strict=True))
    agreement = Agreement(ACTIVITIES, K)
    for one, other in stream[:cut]:
        agreement.add(one, other)
    agreement.update(truth[cut:], clusters[cut:])
    assert agreement.windows == len(stream)
    assert agreement.score() == pytest.approx(whole(truth, clusters), abs=1e-9)


@pytest.mark.parametrize(
    ("truth", "clusters"),
    [
        ([0, 0, 0], [1, 1, 1]),  # both constant
        ([0, 0, 0], [0, 1, 2]),  # one activity
        ([0, 1, 2], [3, 3, 3]),  # one cluster
        ([0, 1, 2, 3], [3, 2, 1, 0]),  # perfect, every window alone
        ([0, 0, 1, 1], [5, 5, 3, 5]),
        ([0, 1, 0, 1], [0, 0, 1, 1]),  # independent
    ],
)
def test_corner_cases_agree_with_the_functions(truth: list[int], clusters: list[int]) -> None:
    agreement = Agreement(ACTIVITIES, K)
    agreement.update(np.array(truth), np.array(clusters))
    assert agreement.score() == pytest.approx(whole(np.array(truth), np.array(clusters)), abs=1e-9)


def test_a_table_by_hand() -> None:
    # Activity 0 meets cluster 1 forty times; activity 1 meets clusters 0 and 1 thirty times each.
    table = np.array([[0, 40], [30, 30]])
    found = score_table(table)
    assert found["acc"] == pytest.approx(0.7)
    entropy = -(0.3 * np.log(0.3) + 0.7 * np.log(0.7)), -(0.4 * np.log(0.4) + 0.6 * np.log(0.6))
    both = -(0.4 * np.log(0.4) + 2 * 0.3 * np.log(0.3))
    assert found["nmi"] == pytest.approx(2 * (sum(entropy) - both) / sum(entropy))
    # Pairs: together 780 + 435 + 435, in activities 780 + 1770, in clusters 435 + 2415, of 4950.
    expected = 2550 * 2850 / 4950
    assert found["ari"] == pytest.approx((1650 - expected) / ((2550 + 2850) / 2 - expected))


def test_billions_of_windows_do_not_overflow() -> None:
    agreement = Agreement(2, 2)
    agreement.table += np.array([[3_000_000_000, 0], [0, 5_000_000_000]])
    found = agreement.score()
    assert found is not None
    assert (found["acc"], found["ari"]) == (1.0, 1.0)


def test_nothing_counted_has_no_score() -> None:
    assert Agreement(3, 3).score() is None
    with pytest.raises(ValueError, match="with counts"):
        score_table(np.zeros((3, 3), dtype=np.int64))
