"""Old ids on new rows: what the rule says in the cases that people would ask about."""

from __future__ import annotations

import time

import numpy as np
import pytest

from disc_stream.clustering.continuity import Alignment, Evidence, Rule, Wishes, align
from disc_stream.errors import ConfigError, DataError


def aligned(table: dict[int, list[int]], wishes: Wishes | None = None, rule: Rule | None = None) -> Alignment:
    """Align by counts: own id -> its anchors in each row of the new version."""
    counts = np.array(list(table.values()))
    lines, rows = np.indices(counts.shape)
    ids = np.array(list(table))[lines]
    evidence = Evidence(
        np.repeat(ids, counts.ravel()), np.repeat(rows, counts.ravel()), n_rows=counts.shape[1]
    )
    return align(evidence, wishes, rule)


def events(found: Alignment) -> list[tuple[str, int | None, tuple[int, ...]]]:
    return [(one.kind, one.id, one.rows) for one in found.transitions]


def test_rows_are_numbered_anew_and_ids_stay() -> None:
    found = aligned({4: [0, 1, 9], 5: [8, 0, 0], 6: [1, 9, 0]})
    assert found.ids == (5, 6, 4)
    assert found.kept == pytest.approx(26 / 28)
    assert events(found) == [("survive", 4, (2,)), ("survive", 5, (0,)), ("survive", 6, (1,))]


def test_a_new_motion_is_fresh_and_moves_nobody() -> None:
    found = aligned({4: [10, 0, 0], 5: [0, 10, 0]})
    assert found.ids == (4, 5, None)
    assert events(found)[-1] == ("appear", None, (2,))
    assert found.rows[2].weight == 0.0


def test_a_split_leaves_the_id_with_the_larger_part() -> None:
    found = aligned({4: [0, 10, 6], 5: [9, 0, 0]})
    assert found.ids == (5, 4, None)
    assert found.rows[2].parent == 4
    assert ("split", 4, (2,)) in events(found)
    assert ("survive", 4, (1,)) in events(found)


def test_a_fresh_row_in_which_two_ids_meet_came_out_of_neither() -> None:
    found = aligned({4: [10, 0, 4], 5: [0, 10, 4]})
    assert found.ids == (4, 5, None)
    assert found.rows[2].parent is None
    assert events(found) == [("survive", 4, (0,)), ("survive", 5, (1,)), ("appear", None, (2,))]


def test_a_sliver_of_an_id_is_no_split() -> None:
    table = {4: [100, 5]}
    assert events(aligned(table)) == [("survive", 4, (0,)), ("appear", None, (1,))]
    assert events(aligned(table, rule=Rule(part=0.04))) == [("survive", 4, (0,)), ("split", 4, (1,))]


def test_two_clusters_in_one_row_the_smaller_is_absorbed() -> None:
    found = aligned({4: [10], 5: [8]})
    assert found.ids == (4,)
    [absorbed] = [one for one in found.transitions if one.kind == "absorb"]
    assert (absorbed.id, absorbed.rows, absorbed.into, absorbed.share) == (5, (0,), 4, 1.0)


def test_a_scattered_cluster_vanishes() -> None:
    found = aligned({4: [10, 0, 0], 5: [0, 10, 0], 6: [0, 0, 10], 7: [2, 2, 2]})
    assert found.ids == (4, 5, 6)
    assert ("vanish", 7, ()) in events(found)


def test_an_id_without_anchors_vanishes() -> None:
    found = aligned({4: [3]}, Wishes(live=[4, 9]))
    assert events(found) == [("survive", 4, (0,)), ("vanish", 9, ())]


def test_a_retired_id_does_not_come_back() -> None:
    found = aligned({4: [9, 0], 5: [0, 3]}, Wishes(live=[5], retired=[4]))
    assert found.ids == (None, 5)
    assert all(one.id != 4 for one in found.transitions)


def test_no_anchors_at_all() -> None:
    nothing = np.array([], dtype=np.int64)
    found = align(Evidence(nothing, nothing, n_rows=3), Wishes(live=[1]))
    assert found.ids == (None, None, None)
    assert (found.kept, found.best) == (1.0, 1.0)
    assert [one.kind for one in found.transitions] == ["vanish", "appear", "appear", "appear"]


class TestNames:
    """A name stays with its cluster, and is never put on another one."""

    def test_a_named_id_goes_where_most_can_be_kept(self) -> None:
        table = {4: [60, 50], 5: [59, 0]}  # both rows are mostly 4's; 5 in row 0 and 4 in row 1 keep 109
        assert aligned(table).ids == (5, 4)
        assert aligned(table, Wishes(names={4: "walking"})).ids == (5, 4)

    def test_a_near_tie_is_the_names(self) -> None:
        assert aligned({4: [20], 5: [21]}).ids == (5,)
        assert aligned({4: [20], 5: [21]}, Wishes(names={4: "walking"})).ids == (4,)

    def test_a_clear_majority_is_no_near_tie(self) -> None:
        found = aligned({4: [20], 5: [30]}, Wishes(names={4: "walking"}))
        assert found.ids == (5,)
        assert (found.rows[0].left_name, found.rows[0].left_share) == ("walking", 0.4)

    def test_a_name_is_put_on_no_row_that_is_mostly_something_else(self) -> None:
        table = {4: [33, 0], 5: [67, 90]}  # 4 in row 0 and 5 in row 1 would keep 123
        assert aligned(table).ids == (4, 5)
        found = aligned(table, Wishes(names={4: "sitting", 5: "lying"}))
        assert found.ids == (None, 5)
        assert found.kept / found.best == pytest.approx(90 / 123)
        assert aligned(table, Wishes(names={4: "sitting"}), Rule(floor=0.3)).ids == (4, 5)

    def test_an_id_without_a_name_may_go_on_in_a_sliver(self) -> None:
        assert aligned({4: [1, 0], 5: [99, 100]}, Wishes(names={5: "lying"})).ids == (4, 5)

    def test_clusters_of_one_name_vouch_for_one_another(self) -> None:
        table = {4: [12, 0, 0], 5: [13, 80, 0], 6: [40, 0, 90]}  # 25 of 65 are lying, 12 of these were 4
        named = {4: "lying", 5: "lying", 6: "walking"}
        assert aligned(table, Wishes(names=named)).ids == (4, 5, 6)
        assert aligned(table, Wishes(names={**named, 5: "sitting"})).ids == (None, 5, 6)

    def test_what_is_merged_into_a_name_has_the_name(self) -> None:
        wishes = Wishes(names={9: "walking"}, merged_into={4: 9})
        assert aligned({4: [20], 5: [21]}, wishes).ids == (4,)

    def test_a_part_that_is_split_off_is_proposed_the_name(self) -> None:
        found = aligned({4: [60, 30], 5: [0, 5]}, Wishes(names={4: "walking"}))
        assert found.ids == (4, 5)
        left = [(row.left_name, row.left_share) for row in found.rows]
        assert left == [("", 0.0), ("walking", pytest.approx(30 / 35))]
        fresh = aligned({4: [60, 30]}, Wishes(names={4: "walking"}))
        assert fresh.ids == (4, None)
        assert fresh.rows[1].left_name == "walking"

    def test_a_part_born_into_a_named_group_needs_no_proposal(self) -> None:
        found = aligned({4: [10, 4, 0], 5: [0, 3, 10]}, Wishes(names={4: "walking"}, merged_into={5: 4}))
        assert found.rows[1].merged_into == 4
        assert found.rows[1].left_name == ""


class TestMergesAndRejections:
    """What people said holds."""

    def test_a_fresh_part_of_a_merged_group_is_born_merged(self) -> None:
        table = {4: [10, 4, 0], 5: [0, 3, 10]}
        found = aligned(table, Wishes(merged_into={5: 4}))
        assert found.ids == (4, None, 5)
        assert found.rows[1].merged_into == 4
        assert aligned(table).rows[1].merged_into is None

    def test_chains_of_merges_are_followed(self) -> None:
        found = aligned({4: [10, 0, 3], 5: [0, 10, 3]}, Wishes(merged_into={4: 5, 5: 6}))
        assert found.rows[2].merged_into == 6

    def test_an_id_never_goes_to_a_row_of_what_it_is_not(self) -> None:
        table = {4: [0, 8], 5: [0, 8], 6: [9, 0]}
        assert aligned(table).ids[1] in (4, 5)
        found = aligned(table, Wishes(rejected=[(5, 4)]))
        assert found.ids == (6, None)

    def test_the_larger_part_keeps_the_row_and_the_quarrel_is_told(self) -> None:
        found = aligned({4: [9], 5: [5]}, Wishes(rejected=[(4, 5)]))
        assert found.ids == (4,)
        assert found.contested == ((0, 4, 5),)

    def test_a_rejection_holds_for_the_whole_group(self) -> None:
        wishes = Wishes(merged_into={4: 1, 5: 2}, rejected=[(1, 2)])
        assert aligned({4: [8], 5: [8]}, wishes).ids == (None,)

    def test_a_circle_of_merges_is_an_error(self) -> None:
        with pytest.raises(ConfigError, match="1 into 2 into 1"):
            Wishes(merged_into={1: 2, 2: 1})


def test_weights_decide_where_numbers_would_not() -> None:
    ids, rows = np.array([4, 4, 5]), np.array([0, 0, 0])
    assert align(Evidence(ids, rows, 1)).ids == (4,)
    assert align(Evidence(ids, rows, 1, weights=np.array([1.0, 1.0, 30.0]))).ids == (5,)


def test_a_thousand_clusters_take_seconds_at_most() -> None:
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 1000, 20_000)
    shuffled = rng.permutation(1000)
    ids = shuffled[rows]
    ids[:2000] = rng.integers(0, 1000, 2000)
    wishes = Wishes(names={one: f"motion {one}" for one in range(0, 1000, 3)}, rejected=[(1, 2), (3, 4)])
    started = time.perf_counter()
    found = align(Evidence(ids, rows, 1000), wishes)
    assert time.perf_counter() - started < 30
    assert sum(own == shuffled[row] for row, own in enumerate(found.ids)) > 990


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Evidence(np.array([1]), np.array([3]), 3), "rows of the anchors go from 3 to 3"),
        (lambda: Evidence(np.array([1, 2]), np.array([0]), 3), "differ"),
        (lambda: Evidence(np.array([1]), np.array([0]), 0), "at least one row"),
        (lambda: Evidence(np.array([1]), np.array([0]), 1, weights=np.array([np.nan])), "weights"),
        (lambda: Evidence(np.array([1]), np.array([0]), 2, soft=np.array([[1.0]])), "1 × 2"),
    ],
)
def test_evidence_that_does_not_fit(make: object, words: str) -> None:
    with pytest.raises(DataError, match=words):
        make()  # type: ignore[operator]


def test_a_threshold_outside_its_range() -> None:
    with pytest.raises(ConfigError, match="floor must be between 0 and 1"):
        Rule(floor=1.5)
