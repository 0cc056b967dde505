"""Rows of a model that people merged are published as one cluster, and smoothing knows them by their ids."""

from __future__ import annotations

import numpy as np
import pytest

from disc_stream.artifacts.publicids import PublicClusters
from disc_stream.clustering.smoothing import StickyFilter
from disc_stream.stream.smoothing import FilterSpec, Smoother
from disc_stream.stream.values import ReadyInput
from tests.support.clusters import catalogue, public

NOTHING = np.zeros((1, 1), dtype=np.float32)


def window(device: str = "watch", number: int = 0) -> ReadyInput:
    return ReadyInput(device, 1, number, 0, 0, 1, NOTHING)


def test_without_merges_rows_and_public_clusters_are_the_same() -> None:
    clusters = public(7, 3, 9)
    q = np.array([[0.5, 0.3, 0.2]], dtype=np.float32)
    assert (clusters.ids, clusters.names, clusters.has_merged) == ((7, 3, 9), ("c7", "c3", "c9"), False)
    assert clusters.add_up(q) is q
    assert clusters.rows_of(q, np.array([2])).tolist() == [2]


def test_merged_rows_are_added_up_under_the_name_of_the_one_they_were_merged_into() -> None:
    clusters = public(7, 3, 9, 4, merged={7: 9, 4: 9})
    q = np.array([[0.25, 0.4, 0.15, 0.2], [0.05, 0.9, 0.05, 0.0]], dtype=np.float32)
    assert (clusters.ids, clusters.names) == ((9, 3), ("c9", "c3"))
    np.testing.assert_allclose(clusters.add_up(q), [[0.6, 0.4], [0.1, 0.9]], rtol=1e-6)
    assert clusters.rows_of(q, np.array([0, 1])).tolist() == [0, 1], "the most probable of the merged rows"
    assert clusters.rows_of(q, np.array([1, 0])).tolist() == [1, 0]


def test_a_cluster_merged_into_one_that_this_model_does_not_have_carries_its_id() -> None:
    clusters = public(7, 3, merged={7: 50})
    assert (clusters.ids, clusters.own) == ((50, 3), (7, 3))


def test_a_muted_cluster_mutes_what_is_merged_into_it() -> None:
    of_all = catalogue([1, 2, 3], {2: 1})
    muted = [c.model_copy(update={"muted": c.id == 1}) for c in of_all.clusters]
    clusters = PublicClusters.of(of_all.model_copy(update={"clusters": tuple(muted)}))
    assert dict(zip(clusters.ids, clusters.muted, strict=True)) == {1: True, 3: False}


# ── Smoothing under another model ─────────────────────────────────────────────────────────────────────


def carried(before: PublicClusters, after: PublicClusters, model: str = "other") -> list[float]:
    """Smoothed assignment of an undecided window after one that was surely of the first cluster before."""
    first = Smoother(FilterSpec(before, model="one"))
    q = np.full((1, len(before.own)), 0.1 / (len(before.own) - 1))
    q[0, 0] = 0.9
    first.smooth([window()], q)
    disk = first.capture()
    undecided = np.full((1, len(after.own)), 1 / len(after.own))
    smoother = Smoother(FilterSpec(after, model=model), archive=disk.get)
    smoothed: list[float] = smoother.smooth([window(number=1)], undecided)[0].tolist()
    return smoothed


def test_what_is_known_of_an_id_goes_on_under_it_whatever_row_it_has() -> None:
    p = carried(public(7, 3, 9, registry="fleet"), public(20, 9, 3, 7, registry="fleet"))
    assert np.argmax(p) == 3
    assert p[3] > 0.6
    assert p[0] < p[1] + 1e-12, "a cluster that is new begins with no more than those known to be improbable"


def test_ids_of_unrelated_models_mean_nothing_to_each_other() -> None:
    np.testing.assert_allclose(carried(public(7, 3, 9), public(7, 3, 9)), [1 / 3] * 3)
    np.testing.assert_allclose(
        carried(public(7, 3, registry="mine"), public(7, 3, registry="yours")), [0.5, 0.5]
    )


def test_a_merge_adds_up_what_was_known_before_it() -> None:
    before, after = public(7, 3, 9, registry="f"), public(7, 3, 9, merged={7: 9}, registry="f")
    p = carried(before, after, model="one")
    assert after.ids[int(np.argmax(p))] == 9


def test_nothing_of_the_old_clusters_left_means_a_new_beginning() -> None:
    np.testing.assert_allclose(
        carried(public(1, 2, registry="f"), public(3, 4, 5, registry="f")), [1 / 3] * 3
    )


def test_changing_the_clusters_of_a_running_smoother_is_what_a_restart_does() -> None:
    before, after = public(7, 3, registry="f"), public(3, 7, 8, registry="f")
    disk: dict[str, bytes] = {}
    smoother = Smoother(FilterSpec(before, model="one"), archive=disk.get)
    devices = [window(name) for name in ("a", "b")]
    smoother.smooth(devices, np.array([[0.9, 0.1], [0.2, 0.8]]))
    taken = smoother.capture()
    disk |= taken
    smoother.committed(taken)
    smoother.use(FilterSpec(after, model="two"))
    q = np.full((2, 3), 1 / 3)
    again = Smoother(FilterSpec(after, model="two"), archive=disk.get)
    later = [window(name, 1) for name in ("a", "b")]
    found = smoother.smooth(later, q)
    np.testing.assert_array_equal(found, again.smooth(later, q))
    assert [after.ids[k] for k in found.argmax(1)] == [7, 3]


@pytest.mark.parametrize("kept", [0.25, 1.0])
def test_a_carried_distribution_sums_to_one(kept: float) -> None:
    after = public(1, 5, 6)
    p = after.carry_over(np.array([kept, 1 - kept]), (1, 2))
    assert p is not None
    assert p.sum() == pytest.approx(1)
    assert p[0] == pytest.approx(kept + (1 - kept) / 3)
    sticky = StickyFilter(3)
    sticky.restore((p,))
    assert sticky.update(np.full(3, 1 / 3)).argmax() == 0
