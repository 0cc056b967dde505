"""Versions of models: added whole, promoted with ids that stand, rolled back, pruned; and the log of it."""

from __future__ import annotations

import json
import sqlite3
import stat
import time
from pathlib import Path

import pytest

from disc_stream.artifacts.bundle import Bundle
from disc_stream.artifacts.catalogue import Catalogue, ClusterInfo, parse_catalogue
from disc_stream.clock import ManualClock
from disc_stream.errors import BundleError, ConfigError, RegistryConflictError, RegistryError
from disc_stream.registry import (
    GateCheck,
    Lineage,
    NameProposal,
    Registry,
    RowIds,
    RowProposal,
    Transition,
)
from disc_stream.registry.comparison import compare
from tests.support.keys import make_keys
from tests.support.registries import ANN, Models, make_bundle


@pytest.fixture
def models(tmp_path: Path) -> Models:
    return Models(tmp_path)


def current_file(models: Models) -> dict[str, object]:
    found: dict[str, object] = json.loads((models.path / "CURRENT").read_text())
    return found


def test_a_bundle_becomes_a_version_of_its_own_files_with_its_lineage(models: Models) -> None:
    bundle = models.bundle(3)
    lineage = Lineage(
        parent=None, fingerprint="f" * 64, method="disc-plus", settings={"k": 3}, seed=7,
        metrics={"nmi": 0.5}, gate=(GateCheck(measure="coverage", value=1.0, limit=0.9, passed=True),),
        windows=100, devices=2,
    )  # fmt: skip
    info = models.registry.add(bundle, lineage, RowIds.all_fresh(3))
    assert (info.number, info.version) == (1, Bundle.open(bundle).version)
    assert info.lineage == lineage
    assert info.ids is None
    for file in bundle.iterdir():
        assert (info.path / file.name).read_bytes() == file.read_bytes()
    assert json.loads((info.path / "lineage.json").read_text())["settings"] == {"k": 3}
    assert Bundle.open(info.path).version == info.version
    assert models.registry.current() is None


def test_what_a_registry_writes_is_for_its_owner_alone(models: Models) -> None:
    models.promote([None, None])
    paths = [models.path, *models.path.rglob("*")]
    assert {path.name for path in paths} >= {"CURRENT", "registry.sqlite", "lineage.json", "model.onnx"}
    for path in paths:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_a_promotion_gives_fresh_ids_and_the_names_of_the_bundle(models: Models) -> None:
    info = models.promote([None, None, None], ["walking", "cluster 1", "sitting"])
    assert info.ids == (0, 1, 2)
    assert models.published() == {0: "walking", 1: "cluster 1", 2: "sitting"}
    assert [cluster.name for cluster in models.registry.clusters.list()] == ["walking", "", "sitting"]
    assert current_file(models) == {
        "version": info.version, "number": 1, "folder": f"versions/{info.path.name}", "deployment": 1,
    }  # fmt: skip


def test_ids_follow_the_proposal_and_are_never_used_again(models: Models) -> None:
    models.promote([None, None, None])
    second = models.promote([2, None, 0])
    assert second.ids == (2, 3, 0)
    models.registry.rollback("ann", "worse")
    third = models.promote([1, None])
    assert third.ids == (1, 4)  # 3 was given to the version that was rolled back


def test_the_ids_of_a_version_stand_once_it_was_in_production(models: Models) -> None:
    first = models.promote([None, None])
    second = models.promote([1, None])
    models.registry.promote(first.number, "ann", "the old one was better")
    assert models.registry.version(first.number).ids == (0, 1)
    models.registry.promote(second.number, "ann", "no, it was not")
    assert models.registry.version(second.number).ids == (1, 2)
    assert [one.version_number for one in models.registry.deployments()] == [1, 2, 1, 2]


def test_a_candidate_of_another_base_is_refused(models: Models) -> None:
    models.promote([None, None])
    late = models.add([0, 1])
    other = models.promote([1, 0])
    with pytest.raises(
        RegistryConflictError, match=f"worked out beside .*, but {other.version} is in production"
    ):
        models.registry.promote(late.number, "retrain", "passed the gate")
    assert models.registry.version(late.number).ids is None
    models.registry.rollback("ann", "worse")  # what it was compared with is back
    models.registry.promote(late.number, "retrain", "passed the gate")
    assert models.registry.version(late.number).ids == (0, 1)


def test_a_proposal_of_ids_that_are_not_in_use_is_refused(models: Models) -> None:
    models.promote([None, None])
    models.promote([0, None])
    for stranger in (1, 99):  # retired, and never there
        info = models.add([stranger])
        with pytest.raises(
            RegistryError, match=rf"keep the id {stranger}, which is not in use.*in use are: 0, 2"
        ):
            models.registry.promote(info.number, "retrain", "passed the gate")
    with pytest.raises(ValueError, match="two rows are to get the id 0"):
        RowIds.keeping([0, 0], "x")


def test_fresh_rows_are_born_into_a_group_and_the_history_says_so(models: Models) -> None:
    registry = models.registry
    first = models.promote([None, None, None])
    registry.clusters.name(1, "walking", ANN)
    registry.clusters.merge(2, 1, ANN)
    proposal = RowIds(
        based_on=first.version,
        rows=(RowProposal(id=1), RowProposal(parent=2, merged_into=1), RowProposal()),
        transitions=(
            Transition(kind="survive", id=1, rows=(0,), share=0.9),
            Transition(kind="absorb", id=2, rows=(1,), into=None, share=0.8),
            Transition(kind="vanish", id=0),
            Transition(kind="appear", rows=(2,)),
        ),
    )
    info = registry.add(models.bundle(3), Lineage(), proposal)
    registry.promote(info.number, "retrain", "passed the gate")
    assert models.published() == {1: "walking", 3: "walking", 4: "cluster 4"}
    assert registry.catalogue_of("current").clusters[1].merged_into == 1
    assert registry.clusters.get(3).parent == 2
    events = [event for event in registry.clusters.history() if event.deployment == 2]
    assert [event.what for event in events] == [
        *["transition"] * 4, "born", "born", "born-merged", "retired", "retired",
    ]  # fmt: skip
    assert [event.detail["kind"] for event in events[:4]] == ["survive", "absorb", "vanish", "appear"]
    assert events[1].ids == (2, 3)
    assert {event.who for event in events} == {"retrain"}


def test_what_people_said_meanwhile_forbids_a_birth_into_a_group(models: Models) -> None:
    registry = models.registry
    first = models.promote([None, None])
    proposal = RowIds(based_on=first.version, rows=(RowProposal(id=0), RowProposal(parent=1, merged_into=0)))
    info = registry.add(models.bundle(2), Lineage(), proposal)
    registry.clusters.reject(1, 0, ANN)
    registry.promote(info.number, "retrain", "passed the gate")
    assert registry.clusters.get(2).merged_into is None
    apart = next(event for event in registry.clusters.history(2) if event.what == "born-apart")
    assert "somebody said that 0 is not 1" in apart.detail["reason"]


def test_rolling_back_brings_the_ids_back_and_goes_back_further_when_repeated(models: Models) -> None:
    registry = models.registry
    for ids in ([None, None], [0, None], [2]):
        models.promote(ids)
    assert {c.id for c in registry.clusters.list()} == {2}
    registry.clusters.name(2, "stairs", ANN)
    began = time.perf_counter()
    back = registry.rollback("ann", "flips")
    assert time.perf_counter() - began < 1.0
    assert (back.kind, back.version_number, back.replaced) == ("rollback", 2, registry.version(3).version)
    assert models.published() == {0: "cluster 0", 2: "stairs"}
    assert registry.rollback("ann", "flips").version_number == 1
    assert {c.id for c in registry.clusters.list()} == {0, 1}
    assert current_file(models)["number"] == 1
    with pytest.raises(ConfigError, match="no version before"):
        registry.rollback("ann", "flips")


def test_the_log_says_what_was_in_production_at_a_time_even_if_the_clock_steps_back(tmp_path: Path) -> None:
    clock = ManualClock(1_000_000)
    registry = Registry.create(tmp_path / "models", clock)
    first = registry.add(make_bundle(tmp_path / "b1", 1, 2), Lineage(), RowIds.all_fresh(2))
    registry.add(make_bundle(tmp_path / "b2", 2, 2), Lineage(), RowIds.all_fresh(2, first.version))
    registry.promote(1, "ann", "first")
    clock.now_us = 500_000
    registry.promote(2, "bob", "second")
    assert [one.at_us for one in registry.deployments()] == [1_000_000, 1_000_001]
    assert registry.deployment_at(999_999) is None
    found = registry.deployment_at(1_000_000)
    assert found is not None
    assert (found.version_number, found.who, found.why, found.gate) == (
        1,
        "ann",
        "first",
        "no acceptance gate",
    )


def test_logs_are_only_ever_added_to(models: Models) -> None:
    models.promote([None, None])
    connection = sqlite3.connect(models.path / "registry.sqlite")
    for statement in (
        "DELETE FROM deployments", "UPDATE deployments SET why = 'x'", "DELETE FROM events",
        "UPDATE events SET who = 'x'", "DELETE FROM clusters", "UPDATE rows SET id = NULL",
        "UPDATE state SET next_id = 0",
    ):  # fmt: skip
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute(statement)
    connection.close()


def test_a_rejected_version_can_be_looked_at_and_is_promoted_on_demand_only(models: Models) -> None:
    registry = models.registry
    failed = GateCheck(measure="flips", value=9.0, limit=2.0, passed=False, reason="9 flips an hour")
    info = registry.add(models.bundle(2), Lineage(gate=(failed,)), RowIds.all_fresh(2), rejected="flips")
    assert registry.bundle(info.number).version == info.version
    with pytest.raises(ConfigError, match="was rejected: flips"):
        registry.promote(info.number, "ann", "still")
    deployment = registry.promote(info.number, "ann", "still", even_rejected=True)
    assert deployment.gate == "1 of 1 checks failed: flips"
    other = models.add([0, 1])
    assert registry.reject(other.number, "ann", "mixes stairs and walking").rejected.endswith("(ann)")
    with pytest.raises(ConfigError, match="mixes stairs"):
        registry.promote(other.number, "ann", "still")
    assert registry.reject(other.number, "ann", "").rejected == ""
    with pytest.raises(ConfigError, match="is in production"):
        registry.reject("current", "ann", "bad")


def test_versions_are_found_by_number_hash_and_place(models: Models) -> None:
    registry = models.registry
    first, second = models.promote([None, None]), models.promote([0, 1])
    for ref in (1, "1", "0001", first.version, first.version[:6], first.path.name, "previous"):
        assert registry.version(ref).number == 1
    assert registry.version("current").version == second.version
    for ref in (3, "0000aaaa0000", "x", "../1", ""):
        with pytest.raises(
            ConfigError, match=rf"there is no version .*The versions are: 1 \({first.version}\)"
        ):
            registry.version(ref)


def test_pruning_keeps_what_is_used_and_all_that_is_known(models: Models) -> None:
    registry = models.registry
    infos = [models.promote([None, None])] + [models.promote([0, 1]) for _ in range(4)]
    gone = registry.prune(0, {infos[0].version})
    assert [info.number for info in gone] == [2, 3]  # 5 is in production, 4 was before, 1 has labels
    assert sorted(path.name for path in (models.path / "versions").iterdir()) == [
        infos[k].path.name for k in (0, 3, 4)
    ]
    assert registry.version(2).ids == (0, 1)
    with pytest.raises(RegistryError, match=r"files of version 2 .* were pruned"):
        registry.promote(2, "ann", "back")
    assert registry.prune(1, {infos[0].version}) == []
    assert registry.rollback("ann", "x").version_number == 4


def test_a_pruned_model_that_comes_in_again_has_its_ids(models: Models) -> None:
    registry = models.registry
    bundle = models.bundle(2)
    registry.add(bundle, Lineage(), RowIds.all_fresh(2))
    registry.promote(1, "ann", "first")
    with pytest.raises(RegistryError, match="is version 1 already, and was in production"):
        registry.add(bundle, Lineage(), RowIds.all_fresh(2))
    models.promote([1, None])
    models.promote([1, None])
    assert [info.number for info in registry.prune(0)] == [1]
    again = registry.add(bundle, Lineage(), RowIds.all_fresh(2))
    registry.promote(again.number, "ann", "back")
    assert registry.version(again.number).ids == (0, 1)


def test_versions_differ_in_clusters_metrics_and_data(models: Models) -> None:
    registry = models.registry
    models.promote([None, None, None])
    proposal = RowIds(based_on=registry.version(1).version, rows=(RowProposal(id=2), RowProposal()))
    lineage = Lineage(method="trivial", metrics={"nmi": 0.7, "deep": {"x": 1}}, windows=50)
    registry.add(models.bundle(2), lineage, proposal)
    found = compare(registry, 1, 2)
    assert found.kept == {2: (30, 10)}
    assert found.gone == {0: 10, 1: 20}
    assert found.fresh == {1: 20}
    assert found.facts == {
        "clusters": (3, 2), "metric deep.x": (None, 1), "metric nmi": (None, 0.7), "windows": (0, 50),
    }  # fmt: skip
    registry.promote(2, "ann", "x")
    assert compare(registry, 1, 2).new_ids == {3: 20}


def test_descriptions_and_marks_belong_to_a_version(models: Models) -> None:
    registry = models.registry
    models.promote([None, None])
    before = registry.revision
    proposals = [NameProposal(name="walking", evidence="1.8 steps/s"), NameProposal(name="stairs")]
    registry.describe(1, {1: ("rhythmic, 1.8 steps/s, strong", proposals)})
    assert registry.revision > before
    registry.clusters.reject_name(1, "walking", ANN)
    cluster = registry.clusters.get(1)
    assert cluster.description == registry.catalogue_of(1).clusters[1].description
    assert cluster.description == "rhythmic, 1.8 steps/s, strong"
    assert [proposal.name for proposal in cluster.proposals] == ["stairs"]
    assert registry.mark(1, "trained on watch-17, which was erased").marked.startswith("trained on")
    with pytest.raises(ConfigError, match="has no row 2"):
        registry.describe(1, {2: ("x", [])})


def test_signatures_are_asked_for_where_keys_are_trusted(models: Models, tmp_path: Path) -> None:
    _private, public = make_keys(tmp_path, "key")
    with pytest.raises(BundleError, match="is not signed"):
        models.registry.add(models.bundle(2), Lineage(), RowIds.all_fresh(2), trusted_keys=[public])
    assert models.registry.versions() == []
    models.add([None, None])
    with pytest.raises(BundleError, match="is not signed"):
        models.registry.promote(1, "ann", "x", trusted_keys=[public])
    assert models.registry.current() is None


def test_catalogues_from_before_keep_their_checksum(models: Models) -> None:
    plain = Catalogue.of("0" * 12, [ClusterInfo(id=0, name="a", size=1)])
    assert set(json.loads(plain.to_bytes())["clusters"][0]) == {"id", "name", "size", "distance_q95"}
    assert parse_catalogue(plain.to_bytes(), "it") == plain
    rich = Catalogue.of(
        "0" * 12,
        [ClusterInfo(id=0, name="a", size=1), ClusterInfo(id=7, name="a", size=1, merged_into=0, muted=True)],
    )
    assert parse_catalogue(rich.to_bytes(), "it") == rich
    assert [cluster.public_id for cluster in rich.clusters] == [0, 0]
