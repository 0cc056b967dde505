"""A search of disc-plus that was stopped goes on where it was, and ends as if it had not been."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from disc_stream.cli.app import app
from disc_stream.errors import ConfigError, TrainingError
from disc_stream.training.checkpoint import STATE_FILE
from disc_stream.training.estimators import DiscPlus
from disc_stream.training.events import BatchEvent, TrainingEvent
from disc_stream.training.plus import searchlog
from disc_stream.training.plus.search import Search
from disc_stream.training.task import FitOptions
from tests.support.people import people

SETTINGS = {"restarts": 3, "moves": 8, "spans": [0, 1], "slow_spans": [1], "slow_restarts": 2, "settling": 15}


class Killed(Exception):  # noqa: N818
    """Stands for what ends a process."""


def model(**settings: Any) -> DiscPlus:
    return DiscPlus(4, settings={**SETTINGS, **settings})


@pytest.fixture(autouse=True)
def checkpoint_after_every_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searchlog, "_SHARE", float("inf"))


@pytest.fixture(scope="module")
def motion() -> dict[str, Any]:
    x, _, devices = people(3)
    return {"x": x, "devices": devices}


@pytest.fixture(scope="module")
def undisturbed(motion: dict[str, Any]) -> DiscPlus:
    return model().fit(**motion)


def kill_at(number: int) -> Callable[[TrainingEvent], None]:
    left = number

    def callback(event: TrainingEvent) -> None:
        nonlocal left
        left -= isinstance(event, BatchEvent)
        if left == 0:
            raise Killed

    return callback


def facts(fitted: DiscPlus) -> list[dict[str, Any]]:
    return [{k: v for k, v in entry.items() if k != "seconds"} for entry in fitted.history_]


def require_same(fitted: DiscPlus, expected: DiscPlus) -> None:
    assert facts(fitted) == facts(expected)
    np.testing.assert_array_equal(fitted.found_labels_, expected.found_labels_)
    np.testing.assert_array_equal(fitted.labels_, expected.labels_)
    for name, value in expected.net_.state_dict().items():
        assert (fitted.net_.state_dict()[name] == value).all(), name


def test_stopped_anywhere_it_goes_on_and_repeats_nothing(
    motion: dict[str, Any], undisturbed: DiscPlus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = 0
    settle = Search._settle

    def count(self: Search, span: int, labels: Any) -> Any:
        nonlocal computed
        computed += 1
        return settle(self, span, labels)

    monkeypatch.setattr(Search, "_settle", count)
    model().fit(**motion)
    whole, n = computed, len(undisturbed.history_)
    kinds = [entry["kind"] for entry in undisturbed.history_]
    assert kinds.count("start") == 8
    assert kinds.count("move") > 8, "moves from more than one start"
    for number in (1, 4, 6, 7, 11, n):
        folder = tmp_path / str(number)
        computed = 0
        with pytest.raises(Killed):
            model().fit(**motion, options=FitOptions(checkpoints=folder, callback=kill_at(number)))
        stopped = computed
        resumed = model().fit(**motion, options=FitOptions(checkpoints=folder, resume=True))
        require_same(resumed, undisturbed)
        # What was found last is not in the checkpoint: it is written before the next is looked for.
        assert computed - whole == min(1, stopped), number


def test_stopped_again_and_again(motion: dict[str, Any], undisturbed: DiscPlus, tmp_path: Path) -> None:
    for number in (3, 6, 9, 13):
        with pytest.raises(Killed):
            model().fit(
                **motion, options=FitOptions(checkpoints=tmp_path, resume=True, callback=kill_at(number))
            )
    resumed = model().fit(**motion, options=FitOptions(checkpoints=tmp_path, resume=True))
    require_same(resumed, undisturbed)
    assert sum(entry["seconds"] for entry in resumed.history_) > 0


def test_candidates_with_empty_clusters_are_passed_over_again(tmp_path: Path) -> None:
    """Few windows for many clusters: starts and moves that leave a cluster empty."""
    x, _, devices = people(4)
    some = {"x": x[::4], "devices": devices[::4]}
    first = model(tied=True).set_params(n_clusters=9)
    expected = first.fit(**some)
    entries = json.dumps(facts(expected))
    for number in (3, len(expected.history_) // 2):
        folder = tmp_path / str(number)
        with pytest.raises(Killed):
            model().set_params(n_clusters=9).fit(
                **some, options=FitOptions(checkpoints=folder, callback=kill_at(number))
            )
        resumed = (
            model().set_params(n_clusters=9).fit(**some, options=FitOptions(checkpoints=folder, resume=True))
        )
        assert json.dumps(facts(resumed)) == entries
        require_same(resumed, expected)


def test_a_checkpoint_of_another_training_is_refused(motion: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(Killed):
        model().fit(**motion, options=FitOptions(checkpoints=tmp_path, callback=kill_at(6)))
    again = FitOptions(checkpoints=tmp_path, resume=True)
    with pytest.raises(ConfigError, match=r"made with config\.lag=1, not 2"):
        model(lag=2).fit(**motion, options=again)
    with pytest.raises(ConfigError, match="made with seed=0, not 7"):
        model().set_params(random_state=7).fit(**motion, options=again)
    with pytest.raises(ConfigError, match="made with devices="):
        model().fit(motion["x"], devices=motion["devices"][::-1].copy(), options=again)
    (tmp_path / STATE_FILE).write_bytes(b"damaged")
    with pytest.raises(TrainingError, match="is damaged"):
        model().fit(**motion, options=again)


COMMAND = (
    "--synthetic", "--devices", "4", "--minutes", "2", "--method", "disc-plus",
    "--set", "restarts=6", "--set", "moves=20", "--set", "spans=[0,1]",
)  # fmt: skip


def started(out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "disc_stream", "train", *COMMAND, "--out", str(out)]
    environment = {**os.environ, "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    )  # fmt: skip


def wait_for_checkpoint(process: subprocess.Popen[str], out: Path) -> None:
    while not (out / "checkpoint" / STATE_FILE).exists():
        try:
            process.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
        raise AssertionError(f"it has ended before: {process.communicate()}")


def test_killed_and_interrupted_commands_go_on_with_resume(tmp_path: Path) -> None:
    """The resumed run has, byte for byte, the model of one that was never stopped."""
    whole, out = tmp_path / "whole", tmp_path / "stopped"
    result = CliRunner().invoke(app, ["train", *COMMAND, "--out", str(whole)])
    assert result.exit_code == 0, result.output
    with started(out) as process:
        wait_for_checkpoint(process, out)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    (out / "checkpoint").rename(tmp_path / "kept")
    with started(out) as process:
        wait_for_checkpoint(process, out)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    assert process.returncode == 130
    command = shlex.join(["disc-stream", "train", *COMMAND, "--out", str(out), "--resume"])
    assert f"resume with: {command}\n" in said
    assert "Traceback" not in said
    shutil.rmtree(out / "checkpoint")
    (tmp_path / "kept").rename(out / "checkpoint")
    result = CliRunner().invoke(app, shlex.split(command)[1:])
    assert result.exit_code == 0, result.output or result.exception
    assert (out / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert {path.name for path in out.iterdir()} == {path.name for path in whole.iterdir()}
