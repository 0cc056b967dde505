"""disc-plus grows: by a coordinate and a centroid for every group of new motion, and by none without."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from disc_stream.training.fitting import infer
from disc_stream.training.known import Known
from disc_stream.training.recipes import RECIPES, Learned
from disc_stream.training.task import FitOptions, Task
from disc_stream.training.warm import WarmStart
from tests.support.people import people

PLUS = RECIPES["disc-plus"]
CONFIG = PLUS.resolve("small", {"restarts": 3, "moves": 10, "spans": (1,)})
NEW = 3  # fast swinging


def fit(task: Task) -> Learned:
    return PLUS.fit(task, CONFIG, FitOptions("cpu"))


def rows(learned: Learned, x: Any) -> Any:
    return infer(learned.net, x)[2].argmin(1)


class Scene:
    """Six people without fast swinging, three clusters; four more with it."""

    def __init__(self) -> None:
        x, y, who = people(10, seed=4)
        first = (who < 6) & (y != NEW)
        there = first | (who >= 6)
        self.first, self.learned = x[first], fit(Task(x[first], 3, seed=1, devices=who[first]))
        self.old = rows(self.learned, x[first])
        self.known = Known.of(x[first], self.old, who[first], n_clusters=3, seed=1)
        self.x, self.y, self.who = x[there], y[there], who[there]

    @property
    def start(self) -> WarmStart:
        learned = self.learned
        return WarmStart.of(learned.module, learned.centroids, learned.scaler, known=self.known)

    def again(self, **how: Any) -> Learned:
        task = Task(self.x, 3, seed=2, devices=self.who, warm=self.start, grow=True)
        return fit(replace(task, **how))


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene()


@pytest.mark.parametrize("how", [{}, {"grow": False, "n_clusters": 4}])
def test_a_new_motion_gets_a_cluster_and_the_others_stay(scene: Scene, how: dict[str, Any]) -> None:
    grown = scene.again(**how)
    before, after, new = rows(scene.learned, scene.x), rows(grown, scene.x), scene.y == NEW
    assert len(grown.centroids) == 4
    assert (after[new] == 3).mean() > 0.9
    assert (after[~new] != before[~new]).mean() < 0.02
    stay = after < 3
    np.testing.assert_array_equal(after[stay], before[stay])  # nothing goes from one old cluster to another


def test_it_grows_by_nothing_where_nothing_is_new(scene: Scene) -> None:
    usual = scene.y != NEW
    task = Task(scene.x[usual], 3, seed=2, devices=scene.who[usual], warm=scene.start, grow=True)
    grown = fit(task)
    assert len(grown.centroids) == 3
    np.testing.assert_array_equal(rows(grown, scene.x), rows(scene.learned, scene.x))


def test_it_grows_once_and_not_again(scene: Scene) -> None:
    grown = scene.again()
    known = Known.of(scene.x, rows(grown, scene.x), scene.who, n_clusters=4, seed=3, before=scene.known)
    start = WarmStart.of(grown.module, grown.centroids, grown.scaler, known=known)
    again = fit(Task(scene.x, 4, seed=5, devices=scene.who, warm=start, grow=True))
    assert len(again.centroids) == 4
    np.testing.assert_array_equal(rows(again, scene.x), rows(grown, scene.x))


def test_without_what_was_known_it_stays_as_it_is(scene: Scene) -> None:
    grown = scene.again(warm=replace(scene.start, known=None))
    assert len(grown.centroids) == 3


def test_fewer_clusters_are_still_possible(scene: Scene) -> None:
    assert len(scene.again(grow=False, n_clusters=2).centroids) == 2
