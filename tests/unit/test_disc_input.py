"""What the estimator says to bad input and bad settings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from disc_stream.errors import ConfigError, TrainingError
from disc_stream.training.estimators import DISC
from disc_stream.training.windows import apply_scaler, fit_scaler
from tests.support.motion import TINY, grouped_windows

pytestmark = pytest.mark.numeric


def fit(x: Any, n_clusters: Any = 3, **parameters: Any) -> DISC:
    parameters = {"epochs": 1, "refine_epochs": 1, "settings": TINY, **parameters}
    return DISC(n_clusters, **parameters).fit(x)


def windows() -> np.ndarray:
    return grouped_windows()[0]


def with_value(value: float) -> np.ndarray:
    x = windows()
    x[7, 3, 1] = value
    return x


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (
            with_value(np.nan),
            r"x .* not finite, the first at window 7, sample 3, channel 1; shape \(72, 16, 3\)",
        ),
        (with_value(np.inf), r"x .* not finite"),
        (with_value(1.0).astype(np.float64) * 1e300, r"x .* not finite"),
        (
            windows()[0],
            r"x has 2 dimensions and shape \(16, 3\); expected \(n_windows, n_samples, n_channels\)",
        ),
        (windows().astype(str), r"x must hold real numbers, got dtype <U"),
        (windows().astype(complex), r"real numbers, got dtype complex"),
        (windows()[:2], r"x has 2 windows, shape \(2, 16, 3\); expected at least 3 for n_clusters=3"),
        (windows()[:, :3], r"windows of 3 samples, shape \(72, 3, 3\); expected at least 4 samples"),
        (windows()[:, :, :0], r"x is empty, shape \(72, 16, 0\)"),
    ],
    ids=["nan", "inf", "overflow", "ndim", "text", "complex", "few", "short", "empty"],
)
def test_windows_that_cannot_be_learned_from(x: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit(x)


@pytest.mark.parametrize("n_clusters", [0, -1, 2.5, True, "3"])
def test_a_number_of_clusters_that_is_none(n_clusters: Any) -> None:
    with pytest.raises(ValueError, match="n_clusters must be a whole number"):
        fit(windows(), n_clusters)


def test_prediction_wants_the_shape_of_fit() -> None:
    model = fit(windows())
    for x in (windows()[:, :10], windows()[:, :, :2]):
        with pytest.raises(
            ValueError, match=r"expected \(n_windows, 16, 3\) as in fit, or first halves of 8"
        ):
            model.predict(x)
    with pytest.raises(ValueError, match="not finite"):
        model.transform(with_value(np.nan))


def test_first_halves_are_enough_for_prediction() -> None:
    model = fit(windows())
    half, whole = model.predict_proba(windows()[:, :8]), model.predict_proba(windows())
    np.testing.assert_allclose(half, whole, atol=1e-6)


def test_integers_are_taken() -> None:
    counts = (windows() * 100).astype(np.int16)
    assert fit(counts).labels_.shape == (72,)


def test_the_callers_array_is_left_alone() -> None:
    x = windows()
    before = x.copy()
    fit(x)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("kind", ["minmax", "zscore"])
def test_a_constant_channel_is_neutral_and_said(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    x = windows()
    x[:, :, 2] = 9.81
    scaled = apply_scaler(fit_scaler(kind, x), x)
    assert "channels [2] never change" in caplog.text
    np.testing.assert_allclose(scaled[:, :, 2], 0.0, atol=1e-6)
    assert np.isfinite(fit(x, settings={**TINY, "scaler": kind}).transform(x)).all()


def test_scalers_do_what_they_say() -> None:
    x = windows()
    low_high = apply_scaler(fit_scaler("minmax", x), x)
    np.testing.assert_allclose(low_high.min((0, 1)), 0.0, atol=1e-6)
    np.testing.assert_allclose(low_high.max((0, 1)), 1.0, atol=1e-6)
    standard = apply_scaler(fit_scaler("zscore", x), x)
    np.testing.assert_allclose(standard.mean((0, 1)), 0.0, atol=1e-5)
    np.testing.assert_allclose(standard.std((0, 1)), 1.0, atol=1e-5)
    np.testing.assert_array_equal(apply_scaler(fit_scaler("none", x), x), x)


def test_equal_windows_cannot_be_told_apart() -> None:
    with pytest.raises(TrainingError, match="only 1 different embeddings, too few for 3 clusters"):
        fit(np.repeat(windows()[:1], 10, axis=0))


def test_a_sample_for_ward_holds_at_least_a_window_for_each_cluster() -> None:
    assert fit(windows(), settings={**TINY, "init": "ward", "ward_sample": 2}).cluster_centers_.shape[0] == 3


def test_one_cluster_tells_nothing_apart() -> None:
    with pytest.raises(
        ValueError, match="n_clusters is 1: there is nothing to tell apart; expected at least 2"
    ):
        fit(windows(), 1)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"preset": "huge"}, "no preset 'huge'.*paper, released, small"),
        ({"settings": {"hiden": 3}}, "no setting 'hiden'.*hidden"),
        ({"settings": {"hidden": 0}}, "hidden must be at least 1, got 0"),
        ({"settings": {"hidden": True}}, "hidden must be a whole number, got True"),
        ({"settings": {"gamma": "much"}}, "gamma must be a number, got 'much'"),
        ({"settings": {"network": 3}}, "no setting 'network'"),
        ({"settings": {"init": "random"}}, "init must be one of kmeans, ward, got 'random'"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"random_state": -1}, "seed must be 0 to 4294967295, got -1"),
        ({"random_state": 2**32}, "seed must be 0 to 4294967295, got 4294967296"),
        ({"settings": {"learning_rate": 10.0}}, "learning_rate must be above 0 and at most 1, got 10.0"),
        ({"settings": {"layout": "grid", "axes": 2}}, "multiple of axes=2 channels, got 3"),
    ],
    ids=str,
)
def test_settings_that_cannot_be(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fit(windows(), **parameters)
