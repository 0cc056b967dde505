"""``disc-stream benchmark``: the commands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from disc_stream.data.readers import load_split
from disc_stream.data.types import Split, WindowSet
from disc_stream.data.windowfile import write_windows
from disc_stream.types import Channel
from tests.support.commandline import CommandLine


def run(*arguments: str, cwd: Path, data: str | None = None) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if k != "DISC_STREAM_DATA"} | {"OMP_NUM_THREADS": "1"}
    if data:
        env["DISC_STREAM_DATA"] = data
    command = [sys.executable, "-m", "disc_stream", "benchmark", *arguments]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["table1", "--method", "som"], "unknown method 'som'. Use one of: kmeans, ac-average"),
        (["table1", "--protocol", "live"], "there is no protocol 'live'. Use paper, stream or adapted"),
        (["table1", "--seeds", "a"], "--seeds 'a' is not a list of whole numbers"),
        (["table1", "--method", "dec", "--preset", "huge"], "there is no preset 'huge'"),
        (["table1", "--method", "dec", "--set", "gamma=7"], "gamma must be between 0 and 1"),
        (["table1", "--stay", "1"], "stay must be between 0 and 1, got 1"),
        (["table1", "--method", "kmeans"], "where is 'uci-har'?"),
        (["render", "--out", "nothing"], "there are no cells in 'nothing'"),
    ],
)
def test_mistakes_are_named_in_one_line(
    arguments: list[str],
    message: str,
    command_line: CommandLine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    done = command_line("benchmark", *arguments)
    assert done.returncode == 2
    *progress, line = done.stderr.splitlines()
    assert message in line
    assert not any(word.startswith(("error", "Traceback")) for word in progress)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    parts = []
    for people in ([1, 2], [3]):
        n = 12 * len(people)
        y = np.tile(np.repeat([0, 1, 2], 4), len(people)).astype(np.int16)
        x = (random.normal(size=(n, 16, 3)) * np.array([0.1, 1.0, 4.0])[y, None, None]).astype(np.float32)
        of = np.repeat(people, 12)
        start = np.tile(np.arange(12) * 8, len(people)).astype(np.int64)
        axes = tuple(Channel(f"acc_{axis}", "g") for axis in "xyz")
        names = ("still", "slow", "fast")
        parts.append(WindowSet(x, y, of.astype(np.int16), of.astype(np.int32), start, 50.0, axes, names))
    path = tmp_path / "elsewhere" / "tiny.npz"
    path.parent.mkdir()
    write_windows(path, Split(*parts, "person 3 is held out", 3), dataset="tiny")
    return path


def test_a_file_of_windows_at_an_absolute_path_is_a_dataset(tiny: Path, tmp_path: Path) -> None:
    arguments = ("table1", "--dataset", str(tiny), "--method", "kmeans", "--seeds", "0,1", "--json")
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["rows"]
    assert (row["dataset"], row["seeds"], row["paper_is_of"]) == ("tiny.npz", [0, 1], None)
    cells = list((tmp_path / "docs/benchmarks/table1/cells/tiny.npz/paper").iterdir())
    assert len(cells) == 2
    assert str(tmp_path) not in cells[0].read_text()


def test_a_failed_cell_is_told_and_the_rest_is_shown(tiny: Path, tmp_path: Path) -> None:
    arguments = ("table1", "--dataset", "gone.npz", "--dataset", str(tiny), "--method", "kmeans", "--json")
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert [row["dataset"] for row in found["rows"]] == ["tiny.npz"]
    assert "'gone.npz' does not exist" in found["failed"][0]["reason"]
    assert "Traceback" not in done.stderr


def test_a_stopped_grid_says_how_to_go_on_and_does(tiny: Path, tmp_path: Path) -> None:
    sizes = [("epochs", 100000), ("hidden", 4), ("embedding", 3), ("decoder_hidden", 4)]
    settings = [part for name, value in sizes for part in ("--set", f"{name}={value}")]
    methods = ["--method", "kmeans", "--method", "disc-kmeans"]
    command = [sys.executable, "-m", "disc_stream", "benchmark", "table1", "--dataset", str(tiny)]
    with subprocess.Popen(
        [*command, *methods, *settings], cwd=tmp_path, env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        begun = [process.stderr.readline(), process.stderr.readline()]
        process.send_signal(signal.SIGINT)  # the deep cell has begun, so the first is finished
        rest = process.stderr.read()
    assert "kmeans none" in begun[0]
    assert "disc-kmeans small" in begun[1]
    assert process.returncode == 130
    assert "the same command resumes" in rest
    assert rest.endswith("\nstopped\n")
    assert "Traceback" not in rest
    (kept,) = tmp_path.rglob("kmeans-none-*.json")
    before = kept.stat().st_mtime_ns
    again = run("table1", "--dataset", str(tiny), "--method", "kmeans", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert kept.stat().st_mtime_ns == before


@pytest.mark.real_data
def test_ward_and_complete_reproduce_the_papers_test_figures(real_data: Path, tmp_path: Path) -> None:
    """These two cluster the test windows by themselves, so a part of the training windows is enough."""
    whole = load_split("uci-har", real_data)
    few = replace(whole, train=whole.train.select(np.arange(len(whole.train)) % 100 == 0))
    write_windows(tmp_path / "few.npz", few, dataset="uci-har")
    methods = ("--method", "ac-ward", "--method", "ac-complete")
    done = run("table1", "--dataset", "few.npz", *methods, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = {row["method"]: row["scores"]["test"] for row in json.loads(done.stdout)["rows"]}
    figures = {name: (test["nmi"]["mean"], test["acc"]["mean"]) for name, test in found.items()}
    assert figures == {"ac-ward": (47.71, 43.26), "ac-complete": (19.22, 31.69)}


@pytest.mark.real_data
@pytest.mark.long
def test_ward_and_complete_reproduce_the_paper_to_two_decimals(real_data: Path, tmp_path: Path) -> None:
    arguments = ("table1", "--dataset", "uci-har", "--method", "ac-ward", "--method", "ac-complete", "--json")
    done = run(*arguments, cwd=tmp_path, data=str(real_data))
    assert done.returncode == 0, done.stderr
    found = {row["method"]: row["scores"] for row in json.loads(done.stdout)["rows"]}

    def figures(method: str, part: str) -> tuple[float, float]:
        scores = found[method][part]
        return scores["nmi"]["mean"], scores["acc"]["mean"]

    assert figures("ac-ward", "train") == (40.73, 42.26)
    assert figures("ac-ward", "test") == (47.71, 43.26)
    assert figures("ac-complete", "test") == (19.22, 31.69)
    page = run("render", cwd=tmp_path)
    assert page.returncode == 0
    assert "47.71 (47.71) / 43.26 (43.26)" in (tmp_path / "docs/benchmarks/table1.md").read_text()
