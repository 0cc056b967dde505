"""A name that stays behind in a retraining is proposed for the cluster that most of it went to."""

from __future__ import annotations

import numpy as np

from disc_stream.clustering.continuity import AlignedRow, Evidence, Wishes, align
from disc_stream.registry import NameProposal
from disc_stream.retraining.describing import Described, with_left_names

NOT_REJECTED: frozenset[str] = frozenset()


def described(*names: str) -> Described:
    return Described("rhythmic", tuple(NameProposal(name=name, evidence="1.8 steps/s") for name in names))


def row(left_name: str = "", left_share: float = 0.0) -> AlignedRow:
    return AlignedRow(None, None, None, 0.0, 10.0, left_name, left_share)


def test_it_comes_before_what_the_machine_proposes_and_once() -> None:
    [found] = with_left_names([described("running", "walking", "x")], [row("walking", 0.62)], [NOT_REJECTED])
    assert found.text == "rhythmic"
    assert [one.name for one in found.proposals] == ["walking", "running", "x"]
    assert found.proposals[0].evidence == "62% of its windows had this name before"


def test_there_are_never_more_than_three() -> None:
    [found] = with_left_names([described("a", "b", "c")], [row("walking", 0.5)], [NOT_REJECTED])
    assert [one.name for one in found.proposals] == ["walking", "a", "b"]


def test_what_was_rejected_is_not_proposed_again() -> None:
    machine = described("running")
    assert with_left_names([machine], [row("walking", 0.9)], [frozenset({"walking"})]) == (machine,)


def test_rows_with_a_name_of_their_own_have_none() -> None:
    rows = align(
        Evidence(np.array([4, 4, 4, 5]), np.array([0, 0, 1, 2]), 3), Wishes(names={4: "walking"})
    ).rows
    found = with_left_names([described("x")] * 3, rows, [NOT_REJECTED] * 3)
    assert [one.proposals[0].name for one in found] == ["x", "walking", "x"]
