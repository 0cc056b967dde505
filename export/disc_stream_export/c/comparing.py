"""Does the exported code label as the bundle's graph does in onnxruntime?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from disc_stream.artifacts.bundle import Bundle
from disc_stream.artifacts.publicids import PublicClusters
from disc_stream.artifacts.runtime import Encoded
from disc_stream.errors import ParityError
from disc_stream.types import UNKNOWN, Float32Array, IntArray
from disc_stream_export.c.compiling import Labelled

NO_LABEL = -3
"""What exported code gives for a window that holds NaN."""

Q_TOLERANCE = 1e-4
DISTANCE_TOLERANCE = 1e-3  # relative, or of a hundredth of the mean distance
_REMEDY = "Export the run again with this version; if that does not help, report it with the model"


@dataclass(frozen=True, slots=True)
class CParity:
    """What the comparison of exported code with onnxruntime measured.

    Args:
        n_windows: that were compared.
        labels_equal: share of windows with the same label.
        n_close: windows with another label whose two best clusters, or whose distance and its threshold,
            are closer than what is allowed to differ.
        max_abs_q: largest difference of a soft assignment.
        max_rel_distance: largest difference of a distance.
    """

    n_windows: int
    labels_equal: float
    n_close: int
    max_abs_q: float
    max_rel_distance: float


@dataclass(frozen=True, slots=True)
class Expected:
    """What the server's code makes of the graph's outputs.

    Args:
        label: (N,) public id, or a state.
        distance: (N,) to the centroid of the label's row.
        limit: (N,) from which on it would be unknown; infinite for never.
        q: (N, M) of the public clusters.
    """

    label: IntArray
    distance: Float32Array
    limit: npt.NDArray[np.float64]
    q: Float32Array

    @classmethod
    def of(cls, bundle: Bundle, encoded: Encoded) -> Expected:
        """As ``disc_stream.stream.labelling`` does it."""
        clusters = PublicClusters.of(bundle.catalogue)
        broken = np.asarray(~np.isfinite(encoded.q).all(axis=1))
        q = np.where(broken[:, None], np.float32(0.0), encoded.q)
        public = clusters.add_up(q).astype(np.float32, copy=False)
        best = public.argmax(axis=1)
        rows = clusters.rows_of(q, best)
        distance = np.where(broken, np.float32(0.0), encoded.distance[np.arange(len(rows)), rows])
        limits = [
            np.inf if one.unknown_above is None else one.unknown_above for one in bundle.catalogue.clusters
        ]
        limit = np.array(limits, dtype=np.float64)[rows]
        label = np.array(clusters.ids, dtype=np.int64)[best]
        label = np.where(distance > limit, UNKNOWN, label)
        return cls(np.where(broken, NO_LABEL, label), distance, limit, public)


def compare(bundle: Bundle, encoded: Encoded, got: Labelled, *, strict: bool = True) -> CParity:
    """Compare exported code with the graph, on the same windows.

    Args:
        bundle: the model.
        encoded: what onnxruntime gave.
        got: what the exported code gave.
        strict: whether soft assignments and distances must be close too; on synthetic windows at the limits
            of float32 either may round much, and labels alone count.

    Raises:
        ParityError: if a label differs where it is not a matter of rounding, or an output does.
    """
    wanted = Expected.of(bundle, encoded)
    if len(got.label) != len(wanted.label):
        raise ParityError(
            f"the exported code gave {len(got.label)} labels for {len(wanted.label)} windows", remedy=_REMEDY
        )
    q = np.abs(got.q - wanted.q).max(axis=1)
    floor = max(0.01 * float(wanted.distance.mean(dtype=np.float64)), float(np.finfo(np.float32).tiny))
    distance = np.abs(got.distance - wanted.distance) / np.maximum(wanted.distance, floor)
    differs = got.label != wanted.label
    close = differs & _is_close(wanted)
    _check(~differs | close, "has another label than the graph", q)
    if strict:
        _check(q <= Q_TOLERANCE, "has another soft assignment than the graph", q)
        _check(distance <= DISTANCE_TOLERANCE, "has another distance than the graph", distance)
    return CParity(
        n_windows=len(differs),
        labels_equal=float(1.0 - differs.mean()),
        n_close=int(close.sum()),
        max_abs_q=float(q.max()),
        max_rel_distance=float(distance.max()),
    )


def _is_close(wanted: Expected) -> npt.NDArray[np.bool_]:
    """Where the label hangs on less than what is allowed to differ."""
    if wanted.q.shape[1] > 1:
        second, first = np.partition(wanted.q, -2, axis=1)[:, -2:].T
        tied = first - second < 2.0 * Q_TOLERANCE
    else:
        tied = np.zeros(len(wanted.q), dtype=np.bool_)
    finite = np.where(np.isfinite(wanted.limit), wanted.limit, -1.0)
    at_the_limit = np.abs(wanted.distance - finite) < DISTANCE_TOLERANCE * np.abs(finite)
    close: npt.NDArray[np.bool_] = (tied | at_the_limit) & (wanted.label != NO_LABEL)
    return close


def _check(holds: npt.NDArray[np.bool_], what: str, difference: npt.NDArray[np.floating]) -> None:
    if holds.all():
        return
    window = int(np.argmin(holds))
    raise ParityError(
        f"the exported code {what} in {int((~holds).sum())} of {len(holds)} windows, "
        f"first in window {window} (by {difference[window]:.2e})",
        remedy=_REMEDY,
    )
