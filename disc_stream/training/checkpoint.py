"""Checkpoints: one safetensors file, whose header carries the JSON part.

One file means one rename: a checkpoint is whole or it is not there. Random state needs no place in it,
since permutations and dropout masks are derived from (seed, phase, epoch).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from disc_stream.errors import ConfigError, TrainingError
from disc_stream.training.files import replace_file

STATE_FILE = "state.safetensors"
_META = "disc-stream.checkpoint"

State = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where a training stood after an epoch.

    Args:
        identity: what the training is: settings, seed, fingerprint of the windows.
        phase: the phase under way.
        epoch: epochs of it that are complete, or candidates.
        done: whether the phase has come to its end.
        model: weights of what the phase trains.
        optimizer: Adam's moments, flattened.
        completed: final weights of the earlier phases.
        history: one entry per epoch of all phases.
    """

    identity: dict[str, Any]
    phase: str
    epoch: int
    done: bool
    model: State
    optimizer: State
    completed: dict[str, State] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Replace the folder's checkpoint.

    Raises:
        TrainingError: if the disk does not take it.
    """
    groups = {"model": checkpoint.model, "optimizer": checkpoint.optimizer}
    groups |= {f"completed/{name}": state for name, state in checkpoint.completed.items()}
    tensors = {
        f"{group}:{name}": value.detach().cpu().contiguous()
        for group, state in groups.items()
        for name, value in state.items()
    }
    facts = {
        "identity": checkpoint.identity, "phase": checkpoint.phase, "epoch": checkpoint.epoch,
        "done": checkpoint.done, "completed": list(checkpoint.completed), "history": checkpoint.history,
    }  # fmt: skip
    try:
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / STATE_FILE, to_bytes(tensors, metadata={_META: json.dumps(facts)}))
    except OSError as error:
        raise TrainingError(
            f"the checkpoint cannot be written to {str(folder)!r}: {error.strerror or error}",
            remedy="Check space and permissions there, then go on with --resume",
        ) from error


def load_checkpoint(folder: Path, identity: dict[str, Any]) -> Checkpoint | None:
    """The folder's checkpoint, or None if there is none.

    Args:
        folder: where it is.
        identity: of the training that wants to go on.

    Raises:
        ConfigError: if it belongs to a training with other settings, seed or windows.
        TrainingError: if it is damaged.
    """
    file = folder / STATE_FILE
    if not file.is_file():
        return None
    groups: dict[str, State] = {}
    try:
        with safe_open(file, framework="pt") as handle:
            facts = json.loads(handle.metadata()[_META])
            for key in handle.keys():  # noqa: SIM118 - not a mapping
                group, name = key.split(":", 1)
                groups.setdefault(group, {})[name] = handle.get_tensor(key)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise TrainingError(f"checkpoint {str(file)!r} is damaged", remedy="Train from the start") from error
    _require_same(facts["identity"], json.loads(json.dumps(identity)))
    return Checkpoint(
        identity=facts["identity"],
        phase=facts["phase"],
        epoch=facts["epoch"],
        done=facts["done"],
        model=groups["model"],
        optimizer=groups.get("optimizer", {}),
        completed={name: groups[f"completed/{name}"] for name in facts["completed"]},
        history=facts["history"],
    )


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> State:
    """Adam's state, flattened to ``<parameter>.<moment>``."""
    return {
        f"{number}.{name}": value
        for number, moments in optimizer.state_dict()["state"].items()
        for name, value in moments.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: State) -> None:
    """The inverse of ``optimizer_tensors``."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, name = key.split(".", 1)
        state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def copy_of(module: nn.Module) -> State:
    """A module's weights as of now."""
    return {name: value.detach().cpu().clone() for name, value in module.state_dict().items()}


def _require_same(saved: dict[str, Any], wanted: dict[str, Any], path: str = "") -> None:
    for name in sorted(saved.keys() | wanted.keys()):
        here, there = saved.get(name), wanted.get(name)
        if isinstance(here, dict) and isinstance(there, dict):
            _require_same(here, there, f"{path}{name}.")
        elif here != there:
            raise ConfigError(
                f"the checkpoint was made with {path}{name}={here!r}, not {there!r}",
                remedy="Give the same options as before, or train into a new folder",
            )
