"""Does the graph compute what torch computes? Compared on real windows, at several batch sizes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from disc_stream.artifacts.bundle import Bundle
from disc_stream.artifacts.manifest import ParityInfo
from disc_stream.artifacts.runtime import OUTPUTS, Encoded, OnnxEncoder
from disc_stream.errors import BundleError, ParityError
from disc_stream.types import Float32Array

TORCH_BATCH = 256
SMALL_BATCHES = (1, 7)  # 1 is the live case of one device; 7 divides nothing
SMALL_WINDOWS = 63  # compared at the small batch sizes; all windows are compared in one batch


@dataclass(frozen=True, slots=True)
class Tolerances:
    """Largest differences that pass. Rounding in float32 stays 10 to 100 times below them.

    With q this close, a label can differ only where its two best clusters are within 2e-4 of each other.

    Args:
        embedding: absolute; times the embedding's largest value where that is above 1.
        q: absolute.
        distance: relative to the distance, or to a hundredth of the mean distance where that is larger
            (the relative error of a distance near zero means nothing).
    """

    embedding: float = 1e-4
    q: float = 1e-4
    distance: float = 1e-3


def compare(net: nn.Module, bundle: Bundle, samples: Float32Array, tolerances: Tolerances) -> ParityInfo:
    """Compare names, dynamic axes, shapes, dtypes, and then values.

    Args:
        net: the trained network.
        bundle: with the graph made from it.
        samples: (N, input_samples, C) real windows, physical units.
        tolerances: what passes.

    Raises:
        ParityError: naming the output, the worst window and the figure.
    """
    if len(samples) == 0:
        raise ParityError("the run holds no sample windows to compare on", remedy="Train again")
    try:
        encoder = OnnxEncoder(bundle, provider="cpu")
    except BundleError as error:
        raise ParityError(
            error.message, remedy="Use the versions of torch and onnx that setup installs"
        ) from error
    expected = run_torch(net, samples)
    _check_finite(expected)
    limits = {
        "embedding": tolerances.embedding * max(1.0, float(np.abs(expected.embedding).max())),
        "q": tolerances.q,
        "distance": tolerances.distance,
    }
    floor = max(0.01 * float(expected.distance.mean()), float(np.finfo(np.float32).tiny))
    worst = dict.fromkeys(OUTPUTS, 0.0)
    equal = []
    for start, stop, batch in _batches(len(samples)):
        got = encoder.encode(samples[start:stop])
        wanted = Encoded(*(getattr(expected, name)[start:stop] for name in OUTPUTS))
        for name, difference in _differences(got, wanted, floor).items():
            _check(name, difference, limits[name], start, batch)
            worst[name] = max(worst[name], float(difference.max()))
        equal.append(got.labels == wanted.labels)
    return ParityInfo(
        n_windows=len(samples),
        max_abs_embedding=worst["embedding"],
        max_abs_q=worst["q"],
        max_rel_distance=worst["distance"],
        labels_equal=float(np.concatenate(equal).mean()),
    )


def run_torch(net: nn.Module, samples: Float32Array) -> Encoded:
    """The network's own answer in float32 on the CPU, in evaluation mode."""
    net = net.cpu().eval()
    parts = []
    with torch.inference_mode():
        for start in range(0, len(samples), TORCH_BATCH):
            outputs = net(torch.from_numpy(np.ascontiguousarray(samples[start : start + TORCH_BATCH])))
            parts.append([output.numpy() for output in outputs])
    return Encoded(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _batches(n: int) -> Iterator[tuple[int, int, int]]:
    """(start, stop, batch size) of the runs to compare."""
    few = min(n, SMALL_WINDOWS)
    for size in SMALL_BATCHES:
        for start in range(0, few, size):
            yield start, min(start + size, few), size
    yield 0, n, n


def _differences(got: Encoded, wanted: Encoded, floor: float) -> dict[str, Float32Array]:
    """Largest difference of each window in each output, (B,); no distance below ``floor`` is divided by."""
    return {
        "embedding": np.abs(got.embedding - wanted.embedding).max(axis=1),
        "q": np.abs(got.q - wanted.q).max(axis=1),
        "distance": (np.abs(got.distance - wanted.distance) / np.maximum(wanted.distance, floor)).max(axis=1),
    }


def _check(name: str, difference: Float32Array, tolerance: float, start: int, batch: int) -> None:
    if bool((difference <= tolerance).all()):  # NaN is not below a tolerance
        return
    window = int(np.argmax(difference))  # NaN counts as the largest
    raise ParityError(
        f"output {name!r} of the graph differs from torch by {difference[window]:.2e} "
        f"in window {start + window} (in batches of {batch}); {tolerance:.0e} is allowed",
        remedy="Nothing was written; use the versions of torch and onnx that setup installs",
    )


def _check_finite(expected: Encoded) -> None:
    for name in OUTPUTS:
        finite = np.isfinite(getattr(expected, name)).all(axis=1)
        if not finite.all():
            raise ParityError(
                f"output {name!r} of the network itself is not finite in window {int(np.argmin(finite))}",
                remedy="Train again; the weights or the sample windows are damaged",
            )
