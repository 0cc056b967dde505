"""The network as it is used and as it is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from disc_stream.errors import InputNotFoundError, TrainingError
from disc_stream.models.cluster import soft_assignment, squared_distances
from disc_stream.training import runs
from disc_stream.training.estimators import DISC
from disc_stream.training.runs import load_run, save_run
from disc_stream.training.windows import apply_scaler
from tests.support.motion import TINY, grouped_windows
from tests.support.tiny_run import INPUT_SAMPLES, tiny_info, write_tiny_run

pytestmark = pytest.mark.numeric

VARIANTS: list[dict[str, Any]] = [
    {},
    {"squash": True, "layers": 3},
    {"layout": "grid", "hidden": 3},
    {"reset_after": False},
    {"layout": "grid", "hidden": 3, "reset_after": False, "frame": 3},
    {"frame": 4},
]


@pytest.mark.parametrize("settings", VARIANTS, ids=str)
def test_inference_equals_the_trained_network_in_evaluation(settings: dict[str, Any]) -> None:
    x, _ = grouped_windows()
    model = DISC(3, epochs=2, refine_epochs=1, settings={**TINY, **settings}).fit(x)
    scaled = torch.from_numpy(apply_scaler(model.fitted_.scaler, x))
    with torch.no_grad():
        z = model.fitted_.module.encode(scaled)
        embedding, q, distance = model.net_(torch.from_numpy(x[:, :8]))
    centroids = model.fitted_.centroids
    assert (embedding - z).abs().max() <= 1e-5
    assert (q - soft_assignment(z, centroids)).abs().max() <= 1e-5
    torch.testing.assert_close(distance, squared_distances(z, centroids), atol=1e-4, rtol=1e-4)
    assert not model.net_.training


def test_the_network_is_a_copy() -> None:
    x, _ = grouped_windows()
    model = DISC(3, epochs=1, refine_epochs=1, settings=TINY).fit(x)
    before = model.transform(x)
    with torch.no_grad():
        for parameter in model.fitted_.module.parameters():
            parameter.zero_()
    np.testing.assert_allclose(model.transform(x), before, atol=1e-6)


@pytest.mark.parametrize("network", [{}, {"layout": "grid", "hidden": 2}, {"reset_after": False}], ids=str)
def test_a_run_comes_back_as_it_was_saved(tmp_path: Path, network: dict[str, Any]) -> None:
    run = load_run(write_tiny_run(tmp_path / "run", **network))
    again = tmp_path / "again"
    save_run(
        again,
        info=run.info,
        weights=run.autoencoder.state_dict(),
        centroids=run.net.centroids,
        samples=run.samples,
        history=[{"epoch": 1}, {"epoch": 2}],
    )
    other = load_run(again)
    assert other.info == run.info
    np.testing.assert_array_equal(other.samples, run.samples)
    for got, want in zip(
        other.net(torch.from_numpy(run.samples)), run.net(torch.from_numpy(run.samples)), strict=True
    ):
        torch.testing.assert_close(got, want, atol=1e-6, rtol=1e-5)
    assert (again / "history.jsonl").read_text() == '{"epoch": 1}\n{"epoch": 2}\n'
    assert sorted(p.name for p in again.iterdir()) == [
        "history.jsonl",
        "model.safetensors",
        "run.json",
        "samples.safetensors",
    ]


def test_at_most_512_samples_are_kept_from_all_over(tmp_path: Path) -> None:
    run = load_run(write_tiny_run(tmp_path / "run"))
    samples = np.arange(2000, dtype=np.float32)[:, None, None] * np.ones((1, INPUT_SAMPLES, 6), np.float32)
    save_run(
        tmp_path / "b",
        info=run.info,
        weights=run.autoencoder.state_dict(),
        centroids=run.net.centroids,
        samples=samples,
    )
    kept = load_run(tmp_path / "b").samples[:, 0, 0]
    assert (len(kept), kept[0], kept[-1]) == (512, 0, 1999)


def test_no_run_at_all(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match="does not exist"):
        load_run(tmp_path / "none")
    with pytest.raises(TrainingError, match=r"holds no run: run\.json is missing"):
        load_run(tmp_path)


def test_an_unfinished_run_says_how_to_finish(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").mkdir()
    with pytest.raises(TrainingError, match=r"an unfinished run.*--resume"):
        load_run(tmp_path)


@pytest.mark.parametrize("file", ["model.safetensors", "samples.safetensors"])
def test_a_cut_off_file_is_a_damaged_run(tmp_path: Path, file: str) -> None:
    run = write_tiny_run(tmp_path / "run")
    (run / file).write_bytes((run / file).read_bytes()[:200])
    with pytest.raises(TrainingError, match="is damaged"):
        load_run(run)


def test_a_disk_that_is_full_leaves_no_run_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last file, run.json, does not fit: the folder is not mistaken for a finished run."""
    source = load_run(write_tiny_run(tmp_path / "run"))
    replace = runs.replace_file

    def full(path: Path, content: bytes) -> None:
        if path.name == "run.json":
            raise OSError(28, "No space left on device")
        replace(path, content)

    monkeypatch.setattr(runs, "replace_file", full)
    target = tmp_path / "full"
    with pytest.raises(TrainingError, match=r"No space left on device.*--resume"):
        save_run(
            target,
            info=tiny_info({}, 0),
            weights=source.autoencoder.state_dict(),
            centroids=source.net.centroids,
            samples=source.samples,
        )
    assert not (target / "run.json").exists()
    assert not list(target.glob(".*"))
