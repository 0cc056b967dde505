"""disc-plus from training to labelled streams: what the server says is what the network says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from disc_stream.data.synthetic import synthetic_recordings
from disc_stream.data.types import Split
from disc_stream.data.windows import plan_windows, split_recordings
from disc_stream.errors import ConfigError
from disc_stream.signal.windowing import cut_windows
from disc_stream.stream.pipeline import LabelOptions
from disc_stream.training.runs import load_run
from disc_stream.training.session import TrainingRequest, train_run
from disc_stream_export.exporter import export_run
from disc_stream_server.offline import label_recording
from tests.support.labeller import model_of


def test_a_stream_is_labelled_as_the_network_labels_its_windows(tmp_path: Path) -> None:
    recordings = synthetic_recordings(5, 90.0, 0)
    parts = split_recordings(recordings, plan_windows(recordings[0].fs, 2.56, 0.5), [recordings[0].subject])
    request = TrainingRequest(
        "synthetic", tmp_path / "run", method="disc-plus", settings={"restarts": 3, "moves": 10}
    )
    info = train_run(Split(*parts, n_clusters=6), request)
    manifest = export_run(tmp_path / "run", tmp_path / "bundle")
    assert manifest.window.input_samples == manifest.window.samples == 128
    assert manifest.parity.labels_equal > 0.99  # a tie may fall either way
    assert (manifest.training.method, info.window.hop) == ("disc-plus", 64)

    recording = recordings[0]
    model = model_of(tmp_path / "bundle")
    labels, failures = label_recording(recording, model, LabelOptions(top_k=6), samples=37)
    assert failures == []
    windows = np.ascontiguousarray(cut_windows(recording.samples, 128, 64))
    with torch.no_grad():
        _, q, _ = load_run(tmp_path / "run").net(torch.from_numpy(windows))
    assert [label.window for label in labels] == list(range(len(windows)))
    assert [label.best.label for label in labels] == q.argmax(1).tolist()
    for label, row in zip(labels, q.numpy(), strict=True):
        found = {soft.label: soft.confidence for soft in label.soft}
        np.testing.assert_allclose([found[k] for k in range(6)], row, atol=1e-3)


def test_a_run_that_cannot_be_exported_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"a run of 'dec' cannot be exported\. Use one of: disc, dsc, disc-plus"
    ):
        train_run(Split.__new__(Split), TrainingRequest("x", tmp_path, method="dec"))
