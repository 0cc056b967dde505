"""How fast DISC trains, against the plain way of writing it, in the same run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from disc_stream.benchmarks.cells import hardware
from disc_stream.errors import ConfigError
from disc_stream.models.config import NetworkConfig
from disc_stream.models.reference import ReferenceAutoencoder
from disc_stream.training.families import build_for
from disc_stream.training.fitting import pick_device, use_bf16
from disc_stream.training.memory import keep_freed_memory
from disc_stream.training.phases import Pretraining
from disc_stream.training.presets import TrainingConfig
from disc_stream.training.recipes.recurrent import DISC_FAMILY
from disc_stream.training.trainer import Trainer
from disc_stream.training.windows import apply_scaler, fit_scaler
from disc_stream.types import Float32Array

_PEAK_SIDE = 2048
_PEAK_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Speed:
    """Seconds for one batch, of one implementation.

    Args:
        seconds: of every measured batch.
        batches_per_epoch: of the whole dataset.
    """

    seconds: Sequence[float]
    batches_per_epoch: int

    def to_dict(self) -> dict[str, float]:
        """As JSON takes it; epochs are extrapolated from batches."""
        middle = statistics.median(self.seconds)
        return {
            "batch_s_min": min(self.seconds), "batch_s_median": middle, "batch_s_max": max(self.seconds),
            "epoch_s": middle * self.batches_per_epoch,
        }  # fmt: skip


def measure(
    windows: Float32Array,
    config: TrainingConfig,
    *,
    rounds: int,
    device_name: str,
    on_step: Callable[[str], None] = lambda _what: None,
) -> dict[str, Any]:
    """Time training batches of DISC and of the reference in turn.

    The reference has two forms: ``eager_fp32`` with the kernel-1 convolutions of the authors' released code
    in its encoder, and ``eager_gru_cells``, which has ``torch.nn.GRUCell`` there and is faster.

    Args:
        windows: (n, T, C), physical units.
        config: of DISC, with as many layers in each decoder as fed-back output allows.
        rounds: measured batches of each; before every one goes another that is not measured, so that each
            finds the caches and the memory as its own last step left them.
        device_name: ``auto``, ``cpu`` or ``cuda``.
        on_step: told what is measured next.

    Raises:
        ConfigError: if the device is not there or the shape has no reference.
    """
    network = config.network
    if not isinstance(network, NetworkConfig) or network.layout != "channels" or network.frame != 1:
        raise ConfigError("the reference is written for the layout 'channels' and one sample a step")
    device = pick_device(device_name)
    data = torch.from_numpy(apply_scaler(fit_scaler(config.scaler, windows), windows)).to(device)
    batch = min(config.batch_size, len(data))
    bf16 = use_bf16(config, device, windows.shape[2])
    steps = {
        "ours": _ours(data, config, device, bf16),
        "eager_fp32": _eager(data, ReferenceAutoencoder(network, data.shape[2])),
        "eager_gru_cells": _eager(data, ReferenceAutoencoder(network, data.shape[2], nn.GRUCell)),
    }
    taken: dict[str, list[float]] = {name: [] for name in steps}
    random = np.random.default_rng(0)
    for _ in range(rounds):
        index = torch.from_numpy(random.choice(len(data), batch, replace=False)).to(device)
        for name, step in steps.items():
            on_step(name)
            # As the trainer has it; the reference takes its memory as torch does by itself.
            with keep_freed_memory() if name == "ours" else nullcontext():
                step(index)
                taken[name].append(_timed(partial(step, index), device))
    per_epoch = -(-len(data) // config.batch_size)
    speeds = {name: Speed(seconds, per_epoch) for name, seconds in taken.items()}
    return _report(speeds, network, windows, batch, device, bf16)


def _report(
    speeds: dict[str, Speed],
    network: NetworkConfig,
    windows: Float32Array,
    batch: int,
    device: torch.device,
    bf16: bool,
) -> dict[str, Any]:
    median = {name: statistics.median(speed.seconds) for name, speed in speeds.items()}
    ours = median["ours"]
    flops = training_flops(network, windows.shape[1], windows.shape[2])
    peak = matrix_peak(device, torch.bfloat16 if bf16 else torch.float32)
    rate = flops * batch / ours
    return {
        "hardware": hardware(), "device": device.type, "precision": "bf16" if bf16 else "fp32",
        "windows": len(windows), "shape": list(windows.shape[1:]), "batch_size": batch,
        "batches_per_epoch": speeds["ours"].batches_per_epoch,
        "measured_batches": len(speeds["ours"].seconds),
        **{name: speed.to_dict() for name, speed in speeds.items()},
        "ratio": median["eager_fp32"] / ours, "ratio_gru_cells": median["eager_gru_cells"] / ours,
        "threads": torch.get_num_threads(), "windows_per_s": batch / ours,
        "gflop_per_window": flops / 1e9, "gflop_per_s": rate / 1e9, "peak_gflop_per_s": peak / 1e9,
        "share_of_peak": rate / peak,
    }  # fmt: skip


def _ours(
    data: Tensor, config: TrainingConfig, device: torch.device, bf16: bool
) -> Callable[[Tensor], object]:
    """A step of the trainer, as a training runs it."""
    shape = (data.shape[1], data.shape[2])
    autoencoder = build_for(DISC_FAMILY, config, shape, seed=0).to(device).train()
    phase = Pretraining(autoencoder, data, config)
    optimizer = torch.optim.Adam(autoencoder.parameters(), lr=config.learning_rate)
    trainer = Trainer(seed=0, device=device, bf16=bf16)
    return lambda index: trainer.step(phase, index, optimizer)


def _eager(data: Tensor, model: ReferenceAutoencoder) -> Callable[[Tensor], object]:
    model.to(data.device).train()
    optimizer = torch.optim.Adam(model.parameters())

    def step(index: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        model(data[index]).backward()
        optimizer.step()

    return step


def _timed(work: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def training_flops(network: NetworkConfig, n_samples: int, n_channels: int) -> float:
    """Operations of the matrix products for one window, forwards and backwards (three times forwards)."""
    steps = n_samples // 2 // network.frame
    n_channels = n_channels * network.frame
    h, d = network.hidden, network.decoder_hidden
    encoder = sum(2 * 3 * h * (inputs + h) for inputs in [n_channels] + [2 * h] * (network.layers - 1))
    decoder = sum(3 * d * (inputs + d) for inputs in [n_channels] + [d] * (network.decoder_layers - 1))
    per_step = encoder + 2 * (decoder + d * n_channels)
    return 3.0 * 2.0 * steps * per_step


def matrix_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Operations per second of a large square matrix product, the best of a few."""
    a = torch.randn(_PEAK_SIDE, _PEAK_SIDE, device=device).to(dtype)
    best = min(_timed(lambda: a @ a, device) for _ in range(_PEAK_ROUNDS))
    return 2.0 * _PEAK_SIDE**3 / best
