"""Retrainings that are stopped, overtaken, or whose data are erased on the way."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from disc_stream.artifacts.catalogue import ClusterInfo
from disc_stream.artifacts.manifest import WindowInfo
from disc_stream.artifacts.run import RUN_FILE
from disc_stream.errors import ConfigError, DataError
from disc_stream.load.trivial import InputSpec, write_mean_bundle
from disc_stream.registry import Lineage, Registry, RowIds
from disc_stream.retraining.pipeline import Outcome
from disc_stream.retraining.work import Work
from disc_stream_server.storage.forget import forget
from tests.support.commandline import CommandLine
from tests.support.places import (
    BATCHES,
    DEVICES,
    SETTINGS,
    Place,
    Stopped,
    at,
    current,
    stop,
)
from tests.support.tiny_bundle import CHANNELS, FS

# -- interrupted -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def undisturbed(grown: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return Place(Path(shutil.copytree(grown, tmp_path_factory.mktemp("undisturbed") / "place"))).retrain()


@pytest.mark.parametrize(
    ("phase", "nth"), [("replay", 1), ("train", 6), ("export", 1), ("gate", 1), ("promote", 1)]
)
def test_one_that_was_stopped_goes_on_and_ends_with_the_same_model(
    place: Place, undisturbed: Outcome, phase: str, nth: int
) -> None:
    with pytest.raises(Stopped):
        place.retrain(at(phase, stop, nth))
    assert current(place.models) == 1
    if phase != "replay":
        place.grow(6, BATCHES + 18)  # the windows were chosen before
    outcome = place.retrain()
    assert outcome.deployment is not None
    assert outcome.version.version == undisturbed.version.version
    assert outcome.version.ids == undisturbed.version.ids == (0, 1, 2)
    with Registry.open(place.models) as registry:
        assert len(registry.versions()) == 2
    assert place.leftovers() == {"runs", "anchors.npz"}


def test_one_that_was_killed_after_promotion_is_finished_not_repeated(place: Place) -> None:
    """As if killed between the registry's transaction and the clearing away."""
    saved = place.path / "saved"
    outcome = place.retrain(at("promote", lambda: shutil.copytree(place.work, saved)))
    shutil.rmtree(place.work)
    saved.replace(place.work)
    phases: list[str] = []
    again = place.retrain(lambda progress: phases.append(progress.phase))
    assert phases == []
    assert again.version.number == outcome.version.number
    assert again.deployment == outcome.deployment
    assert (again.windows, again.seen, again.devices) == (outcome.windows, outcome.seen, outcome.devices)
    assert place.leftovers() == {"runs", "anchors.npz"}
    assert (place.work / "runs" / outcome.version.version / RUN_FILE).is_file()


def test_other_settings_are_refused_until_the_unfinished_one_is_discarded(
    place: Place, command_line: CommandLine
) -> None:
    with pytest.raises(Stopped):
        place.retrain(at("train", stop, 3))
    with pytest.raises(ConfigError, match="it had other settings") as raised:
        place.retrain(seed=1)
    assert raised.value.remedy == "Add --discard, to begin anew"
    done = command_line(*place.words(*SETTINGS, "--seed", 1))
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert place.retrain(seed=1, discard=True).version.lineage.seed == 1


def test_a_plan_that_cannot_be_read_says_what_to_do(place: Place) -> None:
    with pytest.raises(Stopped):
        place.retrain(at("train", stop))
    (place.work / "plan.json").write_text("{")
    with pytest.raises(ConfigError, match="cannot be read") as raised:
        place.retrain()
    assert "--discard" in str(raised.value.remedy)
    assert place.retrain(discard=True).deployment is not None


def test_damaged_windows_are_chosen_again(place: Place) -> None:
    with pytest.raises(Stopped):
        place.retrain(at("train", stop))
    (place.work / "replay.npz").write_bytes(b"PK damaged")
    with pytest.raises(DataError):
        place.retrain()
    assert place.retrain().deployment is not None


def test_what_another_version_in_production_has_overtaken_is_given_up(place: Place) -> None:
    def promote_another() -> None:
        with Registry.open(place.models) as registry:
            first = registry.version(1)
            bundle = place.path / "another"
            clusters = [ClusterInfo(id=k, name=f"cluster {k}", size=1) for k in range(3)]
            window = WindowInfo(samples=16, hop=8, input_samples=8)
            centroids = np.eye(3, dtype=np.float32) * 9.8
            write_mean_bundle(bundle, "mean", InputSpec(CHANNELS, FS, window), centroids, clusters)
            other = registry.add(bundle, Lineage(), RowIds.keeping([0, 1, 2], first.version))
            registry.promote(other.number, "bob", "knows better")

    with pytest.raises(ConfigError, match="has gone into production while the candidate was trained"):
        place.retrain(at("train", promote_another, 2))
    assert current(place.models) == 2
    place.grow(12, BATCHES + 18)
    outcome = place.retrain()
    assert outcome.version.lineage.parent is not None
    with Registry.open(place.models) as registry:
        assert outcome.version.lineage.parent == registry.version(2).version


# -- erased devices ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("phase", "nth"), [("replay", 1), ("train", 6), ("export", 3), ("gate", 1)])
def test_a_device_that_is_erased_meanwhile_is_in_no_version(place: Place, phase: str, nth: int) -> None:
    with pytest.raises(ConfigError, match="a device was erased during the retraining"):
        place.retrain(at(phase, lambda: forget(place.state, "hip", "ds/v1"), nth))
    with Registry.open(place.models) as registry:
        assert len(registry.versions()) == 1
    assert place.leftovers() == set()
    outcome = place.retrain()
    assert outcome.devices == 2
    assert not outcome.version.lineage.trained_on("hip")


def test_windows_of_an_erased_device_are_not_in_the_next_set(place: Place) -> None:
    def chosen() -> tuple[list[str], np.ndarray]:
        with pytest.raises(Stopped):
            place.retrain(at("train", stop), discard=True)
        work = Work(place.state)
        found = work.load_replay()
        work.close()
        assert found is not None
        assert set(found[1].devices.tolist()) == set(found[0].device_names)
        return found[0].device_names, found[0].x

    before, x = chosen()
    assert before == DEVICES
    forget(place.state, "hip", "ds/v1")
    after, left = chosen()
    assert after == ["arm", "leg"]
    assert {row.tobytes() for row in left} < {row.tobytes() for row in x}
    assert len(left) == pytest.approx(len(x) * 2 / 3, rel=0.02)


def test_versions_that_learned_from_an_erased_device_are_marked(
    place: Place, command_line: CommandLine
) -> None:
    words = ["data", "forget", "hip", "--state", place.state, "--models", place.models, "--yes", "--json"]
    done = command_line(*words)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["versions_marked"] == [1]
    assert place.leftovers() == set()
    outcome = place.retrain()
    with Registry.open(place.models) as registry:
        assert "erased" in registry.version(1).marked
        assert not registry.version(outcome.version.number).marked
