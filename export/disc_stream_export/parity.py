"""Does the graph compute what torch computes? Compared on real windows, in several batches, and on probes."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from disc_stream.artifacts.bundle import Bundle
from disc_stream.artifacts.manifest import ParityInfo
from disc_stream.artifacts.runtime import OUTPUTS, Encoded, OnnxEncoder
from disc_stream.errors import BundleError, ParityError
from disc_stream.types import Float32Array
from disc_stream_export.probes import Probe, probes

TORCH_BATCH = 256
SMALL_BATCHES = (1, 7)  # 1 is the live case of one device; 7 divides nothing
SMALL_WINDOWS = 63  # compared at the small batch sizes; all windows are compared in one batch

ROUNDING = 10.0  # times what torch in float32 differs from torch in float64, on probes

_VERSIONS = "Nothing was written; use the versions of torch and onnx that setup installs"


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


def compare(
    net: nn.Module,
    bundle: Bundle,
    samples: Float32Array,
    tolerances: Tolerances,
    synthetic: Iterable[Probe] | None = None,
    reference: nn.Module | None = None,
) -> ParityInfo:
    """Compare names, dynamic axes, shapes, dtypes, and then values: on real windows and on probes.

    On probes (``probes``), the tolerance grows where float32 itself cannot say better: by ten times the
    largest difference that torch shows there between single and double precision.

    Args:
        net: the trained network.
        bundle: with the graph made from it.
        samples: (N, input_samples, C) real windows, physical units.
        tolerances: what passes.
        synthetic: probes; None for those of every kind that are like ``samples``.
        reference: the network in its readable form (``disc_stream.models.reference``), to compare with too;
            it shares no code with ``net``.

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
    remedy = "Train again; the weights or the sample windows are damaged"
    _check_finite(expected, "the network itself", "", remedy)
    limits = _limits(tolerances, expected)
    worst = dict.fromkeys(OUTPUTS, 0.0)
    equal = []
    for start, stop, batch in _batches(len(samples)):
        got = encoder.encode(samples[start:stop])
        wanted = Encoded(*(getattr(expected, name)[start:stop] for name in OUTPUTS))
        for name, difference in _differences(got, wanted, _floor(expected)).items():
            _check(name, difference, limits[name], f" (in batches of {batch})", start)
            worst[name] = max(worst[name], float(difference.max()))
        equal.append(got.labels == wanted.labels)
    if reference is not None:
        _compare_reference(reference, encoder, samples, tolerances)
    _check_nan(encoder, samples)
    synthetic = probes(samples) if synthetic is None else synthetic
    return ParityInfo(
        n_windows=len(samples),
        n_probes=sum(_compare_probe(net, encoder, probe, tolerances) for probe in synthetic),
        max_abs_embedding=worst["embedding"],
        max_abs_q=worst["q"],
        max_rel_distance=worst["distance"],
        labels_equal=float(np.concatenate(equal).mean()),
    )


def _compare_reference(
    reference: nn.Module, encoder: OnnxEncoder, samples: Float32Array, tolerances: Tolerances
) -> None:
    """Compare with the readable form, on as many windows as its loops over time allow in a second or two.

    Raises:
        ParityError: if an output differs.
    """
    few = samples[np.linspace(0, len(samples) - 1, min(len(samples), SMALL_WINDOWS)).astype(int)]
    expected = run_torch(reference, few)
    limits = _limits(tolerances, expected)
    for name, difference in _differences(encoder.encode(few), expected, _floor(expected)).items():
        _check(name, difference, limits[name], " of those compared with models/reference.py")


def _compare_probe(net: nn.Module, encoder: OnnxEncoder, probe: Probe, tolerances: Tolerances) -> int:
    """Compare on one kind of synthetic windows; how many they were.

    Raises:
        ParityError: if an output is not finite, or differs.
    """
    where = f" of {probe.kind}"
    expected, exact = run_torch(net, probe.windows), run_torch(net, probe.windows, torch.float64)
    _check_finite(expected, "the network itself", where, "Train again; the weights are damaged")
    rounding = _differences(expected, exact, _floor(expected))
    limits = {
        name: limit + ROUNDING * float(np.nan_to_num(rounding[name], posinf=0.0).max())
        for name, limit in _limits(tolerances, expected).items()
    }
    few = probe.windows[: SMALL_BATCHES[1]]
    alone = [encoder.encode(few[at : at + 1]) for at in range(len(few))]
    for got in (encoder.encode(probe.windows), _joined(alone)):
        _check_finite(got, "the graph", where, _VERSIONS)
        wanted = Encoded(*(getattr(expected, name)[: len(got)] for name in OUTPUTS))
        for name, difference in _differences(got, wanted, _floor(expected)).items():
            _check(name, difference, limits[name], where)
    return len(probe.windows)


def _check_nan(encoder: OnnxEncoder, samples: Float32Array) -> None:
    """Check that a window which holds NaN has no label, and spoils no other.

    Raises:
        ParityError: if the graph does otherwise.
    """
    x = np.concatenate([samples[:1]] * 3)
    x[1, x.shape[1] // 2, -1] = np.nan
    if np.isfinite(encoder.encode(x).q).all(axis=1).tolist() != [True, False, True]:
        raise ParityError("the graph labels a window that holds NaN, or spoils the others", remedy=_VERSIONS)


def _limits(tolerances: Tolerances, expected: Encoded) -> dict[str, float]:
    """Largest difference that passes, of each output."""
    largest = max(1.0, float(np.abs(expected.embedding).max()))
    return {
        "embedding": tolerances.embedding * largest,
        "q": tolerances.q,
        "distance": tolerances.distance,
    }


def _floor(expected: Encoded) -> float:
    """A distance below which differences are not divided by the distance."""
    return max(0.01 * float(expected.distance.mean(dtype=np.float64)), float(np.finfo(np.float32).tiny))


def run_torch(net: nn.Module, samples: Float32Array, dtype: torch.dtype = torch.float32) -> Encoded:
    """The network's own answer on the CPU, in evaluation mode, computed in ``dtype``."""
    net = net.cpu().eval()
    if dtype != torch.float32:
        net = copy.deepcopy(net).to(dtype)
    parts = []
    with torch.inference_mode():
        for start in range(0, len(samples), TORCH_BATCH):
            batch = torch.from_numpy(np.ascontiguousarray(samples[start : start + TORCH_BATCH]))
            parts.append(Encoded(*(output.numpy() for output in net(batch.to(dtype)))))
    return _joined(parts)


def _joined(parts: list[Encoded]) -> Encoded:
    return Encoded(*(np.concatenate([getattr(part, name) for part in parts]) for name in OUTPUTS))


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


def _check(name: str, difference: Float32Array, tolerance: float, where: str, start: int = 0) -> None:
    if bool((difference <= tolerance).all()):  # NaN is not below a tolerance
        return
    window = int(np.argmax(difference))  # NaN counts as the largest
    raise ParityError(
        f"output {name!r} of the graph differs from torch by {difference[window]:.2e} "
        f"in window {start + window}{where}; {tolerance:.0e} is allowed",
        remedy=_VERSIONS,
    )


def _check_finite(outputs: Encoded, of: str, where: str, remedy: str) -> None:
    for name in OUTPUTS:
        finite = np.isfinite(getattr(outputs, name)).all(axis=1)
        if not finite.all():
            raise ParityError(
                f"output {name!r} of {of} is not finite in window {int(np.argmin(finite))}{where}",
                remedy=remedy,
            )
