"""Bundles on windows that sensors give when they rest, break or saturate: finite, and what torch says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from disc_stream.artifacts.bundle import Bundle
from disc_stream.artifacts.runtime import OnnxEncoder
from disc_stream.data.readers import read_dataset
from disc_stream.data.synthetic import synthetic_recordings
from disc_stream.data.types import Split
from disc_stream.data.windows import plan_windows, split_recordings
from disc_stream.errors import ParityError
from disc_stream.training.runs import load_run
from disc_stream.training.session import TrainingRequest, train_run
from disc_stream.types import Float32Array
from disc_stream_export import export_run, exporter
from disc_stream_export.graph import build_graph
from tests.support.providers import check_same
from tests.support.tiny_run import write_tiny_run

METHODS = ("disc-plus", "disc", "disc, the paper's form", "disc on a grid")


@dataclass(frozen=True)
class Exported:
    net: nn.Module
    encoder: OnnxEncoder
    samples: Float32Array


def write_plus_run(path: Path) -> Path:
    """disc-plus of six synthetic wearables, from few candidates."""
    recordings = synthetic_recordings(6, 60.0, 0)
    parts = split_recordings(recordings, plan_windows(recordings[0].fs, 2.56, 0.5), [recordings[0].subject])
    request = TrainingRequest("synthetic", path, method="disc-plus", settings={"restarts": 2, "moves": 5})
    train_run(Split(*parts, n_clusters=6), request)
    return path


@pytest.fixture(scope="module")
def plus_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds a run of disc-plus and its bundle."""
    folder = tmp_path_factory.mktemp("plus")
    write_plus_run(folder / "run")
    export_run(folder / "run", folder / "bundle")
    return folder


@pytest.fixture(scope="module", params=METHODS)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    shapes = {
        "disc": {"hidden": 32, "embedding": 16},
        "disc, the paper's form": {"reset_after": False, "squash": True},
        "disc on a grid": {"layout": "grid", "hidden": 4},
    }
    if request.param == "disc-plus":
        folder = request.getfixturevalue("plus_folder")
    else:
        folder = tmp_path_factory.mktemp("exported")
        export_run(write_tiny_run(folder / "run", **shapes[request.param]), folder / "bundle")
    return open_exported(folder)


def open_exported(folder: Path) -> Exported:
    trained = load_run(folder / "run")
    encoder = OnnxEncoder(Bundle.open(folder / "bundle"), provider="cpu")
    return Exported(trained.net, encoder, trained.samples)


def assert_as_in_torch(exported: Exported, x: np.ndarray) -> None:
    x = np.ascontiguousarray(x, dtype=np.float32)
    with torch.inference_mode():
        z, q, distance = (part.numpy() for part in exported.net(torch.from_numpy(x)))
    got = exported.encoder.encode(x)
    for part in (got.embedding, got.q, got.distance, z, q, distance):
        assert np.isfinite(part).all()
    np.testing.assert_allclose(got.q, q, atol=1e-5)
    np.testing.assert_allclose(got.q.sum(1), 1.0, atol=1e-5)
    np.testing.assert_allclose(got.embedding, z, rtol=0, atol=1e-5 * max(1.0, np.abs(z).max()))
    np.testing.assert_allclose(got.distance, distance, rtol=1e-4, atol=1e-4 * distance.mean())


def held(exported: Exported) -> Float32Array:
    """Each real window's first sample, for the whole window."""
    return np.repeat(exported.samples[:, :1], exported.samples.shape[1], axis=1)


def test_a_new_export_is_warned_of_nothing(
    plus_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    export_run(plus_folder / "run", tmp_path / "bundle")
    Bundle.open(tmp_path / "bundle")
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == []


def test_zeros_and_constants(exported: Exported) -> None:
    window = np.ones((1, *exported.samples.shape[1:]))
    assert_as_in_torch(exported, window * np.array([0.0, 1.0, -1.0, 9.81, -2000.0, 1e-3]).reshape(-1, 1, 1))
    assert_as_in_torch(exported, held(exported))


def test_each_channel_dead_in_turn(exported: Exported) -> None:
    for channel in range(exported.samples.shape[2]):
        for value in (0.0, 1.0, exported.samples[0, 0, channel]):
            x = exported.samples.copy()
            x[:, :, channel] = value
            assert_as_in_torch(exported, x)


def test_rest_as_a_coarse_sensor_sees_it(exported: Exported) -> None:
    """Gravity in steps of 0.01 g that tremble by one step, or do not, while the gyroscope says 0."""
    random = np.random.default_rng(0)
    x = np.zeros_like(exported.samples)
    x[:, :, :3] = np.round(held(exported)[:, :, :3], 2)
    assert_as_in_torch(exported, x)
    x[:, :, :3] += 0.01 * random.integers(-1, 2, x[:, :, :3].shape)
    assert_as_in_torch(exported, x)
    x[:, :, :3] = np.round(exported.samples[:, :, :3], 2)
    assert_as_in_torch(exported, x)


def test_a_million_and_beyond(exported: Exported) -> None:
    random = np.random.default_rng(0)
    shape = (16, *exported.samples.shape[1:])
    signs = random.choice([-1.0, 1.0], shape)
    assert_as_in_torch(exported, random.uniform(-1e6, 1e6, shape))
    for height in (1e6, -1e6, 1e12, 3e38):
        assert_as_in_torch(exported, np.full(shape[1:], height)[None])
        assert_as_in_torch(exported, signs * height)
    spiked = exported.samples.copy()
    spiked[:, 5] = 1e6
    assert_as_in_torch(exported, spiked)


def test_a_window_with_nan_spoils_its_own_row_alone(exported: Exported) -> None:
    for sample, channel in ((0, 0), (3, 1), (exported.samples.shape[1] - 1, 5)):
        x = exported.samples[:5].copy()
        x[2, sample, channel] = np.nan
        got = exported.encoder.encode(x)
        for part in (got.q, got.distance, got.embedding):
            assert np.isnan(part).all(axis=1).tolist() == [False, False, True, False, False]
        others = [0, 1, 3, 4]
        np.testing.assert_allclose(
            got.q[others], exported.encoder.encode(exported.samples[others]).q, atol=1e-6
        )


# ── The faults that the comparison has to see ─────────────────────────────────────────────────────────


def _spread(x: torch.Tensor) -> torch.Tensor:
    return (x - x.mean(1, keepdim=True)).square().mean((1, 2)).unsqueeze(1)


class AddsTheFloor(nn.Module):
    """The network with one formula as it stood once: an exporter's optimiser drops what is added."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        z, q, distance = self.net(x)
        return z + 1e-3 * torch.log(_spread(x) + 1e-8), q, distance


class WithoutFloor(AddsTheFloor):
    """What is left of it."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        z, q, distance = self.net(x)
        return z + 1e-3 * torch.log(_spread(x)), q, distance


def test_a_graph_that_lost_its_floor_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is right on every real window, and gives log(0) for a sensor that rests."""

    def lose(net: AddsTheFloor, **options: object) -> onnx.ModelProto:
        return build_graph(WithoutFloor(net.net), **options)  # type: ignore[arg-type]

    def keep(path: Path, _label_at: object) -> object:
        run = load_run(path)
        floored = AddsTheFloor(run.net)
        floored.centroids = run.net.centroids
        return replace(run, net=floored, autoencoder=floored)  # type: ignore[arg-type]

    run = write_tiny_run(tmp_path / "run")
    monkeypatch.setattr(exporter, "build_graph", lose)
    monkeypatch.setattr(exporter, "load_run", keep)
    with pytest.raises(ParityError, match=r"'embedding' of the graph is not finite in window 0 of zeros"):
        export_run(run, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_no_small_constant_is_added_anywhere_in_the_graph(plus_folder: Path) -> None:
    """A rewriter could take one for 0; what is added to a variable stands at 1 or is a weight."""
    model = onnx.load_from_string(Bundle.open(plus_folder / "bundle").model_bytes)
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    added = [
        float(constants[name])
        for node in model.graph.node
        if node.op_type in ("Add", "Sub")
        for name in node.input
        if name in constants and constants[name].ndim == 0
    ]
    assert added.count(1.0) >= 5  # two logarithms of channels, two and a root of magnitudes, correlations
    assert min(map(abs, added)) >= 1.0


# ── Real recordings ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def people_of_hapt(real_data: Path) -> Split:
    """Four people of HAPT, three to learn from."""
    recordings = read_dataset("hapt", real_data).recordings
    people = sorted({recording.subject for recording in recordings})[:4]
    recordings = [recording for recording in recordings if recording.subject in people]
    return Split(*split_recordings(recordings, plan_windows(50.0, 2.56, 0.5), [people[0]]), n_clusters=6)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("disc-plus", {"restarts": 2, "moves": 5}),
        ("disc", {"hidden": 16, "decoder_hidden": 16, "embedding": 8, "epochs": 1, "refine_epochs": 1}),
    ],
    ids=["disc-plus", "disc"],
)
def test_every_still_window_of_real_recordings_has_a_label(
    method: str, settings: dict[str, int], people_of_hapt: Split, tmp_path: Path
) -> None:
    """Standing, sitting and lying people of HAPT, also with a gyroscope at 0, and with a dead channel."""
    split = people_of_hapt
    train_run(split, TrainingRequest("hapt", tmp_path / "run", method=method, settings=settings))
    manifest = export_run(tmp_path / "run", tmp_path / "bundle")
    names = split.train.label_names
    still = [names.index(name) for name in ("standing", "sitting", "lying")]
    parts = [part.x[np.isin(part.y, still)] for part in (split.train, split.test)]
    x = np.concatenate(parts)[:, : manifest.window.input_samples]
    assert len(x) > 500
    exported = open_exported(tmp_path)
    assert_as_in_torch(exported, x)
    silent = x.copy()
    silent[:, :, 3:] = 0.0
    assert_as_in_torch(exported, silent)
    assert_as_in_torch(exported, np.round(silent, 2))
    for channel in range(6):
        dead = x.copy()
        dead[:, :, channel] = 0.0
        assert_as_in_torch(exported, dead)


def test_numpy_alone_gives_the_same_labels(plus_folder: Path) -> None:
    """Beside the real export of disc-plus, whose operators the provider numpy has."""
    check_same(Bundle.open(plus_folder / "bundle"))
