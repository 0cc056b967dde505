"""What people say of clusters: it holds, it can be undone, and nobody overwrites anybody unseen."""

from __future__ import annotations

from pathlib import Path

import pytest

from disc_stream.errors import ConfigError, RegistryConflictError
from disc_stream.registry import Author, Clusters, Registry
from tests.support.registries import ANN, BOB, Models


@pytest.fixture
def models(tmp_path: Path) -> Models:
    """Six clusters in production, without names."""
    models = Models(tmp_path)
    models.promote([None] * 6)
    return models


@pytest.fixture
def clusters(models: Models) -> Clusters:
    return models.registry.clusters


def test_a_name_colour_note_and_mute_are_what_labels_carry(models: Models, clusters: Clusters) -> None:
    before = models.registry.revision
    clusters.name(3, "walking", ANN)
    clusters.colour(3, "#AABBCC", ANN)
    clusters.note(3, "only on the left wrist", ANN)
    clusters.mute(3, BOB)
    assert models.registry.revision == before + 4
    row = models.registry.catalogue_of("current").clusters[3]
    assert (row.id, row.name, row.colour, row.muted) == (3, "walking", "#aabbcc", True)
    clusters.unmute(3, ANN)
    assert not models.registry.catalogue_of("current").clusters[3].muted
    last = clusters.history(3)[-1]
    assert (last.who, last.what, last.ids) == ("ann", "unmute", (3,))
    assert [(c.field, c.before, c.after) for c in last.changes] == [("muted", True, False)]


def test_what_is_so_already_is_no_event(models: Models, clusters: Clusters) -> None:
    clusters.name(1, "walking", ANN)
    clusters.merge(2, 1, ANN)
    clusters.reject(3, 4, ANN)
    clusters.reject_name(3, "running", ANN)
    before = models.registry.revision, len(clusters.history())
    assert clusters.name(1, "walking", BOB) is None
    assert clusters.merge(2, 1, BOB) is None
    assert clusters.reject(4, 3, BOB) is None
    assert clusters.reject_name(3, "running", BOB) is None
    assert clusters.unmute(1, BOB) is None
    assert (models.registry.revision, len(clusters.history())) == before


def test_a_merged_cluster_is_published_as_the_other_and_keeps_its_own_name(
    models: Models, clusters: Clusters
) -> None:
    clusters.name(1, "walking", ANN)
    clusters.name(2, "strolling", ANN)
    clusters.merge(2, 1, ANN)
    clusters.merge(3, 2, ANN)  # goes on to 1
    assert models.published() == {
        0: "cluster 0", 1: "walking", 2: "walking", 3: "walking", 4: "cluster 4", 5: "cluster 5",
    }  # fmt: skip
    assert [c.public_id for c in clusters.list()] == [0, 1, 1, 1, 4, 5]
    clusters.mute(1, ANN)
    assert [c.muted for c in models.registry.catalogue_of("current").clusters[:4]] == [
        False,
        True,
        True,
        True,
    ]
    clusters.split(1, ANN)
    assert [models.published()[k] for k in (1, 2, 3)] == ["walking", "strolling", "strolling"]


def test_chosen_merges_are_taken_back(models: Models, clusters: Clusters) -> None:
    for own in (2, 3, 4):
        clusters.merge(own, 1, ANN)
    event = clusters.split(1, ANN, [2, 4])
    assert event is not None
    assert event.ids == (1, 2, 4)
    assert [c.public_id for c in clusters.list()] == [0, 1, 2, 1, 4, 5]
    with pytest.raises(ConfigError, match=r"cluster 2 is not merged into 1.*Merged into it are: 3"):
        clusters.split(1, ANN, [2])
    with pytest.raises(ConfigError, match=r"nothing is merged into cluster 3.*clusters split 1 3"):
        clusters.split(3, ANN)


@pytest.mark.parametrize(
    ("cluster", "into", "message"),
    [
        (1, 1, "cannot be merged into itself"),
        (1, 2, "would go in a circle"),
        (1, 3, "would go in a circle"),
        (2, 5, "is merged into 1 already.*clusters split 1 2"),
        (4, 5, "somebody said that 4 is not 5"),
        (4, 0, "somebody said that 4 is not 5"),
        (1, 99, "there is no cluster 99.*in use are: 0, 1, 2, 3, 4, 5"),
        (99, 1, "there is no cluster 99"),
    ],
)
def test_merges_that_cannot_be_are_named(cluster: int, into: int, message: str, clusters: Clusters) -> None:
    clusters.merge(2, 1, ANN)
    clusters.merge(3, 2, ANN)
    clusters.reject(5, 4, ANN)
    clusters.merge(5, 0, ANN)
    events = len(clusters.history())
    with pytest.raises(ConfigError, match=message):
        clusters.merge(cluster, into, ANN)
    assert len(clusters.history()) == events


def test_a_rejection_of_what_is_merged_says_what_to_do(clusters: Clusters) -> None:
    clusters.merge(2, 1, ANN)
    clusters.merge(3, 1, ANN)
    with pytest.raises(ConfigError, match=r"2 and 3 are merged.*clusters split 1"):
        clusters.reject(2, 3, ANN)
    with pytest.raises(ConfigError, match="is itself"):
        clusters.reject(2, 2, ANN)
    clusters.name(4, "lying", ANN)
    with pytest.raises(ConfigError, match="cluster 4 is called 'lying'"):
        clusters.reject_name(4, "lying", ANN)


def test_retired_clusters_are_left_alone_and_keep_their_history(models: Models, clusters: Clusters) -> None:
    clusters.name(5, "cycling", ANN)
    models.promote([0, 1, 2, 3, 4])
    for change in (
        lambda: clusters.name(5, "x", ANN), lambda: clusters.merge(5, 1, ANN),
        lambda: clusters.merge(1, 5, ANN), lambda: clusters.mute(5, ANN),
        lambda: clusters.reject(1, 5, ANN), lambda: clusters.colour(5, "", ANN),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=r"cluster 5 is retired.*in use are: 0, 1, 2, 3, 4;"):
            change()
    assert [c.id for c in clusters.list()] == [0, 1, 2, 3, 4]
    assert [c.name for c in clusters.list(retired=True) if c.retired] == ["cycling"]
    assert [event.what for event in clusters.history(5)] == ["born", "name", "retired"]


def test_what_others_are_published_as_is_in_use_without_a_row_of_its_own(
    models: Models, clusters: Clusters
) -> None:
    clusters.merge(2, 1, ANN)
    models.promote([0, 2])
    clusters.name(1, "walking", ANN)
    assert models.published() == {0: "cluster 0", 2: "walking"}
    assert [c.id for c in clusters.list()] == [0, 1, 2]


def test_undo_takes_back_one_change_after_another_and_an_undo_as_well(clusters: Clusters) -> None:
    clusters.name(1, "a", ANN)
    clusters.name(1, "b", BOB)
    clusters.merge(2, 1, ANN)
    undone = clusters.undo(BOB)
    assert (undone.who, undone.detail) == ("bob", {"of": "merge"})
    assert clusters.get(2).merged_into is None
    clusters.undo(BOB)
    assert clusters.get(1).name == "a"
    clusters.undo(BOB)
    assert clusters.get(1).name == ""
    with pytest.raises(ConfigError, match="nothing to undo"):
        clusters.undo(BOB)
    clusters.undo(ANN, undone.number)
    assert clusters.get(2).merged_into == 1


def test_undo_refuses_what_something_later_depends_on(clusters: Clusters) -> None:
    def number(event: object) -> int:
        return int(event.number)  # type: ignore[attr-defined]

    first = number(clusters.name(1, "a", ANN))
    second = number(clusters.name(1, "b", BOB))
    with pytest.raises(
        ConfigError, match=rf"event {second} \(name by bob\) has changed the same since.*Undo {second}"
    ):
        clusters.undo(ANN, first)
    third = number(clusters.name(1, "a", ANN))  # the same value again, and another change
    with pytest.raises(ConfigError, match=rf"event {third} \(name by ann\) has changed the same since"):
        clusters.undo(ANN, first)
    for event in (third, second, first):
        clusters.undo(ANN, event)
    with pytest.raises(ConfigError, match=rf"event {first} is undone already"):
        clusters.undo(ANN, first)
    clusters.merge(2, 1, ANN)
    split = number(clusters.split(1, ANN))
    clusters.reject(1, 2, ANN)
    with pytest.raises(ConfigError, match="somebody said that 1 is not 2"):
        clusters.undo(ANN, split)
    with pytest.raises(ConfigError, match=r"belongs to a promotion.*models rollback"):
        clusters.undo(ANN, 1)
    with pytest.raises(ConfigError, match=r"there is no event 999.*They go from 1 to"):
        clusters.undo(ANN, 999)


def test_a_merge_that_would_close_a_circle_is_not_done_again(clusters: Clusters) -> None:
    event = clusters.merge(1, 2, ANN)
    assert event is not None
    undo = clusters.undo(ANN, event.number)
    clusters.merge(2, 1, ANN)
    with pytest.raises(ConfigError, match="circle"):
        clusters.undo(ANN, undo.number)
    rejection = clusters.reject(3, 4, ANN)
    assert rejection is not None
    undo = clusters.undo(ANN, rejection.number)
    clusters.merge(3, 4, ANN)
    with pytest.raises(ConfigError, match="3 and 4 have been merged since"):
        clusters.undo(ANN, undo.number)


def test_of_two_who_edit_at_once_the_second_is_told(models: Models) -> None:
    theirs = Registry.open(models.path)
    seen = theirs.revision
    theirs.clusters.name(2, "sitting", Author("cy", seen))
    models.registry.clusters.name(1, "walking", Author("ann", seen))  # another cluster: no harm
    with pytest.raises(
        RegistryConflictError, match=rf"cluster 1 has changed since revision {seen}: ann did name"
    ):
        theirs.clusters.name(1, "stairs", Author("bob", seen))
    with pytest.raises(RegistryConflictError, match="cluster 1 has changed"):
        theirs.clusters.merge(3, 1, Author("bob", seen))
    assert models.published()[1] == "walking"
    event = theirs.clusters.name(1, "stairs", Author("bob", theirs.revision))
    assert event is not None
    assert event.expected == event.revision - 1
    assert (event.changes[0].before, event.changes[0].after) == ("walking", "stairs")
    with pytest.raises(ConfigError, match="revision 999 has not been yet"):
        theirs.clusters.name(1, "x", Author("bob", 999))
    theirs.close()


LONG = "n" * 10_000
BAD_NAMES = [LONG, "a\nb", "a\x00b", "\x1b[2J", "a\u202eb", "\u2066x", "   ", "\ud800"]


@pytest.mark.parametrize("text", BAD_NAMES, ids=ascii)
def test_texts_that_nobody_should_have_to_read_are_refused(text: str, clusters: Clusters) -> None:
    with pytest.raises(ConfigError, match=r"cannot be the name of cluster 1.*1 to 64 printable") as caught:
        clusters.name(1, text, ANN)
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()
    with pytest.raises(ConfigError, match="cannot be the name of cluster 1"):
        clusters.reject_name(1, text, ANN)
    with pytest.raises(ConfigError, match="cannot be the note"):
        clusters.note(1, text, ANN)
    with pytest.raises(ConfigError, match="cannot be who"):
        clusters.name(1, "walking", Author(text))
    with pytest.raises(ConfigError, match="is not a colour"):
        clusters.colour(1, text, ANN)
    assert clusters.get(1).name == ""


def test_an_unknown_cluster_is_named_with_those_that_there_are(clusters: Clusters) -> None:
    for change in (
        lambda: clusters.name(77, "x", ANN), lambda: clusters.get(77), lambda: clusters.history(77),
        lambda: clusters.split(77, ANN), lambda: clusters.split(1, ANN, [77]),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=r"there is no cluster 77.*in use are: 0, 1, 2, 3, 4, 5"):
            change()


def test_without_a_version_in_production_there_are_no_clusters(tmp_path: Path) -> None:
    with Registry.create(tmp_path / "models") as registry:
        assert registry.clusters.list() == ()
        with pytest.raises(ConfigError, match="No version is in production yet"):
            registry.clusters.name(0, "x", ANN)
