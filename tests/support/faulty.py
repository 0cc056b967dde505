"""Generated recordings with faults: the file, and what its device would send of the same samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from disc_stream.types import Channel, Float32Array, SampleBatch
from tests.support.written import NAMES, motion

Floats = npt.NDArray[np.float64]
G = 9.80665
RATES = (50.0, 49.7, 50.3, 25.0, 31.25, 52.0, 64.0, 100.0, 104.0, 200.0)
UNITS = (("g", "rad/s"), ("m/s2", "rad/s"), ("mg", "deg/s"), ("g", "mdps"))
FACTORS = {"g": 1.0, "m/s2": G, "mg": 1000.0, "rad/s": 1.0, "deg/s": 57.29577951, "mdps": 57_295.77951}


@dataclass(frozen=True)
class Faulty:
    """One recording.

    Args:
        fs: that its device declares.
        channels: in the order of the device.
        stretches: (time of the first sample in µs from the beginning, samples) of each uninterrupted one.
        jitter_us: by how much stamps in the file are off.
        lines: of the file.
    """

    fs: float
    channels: tuple[Channel, ...]
    stretches: list[tuple[int, Float32Array]]
    jitter_us: float
    lines: list[str]

    def write(self, path: Path) -> Path:
        path.write_text("\n".join(self.lines))
        return path

    def batches(self, device: str, rng: np.random.Generator) -> Iterator[SampleBatch]:
        """As its device sends it: batches of any size, and a number left out where something is missing."""
        seq = 0
        for t0_us, samples in self.stretches:
            at = 0
            while at < len(samples):
                n = int(rng.integers(1, 90))
                begin = t0_us + round(at * 1e6 / self.fs)
                yield SampleBatch(device, 1, seq, begin, self.fs, self.channels, samples[at : at + n])
                at, seq = at + n, seq + 1
            seq += 1


def faulty(seed: int) -> Faulty:
    """A recording of a minute, with some of the faults that recordings have."""
    rng = np.random.default_rng(seed)
    fs = float(rng.choice(RATES))
    n = int(rng.integers(20, 45) * fs)
    order = rng.permutation(6) if rng.random() < 0.3 else np.arange(6)
    acc, gyro = UNITS[rng.integers(len(UNITS))]
    units = [(acc, gyro)[k >= 3] for k in range(6)]
    true = motion(n, seed, fs) * [FACTORS[u] for u in units]
    values = np.array([[float(f"{v:.6f}") for v in row] for row in true])
    us = np.rint(np.arange(n) * 1e6 / fs)
    decimal = "," if rng.random() < 0.2 else "."
    sep = ";" if decimal == "," else str(rng.choice([",", ";", "\t"]))
    cuts = sorted(
        int(c) for c in rng.choice(np.arange(n // 8, n - n // 8), rng.integers(0, 4), replace=False)
    )
    pause_us = int(rng.integers(500, 9_000)) * 1_000
    for cut in cuts:
        us[cut:] += pause_us
    jitter_us = float(rng.choice([0.0, 0.0, 0.1])) * 1e6 / fs
    stamps = us + rng.uniform(-jitter_us, jitter_us, n)
    rows = _rows(stamps, values[:, order], sep, decimal, rng)
    known = np.ones(n, dtype=np.bool_)
    if not jitter_us:
        known[rng.random(n) < 0.01] = False
    for cut in (0, *cuts):
        known[cut] = True
    known[[cut - 1 for cut in (*cuts, n)]] = True
    _hide(rows, known, sep, rng)
    lines = [r for r in rows if r]
    if rng.random() < 0.3:
        lines[30:34] = lines[30:34][::-1]
    if rng.random() < 0.3 and not jitter_us:
        lines.insert(60, lines[60])
    head = sep.join(["t", *(f"{NAMES[k]}[{units[k]}]" for k in order), "light"])
    filled = _filled(values, known, cuts)
    channels = tuple(Channel(NAMES[k], units[k]) for k in order)
    edges = [0, *cuts, n]
    stretches = [(int(us[a]), filled[a:b][:, order]) for a, b in pairwise(edges)]
    cut_line = [lines[-1][:7]] if rng.random() < 0.3 else []
    return Faulty(fs, channels, stretches, jitter_us, [head, *lines, *(cut_line or [""])])


def _rows(
    stamps: npt.NDArray[np.float64],
    values: npt.NDArray[np.float64],
    sep: str,
    decimal: str,
    rng: np.random.Generator,
) -> list[str]:
    light = rng.integers(0, 9, len(values))
    rows = [
        sep.join([f"{t / 1e6:.6f}", *(f"{v:.6f}" for v in row), str(x)])
        for t, row, x in zip(stamps, values, light, strict=True)
    ]
    return [row.replace(".", ",") for row in rows] if decimal == "," else rows


def _hide(rows: list[str], known: npt.NDArray[np.bool_], sep: str, rng: np.random.Generator) -> None:
    """Rows whose samples are not known are not there, or have no values."""
    for n in np.flatnonzero(~known):
        time = rows[n].split(sep)[0]
        rows[n] = "" if rng.random() < 0.5 else sep.join([time, *["NaN"] * 6, "1"])


def _filled(values: Floats, known: npt.NDArray[np.bool_], cuts: list[int]) -> Float32Array:
    """Unknown samples on the line between their neighbours, stretch by stretch."""
    out = values.astype(np.float32)
    edges = [0, *cuts, len(values)]
    for a, b in pairwise(edges):
        index = np.arange(b - a)
        there = known[a:b]
        for column in range(out.shape[1]):
            part = out[a:b, column]
            part[~there] = np.interp(index[~there], index[there], part[there])
    return out
