"""Run folders: writing them when training has finished, reading them back.

``run.json`` is written last, by a rename: a folder without it is an unfinished run, never a broken one.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save as arrays_to_bytes
from safetensors.torch import load_file as load_tensors
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor, nn

from disc_stream.artifacts.run import (
    CHECKPOINT_DIR,
    HISTORY_FILE,
    MODEL_FILE,
    RUN_FILE,
    RUN_SCHEMA_VERSION,
    SAMPLES_FILE,
    LabelAt,
    RunInfo,
)
from disc_stream.errors import ConfigError, InputNotFoundError, TrainingError
from disc_stream.models.described import DescribedNet
from disc_stream.models.descriptors import DescriptorNet
from disc_stream.models.inference import InferenceNet
from disc_stream.training.checkpoint import State
from disc_stream.training.families import WholeWindowNet
from disc_stream.training.files import replace_file
from disc_stream.training.recipes import recipe_of_run
from disc_stream.types import Float32Array

Net = InferenceNet | DescribedNet | DescriptorNet | WholeWindowNet

MAX_SAMPLES = 512
_CENTROIDS = "head.centroids"
_PREFIX = "autoencoder."


@dataclass(frozen=True, slots=True)
class TrainedRun:
    """A finished run.

    Args:
        info: ``run.json``.
        net: ready to use, in evaluation mode, on the CPU; has ``centroids`` (K, d).
        samples: (N, input_samples, C) float32 real inputs in physical units, N up to 512.
        autoencoder: the network as it was trained, decoders included; the same as ``net`` where the method
            has no decoders.
    """

    info: RunInfo
    net: Net
    samples: Float32Array
    autoencoder: nn.Module


def save_run(
    path: Path,
    *,
    info: RunInfo,
    weights: State,
    centroids: Tensor,
    samples: Float32Array,
    history: Sequence[Mapping[str, Any]] | None = None,
) -> None:
    """Write a finished run into ``path`` and remove its checkpoint.

    Args:
        path: the run folder; made if missing.
        info: what ``run.json`` is to say.
        weights: of the trained network, by name.
        centroids: (K, d).
        samples: (N, T, C) float32 real windows, as much of each as may be read; at most 512 of them, evenly
            spread, are kept.
        history: one mapping per epoch.

    Raises:
        TrainingError: if the disk does not take it.
    """
    tensors = {_PREFIX + name: value.contiguous() for name, value in weights.items()}
    tensors[_CENTROIDS] = centroids.detach().cpu().clone().contiguous()
    kept = samples[np.linspace(0, len(samples) - 1, min(len(samples), MAX_SAMPLES)).astype(int)]
    try:
        path.mkdir(parents=True, exist_ok=True)
        replace_file(path / MODEL_FILE, tensors_to_bytes(tensors))
        replace_file(
            path / SAMPLES_FILE, arrays_to_bytes({"x": np.ascontiguousarray(kept, dtype=np.float32)})
        )
        if history is not None:
            replace_file(path / HISTORY_FILE, "".join(json.dumps(dict(h)) + "\n" for h in history).encode())
        replace_file(path / RUN_FILE, (info.model_dump_json(indent=2) + "\n").encode())
        shutil.rmtree(path / CHECKPOINT_DIR, ignore_errors=True)
    except OSError as error:
        raise TrainingError(
            f"the run cannot be written to {str(path)!r}: {error.strerror or error}",
            remedy="Check space and permissions there, then use --resume; or choose another --out",
        ) from error


def load_run(path: Path, label_at: LabelAt | None = None) -> TrainedRun:
    """Read a finished run.

    Args:
        path: the run folder.
        label_at: how much of a window is read, where the network was trained for either; None for the least.

    Raises:
        ConfigError: if the network was not trained for that.
        InputNotFoundError: if there is no such folder.
        TrainingError: if the folder holds no finished run, or a damaged one.
    """
    if not path.is_dir():
        raise InputNotFoundError(f"run folder {str(path)!r} does not exist", remedy="Check the path")
    info = read_info(path).at(label_at)
    try:
        weights = load_tensors(path / MODEL_FILE)
        samples = load_arrays(path / SAMPLES_FILE)["x"][:, : info.window.input_samples]
        centroids = weights.pop(_CENTROIDS)
        state = {name.removeprefix(_PREFIX): value for name, value in weights.items()}
        recipe = recipe_of_run(info.method)
        autoencoder = recipe.load(info, state)
        net = cast("Net", recipe.network(autoencoder, centroids, info.scaler))
    except ConfigError as error:
        raise TrainingError(
            f"run {str(path)!r} is from another version: {error.message}", remedy="Train it again"
        ) from error
    except (OSError, SafetensorError, KeyError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TrainingError(f"run {str(path)!r} is damaged: {reason}", remedy="Train it again") from error
    return TrainedRun(info, net, samples, autoencoder)


def read_info(path: Path) -> RunInfo:
    """Read ``run.json`` of a run folder.

    Raises:
        TrainingError: if it is missing (the run is unfinished) or not understood.
    """
    file = path / RUN_FILE
    if not file.is_file():
        unfinished = (path / CHECKPOINT_DIR).is_dir()
        raise TrainingError(
            f"{str(path)!r} holds {'an unfinished run' if unfinished else 'no run'}: {RUN_FILE} is missing",
            remedy="Finish it with: disc-stream train … --resume" if unfinished else "Check the path",
        )
    try:
        raw = json.loads(file.read_bytes())
        schema = raw.get("schema_version") if isinstance(raw, dict) else None
        # Before the fields are looked at: a newer run may have fields that are unknown here.
        if isinstance(schema, int) and schema > RUN_SCHEMA_VERSION:
            raise TrainingError(
                f"{str(file)!r} has schema {schema}, this version reads up to {RUN_SCHEMA_VERSION}",
                remedy="Upgrade disc-stream",
            )
        return RunInfo.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "its content"
        raise TrainingError(
            f"{str(file)!r} is not understood: {where}: {first['msg']}", remedy="Train it again"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise TrainingError(f"{str(file)!r} cannot be read: {error}", remedy="Train it again") from error
