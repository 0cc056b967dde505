"""The epochs loop, shared by all methods and phases."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from disc_stream.errors import TrainingError
from disc_stream.models.collectives import all_reduce_gradients, all_reduce_sum, is_rank_zero, rank
from disc_stream.models.layers import reseed_dropout
from disc_stream.training.checkpoint import (
    Checkpoint,
    State,
    copy_of,
    load_checkpoint,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
)
from disc_stream.training.distributed import own_share, require_shares
from disc_stream.training.events import BatchEvent, Callback, EpochEvent, ignore
from disc_stream.training.memory import keep_freed_memory

_MOMENTUM = 0.9  # of DEC's optimiser


class EpochEnd(NamedTuple):
    """What a phase has to say after an epoch."""

    done: bool = False
    label_change: float | None = None
    reseeded: tuple[int, ...] = ()


class Phase(Protocol):
    """One stage of a training: what is trained, on what loss, for how long."""

    name: str
    n_windows: int
    n_epochs: int
    batch_size: int
    clip_norm: float
    optimizer: str  # "adam", or "sgd" with momentum
    weights: Mapping[str, float]  # of loss terms in the sum; 1 where not named

    @property
    def module(self) -> nn.Module:
        """What is trained."""
        ...

    def learning_rate(self, epoch: int) -> float:
        """Of the given epoch, counted from 0."""
        ...

    def prepare(self) -> None:
        """Called once before the first epoch, and after a checkpoint was loaded."""
        ...

    def losses(self, index: Tensor) -> dict[str, Tensor]:
        """The loss terms of the windows with these indices, in training mode."""
        ...

    def end_epoch(self, epoch: int, optimizer: torch.optim.Optimizer) -> EpochEnd:
        """Look at what the epoch brought."""
        ...


@dataclass(slots=True)
class Trainer:
    """Runs phases one after the other.

    Args:
        seed: every permutation and every dropout mask follows from it, the phase and the epoch.
        device: where the modules and the data are.
        bf16: run the large matrix products in bfloat16.
        callback: told of every batch and every epoch; an exception from it ends the training, and the
            checkpoint of the last epoch stays.
        checkpoints: folder to keep one in, or None.
        identity: what is trained, to be found again when resuming.
        completed: final weights of each phase that has run.
        history: one entry per epoch.
    """

    seed: int
    device: torch.device
    bf16: bool = False
    callback: Callback = ignore
    checkpoints: Path | None = None
    identity: dict[str, Any] = field(default_factory=dict)
    completed: dict[str, State] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    _resumed: Checkpoint | None = None

    def resume(self) -> bool:
        """Take up the checkpoint, if there is one; the phases must then be run in the same order as before.

        Raises:
            ConfigError: if it belongs to another training.
            TrainingError: if it is damaged.
        """
        if self.checkpoints is None:
            return False
        self._resumed = load_checkpoint(self.checkpoints, self.identity)
        if self._resumed is not None:
            self.history = list(self._resumed.history)
            self.completed = dict(self._resumed.completed)
        return self._resumed is not None

    def run(self, phase: Phase) -> None:
        """Train until the phase is done; its module then holds the result, in evaluation mode.

        Raises:
            TrainingError: if a loss is no longer finite, or the disk does not take a checkpoint.
        """
        if phase.name in self.completed:
            phase.module.load_state_dict(self.completed[phase.name])
            phase.module.eval()
            return
        optimizer = _optimizer(phase)
        first, done = self._take_up(phase, optimizer)
        with keep_freed_memory():
            phase.prepare()
            for epoch in range(first, phase.n_epochs):
                if done:
                    break
                done = self._epoch(phase, epoch, optimizer)
        phase.module.eval()
        self.completed[phase.name] = copy_of(phase.module)

    def _take_up(self, phase: Phase, optimizer: torch.optim.Optimizer) -> tuple[int, bool]:
        saved = self._resumed
        if saved is None or saved.phase != phase.name:
            return 0, False
        phase.module.load_state_dict(saved.model)
        restore_optimizer(optimizer, saved.optimizer)
        self._resumed = None
        return saved.epoch, saved.done

    def _epoch(self, phase: Phase, epoch: int, optimizer: torch.optim.Optimizer) -> bool:
        started = time.perf_counter()
        rate = phase.learning_rate(epoch)
        for group in optimizer.param_groups:
            group["lr"] = rate
        sums: dict[str, Tensor] = {}
        phase.module.train()
        reseed_dropout(phase.module, derived_seed(self.seed, phase.name, epoch, rank()))
        batches = list(self._batches(phase, epoch))
        for number, index in enumerate(batches, start=1):
            for name, value in self.step(phase, index, optimizer).items():
                sums[name] = sums.get(name, torch.zeros((), device=self.device)) + value * len(index)
            self.callback(BatchEvent(phase.name, epoch + 1, phase.n_epochs, number, len(batches)))
        losses = {name: float(total) / phase.n_windows for name, total in sums.items()}
        _require_finite(losses, phase.name, epoch)

        end = phase.end_epoch(epoch, optimizer)
        seconds = time.perf_counter() - started
        event = EpochEvent(
            phase=phase.name, epoch=epoch + 1, n_epochs=phase.n_epochs, losses=losses, learning_rate=rate,
            label_change=end.label_change, reseeded=end.reseeded, seconds=seconds,
            eta_s=0.0 if end.done else seconds * (phase.n_epochs - epoch - 1),
        )  # fmt: skip
        self.history.append(event.to_dict())
        self._save(phase, epoch + 1, end.done, optimizer)
        self.callback(event)
        return end.done

    def _batches(self, phase: Phase, epoch: int) -> Iterator[Tensor]:
        """A permutation of all windows in nearly equal parts, so that none is too small to normalise over."""
        random = np.random.default_rng(derived_seed(self.seed, phase.name, epoch))
        order = random.permutation(phase.n_windows)
        n_batches = min(-(-phase.n_windows // phase.batch_size), max(1, phase.n_windows // 2))
        require_shares(phase.n_windows, n_batches)
        for part in np.array_split(order, n_batches):
            yield torch.from_numpy(part).to(self.device)

    def step(self, phase: Phase, index: Tensor, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
        """One step on a batch; where several processes train, each computes its share of the gradient."""
        share = own_share(index)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            terms = phase.losses(share)
        total = torch.stack([phase.weights.get(name, 1.0) * value for name, value in terms.items()]).sum()
        part = len(share) / len(index)
        optimizer.zero_grad(set_to_none=True)
        (total * part).backward()  # type: ignore[no-untyped-call]
        all_reduce_gradients(phase.module)
        if phase.clip_norm > 0.0:
            nn.utils.clip_grad_norm_(phase.module.parameters(), phase.clip_norm)
        optimizer.step()
        values = all_reduce_sum(torch.stack([*terms.values(), total]).detach() * part)
        return dict(zip([*terms, "total"], values, strict=True))

    def _save(self, phase: Phase, epoch: int, done: bool, optimizer: torch.optim.Optimizer) -> None:
        if self.checkpoints is None or not is_rank_zero():
            return
        save_checkpoint(
            self.checkpoints,
            Checkpoint(
                identity=self.identity, phase=phase.name, epoch=epoch, done=done,
                model=phase.module.state_dict(), optimizer=optimizer_tensors(optimizer),
                completed=self.completed, history=self.history,
            ),
        )  # fmt: skip


def _optimizer(phase: Phase) -> torch.optim.Optimizer:
    rate, parameters = phase.learning_rate(0), phase.module.parameters()
    if phase.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=rate, momentum=_MOMENTUM)
    return torch.optim.Adam(parameters, lr=rate)


def derived_seed(seed: int, phase: str, epoch: int, process: int = 0) -> int:
    """A seed of its own for every epoch of every phase, and for what differs between processes."""
    sequence = np.random.SeedSequence([seed, zlib.crc32(phase.encode()), epoch, *[process] * (process > 0)])
    return int(sequence.generate_state(1)[0])


def _require_finite(losses: dict[str, float], phase: str, epoch: int) -> None:
    for name, value in losses.items():
        if not np.isfinite(value):
            raise TrainingError(
                f"the loss {name!r} is {value} in epoch {epoch + 1} of {phase}",
                remedy="Use a lower learning rate",
            )
