"""Compiles generated source on this machine and runs it over windows."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from disc_stream.errors import ConfigError, ParityError
from disc_stream.types import Float32Array, IntArray

COMPILERS = ("cc", "gcc", "clang")
FLAGS = ("-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-pedantic", "-ffp-contract=off")
_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class Labelled:
    """What exported code says of N windows; M public clusters.

    Args:
        label: (N,) public id, -1 for unknown, -3 for no label.
        smoothed: (N,) likewise.
        distance: (N,) float32.
        novelty: (N,) float32.
        smoothed_confidence: (N,) float32.
        ticks: (N,) of the timer that the driver was built with, 0 without.
        q: (N, M) float32.
        state_bytes: size of the state of one device.
    """

    label: IntArray
    smoothed: IntArray
    distance: Float32Array
    novelty: Float32Array
    smoothed_confidence: Float32Array
    ticks: IntArray
    q: Float32Array
    state_bytes: int

    @classmethod
    def parse(cls, text: str) -> Labelled:
        """Read what the driver wrote."""
        size, *rest = text.splitlines()
        lines = [line.split() for line in rest]
        bits = np.array([[int(word, 16) for word in line[2:5] + line[6:]] for line in lines], dtype=np.uint32)
        values: Float32Array = bits.reshape(len(lines), -1).view(np.float32)
        whole = np.array([[int(line[0]), int(line[1]), int(line[5])] for line in lines], dtype=np.int64)
        label, smoothed, ticks = whole.reshape(-1, 3).T
        distance, novelty, confidence = values[:, :3].T
        return cls(label, smoothed, distance, novelty, confidence, ticks, values[:, 3:], int(size))

    @property
    def distance_bits(self) -> list[int]:
        """The bits of the distances."""
        bits: list[int] = np.ascontiguousarray(self.distance).view(np.uint32).tolist()
        return bits


def find_compiler() -> list[str]:
    """The C compiler's command: ``CC`` from the environment, or the first of those usual.

    Raises:
        ConfigError: if there is none.
    """
    named = shlex.split(os.environ.get("CC", ""))
    for command in [named] if named else [[name] for name in COMPILERS]:
        if shutil.which(command[0]):
            return command
    looked_for = repr(named[0]) if named else ", ".join(COMPILERS)
    raise ConfigError(
        f"there is no C compiler to compare the exported code with the graph ({looked_for})",
        remedy="Install gcc or clang, or name one in the variable CC; --unchecked leaves the comparison out",
    )


def run_source(
    files: dict[str, str], windows: Float32Array, compiler: list[str], flags: tuple[str, ...] = FLAGS
) -> Labelled:
    """Compile the model with its driver in a folder of its own, and label windows.

    Args:
        files: file name -> text; all that end with ``.c`` are compiled together.
        windows: (N, input_samples, C) float32.
        compiler: its command.
        flags: for it.

    Raises:
        ParityError: if the source does not compile, or the program fails.
    """
    with tempfile.TemporaryDirectory(prefix="disc-stream-c-") as name:
        folder = Path(name)
        for file, text in files.items():
            (folder / file).write_text(text, encoding="ascii")
        sources = sorted(file for file in files if file.endswith(".c"))
        _run([*compiler, *flags, "-o", "driver", *sources], folder, "the C compiler refuses the source")
        np.ascontiguousarray(windows, dtype="<f4").tofile(folder / "windows")
        _run([str(folder / "driver"), "windows", "results"], folder, "the exported code fails")
        return Labelled.parse((folder / "results").read_text(encoding="ascii"))


def _run(command: list[str], folder: Path, what: str) -> None:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ParityError(f"{what}: {error}", remedy="Name another compiler in the variable CC") from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()
        said = next(iter(lines), f"it ended with {done.returncode}")
        raise ParityError(f"{what}: {said}", remedy="Name another compiler in the variable CC")
