"""A file that is labelled, the same file imported and labelled, and its samples streamed: one and the same.

::

    file ──read──▶ stretches ──batches──▶ stream core ──▶ windows, labels      label FILE
    file ──import──▶ .npz at the model's rate ──▶ stream core ──▶ windows      data import, label
    device ──batches of any size──▶ stream core ──▶ windows, labels            serve
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from disc_stream.artifacts.manifest import ClusterInfo, WindowInfo
from disc_stream.artifacts.model import Model
from disc_stream.data.importing.front import import_recordings, read_recordings
from disc_stream.data.importing.settings import Settings
from disc_stream.data.importing.writer import write_import
from disc_stream.data.readers import load_recordings_spec
from disc_stream.data.series import group_series
from disc_stream.data.types import Recording
from disc_stream.load.trivial import InputSpec, write_mean_bundle
from disc_stream.stream.pipeline import LabelOptions, Pipeline, stream_spec
from disc_stream.stream.sessions import Sessions
from disc_stream.stream.values import ReadyInput
from disc_stream.types import Channel, SampleBatch
from disc_stream_server.offline import label_recording
from tests.support.faulty import Faulty, faulty
from tests.support.written import NAMES, UNITS

FS = 50.0
CHANNELS = tuple(Channel(n, u) for n, u in zip(NAMES, UNITS, strict=True))
QUICK = 40


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    path = tmp_path_factory.mktemp("mean") / "bundle"
    window = WindowInfo(samples=128, hop=64, input_samples=64)
    centroids = np.array(
        [[0.1, 0, 1, 0, 0, 0], [0.3, 0, 1, 0.2, 0, 0], [0, 0, 1, -0.2, 0, 0]], dtype=np.float32
    )
    clusters = [ClusterInfo(id=k, name=f"c{k}", size=10, distance_q95=4.0) for k in range(3)]
    write_mean_bundle(path, "mean", InputSpec(CHANNELS, FS, window), centroids, clusters)
    return Model.open(path)


def windows(model: Model, batches: list[SampleBatch]) -> list[ReadyInput]:
    sessions = Sessions(stream_spec(model))
    found: list[ReadyInput] = []
    for batch in batches:
        found += sessions.push(batch) or []
    return found + sessions.finish()


def same_windows(one: list[ReadyInput], other: list[ReadyInput], within_us: float) -> None:
    assert [w.window for w in one] == [w.window for w in other]
    # Stretches that are too short for a window have numbers, too, in one of them.
    assert [a.segment == b.segment for a, b in pairwise(one)] == [
        a.segment == b.segment for a, b in pairwise(other)
    ]
    for a, b in zip(one, other, strict=True):
        assert np.array_equal(a.samples, b.samples), (a.window, np.abs(a.samples - b.samples).max())
        assert abs(a.t0_us - b.t0_us) <= within_us, (a.window, a.t0_us - b.t0_us)


def check_generated(seed: int, model: Model, folder: Path) -> int:
    made = faulty(seed)
    path = made.write(folder / f"user{seed:03d}.csv")
    (series,) = group_series(read_recordings(path))
    rng = np.random.default_rng(seed)
    sent = list(made.batches(series.name, rng))
    streamed = windows(model, sent)
    labelled = windows(model, list(series.batches(series.name, 1, 50)))
    slack = 30.0 + 3 * made.jitter_us
    same_windows(labelled, streamed, slack)
    _same_labels(made, model, sent, series.name, path, slack)
    out = folder / f"{seed}.npz"
    plan, recordings = import_recordings(path, Settings(rate=FS))
    write_import(out, plan, recordings, Settings(rate=FS))
    (imported,) = group_series(load_recordings_spec([str(out)]))
    if imported.parts[0].channels == CHANNELS:  # the import keeps the first recording's units
        same_windows(windows(model, list(imported.batches(imported.name, 1, 64))), labelled, slack)
    return len(streamed)


def _same_labels(
    made: Faulty, model: Model, sent: list[SampleBatch], name: str, path: Path, slack: float
) -> None:
    pipeline = Pipeline(model, LabelOptions())
    for batch in sent:
        pipeline.accept(batch)
    streamed = pipeline.run()
    (series,) = group_series(load_recordings_spec([str(path)]))
    labelled = label_recording(series, model, LabelOptions()).labels
    assert len(labelled) == len(streamed) > 0
    for a, b in zip(labelled, streamed, strict=True):
        assert (a.window, a.best.label, a.smoothed.label, a.model) == (
            b.window, b.best.label, b.smoothed.label, b.model,
        )  # fmt: skip
        assert abs(a.t0_us - b.t0_us) <= slack
        assert a.smoothed.confidence == pytest.approx(b.smoothed.confidence, abs=1e-5)


@pytest.mark.parametrize("first", range(0, QUICK, 10))
def test_generated_recordings_with_faults(first: int, model: Model, tmp_path: Path) -> None:
    assert sum(check_generated(seed, model, tmp_path) for seed in range(first, first + 10)) > 100


@pytest.mark.long
@pytest.mark.timeout(3_600)
def test_two_hundred_generated_recordings_with_faults(model: Model, tmp_path: Path) -> None:
    for seed in range(QUICK, QUICK + 200):
        check_generated(seed, model, tmp_path)


@pytest.mark.real_data
def test_real_recordings(real_data: Path, model: Model, tmp_path: Path) -> None:
    """Twenty, each two minutes of it: as a file, imported, and streamed by its device."""
    found = load_recordings_spec(["hapt:exp01-exp20"], real_data)
    assert len(found) == 20
    rng = np.random.default_rng(0)
    for recording in found:
        _check_real(recording, model, tmp_path, rng)


def _check_real(recording: Recording, model: Model, folder: Path, rng: np.random.Generator) -> None:
    samples = recording.samples[:6_000]
    head = ",".join(["t", *(f"{c.name}[{c.unit}]" for c in recording.channels)])
    rows = [
        ",".join([f"{i / recording.fs:.4f}", *(f"{v:.9g}" for v in row)]) for i, row in enumerate(samples)
    ]
    path = folder / f"{recording.name}.csv"
    path.write_text("\n".join([head, *rows]) + "\n")
    made = Faulty(recording.fs, recording.channels, [(0, samples)], 0.0, [])
    sent = list(made.batches(recording.name, rng))
    (series,) = group_series(read_recordings(path))
    streamed = windows(model, sent)
    labelled = windows(model, list(series.batches(series.name, 1, 50)))
    assert len(streamed) > 50
    same_windows(labelled, streamed, 1.0)
    _same_labels(made, model, sent, series.name, path, 1.0)
    plan, recordings = import_recordings(path)
    out = folder / f"{recording.name}.npz"
    write_import(out, plan, recordings, Settings())
    (imported,) = group_series(load_recordings_spec([str(out)]))
    same_windows(windows(model, list(imported.batches(imported.name, 1, 64))), labelled, 1.0)


@pytest.mark.parametrize("fs_gyro", [25.0, 50.0, 40.0])
def test_two_sensors_in_two_files_are_joined_as_two_messages_are(
    fs_gyro: float, model: Model, tmp_path: Path
) -> None:
    rng = np.random.default_rng(3)
    sent: list[SampleBatch] = []
    for sensor, fs, unit in (("acc", FS, "g"), ("gyro", fs_gyro, "rad/s")):
        n = int(20 * fs)
        values = np.round(rng.normal([0, 0, 1], 0.3, (n, 3)), 5)
        rows = [f"{i / fs:.6f}," + ",".join(f"{v:.5f}" for v in row) for i, row in enumerate(values)]
        names = [f"{sensor}_{axis}" for axis in "xyz"]
        path = tmp_path / f"user01_{'accelerometer' if sensor == 'acc' else 'gyroscope'}.csv"
        path.write_text("\n".join([",".join(["t", *(f"{name}[{unit}]" for name in names)]), *rows]) + "\n")
        channels = tuple(Channel(name, unit) for name in names)
        samples = values.astype(np.float32)
        size = 20 if sensor == "acc" else 33
        sent += [
            SampleBatch("user01", 1, k, round(at * 1e6 / fs), fs, channels, samples[at : at + size])
            for k, at in enumerate(range(0, n, size))
        ]
    (series,) = group_series(read_recordings(tmp_path))
    sent.sort(key=lambda b: b.t0_us + len(b.samples) * 1e6 / b.fs)
    streamed = windows(model, sent)
    joined = windows(model, list(series.batches("user01", 1, 50)))
    assert len(joined) > 10
    n = min(len(joined), len(streamed))
    assert len(joined) - n <= 1, "the end may wait for samples that never come"
    same_windows(joined[:n], streamed[:n], 3.0)
