"""The acceptance gate: every reason to reject is given by a model that is bad in just that way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from torch import nn

from disc_stream.artifacts.bundle import Bundle, write_bundle
from disc_stream.artifacts.catalogue import ClusterInfo
from disc_stream.artifacts.model import Model
from disc_stream.errors import ParityError
from disc_stream.load.trivial import InputSpec, write_mean_bundle
from disc_stream.registry import Author, GateCheck, Lineage, Registry, RowIds
from disc_stream.retraining.gate import GateLimits, check_latency
from disc_stream.retraining.judging import Judged, Material, anchors_of, judge
from disc_stream.retraining.pipeline import Base
from disc_stream.retraining.recent import Recent
from disc_stream.retraining.replayset import ReplaySet
from disc_stream.retraining.request import RetrainRequest
from disc_stream.stream.pipeline import Pipeline
from disc_stream.stream.sessions import StreamSpec
from disc_stream.stream.values import ReadyInput
from disc_stream.types import Channel, Float32Array, WindowSpec
from disc_stream_export.parity import Tolerances, compare
from tests.support.tiny_bundle import FS, WINDOW

ANN = Author("ann")
CHANNELS = tuple(Channel(name, "m/s2") for name in ("acc_x", "acc_y", "acc_z", "other"))
SPEC = StreamSpec(CHANNELS, FS, WindowSpec(WINDOW.samples, WINDOW.hop, WINDOW.samples))
# Three postures; the fourth channel tells nothing of them, but devices apart.
POSES = np.array([[10, 0, 0, 0], [0, 10, 0, 0], [0, 0, 10, 0]], dtype=np.float32)
DEVICES, EACH, BOUT = 8, 120, 8
FAR = np.array([[900, 0, 0, 0]], dtype=np.float32)
Q95 = 40.0


def fourth(*values: float) -> Float32Array:
    """Centroids that differ in the fourth channel alone, at the middle of the postures."""
    found = np.full((len(values), 4), 10 / 3, dtype=np.float32)
    found[:, 3] = values
    return found


def recorded(device: int) -> tuple[Float32Array, np.ndarray]:
    """Windows (n, 16, 4) of a device, and their postures: the first one half as often as the others."""
    random = np.random.default_rng(device)
    pose = np.array([0, 1, 2, 1, 2])[(np.arange(EACH) // BOUT + device) % 5]
    x = POSES[pose][:, None] + random.normal(0, 0.5, (EACH, WINDOW.samples, 4))
    x[:, :, 3] += 2 * (device - (DEVICES - 1) / 2) + random.normal(0, 1, (EACH, 1))
    return x.astype(np.float32), pose


@dataclass
class Bench:
    """A registry with one version in production, and what it has labelled."""

    folder: Path
    registry: Registry
    base: Base
    material: Material
    made: int = 0

    def bundle(self, centroids: Float32Array, q95: float | None = Q95) -> Path:
        """A model with these centroids."""
        self.made += 1
        path = self.folder / f"made-{self.made}"
        clusters = [
            ClusterInfo(id=k, name=f"cluster {k}", size=9, distance_q95=q95) for k in range(len(centroids))
        ]
        write_mean_bundle(
            path, "tiny", InputSpec(CHANNELS, FS, WINDOW), centroids.astype(np.float32), clusters
        )
        return path

    def judge(
        self, candidate: Path | Float32Array, *, material: Material | None = None, **limits: float
    ) -> Judged:
        path = candidate if isinstance(candidate, Path) else self.bundle(candidate)
        request = RetrainRequest(models=self.registry.path, state=self.folder, limits=GateLimits(**limits))
        model = Model.open(path, provider="cpu", threads=1)
        return judge(model, material or self.material, Base.of(self.registry), request)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Registry.create(tmp_path / "models") as registry:
        bench = Bench(tmp_path, registry, Base("", None, (), (), {}), Material(*empty(), SPEC))
        version = registry.add(bench.bundle(POSES), Lineage(), RowIds.all_fresh(3))
        registry.promote(version.number, "test", "the first one")
        registry.clusters.name(0, "lying", ANN)
        bench.base = Base.of(registry)
        bench.material = labelled(Model.open(version.path, provider="cpu", threads=1), registry)
        yield bench


def empty() -> tuple[ReplaySet, Recent]:
    none, x = np.empty(0, dtype=np.int64), np.empty((0, 0, 0), dtype=np.float32)
    names = np.empty(0, dtype=np.str_)
    replay = ReplaySet(x, none, names, none, none, none, none.astype(np.float32), 0)
    return replay, Recent(x, names, none, none, none, none, none)


def labelled(model: Model, registry: Registry) -> Material:
    """What the fleet has recorded, as it was published by what is in production."""
    model = model.with_catalogue(registry.catalogue_of("current"))
    x = np.concatenate([recorded(device)[0] for device in range(DEVICES)])
    devices = np.repeat([f"d{device}" for device in range(DEVICES)], EACH)
    number = np.tile(np.arange(EACH), DEVICES).astype(np.int64)
    t0 = number * round(WINDOW.hop * 1e6 / FS)
    zeros = np.zeros(len(x), dtype=np.int64)
    ready = [
        ReadyInput(str(devices[i]), 0, int(number[i]), int(t0[i]), 0, 0, x[i, : WINDOW.input_samples])
        for i in range(len(x))
    ]
    labels = [one.label for one in Pipeline(model).label(ready)]
    ids = np.array([one.best.label for one in labels], dtype=np.int64)
    smoothed = np.array([one.smoothed.label for one in labels], dtype=np.int64)
    distance = np.array([one.distance for one in labels], dtype=np.float32)
    replay = ReplaySet(x, ids, devices, zeros, t0, t0, distance, len(x))
    return Material(replay, Recent(x, devices, zeros, number, zeros, t0, smoothed), SPEC)


def failed(judged: Judged) -> dict[str, GateCheck]:
    return {check.measure: check for check in judged.checks if not check.passed}


def measures(judged: Judged) -> set[str]:
    return {check.measure for check in judged.checks}


# -- a good one --------------------------------------------------------------------------------------------


def test_a_model_that_only_numbers_its_clusters_otherwise_passes_everything(bench: Bench) -> None:
    judged = bench.judge(POSES[[2, 0, 1]] + 0.3)
    assert not failed(judged)
    assert judged.alignment is not None
    assert judged.alignment.ids == (2, 0, 1)
    assert measures(judged) == {
        "parity", "largest cluster", "clusters in use", "anchors", "coverage", "continuity", "anchors kept",
        "carry-over", "windows labelled", "flips", "windows moved", "windows of a named cluster moved",
        "latency",
    }  # fmt: skip


def test_a_first_model_is_held_against_nothing_that_was_before(tmp_path: Path, bench: Bench) -> None:
    with Registry.create(tmp_path / "other") as registry:
        judged = replace(bench, registry=registry).judge(POSES)
    assert measures(judged) == {"parity", "largest cluster", "clusters in use", "latency"}
    assert judged.alignment is judged.anchors is None
    assert not failed(judged)


def test_one_more_cluster_for_what_is_new_passes(bench: Bench) -> None:
    assert not failed(bench.judge(np.vstack([POSES, [[0, 0, -10, 0]]])))


# -- bad ones ----------------------------------------------------------------------------------------------


def test_centroids_moved_together_are_a_collapse(bench: Bench) -> None:
    found = failed(bench.judge(np.vstack([POSES.mean(0), FAR, -FAR])))
    assert found["largest cluster"].value == 1.0
    assert found["largest cluster"].reason == "the largest cluster has 100.0% of the windows"
    assert "clusters in use" in found


def test_clusters_that_nobody_needs_are_a_collapse_too(bench: Bench) -> None:
    found = failed(bench.judge(np.vstack([POSES, np.tile(FAR, (7, 1)) * np.arange(1, 8)[:, None]])))
    assert found.keys() == {"clusters in use"}
    assert found["clusters in use"].value == pytest.approx(0.29, abs=0.02)


def test_clusters_of_something_else_keep_few_anchors(bench: Bench) -> None:
    found = failed(bench.judge(fourth(-6, 0, 6)))
    assert found["anchors kept"].value is not None
    assert found["anchors kept"].value < 0.55
    assert "windows moved" in found


def test_ids_that_people_told_apart_cannot_be_kept_as_well_as_they_could_be(bench: Bench) -> None:
    """0 shares a row with half of 1, from which people told it apart: the row is 1's, and 0 has none."""
    bench.registry.clusters.reject(0, 1, ANN)
    together = np.array([[5, 5, 0, -2.7], [0, 10, 0, 8.3], [0, 0, 10, 0]], dtype=np.float32)
    found = failed(bench.judge(together))
    assert "continuity" in found
    assert found["continuity"].value is not None
    assert found["continuity"].value < 0.9


def test_a_model_with_too_narrow_clusters_does_not_cover_the_anchors(bench: Bench) -> None:
    found = failed(bench.judge(bench.bundle(POSES, q95=0.01)))
    assert found.keys() == {"coverage"}


def test_a_model_of_other_motion_does_not_cover_the_anchors(bench: Bench) -> None:
    found = failed(bench.judge(bench.bundle(POSES * 3)))
    assert found.keys() == {"coverage"}
    assert found["coverage"].value == 0.0


def test_a_model_that_does_not_say_how_wide_its_clusters_are_is_not_blamed_for_it(bench: Bench) -> None:
    assert not failed(bench.judge(bench.bundle(POSES, q95=None)))


def test_without_labels_nobody_can_tell_which_cluster_is_which(bench: Bench) -> None:
    replay = replace(bench.material.replay, ids=np.full(len(bench.material.replay), -1, dtype=np.int64))
    judged = bench.judge(POSES, material=Material(replay, empty()[1], SPEC))
    found = failed(judged)
    assert found.keys() == {"anchors"}
    assert found["anchors"].value == 0
    assert "coverage" not in measures(judged)


def test_labels_that_tell_devices_apart_do_not_carry_over(bench: Bench) -> None:
    found = failed(bench.judge(fourth(-5, 0, 5)))
    assert "carry-over" in found
    check = found["carry-over"]
    assert check.value == pytest.approx(0.0, abs=0.1)
    assert check.limit is not None
    assert check.limit > 0.5


def test_a_jittery_model_flips(bench: Bench) -> None:
    """Every posture in many parts, by what changes from window to window."""
    steps = np.zeros((9, 1, 4), dtype=np.float32)
    steps[:, 0, 3] = np.arange(-8, 9, 2)
    found = failed(bench.judge((POSES + steps).reshape(-1, 4)))
    assert "flips" in found
    assert found["flips"].reason.startswith("the label changes at ")


def test_labels_of_a_named_cluster_that_move_are_seen_though_it_is_rare(bench: Bench) -> None:
    found = failed(bench.judge(np.vstack([[[9, 9, 0, 0]], POSES[2:], FAR])))
    check = found["windows of a named cluster moved"]
    assert check.value == 1.0
    assert check.reason == "100.0% of the windows of 'lying' would have another id"
    assert "windows moved" not in found


def test_a_named_cluster_with_hardly_a_window_decides_nothing(bench: Bench) -> None:
    recent = bench.material.recent
    rows = np.concatenate([np.flatnonzero(recent.label != 0), np.flatnonzero(recent.label == 0)[:5]])
    names = ("x", "devices", "boots", "window", "segment", "t0_us", "label")
    few = Recent(**{name: getattr(recent, name)[np.sort(rows)] for name in names})
    judged = bench.judge(
        np.vstack([[[9, 9, 0, 0]], POSES[2:], FAR]), material=replace(bench.material, recent=few)
    )
    assert "windows of a named cluster moved" not in measures(judged)


def test_a_model_without_labels_for_some_windows_is_seen(bench: Bench) -> None:
    """Its embedding divides by the fourth channel's mean square, which some devices at rest have at zero."""
    recent = bench.material.recent
    x = recent.x.copy()
    x[: len(x) // 4, :, 3] = 0.0
    material = replace(bench.material, recent=replace(recent, x=x))
    found = failed(bench.judge(edited(bench, POSES, divide_by_fourth), material=material))
    assert found["windows labelled"].value == pytest.approx(0.75)


def test_a_graph_with_useless_work_is_too_slow(bench: Bench) -> None:
    limits = GateLimits()
    light = check_latency(Model.open(bench.bundle(POSES), provider="cpu", threads=1), limits)
    assert light.passed
    assert light.value is not None
    heavy = edited(bench, POSES, useless_work)
    found = failed(bench.judge(heavy, latency_s=light.value * 10))
    assert found.keys() == {"latency"}


def edited(bench: Bench, centroids: Float32Array, change: object) -> Path:
    """A model whose graph was changed."""
    bundle = Bundle.open(bench.bundle(centroids))
    graph = onnx.load_from_string(bundle.model_bytes)
    change(graph.graph)  # type: ignore[operator]
    onnx.checker.check_model(graph)
    path = bundle.path.with_name(f"{bundle.path.name}-edited")
    write_bundle(path, bundle.manifest, bundle.catalogue.clusters, {"model.onnx": graph.SerializeToString()})
    return path


def useless_work(graph: onnx.GraphProto) -> None:
    """A window's mean goes through twelve large layers, and what comes out counts for nothing."""
    n = 1024
    random = np.random.default_rng(0)
    constants = {
        "widen": random.normal(size=(4, n)), "layer": random.normal(0, n**-0.5, (n, n)),
        "narrow": random.normal(size=(n, 4)), "nothing": np.array(0.0),
    }  # fmt: skip
    graph.initializer.extend(
        numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()
    )
    first = graph.node[0]
    first.output[0] = "mean"
    nodes = [helper.make_node("MatMul", ["mean", "widen"], ["h0"])]
    nodes += [helper.make_node("MatMul", [f"h{k}", "layer"], [f"h{k + 1}"]) for k in range(12)]
    nodes += [
        helper.make_node("MatMul", ["h12", "narrow"], ["h"]),
        helper.make_node("Mul", ["h", "nothing"], ["h nothing"]),
        helper.make_node("Add", ["mean", "h nothing"], ["embedding"]),
    ]
    rest = list(graph.node)[1:]
    del graph.node[1:]
    graph.node.extend([*nodes, *rest])


def divide_by_fourth(graph: onnx.GraphProto) -> None:
    """The mean of x·x/x instead of x: the same, but where a sample is zero."""
    square = helper.make_node("Mul", ["x", "x"], ["x square"])
    divided = helper.make_node("Div", ["x square", "x"], ["x again"])
    graph.node[0].input[0] = "x again"
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([square, divided, *rest])


class Trained(nn.Module):
    """What a mean bundle was made from, in torch."""

    def __init__(self, centroids: Float32Array) -> None:
        super().__init__()
        self.centroids = torch.from_numpy(centroids)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        z = x.mean(1)
        distance = (z.unsqueeze(1) - self.centroids).square().sum(2)
        t = 1 / (1 + distance)
        return z, t / t.sum(1, keepdim=True), distance


def test_a_graph_that_is_not_what_was_trained_is_refused_by_the_export_and_by_the_gate(bench: Bench) -> None:
    """The export compares strictly; the gate reads what was found, whoever has made the bundle."""
    path = bench.bundle(POSES * [[1], [1], [0.2]])  # a weight that did not survive
    bundle = Bundle.open(path)
    samples = np.ascontiguousarray(bench.material.replay.x[:200, : WINDOW.input_samples])
    samples += np.random.default_rng(0).normal(0, 4, (200, 1, 4)).astype(np.float32)
    net = Trained(POSES)
    with pytest.raises(ParityError):
        compare(net, bundle, samples, Tolerances(), synthetic=())
    lenient = Tolerances(embedding=1e9, q=1e9, distance=1e9)
    found = compare(net, bundle, samples, lenient, synthetic=())
    assert found.labels_equal < 0.999
    other = path.with_name("lenient")
    manifest = bundle.manifest.model_copy(update={"parity": found})
    write_bundle(other, manifest, bundle.catalogue.clusters, {"model.onnx": bundle.model_bytes})
    check = failed(bench.judge(other))["parity"]
    assert check.value == found.labels_equal
    assert check.reason.endswith("of the sample windows as the trained network does")


# -- anchors -----------------------------------------------------------------------------------------------


def without(replay: ReplaySet, ids: Sequence[int]) -> ReplaySet:
    """The spool has lost all windows of some ids."""
    keep = ~np.isin(replay.ids, ids)
    names = ("x", "ids", "devices", "boots", "t0_us", "when_us", "distance")
    return ReplaySet(**{name: getattr(replay, name)[keep] for name in names}, seen=replay.seen)


def test_kept_anchors_stand_in_for_what_the_spool_has_lost(bench: Bench) -> None:
    first = bench.judge(POSES).anchors
    assert first is not None
    lost = replace(bench.material, replay=without(bench.material.replay, [0]))
    assert set(anchors_of(lost, (0, 1, 2), 0).ids.tolist()) == {1, 2}
    kept = replace(lost, kept=first)
    judged = bench.judge(POSES[[2, 0, 1]], material=kept)
    assert judged.alignment is not None
    assert judged.alignment.ids == (2, 0, 1)
    # A candidate that has forgotten what the spool has lost does not cover it.
    assert "coverage" in failed(bench.judge(np.vstack([POSES[1:], FAR]), material=kept))
    assert judged.anchors is not None
    assert judged.anchors.weights[judged.anchors.ids == 0].sum() == pytest.approx(
        first.weights[first.ids == 0].sum()
    )


def test_kept_anchors_are_not_counted_twice_nor_for_ids_that_are_gone(bench: Bench) -> None:
    first = anchors_of(bench.material, (0, 1, 2), 0)
    again = anchors_of(replace(bench.material, kept=first), (0, 1, 2), 0)
    assert again.weights.sum() == pytest.approx(first.weights.sum())
    assert again.ids.tolist() == first.ids.tolist()
    gone = anchors_of(
        replace(bench.material, replay=without(bench.material.replay, [0]), kept=first), (1, 2), 0
    )
    assert set(gone.ids.tolist()) == {1, 2}
