"""A run that labels at half a window or at the whole: its folder, its exports, its successors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from disc_stream.artifacts.bundle import Bundle
from disc_stream.artifacts.manifest import Manifest
from disc_stream.artifacts.runtime import OnnxEncoder
from disc_stream.data.types import Split, WindowSet
from disc_stream.errors import ConfigError
from disc_stream.models.described import exponent_of_targets
from disc_stream.retraining.likebefore import label_at, with_preset
from disc_stream.retraining.request import RetrainRequest
from disc_stream.training.fitting import infer
from disc_stream.training.runs import load_run
from disc_stream.training.session import TrainingRequest, train_run
from disc_stream.types import Channel
from disc_stream_export import Choices, export_run
from tests.support.people import people

pytestmark = pytest.mark.numeric

SETTINGS: dict[str, Any] = {
    "hidden": 8, "decoder_hidden": 8, "embedding": 4, "frame": 4, "batch_size": 64, "steps": 30,
    "restarts": 2, "moves": 2,
}  # fmt: skip


def windows(seed: int) -> WindowSet:
    x, y, who = people(3, seed)
    start = np.tile(np.arange(len(x) // 3) * 16, 3)
    return WindowSet(
        x, y.astype(np.int16), who.astype(np.int16), who.astype(np.int32), start.astype(np.int64), 50.0,
        tuple(Channel(f"acc_{axis}", "g") for axis in "xyz"), ("lies", "sits", "walks", "runs"),
    )  # fmt: skip


SPLIT = Split(windows(0), windows(1), "other people", 4)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("guided") / "run"
    train_run(SPLIT, TrainingRequest("tiny", out, preset="default", settings=SETTINGS, device="cpu"))
    return out


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("plus") / "run"
    settings = {"restarts": 2, "moves": 0}
    train_run(SPLIT, TrainingRequest("tiny", out, method="disc-plus", settings=settings))
    return out


def test_the_run_knows_both(run: Path) -> None:
    half, whole = load_run(run), load_run(run, "whole")
    assert half.info.preset == "guided"
    assert half.info.labels_at == ("half", "whole")
    assert half.info.window.input_samples == half.samples.shape[1] == 16
    assert whole.info.window.input_samples == whole.samples.shape[1] == 32
    labels = infer(whole.net, SPLIT.train.x)[1].argmax(1)
    assert whole.info.cluster_sizes == np.bincount(labels, minlength=4).tolist()
    assert set(whole.info.metrics["refined"]["test"]) == {"nmi", "acc", "ari", "ami"}


@pytest.mark.parametrize(("at", "samples"), [("half", 16), ("whole", 32)])
def test_either_is_exported_and_computes_what_torch_does(
    run: Path, tmp_path: Path, at: Any, samples: int
) -> None:
    manifest = export_run(run, tmp_path / "bundle", choices=Choices(label_at=at))
    assert manifest.schema_version == 3
    assert manifest.likelihood_exponent == pytest.approx(exponent_of_targets(manifest.n_clusters, 0.1))
    assert (manifest.window.samples, manifest.window.input_samples) == (32, samples)
    assert manifest.parity.labels_equal == 1.0
    inputs = np.ascontiguousarray(SPLIT.test.x[:, :samples])
    encoded = OnnxEncoder(Bundle.open(tmp_path / "bundle"), "cpu").encode(inputs)
    np.testing.assert_array_equal(encoded.labels, infer(load_run(run, at).net, inputs)[1].argmax(1))


def test_half_a_window_is_the_default(run: Path, tmp_path: Path) -> None:
    assert export_run(run, tmp_path / "bundle").window.input_samples == 16


def test_a_run_that_labels_at_one_time_says_so(plain: Path) -> None:
    assert load_run(plain, "whole").info.labels_at == ("whole",)
    with pytest.raises(ConfigError, match="labels at the whole window only, not at half a window"):
        load_run(plain, "half")


def test_a_retraining_does_as_the_version_in_production(run: Path, plain: Path, tmp_path: Path) -> None:
    before: dict[str, Manifest] = {
        "half": export_run(run, tmp_path / "half"),
        "whole": export_run(run, tmp_path / "whole", choices=Choices(label_at="whole")),
        "plus": export_run(plain, tmp_path / "plus"),
    }
    assert {name: label_at(run, one) for name, one in before.items()} == {
        "half": "half", "whole": "whole", "plus": "whole",
    }  # fmt: skip
    assert label_at(run, None) is None
    assert label_at(plain, before["half"]) is None

    asked = RetrainRequest(models=tmp_path, state=tmp_path)
    assert with_preset(asked, None).preset == "guided"
    assert with_preset(asked, before["plus"]).preset == "guided"
    training = before["half"].training.model_copy(update={"preset": "small"})
    older = before["half"].model_copy(update={"training": training})
    assert with_preset(asked, older).preset == "small"
    assert with_preset(asked.model_copy(update={"preset": "paper"}), older).preset == "paper"
