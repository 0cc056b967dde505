"""``disc-stream benchmark``: the commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def run(*arguments: str, cwd: Path, data: str | None = None) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if k != "DISC_STREAM_DATA"} | {"OMP_NUM_THREADS": "1"}
    if data:
        env["DISC_STREAM_DATA"] = data
    command = [sys.executable, "-m", "disc_stream", "benchmark", *arguments]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["table1", "--method", "som"], "there is no method 'som'. Use one of: kmeans, ac-average"),
        (["table1", "--protocol", "live"], "there is no protocol 'live'. Use paper or stream"),
        (["table1", "--seeds", "a"], "--seeds 'a' is not a list of whole numbers"),
        (["table1", "--method", "dec", "--preset", "huge"], "there is no preset 'huge'"),
        (["table1", "--method", "dec", "--set", "gamma=7"], "gamma must be between 0 and 1"),
        (["table1", "--method", "kmeans"], "where is 'uci-har'?"),
        (["render", "--out", "nothing"], "there are no cells in 'nothing'"),
    ],
)
def test_mistakes_are_named_in_one_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.real_data
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
