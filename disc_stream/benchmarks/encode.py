"""How fast windows are encoded: models, runtimes and sizes of batches, beside eager torch, in one run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from disc_stream.artifacts.bundle import INPUT, Bundle
from disc_stream.artifacts.graph import read_graph
from disc_stream.artifacts.graphcost import BATCH, cost_of
from disc_stream.artifacts.runtimes.buckets import run_padded
from disc_stream.artifacts.runtimes.cpus import cpu_model
from disc_stream.artifacts.runtimes.opening import open_session
from disc_stream.artifacts.runtimes.probes import probe_windows
from disc_stream.artifacts.runtimes.session import Concrete, Session
from disc_stream.benchmarks.cells import hardware
from disc_stream.benchmarks.products import processor_peaks
from disc_stream.benchmarks.timing import Effort, fastest
from disc_stream.errors import DiscStreamError
from disc_stream.types import Float32Array

SCHEMA = "disc-stream.encode/1"
TORCH = "torch"
PLAIN = "cpu"
"""The plain way: the fp32 graph, run by onnxruntime on the processor."""

_PRECISION = {"openvino-bf16": "bf16"}

OnStep = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Subject:
    """A model that is measured.

    Args:
        name: such as ``released``.
        bundle: of it.
        net: the same network in torch, None if there is none.
        windows: (n, input_samples, C) on which labels are compared; None for synthetic ones.
    """

    name: str
    bundle: Bundle
    net: nn.Module | None = None
    windows: Float32Array | None = None


@dataclass(frozen=True, slots=True)
class Grid:
    """What is measured of every model.

    Args:
        providers: runtimes; those that are not at hand are named and left out.
        batches: windows at once.
        effort: how long.
    """

    providers: Sequence[Concrete]
    batches: Sequence[int]
    effort: Effort


def measure(subjects: Sequence[Subject], grid: Grid, on_step: OnStep = lambda _what: None) -> dict[str, Any]:
    """Measure all of it.

    Rates of one batch size are compared with those of the first model by ``PLAIN`` in that size.

    Returns:
        As JSON takes it: ``rows`` with windows per second, the ratio to the reference and the share of the
        peak of matrix products; ``labels`` with how many are those of onnxruntime on the processor.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(grid.effort.threads)
    try:
        on_step("matrix products")
        peaks = processor_peaks(grid.effort)
        rows: list[dict[str, Any]] = []
        labels: list[dict[str, Any]] = []
        skipped: dict[str, str] = {}
        for subject in subjects:
            sessions = _sessions(subject.bundle, grid, skipped)
            on_step(f"labels of {subject.name}")
            labels += _labels(subject, sessions)
            for batch in grid.batches:
                on_step(f"{subject.name}, {batch} at once")
                rows += _rows(subject, sessions, batch, grid.effort, peaks)
    finally:
        torch.set_num_threads(threads)
    reference = {row["batch"]: row["windows_per_s"] for row in rows if _is_reference(row, subjects)}
    for row in rows:
        plain = reference.get(row["batch"])
        row["ratio"] = None if plain is None else round(row["windows_per_s"] / plain, 3)
    return {
        "schema": SCHEMA, "hardware": hardware(), "cpu": cpu_model(), "threads": grid.effort.threads,
        "clock": grid.effort.clock, "peak_gflop_per_s": {k: round(v / 1e9, 1) for k, v in peaks.items()},
        "reference": f"{subjects[0].name} by {PLAIN}", "rows": rows, "labels": labels, "skipped": skipped,
    }  # fmt: skip


def _is_reference(row: dict[str, Any], subjects: Sequence[Subject]) -> bool:
    return bool(row["model"] == subjects[0].name and row["runtime"] == PLAIN)


def _sessions(bundle: Bundle, grid: Grid, skipped: dict[str, str]) -> dict[Concrete, Session]:
    found: dict[Concrete, Session] = {}
    for provider in grid.providers:
        try:
            found[provider] = open_session(bundle, provider, grid.effort.threads)
        except DiscStreamError as error:
            skipped[provider] = error.message
    return found


def _rows(
    subject: Subject,
    sessions: dict[Concrete, Session],
    batch: int,
    effort: Effort,
    peaks: dict[str, float],
) -> list[dict[str, Any]]:
    x = _batch_of(subject, batch)
    works: dict[str, Callable[[], object]] = {
        name: partial(run_padded, session, x) for name, session in sessions.items()
    }
    if subject.net is not None:
        works[TORCH] = partial(_eager, subject.net, torch.from_numpy(x))
    flop = flop_per_window(subject.bundle)
    rows = []
    for name, seconds in fastest(works, effort).items():
        precision = _PRECISION.get(name, "fp32")
        peak = peaks.get(precision)
        rate = batch / seconds
        rows.append({
            "model": subject.name, "runtime": name, "precision": precision, "batch": batch,
            "windows_per_s": round(rate, 1), "ms_per_batch": round(1e3 * seconds, 4),
            "share_of_peak": None if peak is None or name == "cuda" else round(rate * flop / peak, 4),
        })  # fmt: skip
    return rows


def _batch_of(subject: Subject, batch: int) -> Float32Array:
    """Windows to time: a random choice, for how many are doubtful decides how fast some runtimes are."""
    if subject.windows is None:
        return windows_like(subject.bundle, batch)
    chosen = np.random.default_rng(batch).choice(len(subject.windows), batch, batch > len(subject.windows))
    return np.ascontiguousarray(subject.windows[chosen], dtype=np.float32)


def _eager(net: nn.Module, x: torch.Tensor) -> object:
    with torch.inference_mode():
        return net(x)


def _labels(subject: Subject, sessions: dict[Concrete, Session]) -> list[dict[str, Any]]:
    """How many labels are those of the plain way, and how many of those are that of one cluster alone."""
    if PLAIN not in sessions:
        return []
    windows = probe_windows(subject.bundle.manifest) if subject.windows is None else subject.windows
    plain = _assign(sessions[PLAIN], windows)
    rows = []
    for name, session in sessions.items():
        if name == PLAIN:
            continue
        found = _assign(session, windows)
        rows.append({
            "model": subject.name, "runtime": name, "windows": len(windows),
            "held_out": subject.windows is not None,
            "labels_equal": float(np.mean(found.argmax(1) == plain.argmax(1))),
            "max_abs_q": float(np.abs(found - plain).max()),
            "most_frequent_label": float(np.bincount(plain.argmax(1)).max() / len(windows)),
        })  # fmt: skip
    return rows


def _assign(session: Session, windows: Float32Array) -> Float32Array:
    parts = [run_padded(session, windows[at : at + 256])[1] for at in range(0, len(windows), 256)]
    return np.concatenate(parts)


def windows_like(bundle: Bundle, n: int) -> Float32Array:
    """Synthetic windows (n, input_samples, C) on the model's scale."""
    probes = probe_windows(bundle.manifest)
    return np.ascontiguousarray(np.resize(probes, (n, *probes.shape[1:])))


def flop_per_window(bundle: Bundle) -> float:
    """Operations of a graph's matrix products for one window, two for each multiplication."""
    manifest = bundle.manifest
    shape = (manifest.window.input_samples, len(manifest.channels))
    return 2.0 * cost_of(read_graph(bundle.model_bytes), INPUT, shape).multiplications / BATCH
