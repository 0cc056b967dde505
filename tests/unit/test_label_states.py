"""Two states that are no clusters: a window far from all of them, and a device that is not worn."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from disc_stream.artifacts.catalogue import Catalogue
from disc_stream.artifacts.model import Model
from disc_stream.stream.encoding import Assigned
from disc_stream.stream.labelling import LabelMaker, Occasion
from disc_stream.stream.pipeline import stream_spec
from disc_stream.stream.values import ReadyInput
from disc_stream.stream.wearing import WearStage
from disc_stream.training.novelty import unknown_above
from disc_stream.types import NOT_WORN, UNKNOWN, Label
from disc_stream.wire.label import decode_label, encode_label
from tests.support.labeller import model_of
from tests.support.tiny_bundle import write_tiny_bundle

HOP_US = 160_000
STILL = np.full((8, 3), [0.0, 0.0, 9.81], dtype=np.float32)
MOVING = (STILL + np.sin(np.arange(8))[:, None]).astype(np.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    path = tmp_path_factory.mktemp("states") / "tiny"
    write_tiny_bundle(path)
    model = model_of(path)
    limits = [one.model_copy(update={"unknown_above": 5.0}) for one in model.catalogue.clusters]
    return model.with_catalogue(Catalogue.of(model.version, limits))


def window(samples: np.ndarray, number: int = 0, device: str = "watch") -> ReadyInput:  # type: ignore[type-arg]
    return ReadyInput(device, 1, number, number * HOP_US, 0, 1, samples)


def label_of(model: Model, samples: np.ndarray, *, off: bool = False) -> Label:  # type: ignore[type-arg]
    encoded = model.encoder.encode(samples[None])
    assigned = Assigned([window(samples)], encoded.q, encoded.distance, encoded.embedding, samples[None], [])
    smoothed = encoded.q.astype(np.float64)
    return LabelMaker(model, 3).label(assigned, smoothed, Occasion(0), [off])[0].label


# ── Unknown ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_window_beyond_the_threshold_is_unknown_and_says_what_is_nearest(model: Model) -> None:
    near, far = np.full((8, 3), [10, 0, 2], np.float32), np.full((8, 3), [10, 0, 4], np.float32)
    known, unknown = label_of(model, near), label_of(model, far)
    assert (known.best.label, known.best.name) == (1, "left")
    assert (unknown.best.label, unknown.best.name, unknown.smoothed) == (UNKNOWN, "unknown", unknown.best)
    assert unknown.soft[0].name == "left"
    assert unknown.distance == pytest.approx(16.0)
    assert unknown.best.confidence == pytest.approx(1 - 5 / 16)
    assert decode_label(encode_label(unknown)).best.label == UNKNOWN


def test_adaptation_changes_the_cluster_and_nothing_else(model: Model) -> None:
    """Unknown, distance and novelty go by the model, whatever the device's centroids say."""
    for samples in (np.full((8, 3), [4, 0, 2], np.float32), np.full((8, 3), [4, 0, 4], np.float32)):
        encoded = model.encoder.encode(samples[None])
        plain = Assigned([window(samples)], encoded.q, encoded.distance, encoded.embedding, samples[None], [])
        own = np.array([[0.1, 0.8, 0.1]], dtype=np.float32)
        followed = plain._replace(q=own, model_q=plain.q, shift=np.float32([0.4]))
        first, second = (
            LabelMaker(model, 3).label(one, one.q.astype(np.float64), Occasion(0), [False])[0].label
            for one in (plain, followed)
        )
        assert (first.distance, first.novelty) == (second.distance, second.novelty)
        assert (first.best.label == UNKNOWN) == (second.best.label == UNKNOWN)
        assert (first.adapted, second.adapted) == (None, pytest.approx(0.4))
        if first.best.label == UNKNOWN:
            assert second.best == first.best
        else:
            assert (first.best.name, second.best.name) == ("rest", "left")


def test_a_model_without_thresholds_calls_nothing_unknown(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "tiny")
    assert label_of(model_of(tmp_path / "tiny"), np.full((8, 3), 1000, np.float32)).best.label >= 0


def test_thresholds_let_known_motion_of_new_people_pass_at_about_the_stated_rate() -> None:
    """People differ: each has an offset of their own, which those never trained on have, too."""
    rng = np.random.default_rng(0)
    centres = np.array([[0.0, 0, 0, 0], [8, 0, 0, 0], [0, 8, 0, 0]])

    def motion(people: range) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # type: ignore[type-arg]
        rows = [(k, p) for p in people for k in range(3) for _ in range(100)]
        offsets = {p: rng.normal(0, 0.4, 4) for p in people}
        z = np.array([centres[k] + offsets[p] + rng.normal(0, 1, 4) for k, p in rows], dtype=np.float32)
        return z, np.array([k for k, _ in rows]), np.array([p for _, p in rows])

    z, labels, people = motion(range(12))
    means = np.array([z[labels == k].mean(0) for k in range(3)])
    distance = np.square(z[:, None] - means[None]).sum(2).astype(np.float32)
    limits = unknown_above(z, labels, distance, people)
    new, which, _ = motion(range(100, 130))
    far = np.square(new - means[which]).sum(1)
    rate = float((far > np.array(limits, dtype=float)[which]).mean())
    assert 0.005 < rate < 0.04
    assert limits == unknown_above(z, labels, distance, people), "the same again"


def test_a_cluster_without_windows_has_no_threshold_and_few_devices_have_none() -> None:
    z = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
    distance = np.stack([np.square(z).sum(1), np.full(60, 1e6)], axis=1).astype(np.float32)
    labels, devices = np.zeros(60, dtype=np.int64), np.arange(60) % 6
    limits = unknown_above(z, labels, distance, devices)
    assert limits[0] is not None
    assert limits[1] is None
    assert unknown_above(z, labels, distance, devices % 5) == [None, None]


# ── Not worn ──────────────────────────────────────────────────────────────────────────────────────────


def run(stage: WearStage, n: int, start: int = 0, device: str = "watch") -> list[bool]:
    return stage.not_worn([window(STILL, number, device) for number in range(start, start + n)])


def test_a_device_that_lies_still_for_half_an_hour_is_not_worn_until_it_moves(model: Model) -> None:
    stage = WearStage(stream_spec(model))
    per_half_hour = round(1800 / 0.16)
    found = run(stage, per_half_hour + 10)
    assert not any(found[: per_half_hour - 1])
    assert all(found[per_half_hour:])
    n = per_half_hour + 10
    assert stage.not_worn([window(MOVING, n), window(STILL, n + 1)]) == [False, False]
    assert label_of(model, STILL, off=True).best.name == "not worn"
    assert label_of(model, STILL, off=True).best.label == NOT_WORN


def test_what_is_known_of_stillness_survives_a_restart_and_any_grouping(model: Model) -> None:
    spec, n = stream_spec(model), round(1800 / 0.16) + 5
    whole = run(WearStage(spec), n)
    found: list[bool] = []
    disk: dict[str, bytes] = {}
    for start in range(0, n, 1000):
        stage = WearStage(spec)
        stage.restore({name: blob for name, blob in disk.items() if blob})
        found += run(stage, min(1000, n - start), start)
        taken = stage.capture()
        disk |= taken
        stage.committed(taken)
    assert found == whole
    assert found[-1]


def test_devices_that_move_have_no_state_and_those_that_begin_to_lose_theirs(model: Model) -> None:
    stage = WearStage(stream_spec(model))
    stage.not_worn([window(MOVING)])
    assert stage.capture() == {}
    run(stage, 1, 1)
    taken: Mapping[str, bytes] = stage.capture()
    assert list(taken) == ["watch"]
    stage.not_worn([window(MOVING, 2)])
    assert stage.capture() == {"watch": b""}
    run(stage, 1, 3)
    stage.forget("watch")
    assert stage.capture() == {}


def test_states_of_other_windows_begin_anew(model: Model) -> None:
    stage = WearStage(stream_spec(model))
    run(stage, 3)
    state = stage.capture()["watch"]
    other = WearStage(stream_spec(model))
    other.restore(
        {"watch": state.replace(stream_spec(model).key.encode(), b"x" * len(stream_spec(model).key))}
    )
    assert other.capture() == {"watch": b""}
