"""What every method of Table I promises alike."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from disc_stream.errors import ConfigError
from disc_stream.training.estimators.base import WindowClusterer
from disc_stream.training.fitting import pretrain
from disc_stream.training.methods import METHODS, Method, get_method
from disc_stream.training.presets import resolve
from disc_stream.training.pretrained import Pretrained
from disc_stream.training.recipes import get_family
from disc_stream.training.task import FitOptions
from disc_stream.types import Float32Array, IntArray

K, T, C = 3, 16, 3
DEVICES = np.repeat([0, 1, 2], 30)
METHOD_LIST = list(METHODS.values())


def windows() -> Float32Array:
    """Three kinds of motion on each of three devices, (90, T, C)."""
    random = np.random.default_rng(3)
    x = random.normal(size=(90, T, C))
    kind = np.tile(np.repeat([0, 1, 2], 10), 3)
    x *= np.array([0.2, 1.0, 3.0])[kind, None, None]
    x[:, :, 0] += np.array([0.0, 4.0, -4.0])[kind, None]
    return x.astype(np.float32)


def settings(method: Method) -> dict[str, Any]:
    if method.family in ("disc", "dsc"):
        return {"epochs": 2, "refine_epochs": 2, "hidden": 4, "embedding": 3, "decoder_hidden": 4}
    if method.family:
        return {"epochs": 2, "refine_epochs": 2}
    search = {"restarts": 2, "moves": 5}
    if method.name.startswith("disc-guided"):
        return {**search, "steps": 4, "hidden": 4, "embedding": 3, "decoder_hidden": 4, "frame": 2}
    return search if method.name == "disc-plus" else {}


def make(method: Method, *, n_clusters: int = K, seed: int = 0) -> WindowClusterer:
    return method.make(n_clusters, seed, "small", settings(method))


def fit(method: Method, x: Float32Array, **how: Any) -> WindowClusterer:
    model: WindowClusterer = make(method).fit(x, devices=DEVICES, **how)
    return model


every_method = pytest.mark.parametrize("method", METHOD_LIST, ids=[m.name for m in METHOD_LIST])


@every_method
def test_a_fit_gives_labels_centres_and_a_space(method: Method) -> None:
    x = windows()
    model = fit(method, x)
    labels: IntArray = model.labels_
    assert labels.shape == (90,)
    assert labels.dtype == np.int64
    assert 0 <= labels.min() <= labels.max() < K
    z, q = model.transform(x), model.predict_proba(x)
    assert model.cluster_centers_.shape == (K, z.shape[1])
    assert q.shape == (90, K)
    np.testing.assert_allclose(q.sum(1), 1.0, atol=1e-5)
    np.testing.assert_array_equal(model.predict(x), q.argmax(1))
    if not method.refits:
        np.testing.assert_array_equal(model.predict(x), labels)


@pytest.mark.numeric
@every_method
def test_the_same_seed_gives_the_same_labels_and_torch_is_left_alone(method: Method) -> None:
    x = windows()
    state = torch.random.get_rng_state()
    first, second = fit(method, x), fit(method, x)
    assert torch.equal(torch.random.get_rng_state(), state)
    np.testing.assert_array_equal(first.labels_, second.labels_)
    np.testing.assert_array_equal(first.cluster_centers_, second.cluster_centers_)


@every_method
def test_fit_predict_is_fit_and_then_labels(method: Method) -> None:
    x = windows()
    np.testing.assert_array_equal(make(method).fit_predict(x, devices=DEVICES), fit(method, x).labels_)


@every_method
def test_cloning_and_parameters_follow_scikit_learn(method: Method) -> None:
    model = make(method, seed=5)
    copy = clone(model)
    assert type(copy) is type(model)
    assert copy.get_params() == model.get_params()
    assert copy.get_params()["random_state"] == 5
    assert copy.set_params(n_clusters=4).n_clusters == 4
    assert not any(name.endswith("_") and not name.startswith("_") for name in vars(copy))
    assert list(inspect.signature(type(model).__init__).parameters)[1] == "n_clusters"


@every_method
def test_nothing_is_predicted_before_fit(method: Method) -> None:
    with pytest.raises(NotFittedError):
        make(method).predict(windows())


def _with(value: float) -> Float32Array:
    x = windows()
    x[4, 3, 1] = value
    return x


BAD_INPUT = {
    "NaN": (_with(np.nan), r"x has values that are not finite, the first at window 4, sample 3, channel 1"),
    "infinity": (_with(np.inf), "x has values that are not finite"),
    "constant": (np.ones((90, T, C), dtype=np.float32), "x is constant in every channel"),
    "too few": (windows()[:2], r"x has 2 windows, shape \(2, 16, 3\); expected at least 3"),
    "too short": (windows()[:, :3], r"x has windows of 3 samples, shape \(90, 3, 3\); expected at least 4"),
    "two dimensions": (windows()[:, :, 0], r"x has 2 dimensions and shape \(90, 16\); expected"),
    "words": (np.full((90, T, C), "a"), "x must hold real numbers, got dtype"),
    "complex": (windows().astype(np.complex64), "x must hold real numbers, got dtype complex64"),
}


@every_method
@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_named(method: Method, case: str) -> None:
    x, message = BAD_INPUT[case]
    with pytest.raises(ValueError, match=message):
        make(method).fit(x)


@every_method
def test_one_cluster_and_other_shapes_are_refused(method: Method) -> None:
    with pytest.raises(ValueError, match="n_clusters is 1: there is nothing to tell apart"):
        make(method, n_clusters=1).fit(windows())
    model = fit(method, windows())
    with pytest.raises(
        ValueError, match=r"x has shape \(90, 12, 3\); expected \(n_windows, 16, 3\) as in fit"
    ):
        model.predict(windows()[:, :12])


with_family = pytest.mark.parametrize(
    "method", [m for m in METHOD_LIST if m.family], ids=[m.name for m in METHOD_LIST if m.family]
)


@with_family
def test_a_shared_autoencoder_changes_nothing(method: Method, tmp_path: Any) -> None:
    x = windows()
    alone = fit(method, x)
    family = get_family(method.family)
    config = resolve("small", settings(method), family.presets)
    pretrain(family, x, config, seed=0, options=FitOptions()).save(tmp_path / "shared")
    shared = fit(method, x, pretrained=Pretrained.load(tmp_path / "shared"))
    np.testing.assert_array_equal(shared.labels_, alone.labels_)
    np.testing.assert_array_equal(shared.cluster_centers_, alone.cluster_centers_)


def test_an_autoencoder_of_other_windows_is_refused() -> None:
    x, family = windows(), get_family("sae")
    method = get_method("idec")
    config = resolve("small", settings(method), family.presets)
    pretrained = pretrain(family, x[::-1].copy(), config, seed=0, options=FitOptions())
    with pytest.raises(ConfigError, match="differs in windows"):
        fit(method, x, pretrained=pretrained)


def test_an_unknown_method_is_named() -> None:
    with pytest.raises(ConfigError, match=r"unknown method 'som'\. Use one of: kmeans"):
        get_method("som")
