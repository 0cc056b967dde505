"""Which provider runs a model fastest here, found by measuring it once for each model and machine."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from disc_stream.artifacts.bundle import Bundle
from disc_stream.artifacts.runtimes.buckets import run_padded
from disc_stream.artifacts.runtimes.onnx_session import has_cuda_build
from disc_stream.artifacts.runtimes.opening import open_session
from disc_stream.artifacts.runtimes.openvino_session import is_installed
from disc_stream.artifacts.runtimes.probes import limit_windows, probe_windows
from disc_stream.artifacts.runtimes.remembered import (
    Answer,
    Measured,
    default_folder,
    key_of,
    recall,
    remember,
)
from disc_stream.artifacts.runtimes.session import Concrete, Session
from disc_stream.errors import ConfigError, DiscStreamError, MissingExtraError
from disc_stream.types import Float32Array

LEAST_EQUAL = 0.995
"""Share of probe windows that must have the label of onnxruntime on the processor."""

BATCH = 64
_GAIN = 1.1  # below it another runtime is not worth its differences
_ROUNDS, _SECONDS = 5, 0.5

Rate = Callable[[Session, Float32Array], float]

_log = logging.getLogger(__name__)


class Judged(NamedTuple):
    """How a candidate compares with the reference.

    Args:
        labels_equal: share of windows with the reference's label.
        refused: why it cannot be chosen, "" if it can.
    """

    labels_equal: float
    refused: str


def choose(bundle: Bundle, threads: int, rate: Rate | None = None) -> Session:
    """The session of the fastest provider whose labels are those of onnxruntime on the processor.

    The answer is kept in the user's cache folder, and found there by the model's content hash, the processor,
    the versions of the runtimes, the threads and what there is to choose from. Where that is onnxruntime on
    the processor alone, nothing is measured.

    Args:
        bundle: whose graph to run.
        threads: of one call.
        rate: windows per second of a session on windows (BATCH, T, C); None measures it.

    Raises:
        MissingExtraError: if onnxruntime is not installed.
        BundleError: if the graph cannot be loaded or is not what the manifest says.
    """
    names = candidates()
    if names == ["cpu"]:
        return open_session(bundle, "cpu", threads)
    folder, key = _folder(), key_of(bundle.manifest.version, threads, names)
    answer = None if folder is None else recall(key, folder)
    if answer is not None:
        try:
            session = open_session(bundle, answer.provider, threads)
        except (ConfigError, MissingExtraError) as error:  # what it was chosen for is gone
            _log.info("%s was fastest and cannot be used any more: %s", answer.provider, error)
        else:
            _log.info("provider of model %s, as measured before: %s", bundle.version, answer.told())
            return session
    sessions, failed = _opened(bundle, names, threads)
    if len(sessions) == 1:
        return sessions["cpu"]
    answer = _measure(bundle, sessions, failed, rate or partial(windows_per_s, threads=threads))
    text = "provider of model %s, measured now with %d windows at once: %s"
    _log.info(text, bundle.version, BATCH, answer.told())
    if folder is not None:
        remember(answer, key, folder)
    return sessions[answer.provider]


def candidates() -> list[Concrete]:
    """What may be tried here; whether it works, opening it tells."""
    found: list[Concrete] = ["cpu"]
    if has_cuda_build():
        found.append("cuda")
    if is_installed():
        found += ["openvino", "openvino-bf16"]
    return found


def _folder() -> Path | None:
    try:
        return default_folder()
    except RuntimeError:
        return None


def _opened(
    bundle: Bundle, names: Sequence[Concrete], threads: int
) -> tuple[dict[Concrete, Session], dict[str, Measured]]:
    """The candidates that open, and why the others do not."""
    sessions: dict[Concrete, Session] = {"cpu": open_session(bundle, "cpu", threads)}
    failed: dict[str, Measured] = {}
    for name in names:
        try:
            if name not in sessions:
                sessions[name] = open_session(bundle, name, threads)
        except DiscStreamError as error:
            _log.info("%s cannot be used: %s", name, error.message)
            failed[name] = Measured(0.0, 0.0, "it does not open")
    return sessions, failed


def _measure(
    bundle: Bundle, sessions: Mapping[Concrete, Session], failed: Mapping[str, Measured], rate: Rate
) -> Answer:
    """Compare and time the candidates."""
    probes, limits = probe_windows(bundle.manifest), limit_windows(bundle.manifest)
    reference = sessions["cpu"]
    found: dict[Concrete, Measured] = {"cpu": Measured(round(rate(reference, probes[:BATCH]), 1), 1.0)}
    for name, session in sessions.items():
        if name == "cpu":
            continue
        try:
            judged = judge(session, reference, probes, limits)
            speed = 0.0 if judged.refused else rate(session, probes[:BATCH])
        except Exception as error:  # noqa: BLE001 - a runtime that fails in any way is not taken
            text = next(iter(str(error).splitlines()), type(error).__name__)
            judged, speed = Judged(0.0, f"it fails: {text:.200}"), 0.0
        found[name] = Measured(round(speed, 1), round(judged.labels_equal, 5), judged.refused)
    best = max((name for name in found if not found[name].refused), key=lambda n: found[n].windows_per_s)
    worth = found[best].windows_per_s > _GAIN * found["cpu"].windows_per_s
    measured: dict[str, Measured] = {str(name): one for name, one in found.items()}
    return Answer(best if worth else "cpu", measured | dict(failed))


def judge(session: Session, reference: Session, probes: Float32Array, limits: Float32Array) -> Judged:
    """Whether a session may stand for the reference.

    Args:
        session: judged.
        reference: onnxruntime on the processor.
        probes: (n, T, C) windows whose labels are compared.
        limits: (m, T, C) windows for which both must be finite alike.
    """
    mine, theirs = run_padded(session, probes), run_padded(reference, probes)
    equal = float(np.mean(mine[1].argmax(1) == theirs[1].argmax(1)))
    if equal < LEAST_EQUAL:
        return Judged(equal, f"{equal:.2%} of {len(probes)} labels are equal, {LEAST_EQUAL:.1%} must be")
    for one, other in zip(run_padded(session, limits), run_padded(reference, limits), strict=True):
        if not np.array_equal(np.isfinite(one).all(1), np.isfinite(other).all(1)):
            return Judged(equal, "it is not finite where onnxruntime is, or the reverse")
    return Judged(equal, "")


def windows_per_s(session: Session, x: Float32Array, threads: int = 1) -> float:
    """The best of a few batches, after one that is not counted; at most about a second if nothing disturbs.

    By the time that passes, with CUDA; otherwise by the processor time of this process over its threads, for
    the answer is kept, and what else the machine does while it is found must not decide it.
    """
    clock, workers = (time.perf_counter, 1) if session.provider == "cuda" else (time.process_time, threads)
    run_padded(session, x)
    best, began = float("inf"), clock()
    for _ in range(_ROUNDS):
        before = clock()
        run_padded(session, x)
        now = clock()
        best = min(best, now - before)
        if now - began > _SECONDS:
            break
    return workers * len(x) / max(best, 1e-9)
