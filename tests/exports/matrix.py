"""Methods × datasets × seeds: does an exported graph give the labels of its network?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from disc_stream.artifacts.bundle import Bundle
from disc_stream.artifacts.manifest import ParityInfo
from disc_stream.artifacts.run import LabelAt, RunInfo
from disc_stream.artifacts.runtime import OUTPUTS, Encoded, OnnxEncoder
from disc_stream.data.readers.registry import READERS
from disc_stream.data.types import Split, WindowSet
from disc_stream.errors import ConfigError
from disc_stream.training.recipes import RECIPES
from disc_stream.training.recipes.base import DEFAULT_PRESET
from disc_stream.training.runs import load_run
from disc_stream.training.session import TrainingRequest, train_run
from disc_stream.types import Float32Array
from disc_stream_export import Choices, export_run
from disc_stream_export.parity import run_torch
from disc_stream_export.probes import HUGE

METHODS = tuple(name for name, recipe in RECIPES.items() if recipe.exportable)
DATASETS = tuple(READERS)
KINDS = ("real", "constant", "quantised", "extreme")

EITHER: dict[str, LabelAt] = {"half": "half", "whole": "whole"}

# How long a training searches does not change how exact its graph is. A recipe takes what it knows of these.
QUICK = {
    "restarts": 2, "moves": 5, "spans": [1], "epochs": 1, "refine_epochs": 1, "steps": 30,
    "hidden": 16, "decoder_hidden": 16, "embedding": 8,
}  # fmt: skip
REAL_SIZE = {name: QUICK[name] for name in ("restarts", "moves", "spans", "epochs", "refine_epochs")}


def settings_of(method: str, wanted: dict[str, Any]) -> dict[str, Any]:
    """Those of some settings that a method has."""
    recipe = RECIPES[method]
    known = {}
    for name, value in wanted.items():
        try:
            recipe.resolve(DEFAULT_PRESET, {name: value})
        except ConfigError:
            continue
        known[name] = value
    return known


def some_people(split: Split, people: int, most: int) -> Split:
    """A split of a few people, with at most so many windows of each, spread over their recordings."""

    def part(windows: WindowSet) -> WindowSet:
        chosen = [np.flatnonzero(windows.subject == one) for one in np.unique(windows.subject)[:people]]
        return windows.select(
            np.sort(np.concatenate([rows[:: max(1, len(rows) // most)] for rows in chosen]))
        )

    return Split(part(split.train), part(split.test), split.protocol, split.n_clusters, split.scored)


@dataclass(frozen=True)
class Figures:
    """Of one kind of windows.

    Args:
        n: windows.
        other_than_torch: with another label than torch's, in batches.
        other_than_exact: than torch's in double precision.
        torch_other_than_exact: of torch's own.
        other_alone: of those encoded one by one and in other company, with another label than in batches.
        not_finite: with an output that is not finite.
        embedding: largest difference to torch.
        embedding_exact: to torch in double precision.
    """

    n: int
    other_than_torch: int
    other_than_exact: int
    torch_other_than_exact: int
    other_alone: int
    not_finite: int
    embedding: float
    embedding_exact: float


def train_one(
    split: Split, dataset: str, method: str, seed: int, folder: Path, settings: dict[str, Any]
) -> RunInfo:
    """Train as `train` does unless told otherwise, into ``folder``."""
    own = settings_of(method, settings)
    request = TrainingRequest(
        dataset, folder / "run", method=method, preset=DEFAULT_PRESET, seed=seed, settings=own, resume=True
    )
    return train_run(split, request)


def export_one(info: RunInfo, folder: Path, lengths: Mapping[str, LabelAt] = EITHER) -> dict[str, ParityInfo]:
    """Export the run in ``folder``.

    Args:
        info: of the run.
        folder: where it is, and where the bundles go.
        lengths: at which, if the run has two.

    Returns:
        By length: ``half`` and ``whole``, or ``own`` where the run has one alone.

    Raises:
        ParityError: if an export is refused.
    """
    return {
        at: export_run(folder / "run", folder / at, choices=Choices(label_at=label_at)).parity
        for at, label_at in (lengths if info.whole is not None else {"own": None}).items()
    }


def compare_labels(
    folder: Path, at: str, windows: Float32Array, n: int, alone: int
) -> dict[str, dict[str, Any]]:
    """The exported graph beside its network, kind by kind.

    Args:
        folder: where ``export_one`` wrote to.
        at: of its lengths.
        windows: (m, T, C) real ones.
        n: windows of each kind.
        alone: how many of each kind are encoded alone and in other batches, too.
    """
    run = load_run(folder / "run", EITHER.get(at))
    encoder = OnnxEncoder(Bundle.open(folder / at), provider="cpu")
    x = np.ascontiguousarray(windows[:, : run.info.window.input_samples])
    found = {}
    for kind, made in kinds(x, n):
        ours = run_torch(run.net, made)
        exact = run_torch(run.net, made, torch.float64)
        got = joined([encoder.encode(made[at : at + 256]) for at in range(0, n, 256)])
        few = made[:alone]
        order = np.random.default_rng(1).permutation(len(few))
        company = np.empty(len(few), dtype=np.int64)
        company[order] = np.concatenate(
            [encoder.encode(few[order][at : at + 7]).labels for at in range(0, alone, 7)]
        )
        one_by_one = np.concatenate([encoder.encode(few[at : at + 1]).labels for at in range(alone)])
        finite = np.all([np.isfinite(getattr(got, name)).all(axis=1) for name in OUTPUTS], axis=0)
        found[kind] = asdict(
            Figures(
                n=len(made),
                other_than_torch=int((got.labels != ours.labels).sum()),
                other_than_exact=int((got.labels != exact.labels).sum()),
                torch_other_than_exact=int((ours.labels != exact.labels).sum()),
                other_alone=int(
                    (one_by_one != got.labels[:alone]).sum() + (company != got.labels[:alone]).sum()
                ),
                not_finite=int((~finite).sum()),
                embedding=float(np.abs(got.embedding - ours.embedding).max()),
                embedding_exact=float(np.abs(got.embedding - exact.embedding).max()),
            )
        )
    return found


def joined(parts: list[Encoded]) -> Encoded:
    return Encoded(*(np.concatenate([getattr(part, name) for part in parts]) for name in OUTPUTS))


def kinds(x: Float32Array, n: int) -> Iterator[tuple[str, Float32Array]]:
    """``n`` windows each: real, constant, quantised and extreme."""
    random = np.random.default_rng(0)
    spread = np.maximum(x.std((0, 1), dtype=np.float64), 1e-6)
    level = x.mean((0, 1), dtype=np.float64)
    real = x[random.choice(len(x), n, replace=len(x) < n)].copy()
    for row in range(len(x), n):  # where there are not so many, later ones are moved in time
        real[row] = np.roll(real[row], int(random.integers(real.shape[1])), axis=0)
    yield "real", real
    held = np.repeat(real[:, :1], real.shape[1], axis=1)
    anywhere = level + spread * random.normal(0, 3, (n, 1, x.shape[2])) * np.ones((1, x.shape[1], 1))
    yield "constant", _float32(np.where(np.arange(n)[:, None, None] % 2 == 0, held, anywhere))
    step = spread * random.choice([0.01, 0.1, 0.5, 1.0, 2.0], (n, 1, 1))
    yield "quantised", _float32(np.round(real / step) * step)
    yield "extreme", _extreme(real, level, spread, random)


def _extreme(
    real: Float32Array, level: np.ndarray, spread: np.ndarray, random: np.random.Generator
) -> Float32Array:
    """Spikes, dead channels, much too large, saturated, and random windows up to the limits of float32."""
    made = real.astype(np.float64)
    n, length, channels = made.shape
    kind = np.arange(n) % 6
    noise = random.normal(size=made.shape)
    signs = random.choice([-1.0, 1.0], made.shape)
    for row in range(n):
        match kind[row]:
            case 0:
                made[row, random.integers(length), random.integers(channels)] = HUGE * random.choice([-1, 1])
            case 1:
                made[row, :, random.integers(channels)] = 0.0
            case 2:
                made[row] *= 10.0 ** random.uniform(1, 6)
            case 3:
                made[row] = level + spread * noise[row] * 10.0 ** random.uniform(0, 5)
            case 4:
                limit = spread * 10.0 ** random.uniform(-1, 2)
                made[row] = np.clip(made[row] * 100.0, -limit, limit)
            case _:
                made[row] = signs[row] * float(np.finfo(np.float32).max) * random.uniform(0.1, 1.0)
    return _float32(made)


def _float32(x: np.ndarray) -> Float32Array:
    limit = float(np.finfo(np.float32).max)
    return np.ascontiguousarray(np.clip(x, -limit, limit), dtype=np.float32)
