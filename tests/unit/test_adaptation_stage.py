"""Centroids that follow each device, in the labeller: models, crashes, names, devices that are erased."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from disc_stream.artifacts.bundle import Bundle
from disc_stream.artifacts.catalogue import Catalogue
from disc_stream.artifacts.manifest import ClusterInfo
from disc_stream.artifacts.model import Model
from disc_stream.artifacts.runtime import OnnxEncoder, measures_from
from disc_stream.cli.app import app
from disc_stream.clustering.adaptation import AdaptationRule
from disc_stream.config import ServeConfig, load_serve_config
from disc_stream.data.types import Recording
from disc_stream.errors import ConfigError
from disc_stream.load.trivial import InputSpec, write_mean_bundle
from disc_stream.stream.adapting import AdaptationStage, adapter_of
from disc_stream.stream.encoding import Assigned
from disc_stream.stream.pipeline import LabelOptions
from disc_stream.stream.values import ReadyInput
from disc_stream.types import UNKNOWN, Float32Array, Label, SampleBatch
from disc_stream.wire.topics import Topics
from disc_stream_server.budget import bounds
from disc_stream_server.following import first_model, open_model
from disc_stream_server.offline import label_recording
from disc_stream_server.storage.forget import forget
from disc_stream_server.storage.queries import StateReader
from disc_stream_server.storage.resetting import RESET, ask_for_reset
from disc_stream_server.wiring import labeller_settings
from tests.support.device import constant, make_batch
from tests.support.labeller import START_US, Bench, arrival_of, facts, model_of, write_spool
from tests.support.tiny_bundle import CENTROIDS, CHANNELS, FS, WINDOW, write_tiny_bundle

RULE = AdaptationRule(prior_windows=5.0)
FAR = 1e6
"""Beyond which a window is unknown: none of these."""
REST, LEFT = 0, 1


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("adapting") / "tiny"
    write_tiny_bundle(path)
    return path


def calibrated(model: Model, unknown_above: float | None = FAR) -> Model:
    """The model, as one that says what is unknown to it."""
    clusters = [one.model_copy(update={"unknown_above": unknown_above}) for one in model.catalogue.clusters]
    return model.with_catalogue(Catalogue.of(model.version, clusters))


@pytest.fixture(scope="module")
def model(bundle: Path) -> Model:
    return calibrated(model_of(bundle))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The same places in another order: what is known of a row means something else."""
    path = tmp_path_factory.mktemp("adapting") / "other"
    clusters = [ClusterInfo(id=k, name=f"c{k}", size=1) for k in range(3)]
    write_mean_bundle(path, "other", InputSpec(CHANNELS, FS, WINDOW), CENTROIDS[[1, 2, 0]], clusters)
    return calibrated(model_of(path))


def beside(n: int, device: str = "watch") -> list[SampleBatch]:
    """A person at rest and to the left in turn, whose motion lies 4.6 to the right of the fleet's.

    Rest at 4.6 is just nearer to rest, and with the noise a good part of it is not.
    """
    rng = np.random.default_rng(0)
    return [
        make_batch(device, seq, constant((4.6 + 10 * (seq // 8 % 2) + rng.normal(scale=0.6), 0, 0), 8))
        for seq in range(n)
    ]


def fill(folder: Path, batches: Sequence[SampleBatch]) -> None:
    write_spool(folder, [arrival_of(batch, START_US + batch.seq * 160_000) for batch in batches])


def run(folder: Path, model: Model, adaptation: AdaptationRule | None = RULE, **how: int) -> list[Label]:
    bench = Bench(folder, model, adaptation=adaptation, **how)
    bench.run()
    bench.checkpoint()
    bench.close()
    return bench.outbox.sent


def wrong(labels: Sequence[Label]) -> int:
    """Windows of the second half that are not what the person did."""
    late = [one for one in labels if one.window >= 80]
    return sum(one.best.label != (LEFT if one.window // 8 % 2 else REST) for one in late)


class TestLabeller:
    """A spool, a state and crashes."""

    def test_a_person_beside_the_fleet_is_labelled_right(self, tmp_path: Path, model: Model) -> None:
        fill(tmp_path / "with", beside(160))
        fill(tmp_path / "without", beside(160))
        adapted, plain = run(tmp_path / "with", model), run(tmp_path / "without", model, None)
        assert len(adapted) == len(plain) == 160
        assert wrong(plain) >= 8
        assert wrong(adapted) == 0
        first, same = adapted[0], plain[0]
        assert first.best.confidence == pytest.approx(same.best.confidence, rel=1e-5)
        assert [one.adapted for one in plain] == [None] * 160
        assert adapted[0].adapted == 0.0
        assert adapted[-1].adapted is not None
        assert adapted[-1].adapted > 1.0  # standard deviations of its clusters

    @pytest.mark.parametrize("every", [1, 3])
    def test_crashes_and_chunks_change_no_label(self, tmp_path: Path, model: Model, every: int) -> None:
        devices = [one for pair in zip(beside(60), beside(60, "other"), strict=True) for one in pair]
        fill(tmp_path / "whole", devices)
        fill(tmp_path / "crashed", devices)
        expected = run(tmp_path / "whole", model)
        found: list[Label] = []
        while len(found) < len(expected):
            bench = Bench(tmp_path / "crashed", model, rows=7, adaptation=RULE)
            bench.run(every)
            found += bench.outbox.sent
            bench.checkpoint()
            bench.close()
        assert sorted(facts(found)) == sorted(facts(expected))

    def test_turns_without_a_checkpoint_are_taken_again_alike(self, tmp_path: Path, model: Model) -> None:
        fill(tmp_path, beside(80))
        lost = Bench(tmp_path, model, adaptation=RULE)
        lost.run()
        lost.close()
        assert facts(run(tmp_path, model)) == facts(lost.outbox.sent)

    def test_another_model_begins_with_its_own_centroids(
        self, tmp_path: Path, model: Model, other: Model
    ) -> None:
        batches = beside(120)
        fill(tmp_path / "swapped", batches[:80])
        bench = Bench(tmp_path / "swapped", model, adaptation=RULE)
        bench.run()
        bench.labeller.offer(other)
        bench.run()
        fill(tmp_path / "swapped", batches[80:])
        bench.run()
        after = [one for one in bench.outbox.sent if one.model == other.version]
        fill(tmp_path / "anew", batches[80:])
        anew = run(tmp_path / "anew", other)
        assert len(after) == len(anew) == 40
        assert [one.distance for one in after] == pytest.approx([one.distance for one in anew], rel=1e-3)

    def test_other_names_change_nothing_that_is_known(self, tmp_path: Path, model: Model) -> None:
        fill(tmp_path / "whole", beside(120))
        expected = run(tmp_path / "whole", model)
        fill(tmp_path / "named", beside(120)[:80])
        bench = Bench(tmp_path / "named", model, adaptation=RULE)
        bench.run()
        names = Catalogue.of(model.version, model.catalogue.clusters).renamed({0: "still"})
        bench.labeller.offer(model.with_catalogue(names))
        bench.run()
        fill(tmp_path / "named", beside(120)[80:])
        bench.run()
        assert [one.distance for one in bench.outbox.sent] == pytest.approx(
            [one.distance for one in expected], rel=1e-3
        )
        assert "still" in {one.best.name for one in bench.outbox.sent[80:]}

    def test_what_is_known_of_an_erased_device_is_erased(self, tmp_path: Path, model: Model) -> None:
        fill(tmp_path, beside(80))
        bench = Bench(tmp_path, model, adaptation=RULE)
        bench.run()
        bench.checkpoint()
        (stored,) = bench.store.states(0, "adaptation").values()
        assert len(stored) < 3 * (3 * 2 + 4 + 2) + 60
        bench.close()
        forget(tmp_path, "watch", "ds/v1")
        bench = Bench(tmp_path, model, adaptation=RULE)
        assert bench.store.states(0, "adaptation") == {}

    def test_a_server_that_runs_forgets_it_too(self, tmp_path: Path, model: Model) -> None:
        fill(tmp_path, beside(80))
        bench = Bench(tmp_path, model, adaptation=RULE)
        bench.run()
        bench.labeller.forget("watch")
        bench.checkpoint()
        assert bench.store.states(0, "adaptation") == {}

    def test_unknown_windows_are_still_unknown(self, tmp_path: Path, model: Model) -> None:
        strict = calibrated(model, 9.0)
        far = [make_batch("watch", seq, constant((0, 0, 5.0), 8)) for seq in range(60)]
        fill(tmp_path, far)
        labels = run(tmp_path, strict)
        assert {one.best.label for one in labels} == {UNKNOWN}
        assert {round(one.distance, 3) for one in labels} == {25.0}


class TestReset:
    """Somebody else wears the device: the model's centroids again, at a command."""

    def test_a_device_begins_again_and_the_others_go_on(self, tmp_path: Path, model: Model) -> None:
        fill(tmp_path, [*beside(80), *beside(80, "other")])
        bench = Bench(tmp_path, model, adaptation=RULE)
        bench.run()
        bench.checkpoint()
        assert ask_for_reset(tmp_path, "watch", 0.0) is None  # nobody holds the folder
        bench.labeller.reset_adaptations()
        fill(tmp_path, [*beside(90)[80:], *beside(90, "other")[80:]])
        bench.run(1)
        assert len(bench.outbox.sent) == 160, "first the checkpoint"
        bench.run()
        first = {one.device: one.adapted for one in reversed(bench.outbox.sent) if one.window >= 80}
        assert first["watch"] == 0.0
        assert first["other"] is not None
        assert first["other"] > 1.0
        assert bench.store.facts_of(RESET) == []

    def test_a_crash_before_the_checkpoint_resets_at_the_same_place(
        self, tmp_path: Path, model: Model
    ) -> None:
        """The request stays until the states that it changed are on disk, and nothing is labelled before."""
        fill(tmp_path, beside(80))
        bench = Bench(tmp_path, model, adaptation=RULE)
        bench.run()
        bench.checkpoint()
        ask_for_reset(tmp_path, "watch", 0.0)
        bench.labeller.reset_adaptations()
        bench.close()
        bench = Bench(tmp_path, model, adaptation=RULE)
        fill(tmp_path, beside(81)[80:])
        bench.labeller.reset_adaptations()
        bench.run(1)
        bench.run()
        assert [one.adapted for one in bench.outbox.sent] == [0.0]
        bench.close()
        bench = Bench(tmp_path, model, adaptation=RULE)
        assert bench.store.facts_of(RESET) == []

    def test_a_server_that_does_not_adapt_forgets_what_another_knew(
        self, tmp_path: Path, model: Model
    ) -> None:
        fill(tmp_path, beside(80))
        bench = Bench(tmp_path, model, adaptation=RULE)
        bench.run()
        bench.checkpoint()
        bench.close()
        ask_for_reset(tmp_path, "watch", 0.0)
        bench = Bench(tmp_path, model)
        bench.labeller.reset_adaptations()
        bench.run()
        assert bench.store.states(0, "adaptation") == {}
        assert bench.store.facts_of(RESET) == []

    def test_the_command(self, tmp_path: Path, model: Model) -> None:
        fill(tmp_path, beside(3))
        run(tmp_path, model)
        result = CliRunner().invoke(app, ["data", "reset-adaptation", "watch", "--state", str(tmp_path)])
        assert "begins again with the model's own centroids when one is started" in result.stdout
        forget(tmp_path, "watch", "ds/v1")
        with closing(StateReader(tmp_path)) as reader:
            assert reader.facts_of(RESET) == []


class TestRecording:
    """``label``: as the server, or by the whole of a recording."""

    def recording(self) -> Recording:
        batches = beside(160)
        return Recording(
            name="synthetic-01",
            subject=1,
            fs=FS,
            channels=CHANNELS,
            samples=np.concatenate([one.samples for one in batches]),
            labels=np.zeros(160 * 8, dtype=np.int16),
            label_names=("any",),
        )

    def test_causal_labels_are_those_of_the_server(self, tmp_path: Path, model: Model) -> None:
        fill(tmp_path, beside(160))
        served = run(tmp_path, model)
        labels, _ = label_recording(self.recording(), model, LabelOptions(adaptation=RULE))
        assert [one.best for one in labels] == [one.best for one in served]
        assert [one.smoothed for one in labels] == [one.smoothed for one in served]
        assert [one.adapted for one in labels] == [one.adapted for one in served]

    def test_the_whole_recording_helps_its_first_windows(self, model: Model) -> None:
        found = {
            whole: label_recording(self.recording(), model, LabelOptions(adaptation=RULE, whole=whole)).labels
            for whole in (False, True)
        }
        early = {
            whole: np.mean([one.best.confidence for one in labels[:8]]) for whole, labels in found.items()
        }
        assert early[True] > early[False] + 0.1
        assert {one.best.label for one in found[True][:8]} == {REST}
        assert found[False][0].adapted == 0.0
        assert len({one.adapted for one in found[True]}) == 1
        assert [one.distance for one in found[True]] == [one.distance for one in found[False]]

    @pytest.mark.parametrize("samples", [7, 50, 10_000])
    def test_a_whole_recording_however_it_is_cut(self, model: Model, samples: int) -> None:
        options = LabelOptions(adaptation=RULE, whole=True)
        expected = label_recording(self.recording(), model, options).labels
        found = label_recording(self.recording(), model, options, samples=samples).labels
        assert [(one.best, one.smoothed) for one in found] == [(one.best, one.smoothed) for one in expected]


class TestStage:
    """The stage by itself."""

    def test_windows_of_a_device_that_is_not_worn_teach_nothing(self, model: Model) -> None:
        stage = AdaptationStage(model, RULE)
        z = np.tile(np.array([3.0, 0.0, 0.0], dtype=np.float32), (10, 1))
        stage.adapt(assigned_of(model, z), [True] * 10)
        assert stage.capture() == {}
        stage.adapt(assigned_of(model, z), [False] * 10)
        assert list(stage.capture()) == ["watch"]

    def test_few_devices_in_memory_change_nothing(self, model: Model) -> None:
        rng = np.random.default_rng(1)
        z = rng.normal(scale=3.0, size=(90, 3)).astype(np.float32)
        names = [f"d{k % 9}" for k in range(90)]
        disk: dict[str, bytes] = {}
        roomy = AdaptationStage(model, RULE)
        tight = AdaptationStage(model, RULE, max_devices=2, archive=disk.get)
        expected = roomy.adapt(assigned_of(model, z, names), [False] * 90)
        found = []
        for start in range(0, 90, 5):
            part = slice(start, start + 5)
            found.append(tight.adapt(assigned_of(model, z[part], names[part], start), [False] * 5).distance)
            taken = tight.capture()
            disk |= taken
            tight.committed(taken)
        np.testing.assert_allclose(np.concatenate(found), expected.distance, rtol=1e-4)

    def test_a_model_whose_centroids_are_not_known_labels_as_it_is(
        self, model: Model, caplog: pytest.LogCaptureFixture
    ) -> None:
        stage = AdaptationStage(replace(model, centroids=None), RULE)
        assigned = assigned_of(model, np.ones((3, 3), dtype=np.float32))
        assert stage.adapt(assigned, [False] * 3) is assigned
        assert "its labels are those of the fleet" in caplog.text
        assert stage.capture() == {}

    def test_guided_models_follow_devices_only_if_that_is_asked_for(self, model: Model) -> None:
        manifest = model.manifest.model_copy(update={"likelihood_exponent": 2.5})
        guided = replace(model, manifest=manifest)
        away = assigned_of(model, np.ones((3, 3), dtype=np.float32))
        by_default = AdaptationStage(guided, RULE, everywhere=False)
        assert by_default.adapt(away, [False] * 3) is away
        assert AdaptationStage(guided, RULE).adapt(away, [False] * 3) is not away
        by_default.use(model)
        assert by_default.adapt(away, [False] * 3) is not away

    def test_a_damaged_state_begins_anew(self, model: Model, caplog: pytest.LogCaptureFixture) -> None:
        stage = AdaptationStage(model, RULE, archive=lambda _device: b"nonsense")
        z = np.ones((1, 3), dtype=np.float32)
        found = stage.adapt(assigned_of(model, z), [False])
        np.testing.assert_allclose(found.distance, assigned_of(model, z).distance, rtol=1e-5)
        assert "it begins anew" in caplog.text


class TestCentroids:
    """They are read from the graph, and believed only if its distances agree."""

    def test_they_are_those_of_the_graph(self, bundle: Path, model: Model) -> None:
        np.testing.assert_array_equal(model.centroids, CENTROIDS)
        opened = Bundle.open(bundle)
        x = np.random.default_rng(0).normal(size=(4, 8, 3)).astype(np.float32)
        encoder = OnnxEncoder(opened, "cpu", threads=1)
        assert measures_from(encoder.encode, x, CENTROIDS)
        assert not measures_from(encoder.encode, x, CENTROIDS[[1, 0, 2]])

    def test_a_model_without_them_is_refused_at_the_start(self, model: Model) -> None:
        with pytest.raises(ConfigError, match="its graph does not tell them") as refused:
            adapter_of(replace(model, centroids=None), RULE)
        assert "disc-stream export" in refused.value.remedy

    def test_it_is_on_where_the_model_can_unless_it_is_switched_off(self, bundle: Path) -> None:
        for adapt, rule in ((None, AdaptationRule()), (True, AdaptationRule()), (False, None)):
            config = load_serve_config(None, {"bundle": bundle, "adapt": adapt})
            lanes = labeller_settings(config, Topics(), bounds(config)).lanes
            assert (lanes.adaptation, lanes.adapt_everywhere) == (rule, adapt is True)

    def test_a_model_that_cannot_is_served_unless_adaptation_is_asked_for(self, bundle: Path) -> None:
        """The tiny bundle does not say what is unknown."""
        config = ServeConfig(bundle=bundle, provider="cpu", threads=1)
        assert first_model(config, lambda: "") is not None
        with pytest.raises(ConfigError, match="does not say which motion is unknown"):
            first_model(config.model_copy(update={"adapt": True}), lambda: "")

    def test_a_state_that_would_be_too_large_is_refused(self, model: Model) -> None:
        large = replace(model, centroids=np.zeros((3, 2000), dtype=np.float32))
        with pytest.raises(ConfigError, match="would take 12,024 bytes for every device"):
            adapter_of(large, RULE)

    def test_serve_refuses_a_graph_that_measures_from_elsewhere(
        self, bundle: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A graph made elsewhere may have a tensor of that name and shape that is something else."""
        config = ServeConfig(bundle=bundle, adapt=True, provider="cpu", threads=1)
        assert open_model(Bundle.open(bundle), config).centroids is not None
        monkeypatch.setattr(
            "disc_stream.artifacts.model.read_centroids", lambda _model, _manifest: CENTROIDS + 1
        )
        assert open_model(Bundle.open(bundle), config).centroids is None
        with pytest.raises(ConfigError, match="its graph does not tell them"):
            first_model(config, lambda: "")


def assigned_of(
    model: Model, z: Float32Array, names: Sequence[str] | None = None, start: int = 0
) -> Assigned:
    """Windows whose mean is z, one device after the other."""
    samples = np.repeat(z[:, None, :], 8, axis=1)
    encoded = model.encoder.encode(samples)
    ready = [
        ReadyInput("watch" if names is None else names[k], 1, start + k, 0, 0, 0, one,
                   received_us=START_US + (start + k) * 160_000)
        for k, one in enumerate(samples)
    ]  # fmt: skip
    return Assigned(ready, encoded.q, encoded.distance, encoded.embedding, samples, [])
