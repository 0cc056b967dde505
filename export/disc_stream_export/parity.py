"""Does the graph compute what torch computes? Compared on real windows, in several batches, and on probes."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from disc_stream.artifacts.agreement import Differences, radius
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

_VERSIONS = "Nothing was written; install the versions of torch, onnx and onnxscript in deploy/pins"


@dataclass(frozen=True, slots=True)
class Tolerances:
    """Largest differences that pass, in terms of what moves a label.

    A label is the nearest centroid's. So an embedding that is off by δ has another label only if it lies
    within δ of the border between two clusters. The unit of δ is the radius of a cluster (``Unit``), or the
    distance of the window to its centroid where that is larger: with a thousandth of it, labels can differ
    only in windows that lie so close to a border that noise of the sensor moves them across, too.
    Rounding in float32 stays 10 to 1,000 times below.

    Args:
        embedding: length of the difference, in units.
        q: absolute.
        distance: difference of the distances themselves, not their squares, in units or, where that is
            larger, relative to the distance.
    """

    embedding: float = 1e-3
    q: float = 5e-4
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

    A difference that is too large is explained by a third answer, torch's in double precision.

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
    judge = _Judge(net, encoder, tolerances, radius(expected), [c.name for c in bundle.manifest.channels])
    equal = []
    for start, stop, batch in _batches(len(samples)):
        got, wanted = encoder.encode(samples[start:stop]), _part(expected, slice(start, stop))
        judge.check(samples[start:stop], got, wanted, f" (in batches of {batch})", start)
        equal.append(got.labels == wanted.labels)
    worst = dict(judge.worst)  # of real windows; those of probes are not kept
    if reference is not None:
        _compare_reference(reference, judge, samples)
    _check_nan(encoder, samples)
    synthetic = probes(samples) if synthetic is None else synthetic
    return ParityInfo(
        n_windows=len(samples),
        n_probes=sum(_compare_probe(judge, probe) for probe in synthetic),
        max_abs_embedding=worst["embedding"],
        max_abs_q=worst["q"],
        max_rel_distance=worst["distance"],
        labels_equal=float(np.concatenate(equal).mean()),
    )


class _Judge:
    """Compares a graph's answers with a network's, and explains a difference that is too large.

    Args:
        net: the trained network.
        encoder: the graph made from it.
        tolerances: what passes.
        unit: a cluster's radius.
        channels: their names.
    """

    def __init__(
        self,
        net: nn.Module,
        encoder: OnnxEncoder,
        tolerances: Tolerances,
        unit: float,
        channels: Sequence[str],
    ) -> None:
        self.net, self.encoder, self.unit, self.channels = net, encoder, unit, channels
        self.limits = {name: float(getattr(tolerances, name)) for name in OUTPUTS}
        self.worst = dict.fromkeys(OUTPUTS, 0.0)

    def check(
        self,
        x: Float32Array,
        got: Encoded,
        wanted: Encoded,
        where: str,
        start: int = 0,
        rounding: Mapping[str, float] | None = None,
    ) -> None:
        """Check one batch.

        Args:
            x: the windows.
            got: the graph's answer.
            wanted: the network's.
            where: which batch, for messages.
            start: number of its first window.
            rounding: of each output, what is allowed on top.

        Raises:
            ParityError: naming the output, the worst window, the figures and what to do.
        """
        found = Differences.between(got, wanted, self.unit)
        for name in OUTPUTS:
            difference, limit = found.judged[name], self.limits[name] + (rounding or {}).get(name, 0.0)
            self.worst[name] = max(self.worst[name], float(found.shown[name].max()))
            if bool((difference <= limit).all()):  # NaN is not below a tolerance
                continue
            window = int(np.argmax(difference))  # NaN counts as the largest
            measure = "" if name == "q" else f", {difference[window]:.1e} of a cluster's radius"
            reason, remedy = self._explain(name, x[window : window + 1])
            raise ParityError(
                f"output {name!r} of the graph differs from torch by {found.shown[name][window]:.2e} "
                f"in window {start + window}{where}{measure}; {limit:.0e} is allowed. {reason}",
                remedy=remedy,
            )

    def _explain(self, name: str, x: Float32Array) -> tuple[str, str]:
        """Who is wrong about a window (1, input_samples, C), by torch in double precision; what to do."""
        exact = run_torch(self.net, x, torch.float64)
        answers = (run_torch(self.net, x), self.encoder.encode(x))
        torch_off, graph_off = (
            float(Differences.between(one, exact, self.unit).judged[name][0]) for one in answers
        )
        figures = f"by double precision torch is off by {torch_off:.1e}, the graph by {graph_off:.1e}"
        if not graph_off <= ROUNDING * torch_off:  # NaN is not
            return f"The graph is wrong: {figures}", _VERSIONS
        hardest = self.channels[_hardest_channel(self.net, x)]
        others = ",".join(channel for channel in self.channels if channel != hardest)
        leave_out = f"train again without it (disc-stream train --channels {others or '…'})"
        return (
            f"float32 is not enough for this network, most of all for channel {hardest!r}: {figures}",
            f"Nothing was written; {leave_out}, or record it from an origin near its usual values",
        )


def _hardest_channel(net: nn.Module, x: Float32Array) -> int:
    """The channel without whose changes float32 and double precision agree best."""
    still = np.repeat(x, x.shape[2], axis=0)
    for channel in range(x.shape[2]):
        still[channel, :, channel] = 0.0
    rounding = np.abs(run_torch(net, still).embedding - run_torch(net, still, torch.float64).embedding)
    return int(rounding.max(axis=1).argmin())


def _compare_reference(reference: nn.Module, judge: _Judge, samples: Float32Array) -> None:
    """Compare with the readable form, on as many windows as its loops over time allow in a second or two.

    Raises:
        ParityError: if an output differs.
    """
    few = samples[np.linspace(0, len(samples) - 1, min(len(samples), SMALL_WINDOWS)).astype(int)]
    got, wanted = judge.encoder.encode(few), run_torch(reference, few)
    judge.check(few, got, wanted, " of those compared with models/reference.py")


def _compare_probe(judge: _Judge, probe: Probe) -> int:
    """Compare on one kind of synthetic windows; how many they were.

    Raises:
        ParityError: if an output is not finite, or differs.
    """
    where = f" of {probe.kind}"
    net, encoder = judge.net, judge.encoder
    expected, exact = run_torch(net, probe.windows), run_torch(net, probe.windows, torch.float64)
    _check_finite(expected, "the network itself", where, "Train again; the weights are damaged")
    off = Differences.between(expected, exact, judge.unit).judged
    rounding = {name: ROUNDING * float(np.nan_to_num(off[name], posinf=0.0).max()) for name in OUTPUTS}
    few = probe.windows[: SMALL_BATCHES[1]]
    alone = [encoder.encode(few[at : at + 1]) for at in range(len(few))]
    for got in (encoder.encode(probe.windows), _joined(alone)):
        _check_finite(got, "the graph", where, _VERSIONS)
        judge.check(probe.windows, got, _part(expected, slice(len(got))), where, rounding=rounding)
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


def _part(outputs: Encoded, rows: slice) -> Encoded:
    return Encoded(*(getattr(outputs, name)[rows] for name in OUTPUTS))


def _batches(n: int) -> Iterator[tuple[int, int, int]]:
    """(start, stop, batch size) of the runs to compare."""
    few = min(n, SMALL_WINDOWS)
    for size in SMALL_BATCHES:
        for start in range(0, few, size):
            yield start, min(start + size, few), size
    yield 0, n, n


def _check_finite(outputs: Encoded, of: str, where: str, remedy: str) -> None:
    for name in OUTPUTS:
        finite = np.isfinite(getattr(outputs, name)).all(axis=1)
        if not finite.all():
            raise ParityError(
                f"output {name!r} of {of} is not finite in window {int(np.argmin(finite))}{where}",
                remedy=remedy,
            )
