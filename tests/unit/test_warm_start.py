"""A training that goes on from a trained model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from disc_stream.clustering.newmotion import NewMotion
from disc_stream.errors import ConfigError
from disc_stream.training.fitting import infer
from disc_stream.training.recipes import RECIPES, Learned
from disc_stream.training.task import FitOptions, Task
from disc_stream.training.warm import Carried, WarmStart
from tests.support.people import people

SETTINGS: dict[str, Any] = {
    "hidden": 8, "decoder_hidden": 8, "embedding": 4, "frame": 4, "batch_size": 64, "epochs": 8,
    "refine_epochs": 2, "init": "ward",
}  # fmt: skip
GENTLE = {"epochs": 1, "learning_rate": 1e-4, "refine_epochs": 1, "refine_learning_rate": 1e-5}
X, _, _ = people(3)


def trained(task: Task, options: FitOptions | None = None, **settings: Any) -> Learned:
    config = RECIPES["disc"].resolve("small", {**SETTINGS, **settings})
    return RECIPES["disc"].fit(task, config, options or FitOptions("cpu"))


@pytest.fixture(scope="module")
def first() -> Learned:
    return trained(Task(X, 4, seed=1))


def warm(learned: Learned) -> WarmStart:
    return WarmStart.of(learned.module, learned.centroids, learned.scaler)


def rows(learned: Learned) -> Any:
    return infer(learned.net, X[:, : learned.n_input])[1].argmax(1)


def test_rows_stay_what_they_were(first: Learned) -> None:
    again = trained(Task(X, 4, seed=2, warm=warm(first)), **GENTLE)
    assert (rows(again) == rows(first)).mean() > 0.95
    assert again.scaler == first.scaler


def test_one_cluster_more_is_the_last_row(first: Learned) -> None:
    again = trained(Task(X, 5, seed=2, warm=warm(first)), **GENTLE)
    new = rows(again)
    assert (new == 4).any()
    others = new != 4
    assert (new[others] == rows(first)[others]).mean() > 0.9


def test_the_same_seed_gives_the_same_and_an_interrupted_training_goes_on(
    first: Learned, tmp_path: Path
) -> None:
    task = Task(X, 5, seed=3, warm=warm(first))
    once = trained(task, **GENTLE)

    def stop(event: Any) -> None:
        if event.phase == "refine":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(task, FitOptions("cpu", stop, tmp_path), **GENTLE)
    resumed = trained(task, FitOptions("cpu", checkpoints=tmp_path, resume=True), **GENTLE)
    assert np.allclose(once.centroids.numpy(), resumed.centroids.numpy(), atol=1e-5)
    other = replace(task, warm=None)
    with pytest.raises(ConfigError):
        trained(other, FitOptions("cpu", checkpoints=tmp_path, resume=True), **GENTLE)


def test_a_model_of_another_shape_is_told(first: Learned) -> None:
    with pytest.raises(ConfigError, match="another shape"):
        trained(Task(X, 4, warm=warm(first)), hidden=6)


@pytest.mark.parametrize("method", ["bdec"])
def test_methods_that_cannot_go_on_say_so(first: Learned, method: str) -> None:
    recipe = RECIPES[method]
    preset = recipe.presets[0] if recipe.presets else ""
    with pytest.raises(ConfigError, match=f"{method} cannot go on"):
        recipe.fit(Task(X, 4, warm=warm(first)), recipe.resolve(preset, {}), FitOptions("cpu"))


def carried(before: Any, means: Any, unknown: Any = None) -> Carried:
    """Old clusters whose centroids lie 0.5 beside the means of their windows."""
    old = np.array(means, dtype=np.float32)[:, None] + np.float32(0.5)
    return Carried(np.asarray(before), old, np.array(means, dtype=np.float64)[:, None], unknown)


class TestCarriedClusters:
    """Where the old clusters are in a new space."""

    z = np.array([[0.0], [0.2], [5.0], [5.2], [5.4], [9.0], [9.2]], dtype=np.float32)

    def test_they_have_moved_with_their_windows(self) -> None:
        old = carried([1, 1, 0, 0, 0, 2, 2], [-3.0, 2.0, 9.1, 99.0])
        assert old.centroids(self.z, 4, seed=0).ravel() == pytest.approx([5.7, 0.6, 9.6, 99.5])

    def test_nothing_has_moved_if_the_weights_have_not(self, first: Learned) -> None:
        z = infer(first.net, X[:, : first.n_input])[0]
        found = Carried.of(warm(first), z).centroids(z, 4, seed=0)
        assert np.allclose(found, first.centroids.numpy(), atol=1e-5)

    def test_too_many_are_merged_by_their_distance(self) -> None:
        old = carried([1, 1, 0, 0, 0, 2, 2], [5.2, 0.1, 9.1])
        assert old.centroids(self.z, 2, seed=0).ravel() == pytest.approx([(3 * 5.7 + 2 * 9.6) / 5, 0.6])

    def test_a_new_one_is_born_where_it_helps_most(self) -> None:
        old = carried([0, 0, 1, 1, 1, 1, 1], [0.1, 6.76])
        assert old.centroids(self.z, 3, seed=0).ravel()[2] == pytest.approx(5.2)

    def test_what_was_unknown_comes_first(self) -> None:
        z = np.repeat([-6.0, 6.0, 20.0], [100, 100, 5])[:, None].astype(np.float32)
        before, means = np.zeros(205, dtype=np.int64), [0.5]
        anywhere = carried(before, means).centroids(z, 2, seed=0)
        born = carried(before, means, np.arange(205) >= 200).centroids(z, 2, seed=0)
        assert anywhere.ravel()[1] < 20.0  # cutting the large cluster in two takes off more
        assert born.ravel()[1] == pytest.approx(20.0)


def test_disc_plus_keeps_its_map_and_gives_what_it_does_not_know_a_cluster() -> None:
    recipe = RECIPES["disc-plus"]
    config = recipe.resolve("small", {})
    devices = np.repeat(np.arange(3), len(X) // 3 + 1)[: len(X)]
    before = recipe.fit(Task(X, 4, seed=1, devices=devices), config, FitOptions("cpu"))
    shaken = np.random.default_rng(0).normal(0, 8 * X.std(), (len(X) // 10, *X.shape[1:])).astype(np.float32)
    more = np.concatenate([X, shaken])
    radius = np.full(4, np.square(infer(before.net, X)[2].min(1)).max() + 1, dtype=np.float32)
    start = WarmStart.of(before.module, before.centroids, before.scaler, radius)
    task = Task(
        more, 5, seed=2, devices=np.concatenate([devices, np.zeros(len(shaken), dtype=int)]), warm=start
    )
    grown = recipe.fit(task, config, FitOptions("cpu"))
    new = infer(grown.net, more)[1].argmax(1)
    assert (new[len(X) :] == 4).mean() > 0.95
    assert (new[: len(X)] == infer(before.net, X)[1].argmax(1)).mean() > 0.98


def test_disc_plus_does_not_go_on_from_another_method(first: Learned) -> None:
    task = Task(X, 4, seed=1, warm=warm(first))
    with pytest.raises(ConfigError, match="another shape or method"):
        RECIPES["disc-plus"].fit(task, RECIPES["disc-plus"].resolve("small", {}), FitOptions("cpu"))


class TestBornFromGroups:
    """Where new motion was found, its group comes before anything else, if it can be told apart."""

    z = np.r_[np.zeros(200), np.full(200, 0.4), np.full(30, 9.0)][:, None].astype(np.float32)
    before = np.zeros(430, dtype=np.int64)
    near = np.r_[np.ones(400, dtype=bool), np.zeros(30, dtype=bool)]

    def found(self, *groups: Any) -> NewMotion:
        return NewMotion(tuple(groups), np.zeros(430), self.near)

    def test_a_cluster_is_born_from_a_group(self) -> None:
        old = carried(self.before, [0.2])
        new = self.found(np.arange(400, 430))
        given = old.centroids(self.z, 2, seed=0, new=new).ravel()
        grown = old.centroids(self.z, 1, seed=0, new=new, grow=True).ravel()
        assert given[1] == grown[1] == pytest.approx(9.0)

    def test_none_is_where_the_embedding_has_it_among_what_is_known(self) -> None:
        new = self.found(np.arange(200, 230))
        old = carried(self.before, [0.2])
        assert len(old.centroids(self.z, 1, seed=0, new=new, grow=True)) == 1
