"""Exported C on Cortex-M processors, in QEMU: compile, measure, run."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from disc_stream.types import Float32Array
from disc_stream_export.c.compiling import FLAGS, Labelled

GCC = "arm-none-eabi-gcc"
QEMU = "qemu-system-arm"
FILES = Path(__file__).parents[1] / "mcu"

INSTRUCTIONS_PER_TICK = 40
"""Of the timer that the driver reads: QEMU's boards run it at 25 MHz, and ``-icount shift=0`` counts each
instruction as a nanosecond."""


@dataclass(frozen=True)
class Board:
    """One of QEMU's boards.

    Args:
        machine: its name there.
        flags: for the processor's code.
    """

    machine: str
    flags: tuple[str, ...]

    @property
    def has_fpu(self) -> bool:
        """Whether floats are computed by the processor."""
        return "-mfloat-abi=hard" in self.flags


M4 = Board("mps2-an386", ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"))
M3 = Board("mps2-an385", ("-mcpu=cortex-m3", "-mthumb"))
M7 = Board("mps2-an500", ("-mcpu=cortex-m7", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv5-d16"))
BOARDS = {"Cortex-M4 with FPU": M4, "Cortex-M3 without FPU": M3, "Cortex-M7 with FPU": M7}


@dataclass(frozen=True)
class Sizes:
    """Bytes of one compiled file, as ``arm-none-eabi-size`` counts them."""

    text: int
    data: int
    bss: int


def missing_tools() -> str:
    """Why nothing can be run, or an empty text."""
    missing = [tool for tool in (GCC, QEMU) if shutil.which(tool) is None]
    if not missing and not Path(_printed(M4, "-print-file-name=librdimon.a")).is_absolute():
        missing = ["newlib for arm-none-eabi"]
    return f"{', '.join(missing)} not installed (`make mcu` does it)" if missing else ""


def sizes(folder: Path, file: str, board: Board, *options: str) -> Sizes:
    """Compile one file and measure it."""
    target = folder / f"{file}.o"
    _call([GCC, *FLAGS, *options, *board.flags, "-c", file, "-o", str(target)], folder)
    numbers = _call(["arm-none-eabi-size", str(target)], folder).splitlines()[1].split()
    return Sizes(*map(int, numbers[:3]))


def run_on(board: Board, folder: Path, windows: Float32Array, *options: str, count: bool = False) -> Labelled:
    """Compile the C files of a folder with their driver, and label windows on a board in QEMU.

    Args:
        board: where.
        folder: of the files.
        windows: (N, input_samples, C).
        options: for the compiler.
        count: whether ticks are counted, which makes QEMU slower.
    """
    sources = sorted(file.name for file in folder.glob("*.c"))
    _call(
        [
            GCC, *FLAGS, *options, *board.flags, "-DDRIVER_SYSTICK", "--specs=rdimon.specs",
            "-T", str(FILES / "mps2.ld"), str(FILES / "startup.c"), *sources, "-o", "driver.elf",
        ],
        folder,
    )  # fmt: skip
    np.ascontiguousarray(windows, dtype="<f4").tofile(folder / "windows")
    words = ",".join(f"arg={word}" for word in ("driver", "windows", "results"))
    _call(
        [
            QEMU, "-M", board.machine, "-nographic", "-monitor", "none", "-serial", "none",
            *(("-icount", "shift=0") if count else ()),
            "-semihosting-config", f"enable=on,target=native,{words}", "-kernel", "driver.elf",
        ],
        folder,
        timeout_s=250.0,
    )  # fmt: skip
    return Labelled.parse((folder / "results").read_text(encoding="ascii"))


def _printed(board: Board, question: str) -> str:
    return _call([GCC, *board.flags, question], FILES).strip()


def _call(command: list[str], folder: Path, timeout_s: float = 60.0) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout
