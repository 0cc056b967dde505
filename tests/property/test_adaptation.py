"""Centroids that follow devices: neither chunks nor restarts are seen, and no centroid leaves its ball."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disc_stream.artifacts.catalogue import ClusterInfo
from disc_stream.artifacts.model import Model
from disc_stream.clustering.adaptation import AdaptationRule, Adapter, Occurrence
from disc_stream.load.trivial import InputSpec, write_mean_bundle
from disc_stream.stream.adapting import AdaptationStage
from disc_stream.stream.encoding import Assigned
from disc_stream.stream.values import ReadyInput
from tests.support.labeller import model_of
from tests.support.tiny_bundle import CENTROIDS, CHANNELS, FS, WINDOW

RULE = AdaptationRule(prior_windows=3.0, memory_windows=10.0, half_life_s=60.0)
LIMITS = (60.0, None, 40.0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    path = tmp_path_factory.mktemp("adaptation") / "tiny"
    clusters = [
        ClusterInfo(id=k, name=f"c{k}", size=1, unknown_above=limit) for k, limit in enumerate(LIMITS)
    ]
    write_mean_bundle(path, "tiny", InputSpec(CHANNELS, FS, WINDOW), CENTROIDS, clusters)
    return model_of(path)


@settings(deadline=None, max_examples=40)
@given(
    names=st.lists(st.sampled_from("abc"), min_size=1, max_size=40),
    cuts=st.sets(st.integers(1, 39), max_size=8),
    restarts=st.sets(st.integers(1, 39), max_size=4),
    seed=st.integers(0, 1000),
)
def test_any_chunks_and_restarts_are_as_one_by_one(
    model: Model, names: list[str], cuts: set[int], restarts: set[int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    z = (CENTROIDS[rng.integers(0, 3, len(names))] + rng.normal(2.0, 2.0, (len(names), 3))).astype(np.float32)
    idle = rng.random(len(names)) < 0.1
    when = np.cumsum(rng.integers(0, 30_000_000, len(names)))
    samples = np.repeat(z[:, None, :], WINDOW.input_samples, axis=1)
    encoded = model.encoder.encode(samples)
    ready = [
        ReadyInput(name, 1, k, 0, k, k // 13, samples[k], received_us=1 + int(when[k]))
        for k, name in enumerate(names)
    ]

    def part(first: int, last: int) -> Assigned:
        rows = slice(first, last)
        return Assigned(
            ready[rows], encoded.q[rows], encoded.distance[rows], encoded.embedding[rows], samples[rows], []
        )

    one_by_one = AdaptationStage(model, RULE)
    expected = [one_by_one.adapt(part(k, k + 1), [bool(idle[k])]) for k in range(len(names))]
    disk: dict[str, bytes] = {}
    stage = AdaptationStage(model, RULE, archive=disk.get)
    found = []
    borders = sorted({0, len(names), *(c for c in cuts | restarts if c < len(names))})
    for first, last in pairwise(borders):
        if first in restarts:
            disk |= stage.capture()
            stage = AdaptationStage(model, RULE, archive=disk.get)
        found.append(stage.adapt(part(first, last), idle[first:last].tolist()))
    for which in ("q", "shift"):
        np.testing.assert_array_equal(
            np.concatenate([getattr(one, which) for one in found]),
            np.concatenate([getattr(one, which) for one in expected]),
        )


@settings(deadline=None, max_examples=60)
@given(
    k=st.integers(1, 6),
    bound=st.floats(0.0, 0.49),
    prior=st.floats(0.01, 100.0),
    spread=st.floats(0.0, 1e4),
    seed=st.integers(0, 1000),
)
def test_no_centroid_leaves_its_ball_and_no_two_meet(
    k: int, bound: float, prior: float, spread: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    centroids = rng.normal(size=(k, 4)).astype(np.float32)
    adapter = Adapter(centroids, [1e30] * k, AdaptationRule(prior_windows=prior, bound=bound))
    device = adapter.new()
    for step, z in enumerate(rng.normal(scale=1.0 + spread, size=(30, 1, 4)).astype(np.float32)):
        adapter.step([device], z, [Occurrence(1 + step * 1_000_000, step % 7 == 0)])
        own = adapter.centroids_of(device)
        assert np.isfinite(own).all()
        assert (np.linalg.norm(own - centroids, axis=1) <= adapter.radius * (1 + 1e-4) + 1e-6).all()
    if k > 1:
        apart = np.linalg.norm(own[:, None] - own[None, :], axis=2) + np.eye(k)
        assert (apart > 0).all()
