"""``disc-stream retrain`` on real spools: ids and names stay, whatever goes wrong on the way."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from disc_stream.artifacts.bundle import Bundle
from disc_stream.artifacts.catalogue import ClusterInfo
from disc_stream.artifacts.manifest import WindowInfo
from disc_stream.artifacts.run import RUN_FILE
from disc_stream.data.anchorfile import read_anchors
from disc_stream.errors import ConfigError, DataError, InputNotFoundError, StorageError
from disc_stream.load.trivial import InputSpec, write_mean_bundle
from disc_stream.registry import Author, Lineage, Registry, RowIds
from disc_stream.retraining.gate import GateLimits
from disc_stream.retraining.pipeline import Outcome, retrain
from disc_stream.retraining.request import Progress, RetrainRequest, Tell, tell_nobody
from disc_stream.retraining.work import Work
from disc_stream.types import Channel
from disc_stream_server.storage.forget import forget
from tests.support.commandline import CommandLine
from tests.support.spools import TINY_SETTINGS, WINDOW_S, label_all, write_fleet
from tests.support.tiny_bundle import CHANNELS, FS

ANN = Author("ann")
DEVICES = ["arm", "hip", "leg"]
BATCHES = 36
NAMES = ("Anna lies", "Anna stands", "Anna shakes")
SETTINGS = [word for name, value in TINY_SETTINGS.items() for word in ("--set", f"{name}={value}")]


@dataclass
class Place:
    """A state folder and a registry."""

    path: Path

    @property
    def state(self) -> Path:
        return self.path / "state"

    @property
    def models(self) -> Path:
        return self.path / "models"

    @property
    def work(self) -> Path:
        return self.state / "retraining"

    def request(self, **changes: object) -> RetrainRequest:
        """Of the tiny settings."""
        values = {
            "models": self.models, "state": self.state, "settings": TINY_SETTINGS, "window_s": WINDOW_S,
            "clusters": 3, "threads": 1, "device": "cpu",
        }  # fmt: skip
        return RetrainRequest.model_validate({**values, **changes})

    def retrain(self, tell: Tell = tell_nobody, *, discard: bool = False, **changes: object) -> Outcome:
        return retrain(self.request(**changes), tell, discard=discard)

    def words(self, *more: object) -> list[object]:
        """Of the command, without settings."""
        return [
            "retrain", "--models", self.models, "--state", self.state, "--nice", 0, "--threads", 1,
            "--device", "cpu", *more,
        ]  # fmt: skip

    def grow(self, batches: int, first: int, **how: object) -> None:
        """More is received and labelled."""
        write_fleet(self.state, DEVICES, batches, first=first, **how)
        with Registry.open(self.models) as registry:
            label_all(self.state, registry)

    def leftovers(self) -> set[str]:
        """What is in the working folder."""
        return {path.name for path in self.work.iterdir()} - {"lock"}


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A server without a model has collected."""
    place = Place(tmp_path_factory.mktemp("collected"))
    write_fleet(place.state, DEVICES, BATCHES)
    Registry.create(place.models).close()
    return place.path


@pytest.fixture(scope="module")
def grown(collected: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A first model is in production, its clusters have names, and more was received since."""
    place = Place(Path(shutil.copytree(collected, tmp_path_factory.mktemp("grown") / "place")))
    first = place.retrain()
    assert not first.rejected
    assert first.deployment is not None
    with Registry.open(place.models) as registry:
        for own, name in enumerate(NAMES):
            registry.clusters.name(own, name, ANN)
    place.grow(18, BATCHES)
    return place.path


@pytest.fixture
def new(collected: Path, tmp_path: Path) -> Place:
    return Place(Path(shutil.copytree(collected, tmp_path / "place")))


@pytest.fixture
def place(grown: Path, tmp_path: Path) -> Place:
    return Place(Path(shutil.copytree(grown, tmp_path / "place")))


def names_of(models: Path) -> dict[int, str]:
    """Own id -> name, of what is in production."""
    with Registry.open(models) as registry:
        catalogue = registry.catalogue_of("current")
    return dict(zip(catalogue.ids, catalogue.names, strict=True))


def current(models: Path) -> int | None:
    with Registry.open(models) as registry:
        deployment = registry.current()
    return None if deployment is None else deployment.version_number


class Stopped(BaseException):
    """Whoever watched has had enough."""


def at(phase: str, do: Callable[[], object], nth: int = 1) -> Tell:
    """Do something when a phase tells of itself for the nth time."""
    count = 0

    def tell(progress: Progress) -> None:
        nonlocal count
        if progress.phase == phase:
            count += 1
            if count == nth:
                do()

    return tell


def stop() -> None:
    raise Stopped


# -- what it is for ----------------------------------------------------------------------------------------


def test_ids_and_names_stay_through_retrainings(place: Place) -> None:
    outcome = place.retrain()
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
    ("option", "value"), [("--windows", 3), ("--clusters", 0), ("--half-life-days", 0), ("--window-s", 0)]
)
def test_numbers_that_make_no_sense(new: Place, command_line: CommandLine, option: str, value: int) -> None:
    done = command_line(*new.words(option, value))
    assert done.returncode != 0
    assert f"{option} is not usable" in done.stderr


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


def test_disc_plus_twice(new: Place) -> None:
    """It cannot go on from weights; the second one must not fail for that."""
    for number in (1, 2):
        outcome = new.retrain(method="disc-plus", settings={}, preset="small")
        assert outcome.version.number == number
        if number == 1:
            assert outcome.deployment is not None
            new.grow(12, BATCHES)
