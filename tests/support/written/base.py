"""What recordings of a known truth are made of, and written with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from disc_stream.types import Float32Array

FS = 50.0
N = 240
NAMES = ("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z")
UNITS = ("g", "g", "g", "rad/s", "rad/s", "rad/s")
HEADER = ",".join(f"{n}[{u}]" for n, u in zip(NAMES, UNITS, strict=True))
G = 9.80665
START_S = 1_716_200_000
Rows = npt.NDArray[np.float64]


def motion(n: int = N, seed: int = 0, fs: float = FS) -> Rows:
    """(n, 6) acceleration in g and angular rate in rad/s, rounded as they are written."""
    rng = np.random.default_rng(seed)
    t = np.arange(n) / fs
    swing = np.sin(2 * np.pi * 1.7 * t + seed)
    out = np.column_stack(
        [0.1 + 0.2 * swing, 0.05 - 0.1 * swing, 0.97 + 0.15 * np.cos(2 * np.pi * 3.4 * t), swing, 0.5 * swing,
         -0.3 * swing]
    )  # fmt: skip
    return np.round(out + rng.normal(0, 0.01, out.shape), 5)


def table(times: Sequence[object], rows: Rows, sep: str = ",", decimal: str = ".") -> list[str]:
    """Lines of a table; times are written as they are."""
    lines = [sep.join([str(t), *(f"{v:.5f}" for v in row)]) for t, row in zip(times, rows, strict=True)]
    return [line.replace(".", decimal) for line in lines] if decimal != "." else lines


def seconds(n: int = N, fs: float = FS) -> list[str]:
    return [f"{i / fs:.4f}" for i in range(n)]


@dataclass(frozen=True)
class Expected:
    """What an import of a case gives.

    Args:
        parts: samples of each stretch, in order.
        fs: of the result.
        units: of the channels.
        names: of the channels.
        people: of each stretch.
        within: largest difference of a sample.
        said: words that the plan has.
    """

    parts: list[Rows]
    fs: float = FS
    units: tuple[str, ...] = UNITS
    names: tuple[str, ...] = NAMES
    people: tuple[int, ...] = (1,)
    within: float = 1e-6
    said: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """One kind of recording.

    Args:
        write: writes it into a folder.
        expected: what becomes of it.
        refused: words of the refusal, where a person must decide first.
        maps: what ``--map`` is given then.
        settings: other settings that the refusal names.
    """

    write: Callable[[Path], None]
    expected: Expected
    refused: str = ""
    maps: tuple[str, ...] = ()
    settings: dict[str, object] = field(default_factory=dict)


def put(name: str, lines: Sequence[str], encoding: str = "utf-8", end: str = "\n") -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((end.join(lines) + end).encode(encoding))

    return write


def both(*writers: Callable[[Path], None]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        for one in writers:
            one(folder)

    return write


def raw(name: str, content: bytes) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return write


def plain(
    rows: Rows, name: str = "user01.csv", head: str = "t," + HEADER, times: Sequence[object] | None = None
):  # type: ignore[no-untyped-def]
    return put(name, [head, *table(seconds(len(rows)) if times is None else times, rows)])


X = motion()
ACC = ("acc_x", "acc_y", "acc_z")
ONE = Expected([X])


def acc(unit: str = "g", factor: float = 1.0, **more: object) -> Expected:
    return Expected([X[:, :3] * factor], units=(unit,) * 3, names=ACC, within=2e-5 * factor, **more)  # type: ignore[arg-type]


def iso(n: int = N, form: str = "%Y-%m-%d %H:%M:%S") -> list[str]:
    from datetime import UTC, datetime

    return [
        datetime.fromtimestamp(START_S + i // 50, UTC).strftime(form) + f".{i % 50 * 20:03d}"
        for i in range(n)
    ]


def acc_lines(times: Sequence[object], factor: float = 1.0, sep: str = ",") -> list[str]:
    return [
        sep.join([str(t), *(f"{v * factor:.6f}" for v in row[:3])]) for t, row in zip(times, X, strict=True)
    ]


def as_float(rows: Rows) -> Float32Array:
    return rows.astype(np.float32)
