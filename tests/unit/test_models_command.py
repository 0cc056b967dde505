"""``disc-stream models`` and ``clusters``: what people type, what they are told, and what scripts read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from disc_stream.registry import GateCheck, Lineage, NameProposal, Registry, RowIds, RowProposal
from disc_stream_server.storage.state import StateStore, StoredLabel
from tests.support.commandline import CommandLine, Done
from tests.support.commits import commit
from tests.support.registries import make_bundle


class Typed:
    """Commands on one registry."""

    def __init__(self, run: CommandLine, folder: Path) -> None:
        self._run, self.models = run, folder / "models"

    def __call__(self, *words: object, code: int = 0) -> str:
        done = self.done(*words)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout if code == 0 else done.stderr

    def done(self, *words: object) -> Done:
        return self._run(*words, "--models", self.models)

    def json(self, *words: object) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self(*words, "--json"))
        return found


@pytest.fixture
def typed(command_line: CommandLine, tmp_path: Path) -> Typed:
    return Typed(command_line, tmp_path)


@pytest.fixture
def served(typed: Typed, tmp_path: Path) -> Typed:
    """One version of three clusters in production, one of them with a name of its bundle."""
    make_bundle(tmp_path / "first", 1, 3, ["walking"])
    typed("models", "init")
    typed("models", "add", tmp_path / "first")
    typed("models", "promote", 1, "--who", "ann", "--why", "the first")
    return typed


def test_a_first_model_is_added_promoted_and_named(typed: Typed, tmp_path: Path) -> None:
    make_bundle(tmp_path / "first", 1, 3, ["walking"])
    assert "models add BUNDLE" in typed("models", "init")
    assert "no versions yet" in typed("models", "list")
    assert "models promote 1" in typed("models", "add", tmp_path / "first", "--note", "by hand")
    assert "no version is in production yet" in typed("clusters", "list")
    assert "clusters list" in typed("models", "promote", 1)
    listed = typed("clusters", "list")
    assert "walking" in listed
    assert f'clusters name 1 "NAME" --models {typed.models}' in listed
    said = typed("clusters", "name", 1, "stairs")
    assert "1 name '' → 'stairs'" in said
    assert "clusters undo 4" in said
    assert [c["label"] for c in typed.json("clusters", "list")["clusters"]] == [
        "walking",
        "stairs",
        "cluster 2",
    ]


def test_the_list_of_clusters_is_whole_in_a_narrow_terminal(
    served: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    served("clusters", "name", 1, "up and down the stairs of the old house")
    served("clusters", "mute", 1)
    listed = served("clusters", "list")
    assert listed.split()[:6] == ["id", "name", "description", "windows", "state", "note"]
    assert "muted" in listed
    assert "…" not in listed


def test_the_folder_may_stand_in_the_environment(
    served: Typed, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISC_STREAM_MODELS", str(served.models))
    assert "walking" in command_line("clusters", "list").stdout
    monkeypatch.delenv("DISC_STREAM_MODELS")
    missing = command_line("clusters", "list")
    assert missing.returncode == 2
    assert "--models" in missing.stderr


def test_every_change_of_clusters_has_a_command(served: Typed) -> None:
    for words in (
        ("name", 0, "strolling"), ("merge", 1, 0), ("split", 0, 1), ("mute", 2), ("unmute", 2),
        ("colour", 2, "#3366cc"), ("note", 2, "left wrist only"), ("reject", 1, 2),
        ("reject-name", 1, "cycling"),
    ):  # fmt: skip
        event = served.json("clusters", *words, "--who", "bob")["event"]
        assert (event["what"], event["who"]) == (words[0], "bob")
    found = {c["id"]: c for c in served.json("clusters", "list")["clusters"]}
    assert found[0]["name"] == "strolling"
    assert (found[2]["colour"], found[2]["note"], found[2]["not"]) == ("#3366cc", "left wrist only", [1])
    assert found[1]["not_named"] == ["cycling"]
    assert served.json("clusters", "mute", 2)["event"]["what"] == "mute"
    assert served.json("clusters", "mute", 2)["event"] is None
    assert "so already" in served("clusters", "mute", 2)
    assert served.json("clusters", "undo")["event"]["detail"] == {"of": "mute"}
    history = served("clusters", "history", 2, "--limit", 3)
    assert "undid event" in history
    assert "older ones" in history


def test_hints_say_what_may_not_have_been_meant(served: Typed) -> None:
    assert 'clusters name 1 "walking"' in served("clusters", "merge", 0, 1)
    said = served("clusters", "name", 0, "cycling")
    assert "published as 1 (cluster 1), which it is merged into" in said
    served("clusters", "name", 2, "cycling")
    assert "clusters merge 2 0" in served("clusters", "name", 2, "x") + served(
        "clusters", "name", 2, "cycling"
    )


def test_mistakes_are_one_line_and_an_exit_code(served: Typed, tmp_path: Path) -> None:
    revision = served.json("clusters", "list")["revision"]
    served("clusters", "name", 1, "stairs", "--who", "ann")
    for words, code, said in (
        (("clusters", "name", 9, "x"), 2, "there is no cluster 9. The clusters in use are: 0, 1, 2"),
        (("clusters", "name", 1, "n" * 10_000), 2, "cannot be the name of cluster 1. Use 1 to 64"),
        (("clusters", "merge", 1, 1), 2, "cannot be merged into itself"),
        (("clusters", "name", 1, "x", "--expected-revision", revision), 1, "ann did name"),
        (("models", "show", "9"), 2, "there is no version '9'. The versions are: 1 ("),
        (("models", "promote", "1"), 2, "is in production already"),
        (("models", "rollback",), 2, "there is no version before"),
        (("models", "add", tmp_path / "no"), 2, "does not exist"),
        (("models", "init"), 1, "already"),
    ):  # fmt: skip
        error = served(*words, code=code)
        assert said in error
        assert error.count("\n") == 1
        assert len(error) < 400


def test_versions_are_listed_compared_rejected_rolled_back_and_pruned(served: Typed, tmp_path: Path) -> None:
    with Registry.open(served.models) as registry:
        failed = GateCheck(measure="flips", value=9.0, limit=2.0, passed=False, reason="9 flips an hour")
        proposal = RowIds(
            based_on=registry.version(1).version,
            rows=(
                RowProposal(id=2, description="still, tilted 80°", proposals=(NameProposal(name="lying"),)),
                RowProposal(),
            ),
        )
        lineage = Lineage(method="disc-plus", windows=500, metrics={"nmi": 0.5}, gate=(failed,))
        bundle = make_bundle(tmp_path / "second", 2, 2)
        registry.add(bundle, lineage, proposal, rejected="too many flips")
    assert "too many flips" in served("models", "list")
    shown = served("models", "show", 2)
    assert "FAILED  flips 9 (limit 2): 9 flips an hour" in shown
    assert "still, tilted 80°" in shown
    difference = served("models", "diff", 1, 2)
    assert "metric nmi: None → 0.5" in difference
    found = served.json("models", "diff", 1, 2)
    assert ([c["id"] for c in found["kept"]], [c["id"] for c in found["gone"]]) == ([2], [0, 1])
    assert "rejected: too many flips" in served("models", "promote", 2, code=2)
    served("models", "reject", 2, "--why", "")
    assert served.json("models", "promote", 2, "--why", "a try")["why"] == "a try"
    assert "lying?" in served("clusters", "list")
    assert served.json("models", "rollback", "--why", "flips")["kind"] == "rollback"
    listed = served("models", "list")
    assert "rolled back: flips" in listed
    assert [one["kind"] for one in served.json("models", "list")["deployments"]] == [
        "promote", "promote", "rollback",
    ]  # fmt: skip
    assert served.json("models", "prune", "--keep", 0)["pruned"] == [
        served.json("models", "show", 2)["version"]
    ]
    assert "0 versions were pruned, 1 are left" in served("models", "prune", "--keep", 0)


def test_somebody_elses_files_are_pointed_out(served: Typed) -> None:
    (served.models / "notes.txt").touch()
    assert "notes.txt is not the registry's own" in served.done("models", "list").stderr
    assert served.json("models", "list")["strangers"] == ["notes.txt"]


@pytest.fixture
def state(served: Typed, tmp_path: Path) -> Path:
    """Labels of the first version, and of a model that no registry knows."""
    with Registry.open(served.models) as registry:
        deployment = registry.deployments()[0]
    labels = [
        label(1, 0, deployment.version, deployment.at_us + 3_000_000),
        label(2, 1, "0123456789ab", deployment.at_us + 4_000_000),
    ]
    folder = tmp_path / "state"
    store = StateStore(folder)
    store.commit(commit(2, labels=labels))
    store.close()
    return folder


BEGAN_US = 1_700_000_000_000_000


def label(position: int, window: int, model: str, labelled_us: int) -> StoredLabel:
    t0_us = window * 10_000_000
    return StoredLabel(
        position, "watch-17", 1, window, t0_us, t0_us + 2_560_000, BEGAN_US + t0_us, 0, "walking",
        0.9, 0, 0.9, b"\0" * 12, 1.0, None, model, 0, labelled_us,
    )  # fmt: skip


def test_which_model_labelled_a_window_and_why_it_was_in_production(served: Typed, state: Path) -> None:
    asked = ("models", "which", "--state", state, "--device", "watch-17", "--at")
    said = served(*asked, "2023-11-14T22:13:21")  # a second after the first window began
    assert "watch-17, 2.56 s from 2023-11-14 22:13:20: walking" in said
    assert "promote by ann: the first" in said
    assert "gate: no acceptance gate" in said
    found = served.json(*asked, (BEGAN_US + 1_000_000) / 1e6)["labels"]
    assert [(one["version_number"], one["deployment"]["who"]) for one in found] == [(1, "ann")]
    assert "no version of this registry" in served(*asked, "2023-11-14T23:13:31+01:00")
    error = served(*asked, "2023-11-14T22:20:00", code=2)
    assert "start between 2023-11-14 22:13:20 and 2023-11-14 22:13:30" in error
    assert "is no time" in served(*asked, "yesterday", code=2)
    asked = ("models", "which", "--state", state, "--device", "watch-18", "--at")
    assert "there are no labels of 'watch-18'" in served(*asked, "2023-11-14T22:13:21", code=2)


def test_versions_that_labels_refer_to_are_not_pruned(served: Typed, state: Path, tmp_path: Path) -> None:
    for number in (2, 3):
        make_bundle(tmp_path / str(number), number, 2)
        served("models", "add", tmp_path / str(number))
        served("models", "promote", number)
    assert served.json("models", "prune", "--keep", 0, "--state", state)["pruned"] == []
    pruned = served.json("models", "prune", "--keep", 0)
    assert (len(pruned["pruned"]), pruned["left"]) == (1, 2)
