"""``disc-stream retrain`` on real spools: ids and names stay, whatever goes wrong on the way."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from disc_stream.artifacts.bundle import Bundle
from disc_stream.artifacts.catalogue import ClusterInfo
from disc_stream.artifacts.manifest import WindowInfo
from disc_stream.data.anchorfile import read_anchors
from disc_stream.errors import ConfigError, DataError, InputNotFoundError, StorageError
from disc_stream.load.trivial import InputSpec, write_mean_bundle
from disc_stream.registry import Lineage, Registry, RowIds
from disc_stream.retraining.gate import GateLimits
from disc_stream.retraining.request import Progress, Tell
from disc_stream.retraining.work import Work
from disc_stream.types import Channel
from tests.support.commandline import CommandLine
from tests.support.keys import make_keys
from tests.support.places import (
    ANN,
    BATCHES,
    DEVICES,
    NAMES,
    SETTINGS,
    Place,
    Stopped,
    at,
    current,
    names_of,
)
from tests.support.spools import TINY_SETTINGS, label_all, write_fleet
from tests.support.tiny_bundle import CHANNELS, FS

# -- what it is for ----------------------------------------------------------------------------------------


def test_ids_and_names_stay_through_retrainings(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        outcome = place.retrain()
    assert caplog.text.count("no signature of bundle") == 1
    assert not outcome.rejected
    assert all(check.passed for check in outcome.checks)
    assert outcome.deployment is not None
    assert current(place.models) == 2
    assert names_of(place.models) == dict(enumerate(NAMES))
    assert {one.kind for one in outcome.version.proposal.transitions} == {"survive"}
    lineage = outcome.version.lineage
    with Registry.open(place.models) as registry:
        first = registry.version(1)
        assert lineage.parent == first.version
        assert lineage.fingerprint != first.lineage.fingerprint
        assert (lineage.windows, lineage.devices) == (outcome.windows, 3) == (outcome.seen, 3)
        assert all(lineage.trained_on(device) for device in DEVICES)
        assert registry.current() == outcome.deployment
    assert place.leftovers() == {"runs", "anchors.npz"}
    assert read_anchors(place.work / "anchors.npz")[0].ids.max() == 2

    place.grow(12, BATCHES + 18, seed=5)
    third = place.retrain(why="again", clusters=4)  # a place more, for motion of which there was none
    assert third.version.lineage.parent == outcome.version.version
    if not third.rejected:
        kept = {own: name for own, name in names_of(place.models).items() if own < 3}
        assert kept == dict(enumerate(NAMES))


def test_a_retraining_goes_on_from_the_weights_in_production(place: Place) -> None:
    losses: dict[bool, float] = {}

    def first_loss(from_scratch: bool) -> Tell:
        def tell(progress: Progress) -> None:
            if progress.phase == "train" and progress.done == 1 and progress.words.startswith("pretrain"):
                losses[from_scratch] = float(progress.words.split("total ")[1])
                raise Stopped

        return tell

    for from_scratch in (True, False):
        with pytest.raises(Stopped):
            place.retrain(first_loss(from_scratch), from_scratch=from_scratch, discard=True)
    assert losses[False] < 0.9 * losses[True]


def test_where_the_weights_are_gone_or_have_another_shape_it_says_so(place: Place) -> None:
    said: list[str] = []

    def tell(progress: Progress) -> None:
        said.append(progress.words)
        if progress.words.startswith("learning"):
            raise Stopped

    with pytest.raises(Stopped):
        place.retrain(tell, settings={**TINY_SETTINGS, "hidden": 5})
    assert any("is a network of another shape: from scratch" in words for words in said)
    shutil.rmtree(place.work / "runs")
    with pytest.raises(Stopped):
        place.retrain(tell, discard=True)
    assert any("are not here: from scratch" in words for words in said)


def test_the_same_windows_give_the_same_model_which_is_no_new_version(
    new: Place, command_line: CommandLine
) -> None:
    assert new.retrain().deployment is not None
    done = command_line(*new.words(*SETTINGS, "--clusters", 3, "--from-scratch"))
    assert done.returncode == 0, done.stderr
    assert "nothing new was learned" in done.stdout
    with Registry.open(new.models) as registry:
        assert [info.number for info in registry.versions()] == [1]
        assert len(registry.deployments()) == 1
    assert new.leftovers() == {"runs"}


def test_a_candidate_that_is_not_to_be_promoted_waits(place: Place, command_line: CommandLine) -> None:
    done = command_line(*place.words(*SETTINGS, "--no-promote", "--json"))
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert {line["event"] for line in lines} == {"progress", "done"}
    assert next(line["phase"] for line in lines if line["event"] == "progress") == "replay"
    facts = lines[-1]
    assert (facts["promoted"], facts["number"], facts["rejected"]) == (False, 2, "")
    assert current(place.models) == 1
    # Promoted later, it has the ids that were found for it.
    assert command_line("models", "promote", 2, "--models", place.models, "--why", "ok").returncode == 0
    assert names_of(place.models) == dict(enumerate(NAMES))


def test_what_people_say_while_it_trains_counts(place: Place) -> None:
    def rename() -> None:
        with Registry.open(place.models) as registry:
            for own in range(3):
                registry.clusters.name(own, f"renamed {own}", ANN)

    outcome = place.retrain(at("train", rename))
    reason = next(one.reason for one in outcome.checks if one.measure.startswith("windows of a named"))
    assert "'renamed " in reason


def test_a_rejected_candidate_can_be_looked_at_and_the_old_one_stays(
    place: Place, command_line: CommandLine
) -> None:
    """Nothing in this spool has a label, so nobody can tell which cluster is which."""
    unlabelled = Place(place.path.with_name("other"))
    write_fleet(unlabelled.state, DEVICES, 12)
    shutil.copytree(place.models, unlabelled.models)
    done = command_line(*unlabelled.words(*SETTINGS))
    assert done.returncode == 3
    assert "FAILED  anchors: 0 windows have an id that is in production" in done.stdout
    assert "it was rejected; the version before stays in production" in done.stdout
    assert current(unlabelled.models) == 1
    shown = command_line("models", "show", 2, "--models", unlabelled.models, "--json")
    assert json.loads(shown.stdout)["rejected"].startswith("anchors: 0 windows")
    assert command_line("models", "promote", 2, "--models", unlabelled.models, "--why", "x").returncode != 0
    with Registry.open(unlabelled.models) as registry:
        assert Bundle.open(registry.version(2).path).version == registry.version(2).version
    # The same again is rejected again, and is no third version.
    again = command_line(*unlabelled.words(*SETTINGS, "--json"))
    assert again.returncode == 3
    assert json.loads(again.stdout.splitlines()[-1])["number"] == 2


def test_stricter_limits_reject_with_their_reasons(place: Place) -> None:
    outcome = place.retrain(limits=GateLimits(kept=1.0, latency_s=1e-9))
    assert "latency: " in outcome.rejected
    assert outcome.deployment is None
    assert current(place.models) == 1


# -- nothing to learn from, nowhere to put it --------------------------------------------------------------


def test_no_windows_at_all(place: Place, tmp_path: Path) -> None:
    empty = Place(tmp_path / "empty")
    Registry.create(empty.models).close()
    write_fleet(empty.state, DEVICES, 0)
    with pytest.raises(DataError, match="nothing that can be decoded has been received"):
        empty.retrain()
    # With a model in production, less than a window of each device.
    shutil.copytree(place.models, tmp_path / "other" / "models")
    other = Place(tmp_path / "other")
    write_fleet(other.state, DEVICES, 0)
    with pytest.raises(DataError, match="there is no whole window in the spool"):
        other.retrain()
    assert other.leftovers() == set()


def test_another_prefix_names_it(new: Place, command_line: CommandLine) -> None:
    done = command_line(*new.words("--prefix", "home/v1"))
    assert done.returncode != 0
    assert "'home/v1'" in done.stderr
    assert "Traceback" not in done.stderr
    assert new.retrain().deployment is not None  # nothing has to be discarded


def test_a_registry_or_state_folder_that_is_not_there(new: Place, tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match="does not exist") as raised:
        new.retrain(models=tmp_path / "nowhere")
    assert "models init" in str(raised.value.remedy)
    with pytest.raises(InputNotFoundError, match="no state folder"):
        new.retrain(state=tmp_path / "typo")
    assert not (tmp_path / "typo").exists()


def test_two_at_once(new: Place, command_line: CommandLine) -> None:
    work = Work(new.state)
    with pytest.raises(StorageError) as raised:
        new.retrain()
    assert raised.value.remedy == "Wait until that retraining ends, or stop it"
    done = command_line(*new.words())
    assert done.returncode != 0
    assert "is in use by process" in done.stderr
    work.close()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"settings": {"hiden": 8}}, "hiden"),
        ({"method": "disk"}, "unknown method"),
        ({"preset": "huge"}, "huge"),
        ({"device": "gpu"}, "gpu"),
        ({"why": "two\nlines"}, "cannot be the reason"),
        ({"who": ""}, "cannot be who"),
        ({"trusted_key": (Path("key.pub"),)}, "no key to sign it with is given"),
    ],
)
def test_what_cannot_be_used_is_said_before_anything_is_read(
    new: Place, changes: dict[str, object], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        new.retrain(**changes)
    assert not new.work.exists()


def test_more_clusters_than_windows_is_said_and_nothing_is_left(new: Place) -> None:
    with pytest.raises(DataError, match="cannot be learned from"):
        new.retrain(clusters=4000)
    assert new.leftovers() == set()


@pytest.mark.parametrize(
    ("option", "value"), [("--windows", 3), ("--clusters", 5000), ("--half-life-days", 0), ("--window-s", 0)]
)
def test_numbers_that_make_no_sense(new: Place, command_line: CommandLine, option: str, value: int) -> None:
    done = command_line(*new.words(option, value))
    assert done.returncode != 0
    assert f"{option} is not usable" in done.stderr


def test_a_number_of_clusters_is_a_number_or_auto(new: Place, command_line: CommandLine) -> None:
    done = command_line(*new.words("--clusters", "many"))
    assert done.returncode != 0
    assert "--clusters must be a whole number from 2 on, or auto; got 'many'" in done.stderr


# -- other models and devices ------------------------------------------------------------------------------


def test_a_model_in_production_with_other_units_and_another_number_of_clusters(new: Place) -> None:
    """Its windows are read in SI units for the candidate, and its labels still say which cluster is which."""
    g = tuple(Channel(channel.name, "g") for channel in CHANNELS)
    centroids = np.array([[1, 0, 0], [0, 0, 1], [0, 0, 0], [0, 5, 5]], dtype=np.float32)
    clusters = [ClusterInfo(id=k, name=f"cluster {k}", size=9, distance_q95=1.0) for k in range(4)]
    window = WindowInfo(samples=16, hop=8, input_samples=8)
    write_mean_bundle(new.path / "bundle", "mean", InputSpec(g, FS, window), centroids, clusters)
    with Registry.open(new.models) as registry:
        info = registry.add(new.path / "bundle", Lineage(), RowIds.all_fresh(4))
        registry.promote(info.number, "ann", "from elsewhere")
        registry.clusters.name(0, "lying", ANN)
        label_all(new.state, registry)
    outcome = new.retrain(
        clusters=None, limits=GateLimits(effective=0.2, carry_over=1.0, kept=0.5, moved=1.0)
    )
    assert outcome.deployment is not None, outcome.rejected
    with Registry.open(new.models) as registry:
        manifest = registry.bundle("current").manifest
        assert {channel.unit for channel in manifest.channels} == {"m/s2"}
        assert (manifest.n_clusters, manifest.window) == (4, window)
    assert names_of(new.models)[0] == "lying"


def test_a_first_model_of_devices_with_different_rates(new: Place) -> None:
    write_fleet(new.state, ["slow"], 30, fs=40.0)
    outcome = new.retrain()
    assert outcome.devices == 4
    with Registry.open(new.models) as registry:
        assert registry.bundle("current").manifest.fs == FS


def test_windows_keep_their_hop_though_few_of_them_follow_one_another(place: Place) -> None:
    """Else the labels of the next version would begin at other times."""
    outcome = place.retrain(windows=40)
    assert outcome.windows == 40
    assert Bundle.open(outcome.version.path).manifest.window.hop == 8


def test_a_method_that_cannot_go_on_from_the_weights_of_another_begins_anew(place: Place) -> None:
    outcome = place.retrain(method="disc-plus", settings={})
    assert outcome.version.lineage.method == "disc-plus"
    assert Bundle.open(outcome.version.path).manifest.window.hop == 8


def test_disc_plus_goes_on_from_disc_plus_and_keeps_its_map(new: Place) -> None:
    first = new.retrain(method="disc-plus", settings={}).version.version
    new.grow(12, BATCHES)
    more = new.retrain(method="disc-plus", settings={}, clusters=4).version.version
    maps = [map_of(new, version) for version in (first, more)]
    assert first != more
    np.testing.assert_array_equal(*maps)
    anew = new.retrain(method="disc-plus", settings={}, clusters=4, from_scratch=True, promote=False)
    assert anew.version.version not in {first, more}


def test_a_motion_that_nobody_made_before_gets_an_id_without_being_asked_for(new: Place) -> None:
    plus = {"method": "disc-plus", "settings": {"moves": 10}}
    first = new.retrain(**plus).version
    new.grow(12, BATCHES)
    words: list[str] = []
    usual = new.retrain(lambda progress: words.append(progress.words), **plus, clusters=None)
    assert len(usual.version.ids or ()) == 3  # nothing was new
    assert not any("new motion" in one for one in words)
    with Registry.open(new.models) as registry:
        registry.clusters.name(0, "Anna lies", ANN)

    new.grow(24, BATCHES + 12, poses=("lie", "hang"))
    grown = new.retrain(lambda progress: words.append(progress.words), **plus, clusters=None)
    assert not grown.rejected
    assert grown.version.ids == (*(first.ids or ()), 3)
    assert "new motion: 1 cluster more" in words
    assert names_of(new.models)[0] == "Anna lies"
    old, now = (map_of(new, one.version.version) for one in (usual, grown))
    np.testing.assert_array_equal(now[:, :-1], old)  # a coordinate more; the others are what they were


def map_of(place: Place, version: str) -> np.ndarray:
    """The map of a disc-plus that was in production, (F, d)."""
    return load_file(place.work / "runs" / version / "model.safetensors")["autoencoder.project"]


def test_a_key_that_nobody_trusts_is_noticed_before_anything_is_read(new: Place, tmp_path: Path) -> None:
    own, public = make_keys(tmp_path, "own")
    _, other = make_keys(tmp_path, "other")
    with pytest.raises(ConfigError, match="belongs to none of the trusted keys"):
        new.retrain(sign_key=own, trusted_key=(other,))
    assert not new.work.exists()
    outcome = new.retrain(sign_key=own, trusted_key=(other, public))
    assert Bundle.open(outcome.version.path, trusted_keys=[public]).version == outcome.version.version


def test_how_many_clusters_a_first_model_has_is_found_in_the_motion(new: Place) -> None:
    words: list[str] = []
    plus = {"method": "disc-plus", "settings": {"moves": 10}}
    outcome = new.retrain(lambda progress: words.append(progress.words), **plus, clusters=None)
    found = len(outcome.version.ids or ())
    assert found >= 3  # as many as there are poses
    assert any(one.startswith(f"{found} clusters: ") for one in words), words
