"""DISC with targets that carry over: settings, targets, augmentation, training, going on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from disc_stream.clustering.metrics import accuracy
from disc_stream.errors import ConfigError
from disc_stream.training.events import EpochEvent
from disc_stream.training.fitting import infer
from disc_stream.training.guided.augmentation import Augmentation
from disc_stream.training.guided.config import GuidedConfig, resolve_guided
from disc_stream.training.guided.guidance import divergence, first_centroids
from disc_stream.training.guided.teacher import Teacher, by_others
from disc_stream.training.presets import TrainingConfig
from disc_stream.training.recipes import RECIPES, Learned
from disc_stream.training.task import FitOptions, Task
from disc_stream.training.warm import WarmStart
from tests.support.people import people

pytestmark = pytest.mark.numeric

SETTINGS: dict[str, Any] = {
    "hidden": 8, "decoder_hidden": 8, "embedding": 4, "frame": 4, "batch_size": 64, "steps": 60,
    "learning_rate": 1e-2, "restarts": 3, "moves": 5, "precision": "fp32",
}  # fmt: skip
X, Y, WHO = people(4)
TASK = Task(X, 4, seed=1, devices=WHO)


def trained(task: Task = TASK, options: FitOptions | None = None, **settings: Any) -> Learned:
    config = RECIPES["disc"].resolve("guided", {**SETTINGS, **settings})
    return RECIPES["disc"].fit(task, config, options or FitOptions("cpu"))


@pytest.fixture(scope="module")
def first() -> Learned:
    return trained()


def rows(learned: Learned, n: int) -> Any:
    return infer(learned.net, X[:, :n])[1].argmax(1)


class TestSettings:
    """The setting ``targets``, and the presets."""

    def test_the_preset_decides_and_targets_override_it(self) -> None:
        disc = RECIPES["disc"]
        assert isinstance(disc.resolve("default", {}), GuidedConfig)
        assert isinstance(disc.resolve("paper", {}), TrainingConfig)
        own = disc.resolve("guided", {"targets": "self"})
        assert isinstance(own, TrainingConfig)
        assert own.network == GuidedConfig().network
        wide = disc.resolve("paper", {"targets": "carry-over"})
        assert isinstance(wide, GuidedConfig)
        assert wide.network.hidden == 256

    def test_names_reach_network_and_teacher(self) -> None:
        config = resolve_guided({"hidden": 5, "moves": 3, "axes": 2, "gamma": 0.5, "doubt": None})
        assert (config.network.hidden, config.teacher.moves, config.gamma) == (5, 3, 0.5)
        assert config.network.axes == config.teacher.axes == 2
        assert GuidedConfig(**config.to_dict()) == config

    @pytest.mark.parametrize(
        ("preset", "settings", "words"),
        [
            ("guided", {"refine_epochs": 3}, "no setting 'refine_epochs'"),
            ("guided", {"targets": "mine"}, "targets must be one of carry-over, self"),
            ("paper", {"moves": 3}, "no setting 'moves'"),
            ("large", {}, "no preset 'large'"),
        ],
    )
    def test_what_is_wrong_is_said(self, preset: str, settings: dict[str, Any], words: str) -> None:
        with pytest.raises(ConfigError, match=words):
            RECIPES["disc"].resolve(preset, settings)


class TestTargets:
    """The target distribution P."""

    def test_it_mixes_the_labelling_the_others_and_doubt(self) -> None:
        others = np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]], dtype=np.float32)
        config = GuidedConfig(others=0.5, doubt=0.3)
        p = Teacher(np.array([0, 1]), others, []).targets(config)
        np.testing.assert_allclose(p[0], [0.7 * 0.75 + 0.1, 0.7 * 0.25 + 0.1, 0.1], atol=1e-6)
        np.testing.assert_allclose(p.sum(1), 1.0, atol=1e-6)

    def test_others_have_not_seen_the_device_itself(self) -> None:
        random = np.random.default_rng(0)
        labels = np.tile([0, 1], 60)
        devices = np.repeat([0, 1, 2, 3], 30)
        x = random.normal(size=(120, 3)) + 6.0 * labels[:, None]
        wrong = labels.copy()
        wrong[devices == 3] = 1 - labels[devices == 3]
        p = by_others(x, wrong, devices, 2, 0.01)
        assert (p.argmax(1) == labels)[devices == 3].mean() > 0.95
        np.testing.assert_allclose(p.sum(1), 1.0, atol=1e-5)

    def test_one_device_has_no_others(self) -> None:
        p = by_others(np.zeros((3, 2)), np.array([0, 2, 1]), np.zeros(3, dtype=np.int64), 3, 0.01)
        np.testing.assert_array_equal(p, np.eye(3)[[0, 2, 1]])

    def test_a_cluster_without_windows_starts_in_the_middle(self) -> None:
        z = torch.tensor([[0.0, 2.0], [2.0, 4.0]])
        centroids = first_centroids(z, torch.tensor([1, 1]), 2)
        np.testing.assert_allclose(centroids.numpy(), [[1.0, 3.0], [1.0, 3.0]])


class TestConsistency:
    """Half a window and the whole one are to say the same."""

    def test_the_divergence_is_the_mean_of_both_ways(self) -> None:
        q, r = torch.tensor([[0.9, 0.1], [0.5, 0.5]]), torch.tensor([[0.6, 0.4], [0.5, 0.5]])
        kl = torch.nn.functional.kl_div
        ways = kl(r.log(), q, reduction="batchmean") + kl(q.log(), r, reduction="batchmean")
        assert float(divergence(q, r)) == pytest.approx(float(ways) / 2, rel=1e-5)
        assert torch.equal(divergence(q, r), divergence(r, q))
        assert float(divergence(q, q)) == 0.0

    def test_a_cluster_that_is_ruled_out_stays_finite(self) -> None:
        assert torch.isfinite(divergence(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])))

    def test_it_is_a_term_of_the_loss_unless_it_weighs_nothing(self) -> None:
        for weight in (0.0, 1.0):
            seen: list[Any] = []
            trained(options=FitOptions("cpu", seen.append), steps=1, consistency=weight)
            losses = next(e.losses for e in seen if isinstance(e, EpochEvent) and e.phase == "guided")
            assert ("con" in losses) == (weight > 0.0)
            assert all(np.isfinite(value) for value in losses.values())


class TestAugmentation:
    """What may be done to a window, and what not."""

    def test_the_same_seed_makes_the_same_changes(self) -> None:
        windows = torch.from_numpy(X[:8])
        change = Augmentation(GuidedConfig(), windows)
        change.reseed(3)
        once = change(windows, 4, 16)
        change.reseed(3)
        assert once.shape == (8, 16, 3)
        assert torch.equal(once, change(windows, 4, 16))
        assert not torch.equal(once, change(windows, 4, 16))

    def test_gravity_stays_about_where_it_is(self) -> None:
        windows = torch.zeros(200, 32, 3)
        windows[:, :, 2] = 9.81
        windows[:, :, :2] = 1.0
        change = Augmentation(GuidedConfig(scaling=0.0, noise=0.0), windows)
        level = change(windows, 0, 32).mean(1)
        toward = torch.nn.functional.cosine_similarity(level, windows.mean(1))
        assert float(toward.min()) > np.cos(np.radians(41))

    def test_channels_that_are_no_axes_of_one_sensor_are_not_mixed(self) -> None:
        windows = torch.randn(16, 32, 3, generator=torch.Generator().manual_seed(0))
        windows[:, :, 0] *= 1000.0
        turning = GuidedConfig(noise=0.0, scaling=0.0, warp=0.0)
        assert torch.equal(Augmentation(turning, windows)(windows, 0, 32), windows)

    def test_nothing_is_changed_where_nothing_is_asked_for(self) -> None:
        windows = torch.from_numpy(X[:4])
        still = GuidedConfig(noise=0.0, scaling=0.0, warp=0.0, rotation=0.0)
        assert torch.equal(Augmentation(still, windows)(windows, 8, 16), windows[:, 8:24])


class TestTraining:
    """One network, two speeds of label."""

    def test_it_labels_half_windows_and_whole_ones(self, first: Learned) -> None:
        assert (first.n_input, first.n_longer) == (16, 32)
        for n in (16, 32):
            assert accuracy(Y, rows(first, n)) > 0.9
        phases = [entry["phase"] for entry in first.history]
        assert phases.count("guided") == round(60 / (len(X) // 64))
        assert "candidates" in phases

    def test_it_goes_on_where_it_was_interrupted(self, first: Learned, tmp_path: Path) -> None:
        def stop(event: Any) -> None:
            if event.phase == "guided" and event.epoch == 3:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            trained(options=FitOptions("cpu", stop, tmp_path))
        seen: list[Any] = []
        again = trained(options=FitOptions("cpu", seen.append, tmp_path, resume=True))
        assert {event.phase for event in seen} == {"guided"}  # the labelling was kept
        assert torch.equal(again.centroids, first.centroids)
        with pytest.raises(ConfigError, match="seed"):
            trained(replace(TASK, seed=2), FitOptions("cpu", checkpoints=tmp_path, resume=True))

    def test_other_targets_are_another_training(self, tmp_path: Path) -> None:
        trained(options=FitOptions("cpu", checkpoints=tmp_path), steps=1)
        with pytest.raises(ConfigError, match="doubt"):
            trained(options=FitOptions("cpu", checkpoints=tmp_path, resume=True), steps=1, doubt=0.2)

    def test_going_on_keeps_the_clusters(self, first: Learned) -> None:
        warm = WarmStart.of(first.module, first.centroids, first.scaler)
        again = trained(replace(TASK, seed=5, warm=warm), steps=20)
        assert (rows(again, 16) == rows(first, 16)).mean() > 0.95
        assert again.scaler == first.scaler
        more = trained(replace(TASK, seed=5, warm=warm, n_clusters=5), steps=20)
        assert len(more.centroids) == 5
        kept = rows(more, 16) != 4
        assert (rows(more, 16)[kept] == rows(first, 16)[kept]).mean() > 0.9

    def test_it_does_not_go_on_from_another_shape(self, first: Learned) -> None:
        warm = WarmStart.of(first.module, first.centroids, first.scaler)
        with pytest.raises(ConfigError, match="another shape"):
            trained(replace(TASK, warm=warm), hidden=6)
