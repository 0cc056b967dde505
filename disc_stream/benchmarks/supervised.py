"""What labels are worth: classifiers that are given them, beside clusters that are found without.

A linear discriminant and a random forest are trained with the activities of the training people, on the very
windows that a method of ours clusters without them, and all are asked about people never trained on, each
window on its own. A classifier is right when it says the activity; a cluster is matched to an activity
one-to-one, as everywhere (``accuracy``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import RandomForestClassifier

from disc_stream.benchmarks.cells import Cell, hardware, hash_of
from disc_stream.benchmarks.summary import rows
from disc_stream.clustering.metrics import nmi
from disc_stream.data.types import Split
from disc_stream.data.windows import fingerprint
from disc_stream.errors import DataError
from disc_stream.training.files import replace_file
from disc_stream.training.plus.config import PlusConfig
from disc_stream.training.plus.fitting import describe_windows
from disc_stream.types import Float32Array, IntArray

Array = npt.NDArray[np.float64]
OnStep = Callable[[str], None]

WITHIN = 3.0
"""Points of accuracy that a method may be below the better classifier and still count as near."""
_TREES = 500
_MAGNITUDES_OF = 3  # channels of a sensor
_QUANTILES = (10, 25, 50, 75, 90)


class Classifier(BaseModel):
    """What one kind of classifier reached on the test part, by seed; shares.

    Args:
        acc: share of the windows whose activity it says.
        nmi: of what it says with the activities.
        seconds: of training and asking, all seeds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    acc: list[float] = Field(min_length=1)
    nmi: list[float] = Field(min_length=1)
    seconds: float


class Reference(BaseModel):
    """Both classifiers on one dataset, as they lie in a file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    config_hash: str = Field(description="sha256 of settings, seeds and the windows of both parts")
    split: str = Field(description="how training and test part were told apart")
    people_apart: bool = Field(description="whether nobody is in both parts")
    windows: int = Field(description="of the test part")
    lda: Classifier
    forest: Classifier
    hardware: str
    date: str

    @property
    def better(self) -> float:
        """Accuracy of the better of both, mean over seeds; a share."""
        return max(float(np.mean(one.acc)) for one in (self.lda, self.forest))


def reference(name: str, split: Split, seeds: Sequence[int], out: Path, on_step: OnStep) -> Reference:
    """Both classifiers on one dataset: read if they have been trained with these settings, or trained.

    Args:
        name: of the dataset.
        split: scored windows.
        seeds: of the forest; the discriminant has none.
        out: folder of the files, one for each dataset.
        on_step: told what comes next.

    Raises:
        DataError: if the file is not one of these.
    """
    marks = fingerprint(split.train) + fingerprint(split.test)
    digest = hash_of({"seeds": list(seeds), "trees": _TREES, "version": 1}, marks)
    path = out / f"{Path(name).name}.json"
    if path.is_file():
        kept = _read(path)
        if kept.config_hash == digest:
            return kept
    truth = split.test.y.astype(np.int64)
    on_step(f"{name}: linear discriminant")
    lda = _scored(truth, lambda: [_linear(split)])
    on_step(f"{name}: random forest")
    forest = _scored(truth, lambda: _forests(split, seeds))
    apart = not set(np.unique(split.train.subject)) & set(np.unique(split.test.subject))
    found = Reference(
        dataset=path.stem, config_hash=digest, split=split.protocol, people_apart=apart,
        windows=len(truth), lda=lda, forest=forest, hardware=hardware(),
        date=datetime.now(UTC).date().isoformat(),
    )  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    replace_file(path, found.model_dump_json(indent=1).encode() + b"\n")
    return found


def references(out: Path) -> list[Reference]:
    """All that lie in a folder, by name."""
    return [_read(path) for path in sorted(out.glob("*.json"))]


def _read(path: Path) -> Reference:
    try:
        return Reference.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise DataError(
            f"{str(path)!r} does not hold figures of classifiers: {str(error).splitlines()[0]}",
            remedy="Remove it, to compute it again",
        ) from error


def _linear(split: Split) -> IntArray:
    """Fisher's discriminant with Ledoit and Wolf's shrinkage, on the descriptors that disc-plus reads."""
    train, test = _descriptors(split.train.x, split.test.x)
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    return np.asarray(model.fit(train, split.train.y).predict(test), dtype=np.int64)


def _forests(split: Split, seeds: Sequence[int]) -> list[IntArray]:
    """Random forests on plain features, one from each seed."""
    train, test = plain_features(split.train.x), plain_features(split.test.x)
    models = [RandomForestClassifier(_TREES, random_state=seed, n_jobs=-1) for seed in seeds]
    return [np.asarray(model.fit(train, split.train.y).predict(test), dtype=np.int64) for model in models]


def plain_features(x: Float32Array) -> Array:
    """What the literature takes of a window: (n, T, C) -> (n, F), each window on its own.

    Of every channel and of the magnitude of every three: mean, deviation, least, most, five quantiles, mean
    absolute difference of successive samples, the strongest frequency (cycles a window), its share of the
    power, and the spectral entropy (nats); and the correlation of every two of them.
    """
    n, _, channels = x.shape
    series = [x.astype(np.float64)]
    for first in range(0, channels - channels % _MAGNITUDES_OF, _MAGNITUDES_OF):
        sensor = series[0][:, :, first : first + _MAGNITUDES_OF]
        series.append(np.sqrt(np.square(sensor).sum(2, keepdims=True)))
    values = np.concatenate(series, 2)
    centred = values - values.mean(1, keepdims=True)
    power = np.square(np.abs(np.fft.rfft(centred, axis=1)))[:, 1:]
    share = power / np.maximum(power.sum(1, keepdims=True), _TINY)
    deviation = values.std(1)
    alike = np.einsum("ntc,ntd->ncd", centred, centred) / values.shape[1]
    alike /= np.maximum(deviation[:, :, None] * deviation[:, None, :], _TINY)
    pairs = np.triu_indices(values.shape[2], 1)
    parts = [
        values.mean(1), deviation, values.min(1), values.max(1),
        *np.percentile(values, _QUANTILES, axis=1),
        np.abs(np.diff(values, axis=1)).mean(1),
        power.argmax(1) + 1.0, share.max(1), -(share * np.log(np.maximum(share, _TINY))).sum(1),
        alike[:, pairs[0], pairs[1]],
    ]  # fmt: skip
    return np.concatenate([part.reshape(n, -1) for part in parts], 1)


def compare(beside: Reference, cells: Sequence[Cell]) -> dict[str, Any]:
    """One dataset's row: both classifiers, each method, and how far it is from the better classifier.

    Args:
        beside: the classifiers.
        cells: of protocol ``paper`` on the same dataset, any seeds.

    Returns:
        Figures in percent; ``near`` says whether a method is at most ``WITHIN`` points behind.
    """
    methods: dict[str, Any] = {}
    own = [cell for cell in cells if (cell.protocol, cell.dataset) == ("paper", beside.dataset)]
    for row in (row for row in rows(own) if not row.variant):
        behind = 100.0 * beside.better - row.mean("test", "acc")
        methods[row.title] = {
            **{metric: _spread([v / 100.0 for v in row.values("test", metric)]) for metric in ("nmi", "acc")},
            "behind": round(behind, 2),
            "near": behind <= WITHIN,
        }
    return {
        "dataset": beside.dataset,
        "people_apart": beside.people_apart,
        "windows": beside.windows,
        "classifiers": {
            name: {"nmi": _spread(one.nmi), "acc": _spread(one.acc)}
            for name, one in (("lda", beside.lda), ("forest", beside.forest))
        },
        "methods": methods,
    }


def _descriptors(train: Float32Array, test: Float32Array) -> tuple[Array, Array]:
    """Those that disc-plus reads, standardised by the training part."""
    descriptors, described, (mean, factor) = describe_windows(train, PlusConfig())
    with torch.no_grad():
        asked = descriptors(torch.from_numpy(np.ascontiguousarray(test))).numpy().astype(np.float64)
    return described, (asked - mean) * factor


def _scored(truth: IntArray, predict: Callable[[], Sequence[IntArray]]) -> Classifier:
    started = time.perf_counter()
    found = predict()
    seconds = round(time.perf_counter() - started, 1)
    accuracies = [float((row == truth).mean()) for row in found]
    return Classifier(acc=accuracies, nmi=[nmi(truth, row) for row in found], seconds=seconds)


def _spread(shares: Sequence[float]) -> dict[str, float | None]:
    sd = round(100.0 * float(np.std(shares, ddof=1)), 2) if len(shares) > 1 else None
    return {"mean": round(100.0 * float(np.mean(shares)), 2), "sd": sd}


_TINY = 1e-12
