"""What pictures of a run are drawn from: embeddings at several stages, and labels beside activities."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from disc_stream.artifacts.run import EVIDENCE_FILE
from disc_stream.errors import InputNotFoundError, TrainingError
from disc_stream.training.files import replace_file
from disc_stream.training.runs import read_info
from disc_stream.types import Float32Array, IntArray

MAX_POINTS = 1000
_META = "disc-stream.evidence"
_STAGE = "stage/"


@dataclass(frozen=True, slots=True)
class Evidence:
    """Arrays that the figures of a run show.

    Args:
        stages: name -> embeddings (n, d) of the same n windows, in the order of the training.
        activities: (n,) of those windows, -1 where unknown.
        clusters: (n,) of those windows, in the end.
        parts: ``train`` and ``test`` -> (activities, clusters) of all scored windows.
        label_names: of the activities.
    """

    stages: Mapping[str, Float32Array]
    activities: IntArray
    clusters: IntArray
    parts: Mapping[str, tuple[IntArray, IntArray]]
    label_names: Sequence[str]


def chosen_points(n_windows: int) -> IntArray:
    """At most 1,000 windows, evenly spread."""
    return np.linspace(0, n_windows - 1, min(n_windows, MAX_POINTS)).astype(np.int64)


def save_evidence(run: Path, evidence: Evidence) -> None:
    """Write it into a run folder.

    Raises:
        TrainingError: if the disk does not take it.
    """
    arrays: dict[str, Any] = {_STAGE + name: z.astype(np.float32) for name, z in evidence.stages.items()}
    arrays |= {"activities": evidence.activities, "clusters": evidence.clusters}
    for part, (activities, clusters) in evidence.parts.items():
        arrays |= {f"{part}/activities": activities, f"{part}/clusters": clusters}
    facts = {"stages": list(evidence.stages), "label_names": list(evidence.label_names)}
    packed = {name: np.ascontiguousarray(a) for name, a in arrays.items()}
    try:
        run.mkdir(parents=True, exist_ok=True)
        replace_file(run / EVIDENCE_FILE, to_bytes(packed, metadata={_META: json.dumps(facts)}))
    except OSError as error:
        raise TrainingError(
            f"the run cannot be written to {str(run)!r}: {error.strerror or error}",
            remedy="Check space and permissions there",
        ) from error


def load_evidence(run: Path) -> Evidence:
    """Read it from a run folder.

    Raises:
        InputNotFoundError: if there is no such folder.
        TrainingError: if the folder holds no finished run, or one without this file.
    """
    if not run.is_dir():
        raise InputNotFoundError(f"run folder {str(run)!r} does not exist", remedy="Check the path")
    read_info(run)
    file = run / EVIDENCE_FILE
    if not file.is_file():
        raise TrainingError(
            f"run {str(run)!r} has no {EVIDENCE_FILE}: it comes from an older version",
            remedy="Train it again",
        )
    try:
        with safe_open(file, framework="numpy") as handle:
            facts = json.loads(handle.metadata()[_META])
            arrays = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 - no mapping
        return Evidence(
            {name: arrays[_STAGE + name] for name in facts["stages"]},
            arrays["activities"],
            arrays["clusters"],
            {p: (arrays[f"{p}/activities"], arrays[f"{p}/clusters"]) for p in ("train", "test")},
            facts["label_names"],
        )
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise TrainingError(f"{str(file)!r} cannot be read", remedy="Train it again") from error
