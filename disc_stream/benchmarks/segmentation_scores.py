"""How well labels divide recordings, and whether they mean the same in the next one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from disc_stream.clustering.metrics import accuracy, ami, contingency, nmi
from disc_stream.types import IntArray

Labels = npt.NDArray[np.integer]


class Row(BaseModel):
    """What one way of labelling reached on the recordings of held-out people; shares.

    Args:
        causal: the label of a window depends on nothing after it.
        one_set: ids mean the same in every recording; otherwise each recording has its own.
        told_clusters: whether it was told how many activities there are.
        delay_s: mean seconds from a window's end to when its label can be known, the computation apart.
        clusters: different labels in a recording, mean over recordings.
        each: mean over recordings, each for itself: AMI, NMI, ACC and covering of its scored windows.
        everything: mean AMI and covering of all windows, each transition and unlabelled motion a state too.
        together: AMI, NMI and ACC over all recordings at once, with the ids as they are.
        matched: the share right if the truth of each recording named its states, one-to-one.
        recordings: AMI and covering of each.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    causal: bool
    one_set: bool
    told_clusters: bool
    delay_s: float
    clusters: float
    each: dict[str, float]
    everything: dict[str, float]
    together: dict[str, float]
    matched: float
    recordings: list[dict[str, float]] = Field(min_length=1)


def covering(truth: Labels, found: Labels) -> float:
    """Segmentation covering: how well the best segment found overlaps each true one, weighted by its length.

    C = 1/n Σ_R |R| · max_R' |R ∩ R'| / |R ∪ R'| over the true segments R and those found, R'; a segment is a
    run of one label (Arbeláez et al. 2011, doi:10.1109/TPAMI.2010.161; for time series van den Burg and
    Williams 2020, arXiv:2003.06222). 1 is a perfect segmentation; which label a segment has does not matter.

    Args:
        truth: (n,) labels in the order of time.
        found: (n,) of the same positions.

    Raises:
        ValueError: if the two differ in length or are empty.

    Example:
        >>> covering(np.array([0, 0, 0, 1]), np.array([7, 7, 8, 8]))
        0.625
    """
    true, other = _segments(truth), _segments(found)
    shared = contingency(true, other)
    size, other_size = shared.sum(1), shared.sum(0)
    union = size[:, None] + other_size[None, :] - shared
    return float((size * (shared / union).max(1)).sum() / len(truth))


def _segments(labels: Labels) -> IntArray:
    """(n,): the number of the run that each position is in."""
    numbers: IntArray = np.concatenate([[0], np.cumsum(np.diff(labels) != 0)])[: len(labels)].astype(np.int64)
    return numbers


def score_recordings(
    truths: Sequence[Labels], found: Sequence[Labels], scored: Sequence[int], *, one_set: bool
) -> dict[str, Any]:
    """The figures of a ``Row`` that come from labels.

    Args:
        truths: of each recording, (n_windows,) activities, -1 where unlabelled.
        found: of each recording, (n_windows,) labels.
        scored: activities that count; the runs of the others are left out before segments are compared.
        one_set: see ``Row``.

    Returns:
        ``clusters``, ``each``, ``everything``, ``together``, ``matched`` and ``recordings``.

    Raises:
        ValueError: if no recording has a scored window, or lengths differ.
    """
    parts = [
        (y[keep], z[keep]) for y, z in zip(truths, found, strict=True) if (keep := np.isin(y, scored)).any()
    ]
    each = [
        {"nmi": nmi(y, z), "acc": accuracy(y, z), "ami": ami(y, z), "covering": covering(y, z)}
        for y, z in parts
    ]
    whole = [{"ami": ami(y, z), "covering": covering(y, z)} for y, z in zip(truths, found, strict=True)]
    y = np.concatenate([one for one, _ in parts])
    if one_set:
        ids = np.concatenate([z for _, z in parts])
    else:  # the same number in two recordings says nothing, so that each recording has ids of its own
        ids = np.concatenate([_dense(z) + _FAR * number for number, (_, z) in enumerate(parts)])
    return {
        "clusters": float(np.mean([len(np.unique(z)) for z in found])),
        "each": _mean(each),
        "everything": _mean(whole),
        "together": {"ami": ami(y, ids), "nmi": nmi(y, ids), "acc": accuracy(y, ids)},
        "matched": float(sum(len(p[0]) * e["acc"] for p, e in zip(parts, each, strict=True)) / len(y)),
        "recordings": [{"ami": one["ami"], "covering": one["covering"]} for one in each],
    }


def delay_s(sizes: Sequence[int], hop_s: float, *, causal: bool) -> float:
    """Mean seconds from a window's end to when its label can be known: 0, or the rest of its recording.

    Args:
        sizes: windows of each recording.
        hop_s: from one window to the next.
        causal: see ``Row``.
    """
    if causal:
        return 0.0
    return float(hop_s * sum(n * (n - 1) / 2 for n in sizes) / sum(sizes))


def _dense(labels: Labels) -> IntArray:
    found: IntArray = np.unique(labels, return_inverse=True)[1].astype(np.int64)
    return found


def _mean(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


_FAR = 1 << 32
"""Between the ids of two recordings."""
