"""``disc-stream benchmark gpu``: all that is to be known of a machine with a GPU, in one short run.

Training, parity of CUDA with the processor, encoding by torch and by the runtimes, memory. Without a GPU it
measures the processor and says what it skipped.
"""

from __future__ import annotations

import platform
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, get_args

import numpy as np
import torch
from torch import nn

from disc_stream import __version__
from disc_stream.artifacts.runtimes.cpus import cpu_model, usable_cpus
from disc_stream.artifacts.runtimes.session import Concrete
from disc_stream.benchmarks.encode import Grid, Subject, flop_per_window, measure, windows_like
from disc_stream.benchmarks.partial import Step
from disc_stream.benchmarks.products import processor_peaks
from disc_stream.benchmarks.timing import Effort, fastest, product
from disc_stream.benchmarks.training_speed import training_flops
from disc_stream.data.synthetic import synthetic_recordings
from disc_stream.data.windows import plan_windows, window_recordings
from disc_stream.errors import DiscStreamError
from disc_stream.models.config import NetworkConfig
from disc_stream.models.precision import full_float32
from disc_stream.training.events import BatchEvent, TrainingEvent
from disc_stream.training.plus.searchlog import PHASE as SEARCH
from disc_stream.training.presets import TrainingConfig
from disc_stream.training.recipes import get_recipe
from disc_stream.training.task import FitOptions, Task

SCHEMA = "disc-stream.gpu/1"

_DEVICES, _SECONDS, _K = 12, 330.0, 6
_BATCH = {"cuda": 256, "cpu": 64}  # of a training; a step of 256 windows may take a processor half a minute
_WARM, _MOST = 3, 60  # steps that are not counted, and at most counted ones
_FIRST = ("released", "guided", "paper")
_SIDE = 4096
_ENCODED = ("released", "disc-plus")
_NO_GPU = "there is no CUDA device"

MakeSubject = Callable[[str], Subject]


class _Enough(Exception):  # noqa: N818 - it ends a training, and is no error
    """The training has been timed."""


def machine() -> dict[str, Any]:
    """What the figures belong to."""
    return {
        "disc_stream": __version__, "python": platform.python_version(), "torch": torch.__version__,
        "cuda": torch.version.cuda, "cpu": cpu_model(), "cpus": usable_cpus(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }  # fmt: skip


def steps(make_subject: MakeSubject) -> list[Step]:
    """Everything that is measured, the most important first.

    Args:
        make_subject: the exported, untrained model of a preset.
    """
    cuda = torch.cuda.is_available()
    missing = "" if cuda else _NO_GPU
    precisions = ("bf16", "tf32") if cuda else ("bf16", "fp32")
    found = [
        Step("peaks", _peaks, share=0.05),
        Step("parity", partial(_parity, make_subject), missing, share=0.1),
    ]
    presets = get_recipe("disc").presets
    ordered = [name for name in _FIRST if name in presets] + [p for p in presets if p not in _FIRST]
    found += [
        Step(f"train {preset} {precision}", partial(_train, preset, precision), share=0.15)
        for preset in ordered
        for precision in precisions
    ]
    found += [Step(f"train {p} tf32", partial(_train, p, "tf32"), _NO_GPU) for p in ordered if not cuda]
    found += [
        Step(f"encode {name} torch", partial(_encode_torch, make_subject, name), share=0.25)
        for name in _ENCODED
    ]
    found += [
        Step(f"encode {name} runtimes", partial(_encode_runtimes, make_subject, name), share=0.5)
        for name in _ENCODED
    ]
    return found


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _effort(until: float, seconds: float = 0.2) -> Effort:
    return Effort(rounds=3, seconds=seconds, threads=usable_cpus(), deadline=until)


# ── What the hardware can do ──────────────────────────────────────────────────────────────────────────


def _peaks(until: float) -> dict[str, Any]:
    found = {f"cpu {name}": rate for name, rate in processor_peaks(_effort(until)).items()}
    if torch.cuda.is_available():
        works: dict[str, Callable[[], object]] = {
            "cuda bf16": product(_device(), torch.bfloat16, _SIDE),
            "cuda tf32": _with_tf32(product(_device(), torch.float32, _SIDE)),
            "cuda fp32": _in_full(product(_device(), torch.float32, _SIDE)),
        }
        seconds = fastest(works, _effort(until))
        found |= {name: 2.0 * _SIDE**3 / one for name, one in seconds.items()}
    return {"gflop_per_s": {name: round(rate / 1e9, 1) for name, rate in found.items()}}


@contextmanager
def tf32() -> Iterator[None]:
    """Products of float32 in TensorFloat-32 on a GPU; the setting before afterwards."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _with_tf32(work: Callable[[], object]) -> Callable[[], object]:
    def run() -> object:
        with tf32():
            return work()

    return run


def _in_full(work: Callable[[], object]) -> Callable[[], object]:
    def run() -> object:
        with full_float32():
            return work()

    return run


# ── Parity ────────────────────────────────────────────────────────────────────────────────────────────


def _parity(make_subject: MakeSubject, until: float) -> dict[str, Any]:
    """The same network on CUDA and on the processor, by precision."""
    subject = make_subject("released")
    net = _net_of(subject)
    x = torch.from_numpy(windows_like(subject.bundle, 256))
    with torch.inference_mode(), full_float32():
        plain = [one.numpy() for one in net(x)]
    there = net.to("cuda")
    found: dict[str, Any] = {}
    try:
        for name, how in _ways().items():
            if time.monotonic() > until:
                break
            with torch.inference_mode(), how():
                z, q, _ = (one.float().cpu().numpy() for one in there(x.to("cuda")))
            found[name] = {
                "max_abs_embedding": float(np.abs(z - plain[0]).max()),
                "max_abs_q": float(np.abs(q - plain[1]).max()),
                "labels_equal": float(np.mean(q.argmax(1) == plain[1].argmax(1))),
            }
    finally:
        net.to("cpu")
    return {"windows": len(x), "against": "the processor in fp32", "cuda": found}


def _ways() -> dict[str, Callable[[], Any]]:
    """The precisions that a device may be run in."""
    device = _device().type
    found: dict[str, Callable[[], Any]] = {"fp32": full_float32}
    if device == "cuda":
        found["tf32"] = tf32
    return found | {"bf16": partial(torch.autocast, device, torch.bfloat16)}


# ── Training ──────────────────────────────────────────────────────────────────────────────────────────


def _task() -> Task:
    """Windows of simulated wearables; what is in them does not matter to the time."""
    recordings = synthetic_recordings(_DEVICES, _SECONDS, 0)
    windows = window_recordings(recordings, plan_windows(recordings[0].fs, 2.56, 0.5))
    return Task(np.ascontiguousarray(windows.x), _K, devices=windows.subject)


def _train(preset: str, precision: str, until: float) -> dict[str, Any]:
    """Windows per second of a training as ``train`` runs it, and its memory."""
    recipe, task = get_recipe("disc"), _task()
    device = _device()
    wanted = "bf16" if precision == "bf16" else "fp32"
    config = recipe.resolve(preset, {"precision": wanted, "batch_size": _BATCH[device.type]})
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    watch = _Watch(device, until)
    options = FitOptions(device.type, watch)
    try:
        with tf32() if precision == "tf32" else _unchanged():
            recipe.fit(task, config, options)
    except _Enough:
        pass
    if watch.counted < 1:
        raise DiscStreamError("no step was finished in time", remedy="Allow more with --time-limit")
    per_step = len(task.windows) / watch.n_batches
    rate = per_step * watch.counted / watch.seconds
    found: dict[str, Any] = {
        "device": device.type, "precision": precision, "windows_per_s": round(rate, 1),
        "ms_per_step": round(1e3 * watch.seconds / watch.counted, 2), "batch": round(per_step),
        "steps": watch.counted, "phase": watch.phase, "peak_memory_mib": _memory(device),
    }  # fmt: skip
    network = getattr(config, "network", None)
    if isinstance(config, TrainingConfig) and isinstance(network, NetworkConfig):
        flop = training_flops(network, *task.shape)
        found |= {"gflop_per_window": round(flop / 1e9, 4), "gflop_per_s": round(rate * flop / 1e9, 1)}
    return found


@contextmanager
def _unchanged() -> Iterator[None]:
    yield


class _Watch:
    """Times the steps of a training, and ends it."""

    def __init__(self, device: torch.device, until: float) -> None:
        self._device, self._until = device, until
        self.counted = self.n_batches = self._seen = 0
        self.seconds = self._began = 0.0
        self.phase = ""

    def __call__(self, event: TrainingEvent) -> None:
        """Told of every step."""
        over = time.monotonic() > self._until
        if not isinstance(event, BatchEvent):
            if over:
                raise _Enough
            return
        if event.phase == SEARCH:  # for a labelling to be taught, by the processor alone
            if over:
                raise _Enough
            return
        self._seen += 1
        self.phase, self.n_batches = event.phase, event.n_batches
        if self._seen <= _WARM and (self._seen == 1 or not over):
            self._wait()
            self._began = time.perf_counter()
            return
        self.counted += 1
        if over or self.counted >= _MOST:
            self._wait()
            self.seconds = time.perf_counter() - self._began
            raise _Enough

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def _memory(device: torch.device) -> float:
    """MiB: the most that torch had on the GPU, or the most that the process had so far."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10, 1)


# ── Encoding ──────────────────────────────────────────────────────────────────────────────────────────


def _encode_torch(make_subject: MakeSubject, name: str, until: float) -> dict[str, Any]:
    """Windows per second by torch on the GPU, or on the processor where there is none."""
    subject, device = make_subject(name), _device()
    net = _net_of(subject).to(device)
    flop = flop_per_window(subject.bundle)
    rows = []
    try:
        for batch in _batches(device):
            x = torch.from_numpy(windows_like(subject.bundle, batch))
            works = {way: partial(_forward, net, x, device, how) for way, how in _ways().items()}
            for way, seconds in fastest(works, _effort(until)).items():
                rate = batch / seconds
                rows.append({"precision": way, "batch": batch, "windows_per_s": round(rate, 1),
                             "gflop_per_s": round(rate * flop / 1e9, 1)})  # fmt: skip
    finally:
        net.to("cpu")
    return {"device": device.type, "rows": rows, "peak_memory_mib": _memory(device)}


def _forward(net: nn.Module, x: torch.Tensor, device: torch.device, how: Callable[[], Any]) -> object:
    """From the host's memory to the host's memory."""
    with torch.inference_mode(), how():
        return [one.cpu() for one in net(x.to(device))]


def _encode_runtimes(make_subject: MakeSubject, name: str, until: float) -> dict[str, Any]:
    """The same by every runtime that is at hand."""
    grid = Grid(get_args(Concrete), _batches(_device()), _effort(until))
    found = measure([make_subject(name)], grid)
    return {key: found[key] for key in ("reference", "rows", "labels", "skipped")}


def _batches(device: torch.device) -> Sequence[int]:
    return (1, 64, 1024, 8192) if device.type == "cuda" else (1, 64, 256)


def _net_of(subject: Subject) -> nn.Module:
    assert subject.net is not None  # noqa: S101 - what is made untrained has one
    return subject.net
