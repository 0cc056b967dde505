"""Nobody is told what runs here: no library reports to its maker, or keeps an id of the machine to do so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from disc_stream.artifacts.runtimes.openvino_session import is_installed
from tests.support.tiny_bundle import write_tiny_bundle


def test_labelling_leaves_nothing_of_its_runtimes_behind(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "bundle")
    rows = "".join(f"{i / 50:.2f},{i % 3},0.0,1.0\n" for i in range(100))
    (tmp_path / "walk.csv").write_text("t,acc_x[g],acc_y[g],acc_z[g]\n" + rows, encoding="utf-8")
    home = tmp_path / "home"
    home.mkdir()
    # They are silent in continuous integration, too; this has to hold elsewhere.
    kept = {name: value for name, value in os.environ.items() if name not in {"CI", "ORT_DISABLE_TELEMETRY"}}
    environment = {
        name: value for name, value in kept.items() if not name.startswith(("GITHUB_", "XDG_", "ORT_"))
    } | {"HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-m", "disc_stream", "label", "--bundle", str(tmp_path / "bundle"), "walk.csv"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    left = {str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()}
    assert {name for name in left if not name.startswith(".cache/disc-stream/providers/")} == set()


@pytest.mark.skipif(not is_installed(), reason="OpenVINO is not installed")
def test_openvino_does_not_report_that_it_was_imported(tmp_path: Path) -> None:
    """Importing it loads the package that reports to its maker, if there is one."""
    package = tmp_path / "openvino_telemetry"
    (package / "backend").mkdir(parents=True)
    (package / "__init__.py").write_text("print('reported')\nclass Telemetry: ...\n")
    (package / "backend" / "__init__.py").write_text("backend_ga4 = None\n")
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    code = "from disc_stream.artifacts.runtimes.openvino_session import has_bf16; has_bf16()"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == ""


def test_it_is_off_before_any_library_is_loaded() -> None:
    code = "import disc_stream, os, sys; print(os.environ['ORT_DISABLE_TELEMETRY'], *sys.modules)"
    kept = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    said = subprocess.run([sys.executable, "-c", code], env=kept, capture_output=True, text=True, check=True)
    switch, *modules = said.stdout.split()
    assert switch == "1"
    assert "onnxruntime" not in modules
