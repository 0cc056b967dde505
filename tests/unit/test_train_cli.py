"""``disc-stream train`` from the command line to the run folder."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from disc_stream.cli.app import app
from disc_stream.cli.training_progress import lines
from disc_stream.errors import DiscStreamError, UsageError
from disc_stream.training.events import BatchEvent, EpochEvent
from disc_stream.training.runs import load_run

SMALL = (
    "--synthetic", "--devices", "3", "--minutes", "1", "--preset", "small",
    "--set", "hidden=6", "--set", "decoder_hidden=6",
)  # fmt: skip
QUICK = (*SMALL, "--epochs", "2", "--refine-epochs", "1")


def invoke(*args: str | Path) -> Result:
    return CliRunner().invoke(app, ["train", *map(str, args)])


def trained(out: Path, *args: str | Path) -> dict[str, Any]:
    result = invoke(*args, "--out", out, "--json")
    assert result.exit_code == 0, result.output or result.exception
    facts: dict[str, Any] = json.loads(result.stdout)
    return facts


def refused(*args: str | Path) -> DiscStreamError:
    result = invoke(*args)
    assert isinstance(result.exception, DiscStreamError), (result.output, result.exception)
    return result.exception


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("runs") / "quick"
    return out, trained(out, *QUICK)


def test_json_tells_what_was_trained_and_how_well(run: tuple[Path, dict[str, Any]]) -> None:
    _, facts = run
    assert (facts["method"], facts["preset"], facts["dataset"]) == ("DISC", "small", "synthetic")
    assert (facts["n_clusters"], facts["fs"]) == (8, 50.0)
    assert facts["window"] == {"samples": 128, "hop": 64, "input_samples": 64}
    assert sum(facts["cluster_sizes"]) == facts["n_windows"]
    metrics = facts["metrics"]
    assert metrics["epochs"] == {"pretrain": 2, "refine": 1}
    for part in ("train", "test"):
        for scores in (metrics["refined"], metrics["autoencoder"]["kmeans"], metrics["autoencoder"]["ward"]):
            assert set(scores[part]) == {"nmi", "acc", "ari", "ami"}
            assert 0 < scores[part]["acc"] <= 1


def test_the_run_can_be_used(run: tuple[Path, dict[str, Any]]) -> None:
    out, facts = run
    loaded = load_run(out)
    assert loaded.samples.shape[1:] == (64, 6)
    assert loaded.info.model_dump(mode="json")["metrics"] == facts["metrics"]
    history = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    assert [(h["phase"], h["epoch"]) for h in history] == [("pretrain", 1), ("pretrain", 2), ("refine", 1)]
    assert not (out / "checkpoint").exists()


def test_the_same_seed_gives_the_same_run(run: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    out, facts = run
    again = trained(tmp_path / "again", *QUICK)
    assert again["metrics"]["refined"] == facts["metrics"]["refined"]
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (out / "model.safetensors").read_bytes()


def test_text_for_people(tmp_path: Path) -> None:
    result = invoke(*QUICK, "--out", tmp_path / "run")
    assert "DISC (small) on synthetic" in result.stdout
    assert "refined (test)" in result.stdout
    assert f"disc-stream export {tmp_path / 'run'}" in result.stdout
    assert "training on synthetic" in result.stderr
    assert "autoencoder 2/2" in result.stderr
    assert "labels changed" in result.stderr


def test_a_log_hears_of_long_epochs_and_searches() -> None:
    now, said = 0.0, list[str]()
    show = lines(said.append, lambda: now)
    for batch in range(1, 101):
        now += 0.5
        show(BatchEvent("candidates", 1, 1, batch, 100))
    assert said == [f"candidates {n}/100 ({n}%)" for n in (20, 40, 60, 80, 100)]
    said.clear()
    now += 9.0
    show(BatchEvent("pretrain", 2, 30, 7, 50))
    assert said == [], "an epoch of a few seconds has a line of its own"
    now += 1.0
    show(BatchEvent("pretrain", 2, 30, 8, 50))
    show(EpochEvent("pretrain", 2, 30, {"rec": 0.25}, 1e-3, None, (), 40.0, 1120.0))
    show(EpochEvent("candidates", 1, 1, {"score": 0.5}, 0.0, None, (), 50.0, 0.0))
    assert said == [
        "autoencoder 2/30, batch 8/50 (16%)",
        "autoencoder 2/30 (40.0 s): rec 0.2500 · 18:40 left",
        "candidates (50.0 s): score 0.5000",
    ]


def test_channels_and_clusters_can_be_chosen(tmp_path: Path) -> None:
    facts = trained(tmp_path / "run", *QUICK, "--channels", "gyro_z,acc_x,acc_y", "--clusters", "3")
    assert [c["name"] for c in facts["channels"]] == ["gyro_z", "acc_x", "acc_y"]
    assert len(facts["cluster_sizes"]) == 3


def test_an_existing_run_is_never_touched(run: tuple[Path, dict[str, Any]]) -> None:
    out, _ = run
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    error = refused(*QUICK, "--out", out)
    assert isinstance(error, UsageError)
    assert "already holds a finished run" in str(error)
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before


def test_resuming_a_finished_run_reports_it(run: tuple[Path, dict[str, Any]]) -> None:
    out, facts = run
    assert trained(out, *QUICK, "--resume") == facts
    assert "other settings or windows" in str(refused(*QUICK, "--lr", "0.5", "--out", out, "--resume"))


def test_a_folder_of_other_things_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    assert "holds no run" in str(refused(*QUICK, "--out", tmp_path))
    assert "is a file" in str(refused(*QUICK, "--out", tmp_path / "thesis.txt"))
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


LONGER = (
    *SMALL, "--epochs", "10", "--refine-epochs", "10", "--batch-size", "8",
    "--set", "tolerance=0", "--set", "dropout=0.3",
)  # fmt: skip


@pytest.fixture(scope="module")
def longer_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "longer"
    trained(out, *LONGER)
    return out


def kill_in(phase: str, out: Path, wait_s: float) -> None:
    """SIGKILL for the command, some time after the first epoch of a phase: within a step or a checkpoint."""
    command = [sys.executable, "-m", "disc_stream", "train", *LONGER, "--out", str(out)]
    environment = {**os.environ, "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        assert any(f"{phase} 1/10" in line for line in process.stderr)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(wait_s)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL, "it had ended before"


@pytest.mark.parametrize("phase", ["autoencoder", "refinement"])
def test_a_killed_command_goes_on_with_resume(phase: str, longer_run: Path, tmp_path: Path) -> None:
    """The resumed run has the losses and, byte for byte, the model of the one that was never killed."""
    out = tmp_path / "killed"
    kill_in(phase, out, random.Random().uniform(0.0, 0.04))
    assert not (out / "run.json").exists()
    assert "Add --resume" in str(refused(*LONGER, "--out", out))
    trained(out, *LONGER, "--resume")
    losses = [
        [json.loads(line)["losses"] for line in (folder / "history.jsonl").read_text().splitlines()]
        for folder in (out, longer_run)
    ]
    assert len(losses[1]) == 20
    assert losses[0] == losses[1]
    model = "model.safetensors"
    assert (out / model).read_bytes() == (longer_run / model).read_bytes()
    assert {path.name for path in out.iterdir()} == {path.name for path in longer_run.iterdir()}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "what to learn from is missing"),
        (("--synthetic", "--dataset", "hapt"), "--synthetic contradicts --dataset hapt"),
        (("--dataset", "nothing", "--data", "."), "there is no dataset 'nothing'"),
        ((*SMALL, "--preset", "large"), "there is no preset 'large'"),
        (
            (*SMALL, "--method", "discplus"),
            "unknown method 'discplus', did you mean 'disc-plus'? Use one of: disc, dsc, disc-plus",
        ),
        ((*SMALL, "--method", "DISC"), "unknown method 'DISC', did you mean 'disc'?"),
        ((*SMALL, "--method", "umap"), "unknown method 'umap'. Use one of: disc, dsc, disc-plus"),
        ((*SMALL, "--method", "dec"), "a run of 'dec' cannot be exported. Use one of: disc, dsc, disc-plus"),
        ((*SMALL, "--method", "ac-ward"), "a run of 'ac-ward' cannot be exported"),
        ((*SMALL, "--set", "hidden"), "is not NAME=VALUE"),
        ((*SMALL, "--set", "hiddn=3"), "there is no setting 'hiddn'"),
        ((*SMALL, "--set", "hidden=wide"), "hidden must be a whole number, got 'wide'"),
        ((*SMALL, "--channels", "acc_x,mag_x"), "there is no channel 'mag_x'"),
        ((*SMALL, "--channels", "acc_x,acc_x"), "each channel must be named once"),
        ((*SMALL, "--init", "random"), "init must be one of kmeans, ward"),
        ((*SMALL, "--device", "tpu"), "device must be auto, cpu or cuda"),
        ((*SMALL, "--set", "layout=grid", "--channels", "acc_x,acc_y"), "multiple of axes=3 channels, got 2"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_wrong_command_is_refused_in_words(args: tuple[str, ...], message: str, tmp_path: Path) -> None:
    error = refused(*args, "--out", tmp_path / "run")
    assert message in str(error)
    assert error.exit_code == 2
    assert not (tmp_path / "run").exists()


def test_too_few_windows_for_the_clusters(tmp_path: Path) -> None:
    error = refused(*SMALL, "--clusters", "5000", "--out", tmp_path / "run")
    assert "'synthetic' cannot be learned from: x has" in str(error)
    assert error.exit_code == 1


def test_a_file_of_windows_can_be_learned_from(tmp_path: Path) -> None:
    from disc_stream.data.synthetic import synthetic_recordings
    from disc_stream.data.types import Split
    from disc_stream.data.windowfile import write_windows
    from disc_stream.data.windows import plan_windows, split_recordings

    recordings = synthetic_recordings(3, 40.0)
    train, test, protocol = split_recordings(recordings, plan_windows(50.0, 2.56, 0.5), [3])
    file = tmp_path / "mine.npz"
    write_windows(file, Split(train, test, protocol, 4), dataset="mine")
    facts = trained(tmp_path / "run", "--dataset", file, *QUICK[5:])
    assert (facts["dataset"], facts["n_clusters"]) == ("mine", 4)


def test_settings_are_recorded(tmp_path: Path) -> None:
    facts = trained(
        tmp_path / "run", *QUICK, "--set", "layout=grid", "--set", "clip_norm=0", "--init", "ward"
    )
    assert facts["config"]["network"]["layout"] == "grid"
    assert facts["config"]["init"] == "ward"
    assert np.isfinite(facts["metrics"]["loss"]["total"])


def test_no_pickle_is_written(run: tuple[Path, dict[str, Any]]) -> None:
    """The run is JSON and safetensors: nothing in it can run code when read."""
    out, _ = run
    assert {p.suffix for p in out.iterdir()} == {".json", ".jsonl", ".safetensors"}
