"""What every estimator promises, in the words of scikit-learn."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from disc_stream.training.estimators import DISC
from tests.support.motion import TINY, grouped_windows

pytestmark = pytest.mark.numeric

ESTIMATORS = [DISC]
QUICK: dict[str, Any] = {"epochs": 1, "refine_epochs": 1, "settings": TINY}


@pytest.fixture(params=ESTIMATORS, ids=lambda e: e.__name__)
def estimator(request: pytest.FixtureRequest) -> Any:
    return request.param(3, **QUICK)


def windows() -> np.ndarray:
    return grouped_windows()[0]


def test_every_parameter_of_the_constructor_is_a_parameter(estimator: Any) -> None:
    names = set(inspect.signature(type(estimator).__init__).parameters) - {"self"}
    assert set(estimator.get_params()) == names
    assert names >= {"n_clusters", "random_state"}


def test_a_clone_has_the_same_parameters_and_nothing_learned(estimator: Any) -> None:
    fitted = estimator.fit(windows())
    copy = clone(fitted)
    assert copy is not fitted
    assert copy.get_params() == fitted.get_params()
    with pytest.raises(NotFittedError):
        copy.predict(windows())


def test_set_params_takes_effect_at_the_next_fit(estimator: Any) -> None:
    estimator.fit(windows())
    assert estimator.set_params(n_clusters=2) is estimator
    assert len(estimator.fit(windows()).cluster_centers_) == 2
    with pytest.raises(ValueError, match="n_cluster"):
        estimator.set_params(n_cluster=2)


def test_fitting_does_not_change_the_parameters(estimator: Any) -> None:
    before = estimator.get_params()
    estimator.fit(windows())
    assert estimator.get_params() == before


def test_what_fit_leaves_behind(estimator: Any) -> None:
    x = windows()
    assert estimator.fit(x) is estimator
    assert estimator.labels_.shape == (len(x),)
    assert estimator.labels_.dtype == np.int64
    assert set(estimator.labels_) <= {0, 1, 2}
    assert estimator.cluster_centers_.shape == (3, TINY["embedding"])
    assert estimator.n_iter_ == len(estimator.history_) == 2


def test_the_four_ways_to_use_it_agree(estimator: Any) -> None:
    x = windows()
    labels = estimator.fit_predict(x)
    np.testing.assert_array_equal(labels, estimator.labels_)
    np.testing.assert_array_equal(labels, estimator.predict(x))
    z = estimator.transform(x)
    assert z.shape == (len(x), TINY["embedding"])
    distance = np.square(z[:, None] - estimator.cluster_centers_[None]).sum(2)
    nearest = np.take_along_axis(distance, labels[:, None], axis=1)[:, 0]
    np.testing.assert_allclose(nearest, distance.min(1), rtol=1e-3, atol=1e-6)  # of two alike, either
    q = estimator.predict_proba(x)
    np.testing.assert_allclose(q.sum(1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(
        q, (1 / (1 + distance)) / (1 / (1 + distance)).sum(1, keepdims=True), rtol=1e-3
    )
    np.testing.assert_allclose(clone(estimator).fit_transform(x), z, atol=1e-6)


def test_fit_twice_with_one_seed_gives_equal_labels(estimator: Any) -> None:
    x = windows()
    first = estimator.fit(x).labels_
    np.testing.assert_array_equal(estimator.fit(x).labels_, first)


def test_labels_are_never_learned_from(estimator: Any) -> None:
    x, groups = grouped_windows()
    np.testing.assert_array_equal(clone(estimator).fit(x, groups).labels_, clone(estimator).fit(x).labels_)


def test_embeddings_feed_a_pipeline(estimator: Any) -> None:
    scaled = make_pipeline(estimator, StandardScaler()).fit_transform(windows())
    np.testing.assert_allclose(scaled.mean(0), 0.0, atol=1e-5)


def test_prediction_before_fit_is_refused(estimator: Any) -> None:
    for method in ("predict", "predict_proba", "transform"):
        with pytest.raises(NotFittedError):
            getattr(estimator, method)(windows())


def test_it_shows_itself(estimator: Any) -> None:
    assert repr(estimator).startswith(f"{type(estimator).__name__}(")
