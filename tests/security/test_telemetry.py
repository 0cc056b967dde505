"""Nobody is told what runs here: no library reports to its maker, or keeps an id of the machine to do so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.tiny_bundle import write_tiny_bundle


def test_labelling_leaves_nothing_of_onnxruntime_behind(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "bundle")
    rows = "".join(f"{i / 50:.2f},{i % 3},0.0,1.0\n" for i in range(100))
    (tmp_path / "walk.csv").write_text("t,acc_x[g],acc_y[g],acc_z[g]\n" + rows, encoding="utf-8")
    home = tmp_path / "home"
    home.mkdir()
    # onnxruntime is silent in continuous integration, too; this has to hold elsewhere.
    kept = {name: value for name, value in os.environ.items() if name not in {"CI", "ORT_DISABLE_TELEMETRY"}}
    environment = {
        name: value for name, value in kept.items() if not name.startswith(("GITHUB_", "XDG_", "ORT_"))
    } | {"HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-m", "disc_stream", "label", "--bundle", str(tmp_path / "bundle"), "walk.csv"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [path.name for path in home.rglob("*")] == []


def test_it_is_off_before_any_library_is_loaded() -> None:
    code = "import disc_stream, os, sys; print(os.environ['ORT_DISABLE_TELEMETRY'], *sys.modules)"
    kept = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    said = subprocess.run([sys.executable, "-c", code], env=kept, capture_output=True, text=True, check=True)
    switch, *modules = said.stdout.split()
    assert switch == "1"
    assert "onnxruntime" not in modules
