"""MicroPython's unix port, and the device that runs on it (edge/firmware/micropython/test)."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from disc_stream.types import SampleBatch

FOLDER = Path(__file__).parents[2] / "edge" / "firmware" / "micropython"
CHANNELS = ["acc_x", "acc_y", "acc_z"]


def interpreter() -> str | None:
    """That of the environment (a wheel that `dev` names), or the system's, such as Debian 13's package."""
    beside = Path(sys.executable).parent / "micropython"
    return str(beside) if beside.exists() else shutil.which("micropython")


needs_micropython = pytest.mark.skipif(
    interpreter() is None,
    reason="there is no micropython: the extra `dev` brings it on Linux x86-64, Debian 13 has a package",
)


def expected(batch: SampleBatch) -> npt.NDArray[np.int16]:
    """What host_publisher.py measures for this batch."""
    n = batch.samples.size
    numbers = np.arange(batch.seq * n, (batch.seq + 1) * n)
    return (numbers * 7 % 2001 - 1000).astype(np.int16).reshape(batch.samples.shape)


class Device:
    """A process that is a device; facts as in host_publisher.py."""

    def __init__(self, device: str, folder: Path, port: int, **facts: object) -> None:
        folder.mkdir(exist_ok=True)
        defaults = {
            "host": "127.0.0.1", "port": port, "device": device, "folder": str(folder), "rows": 25,
            "channels": CHANNELS, "units": "m/s2", "scale": 0.01, "fs": 50, "speed": 50,
        }  # fmt: skip
        file = folder / "facts.json"  # an argument of more than 255 characters ends the interpreter
        file.write_text(json.dumps({**defaults, **facts}))
        command = [str(interpreter()), str(FOLDER / "test" / "host_publisher.py"), str(file)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def said(self, timeout: float = 60) -> dict[str, Any]:
        """What it printed at its end."""
        out = self.process.communicate(timeout=timeout)[0]
        assert self.process.returncode == 0, out
        found: dict[str, Any] = json.loads(out)
        return found
