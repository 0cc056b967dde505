"""What serves and what runs on a device never loads torch; the edge loads no scikit-learn either."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.tiny_bundle import write_tiny_bundle

ROOT = Path(__file__).parents[2]
ROOMS = [ROOT, ROOT / "server", ROOT / "edge", ROOT / "export"]

LIGHT = {"torch"}
EDGE = {"torch", "sklearn", "scipy", "starlette", "uvicorn", "amqtt", "onnx", "onnxscript"}


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("disc_stream.artifacts.runtime", EDGE | {"onnxruntime", "cryptography"}),
        ("disc_stream_server.app", LIGHT | {"sklearn", "onnx"}),
        ("disc_stream_server.offline", LIGHT | {"sklearn", "onnx"}),
        ("disc_stream_edge.publisher", EDGE),
    ],
)
def test_importing_leaves_heavy_libraries_alone(module: str, forbidden: set[str]) -> None:
    assert loaded_after(f"import {module}", forbidden) == set()


def test_encoding_leaves_torch_alone(tmp_path: Path) -> None:
    """Not only importing: opening a bundle and running it, with torch made impossible to import."""
    write_tiny_bundle(tmp_path / "b")
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import numpy as np\n"
        "from disc_stream.artifacts.bundle import Bundle\n"
        "from disc_stream.artifacts.runtime import OnnxEncoder\n"
        f"encoder = OnnxEncoder(Bundle.open({str(tmp_path / 'b')!r}))\n"
        "assert len(encoder.encode(np.zeros((2, 8, 3), np.float32))) == 2\n"
        "del sys.modules['torch']"
    )
    assert loaded_after(code, {"torch", "sklearn", "onnx"}) == set()


def loaded_after(code: str, names: set[str]) -> set[str]:
    """Which of the top-level modules a fresh interpreter has loaded after running ``code``."""
    report = f"{code}\nimport sys; print(*({names!r} & {{m.split('.')[0] for m in sys.modules}}))"
    path = f"import sys; sys.path[:0] = {[str(room) for room in ROOMS]!r}\n"
    result = subprocess.run(
        [sys.executable, "-c", path + report], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())
