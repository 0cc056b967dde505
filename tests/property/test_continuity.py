"""The alignment of old ids with new rows, over random evidence, against an oracle that tries everything."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from disc_stream.clustering.continuity import Evidence, Rule, Wishes, align
from disc_stream.clustering.matching import best_matching, kept_weight

NO_FLOOR = Rule(floor=0.0)
IDS = (3, 13, 23, 33, 43)


def tables_up_to(most: int) -> st.SearchStrategy[list[list[int]]]:
    """Counts of anchors, a line for each id; up to so many ids and rows."""
    return st.integers(1, most).flatmap(
        lambda n_ids: st.integers(1, most).flatmap(
            lambda n_rows: st.lists(
                st.lists(st.integers(0, 6), min_size=n_rows, max_size=n_rows), min_size=n_ids, max_size=n_ids
            )
        )
    )


tables = tables_up_to(5)


def evidence_of(table: list[list[int]]) -> Evidence:
    """Anchors with these counts; the id of line i is 10 · i + 3, so that ids are neither rows nor lines."""
    counts = np.array(table)
    lines, rows = np.indices(counts.shape)
    return Evidence(
        np.repeat(10 * lines + 3, counts.ravel()), np.repeat(rows, counts.ravel()), n_rows=counts.shape[1]
    )


def kept_by(evidence: Evidence, ids: tuple[int | None, ...]) -> int:
    return sum(
        ids[row] == own for own, row in zip(evidence.ids.tolist(), evidence.rows.tolist(), strict=True)
    )


def all_relabellings(table: list[list[int]]) -> int:
    """The most anchors that any one-to-one relabelling keeps, by trying all."""
    counts = np.array(table)
    if counts.shape[0] > counts.shape[1]:
        counts = counts.T
    return max(
        int(sum(counts[i, column] for i, column in enumerate(columns)))
        for columns in permutations(range(counts.shape[1]), counts.shape[0])
    )


wishes_of_five = st.builds(
    Wishes,
    live=st.sets(st.sampled_from([3, 13, 23, 33, 43, 53])),
    names=st.dictionaries(st.sampled_from(IDS), st.sampled_from(["walking", "lying"])),
    merged_into=st.dictionaries(st.sampled_from([33, 43]), st.sampled_from([3, 13]), max_size=2),
    rejected=st.sets(
        st.sampled_from([(a, b) for a in (3, 13, 23, 33, 43) for b in (3, 13, 23, 33, 43) if a < b]),
        max_size=3,
    ),
    retired=st.sets(st.sampled_from([3, 13, 23]), max_size=1),
)
rules = st.builds(
    Rule, floor=st.sampled_from([0.0, 0.2, 0.5]), margin=st.sampled_from([0.0, 0.1]), part=st.just(0.1)
)


@given(tables)
def test_the_optimum_is_that_of_an_exhaustive_search(table: list[list[int]]) -> None:
    evidence = evidence_of(table)
    found = align(evidence, rule=NO_FLOOR)
    n = len(evidence.ids)
    assert kept_by(evidence, found.ids) == all_relabellings(table)
    if n:
        assert np.isclose(found.kept, kept_by(evidence, found.ids) / n)
        assert np.isclose(found.best, found.kept)


@given(tables, wishes_of_five, rules)
def test_no_id_twice_and_none_against_a_rejection_or_out_of_retirement(
    table: list[list[int]], wishes: Wishes, rule: Rule
) -> None:
    found = align(evidence_of(table), wishes, rule)
    given_ids = [own for own in found.ids if own is not None]
    assert len(given_ids) == len(set(given_ids))
    assert not set(given_ids) & set(wishes.retired)
    counts = np.array(table)
    for row, own in enumerate(found.ids):
        for pair in wishes.rejected:
            if own in pair:
                other = pair[1 - pair.index(own)]
                line = (other - 3) // 10
                if line < len(counts) and other not in wishes.retired:
                    assert counts[(own - 3) // 10, row] > counts[line, row]
    assert found.kept <= found.best + 1e-12


def shares_of_names(table: list[list[int]], wishes: Wishes, row: int) -> dict[str, float]:
    """Of a row, the share that was published under each name."""
    counts = {10 * i + 3: line[row] for i, line in enumerate(table) if 10 * i + 3 not in wishes.retired}
    names = {wishes.name(own) for own in counts}
    total = max(1, sum(counts.values()))
    return {
        name: sum(n for own, n in counts.items() if wishes.name(own) == name) / total
        for name in names
        if name
    }


@given(tables, wishes_of_five, rules)
def test_a_name_stands_on_no_row_that_is_mostly_something_else(
    table: list[list[int]], wishes: Wishes, rule: Rule
) -> None:
    for row, aligned in enumerate(align(evidence_of(table), wishes, rule).rows):
        shares = shares_of_names(table, wishes, row)
        if aligned.id is not None and (name := wishes.name(aligned.id)):
            assert shares[name] >= rule.floor - 1e-12
            assert aligned.left_name == ""
        elif aligned.left_name:
            assert shares[aligned.left_name] == max(shares.values())
            assert np.isclose(shares[aligned.left_name], aligned.left_share)
            assert aligned.left_share >= rule.floor
        elif aligned.merged_into is None and shares:
            assert aligned.weight == 0 or max(shares.values()) < rule.floor + 1e-12


def worth(table: list[list[int]], wishes: Wishes, i: int, row: int) -> float:
    """What line i in a row keeps, a tenth more if it has a name; nothing where it must not go."""
    own, count = 10 * i + 3, table[i][row]
    in_use = [j for j in range(len(table)) if 10 * j + 3 not in wishes.retired]
    if any(told_apart(wishes, own, 10 * j + 3) and table[j][row] >= count for j in in_use):
        return 0.0
    if not (name := wishes.name(own)):
        return float(count)
    same = sum(table[j][row] for j in in_use if wishes.name(10 * j + 3) == name)
    return 1.1 * count if 3 * same >= sum(table[j][row] for j in in_use) else 0.0


def told_apart(wishes: Wishes, one: int, other: int) -> bool:
    groups = {wishes.public(one), wishes.public(other)}
    for pair in wishes.rejected:
        of_pair = {wishes.public(own) for own in pair}
        if {one, other} == set(pair) or (len(of_pair) == 2 and groups == of_pair):
            return True
    return False


@given(tables_up_to(4), wishes_of_five)
def test_no_relabelling_that_is_allowed_keeps_more(table: list[list[int]], wishes: Wishes) -> None:
    in_use = [i for i in range(len(table)) if 10 * i + 3 not in wishes.retired]
    values = {i: [*(worth(table, wishes, i, row) for row in range(len(table[0]))), 0.0] for i in in_use}
    nowhere = len(table[0])
    best = max(
        sum(values[i][min(place, nowhere)] for i, place in zip(in_use, places, strict=True))
        for places in permutations(range(nowhere + len(in_use)), len(in_use))
    )
    found = align(evidence_of(table), wishes)
    rows = {own: row for row, own in enumerate(found.ids) if own is not None}
    assert np.isclose(sum(values[i][rows[10 * i + 3]] for i in in_use if 10 * i + 3 in rows), best)


@given(tables, wishes_of_five, rules, st.randoms(use_true_random=False))
def test_rows_in_another_order_get_the_same_ids_in_that_order(
    table: list[list[int]], wishes: Wishes, rule: Rule, random: Any
) -> None:
    order = list(range(len(table[0])))
    random.shuffle(order)
    shuffled = [[line[row] for row in order] for line in table]
    before, after = align(evidence_of(table), wishes, rule), align(evidence_of(shuffled), wishes, rule)

    def described(columns: list[list[int]], ids: tuple[int | None, ...]) -> list[str]:
        """Rows with equal overlaps are one another's equals, so it is the overlaps that have the id."""
        counts = [line for i, line in enumerate(columns) if 10 * i + 3 not in wishes.retired]
        return sorted(f"{[line[row] for line in counts]}: {own}" for row, own in enumerate(ids))

    assert described(table, before.ids) == described(shuffled, after.ids)
    assert np.isclose(before.kept, after.kept)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), wishes_of_five, st.randoms(use_true_random=False))
def test_the_same_partition_keeps_every_id(sizes: list[int], wishes: Wishes, random: Any) -> None:
    rows = list(range(len(sizes)))
    random.shuffle(rows)
    table = [
        [size if row == mine else 0 for row in range(len(sizes))]
        for mine, size in zip(rows, sizes, strict=True)
    ]
    found = align(evidence_of(table), wishes)
    for line, row in enumerate(rows):
        own = 10 * line + 3
        assert found.ids[row] == (None if own in wishes.retired else own)
    assert found.kept == 1.0
    kinds = {one.kind for one in found.transitions if one.id not in wishes.live}
    assert kinds <= {"survive", "appear"}


@given(st.integers(1, 5).flatmap(lambda k: st.lists(
    st.lists(st.integers(0, 6), min_size=k, max_size=k), min_size=k, max_size=k)))  # fmt: skip
def test_never_worse_than_leaving_rows_as_they_are(table: list[list[int]]) -> None:
    evidence = evidence_of(table)
    as_they_are = sum(table[i][i] for i in range(len(table)))
    assert kept_by(evidence, align(evidence, rule=NO_FLOOR).ids) >= as_they_are


@given(tables, wishes_of_five, rules)
def test_every_id_and_every_fresh_row_has_its_transition(
    table: list[list[int]], wishes: Wishes, rule: Rule
) -> None:
    evidence = evidence_of(table)
    found = align(evidence, wishes, rule)
    old = (set(evidence.ids.tolist()) | set(wishes.live)) - set(wishes.retired)
    survivors = {one.id: one.rows[0] for one in found.transitions if one.kind == "survive"}
    gone = [one.id for one in found.transitions if one.kind in ("absorb", "vanish")]
    parents = {one.id for one in found.transitions if one.kind == "split"}
    assert {one.id for one in found.transitions if one.id is not None} == old
    assert len(gone) == len(set(gone))
    assert not set(gone) & (set(survivors) | parents)
    assert survivors == {own: row for row, own in enumerate(found.ids) if own is not None}
    appeared = {one.rows[0] for one in found.transitions if one.kind == "appear"}
    parted = {row for row, one in enumerate(found.rows) if one.id is None and one.parent is None}
    assert appeared <= {row for row, own in enumerate(found.ids) if own is None}
    assert parted <= appeared


@given(tables, st.floats(1e-6, 1e6))
def test_weights_and_soft_assignments_say_the_same_as_counts(table: list[list[int]], scale: float) -> None:
    evidence = evidence_of(table)
    ids, rows, n_rows = evidence.ids, evidence.rows, evidence.n_rows
    weighted = Evidence(ids, rows, n_rows, weights=np.full(len(ids), scale))
    soft = Evidence(ids, rows, n_rows, soft=np.eye(n_rows)[rows])
    plain = align(evidence)
    assert align(soft).ids == plain.ids
    # Weights are compared in steps, so that a tie of counts may be decided otherwise; it is as good.
    assert np.isclose(align(weighted, rule=NO_FLOOR).kept, align(evidence, rule=NO_FLOOR).kept, atol=1e-5)


@given(st.lists(st.lists(st.floats(0, 1), min_size=4, max_size=4), min_size=1, max_size=4))
def test_a_matching_of_fractions_is_as_good_as_any(table: list[list[float]]) -> None:
    overlap = np.array(table)
    found = kept_weight(overlap, best_matching(overlap))
    best = max(
        sum(overlap[i, column] for i, column in enumerate(columns))
        for columns in permutations(range(4), len(overlap))
    )
    assert found >= best - 1e-5 * max(overlap.sum(), 1e-300)
