"""The acceptance gate: whether a candidate may take the place of the model in production.

Every check has a measure, a limit and a reason in words. They are taken on windows from the spool, without
any label of a person; where there is no model in production, those that compare with it are left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from disc_stream.artifacts.model import Model
from disc_stream.clustering.continuity import Alignment
from disc_stream.registry import GateCheck
from disc_stream.types import Float32Array, IntArray, Label

_BATCH = 64
_REPEATS = 5
_FEW = 20  # windows, of which fewer say nothing


class GateLimits(BaseModel):
    """What a candidate is held against."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    parity: float = Field(
        0.999, ge=0, le=1, description="share of windows that graph and network label alike"
    )
    largest: float = Field(0.9, gt=0, le=1, description="share of windows that one cluster may have")
    effective: float = Field(
        0.4, ge=0, le=1, description="least share of the clusters that is used, exp(entropy) over K"
    )
    anchors: int = Field(
        16,
        ge=0,
        description="least number of windows with an id that is in production; else none can be kept",
    )
    far: float = Field(3.0, gt=0, description="novelty from which on an anchor is not covered")
    coverage: float = Field(0.9, ge=0, le=1, description="least share of the anchors that is covered")
    continuity: float = Field(
        0.9, ge=0, le=1, description="least share of what the best relabelling could keep that is kept"
    )
    kept: float = Field(0.6, ge=0, le=1, description="least share of the anchors that keep their id")
    carry_over: float = Field(0.1, ge=0, description="by what part carry-over may be less than before")
    flips: float = Field(0.05, ge=0, description="by how much labels may change more often, a window")
    moved: float = Field(0.3, ge=0, le=1, description="share of recent windows that may change their id")
    moved_of_one: float = Field(
        0.6, ge=0, le=1, description=f"the same of one named cluster that has at least {_FEW} of them"
    )
    latency_s: float = Field(1.0, gt=0, description=f"for a batch of {_BATCH} windows on this machine")


@dataclass(frozen=True, slots=True)
class Anchored:
    """Where the candidate puts the anchors.

    Args:
        rows: (n,) of the candidate.
        distance: (n,) squared, to the row's centroid.
        weights: (n,) number of windows that each anchor stands for.
    """

    rows: IntArray
    distance: Float32Array
    weights: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Shadow:
    """The last labelled windows as they were published, and as the candidate would have labelled them.

    Args:
        asked: number of windows that the candidate was given.
        published: (n,) public ids after smoothing, of the windows that it labels.
        labels: n labels of the candidate, with the ids that it would have.
        named: public ids that people have named -> their names.
    """

    asked: int
    published: IntArray
    labels: Sequence[Label]
    named: dict[int, str]


def check_parity(candidate: Model, limits: GateLimits) -> GateCheck:
    """Does the graph compute what was trained?"""
    value = candidate.manifest.parity.labels_equal
    return GateCheck(
        measure="parity",
        value=value,
        limit=limits.parity,
        passed=value >= limits.parity,
        reason=f"the graph labels {value:.2%} of the sample windows as the trained network does",
    )


def check_collapse(rows: IntArray, n_rows: int, limits: GateLimits) -> list[GateCheck]:
    """Are the windows spread over the clusters?

    Args:
        rows: (n,) of the candidate.
        n_rows: K.
        limits: see there.
    """
    share = np.bincount(rows, minlength=n_rows) / max(1, len(rows))
    used = share[share > 0]
    effective = float(np.exp(-(used * np.log(used)).sum())) / n_rows if len(used) else 0.0
    largest = float(share.max(initial=0.0))
    return [
        GateCheck(
            measure="largest cluster",
            value=largest,
            limit=limits.largest,
            passed=n_rows == 1 or largest <= limits.largest,
            reason=f"the largest cluster has {largest:.1%} of the windows",
        ),
        GateCheck(
            measure="clusters in use",
            value=effective,
            limit=limits.effective,
            passed=effective >= limits.effective,
            reason=f"as if {effective * n_rows:.1f} of {n_rows} clusters were equally used",
        ),
    ]


def check_coverage(anchors: Anchored, candidate: Model, limits: GateLimits) -> list[GateCheck]:
    """Are there anchors, and does the candidate know their motion?"""
    n = len(anchors.rows)
    checks = [
        GateCheck(
            measure="anchors",
            value=n,
            limit=limits.anchors,
            passed=n >= limits.anchors,
            reason=f"{n} windows have an id that is in production, by which clusters are found again",
        )
    ]
    if n:
        q95 = np.array(
            [np.inf if one.distance_q95 is None else one.distance_q95 for one in candidate.catalogue.clusters]
        )
        near = anchors.distance <= limits.far * q95[anchors.rows]
        covered = float(anchors.weights[near].sum() / anchors.weights.sum())
        checks.append(
            GateCheck(
                measure="coverage",
                value=covered,
                limit=limits.coverage,
                passed=covered >= limits.coverage,
                reason=f"{covered:.1%} of the anchors are near a centroid (novelty up to {limits.far:g})",
            )
        )
    return checks


def check_continuity(alignment: Alignment, limits: GateLimits) -> list[GateCheck]:
    """Do labels keep their ids?"""
    relative = alignment.kept / alignment.best if alignment.best else 1.0
    return [
        GateCheck(
            measure="continuity",
            value=relative,
            limit=limits.continuity,
            passed=relative >= limits.continuity,
            reason=f"{alignment.kept:.1%} of the anchors keep their id; the best relabelling could keep "
            f"{alignment.best:.1%}",
        ),
        GateCheck(
            measure="anchors kept",
            value=alignment.kept,
            limit=limits.kept,
            passed=alignment.kept >= limits.kept,
            reason=f"{alignment.kept:.1%} of the anchors keep their id",
        ),
    ]


def check_carry_over(old: float, new: float, limits: GateLimits) -> GateCheck:
    """Do the labels say as much about other people, and about the next window, as before? In nats."""
    limit = old * (1 - limits.carry_over)
    return GateCheck(
        measure="carry-over",
        value=new,
        limit=limit,
        passed=new >= limit,
        reason=f"{new:.3f} nats carry over to other devices and the next window; before {old:.3f}",
    )


def check_shadow(shadow: Shadow, limits: GateLimits) -> list[GateCheck]:
    """What would have changed in the last windows of the spool?"""
    if not shadow.asked:
        return []
    labelled = len(shadow.labels) / shadow.asked
    whole = GateCheck(
        measure="windows labelled",
        value=labelled,
        limit=1.0,
        passed=labelled == 1.0,
        reason=f"{labelled:.1%} of the last {shadow.asked} windows would have a label",
    )
    if not shadow.labels:
        return [whole]
    old, new = shadow.published, np.array([one.smoothed.label for one in shadow.labels])
    before, after, moved = _flips(shadow.labels, old), _flips(shadow.labels, new), old != new
    checks = [
        whole,
        GateCheck(
            measure="flips",
            value=after,
            limit=before + limits.flips,
            passed=after <= before + limits.flips,
            reason=f"the label changes at {after:.1%} of the windows, before at {before:.1%}",
        ),
        GateCheck(
            measure="windows moved",
            value=float(moved.mean()),
            limit=limits.moved,
            passed=float(moved.mean()) <= limits.moved,
            reason=f"{moved.mean():.1%} of the last {len(old)} windows would have another id",
        ),
    ]
    worst = max(
        ((float(moved[old == one].mean()), one) for one in shadow.named if (old == one).sum() >= _FEW),
        default=None,
    )
    if worst is not None:
        share, one = worst
        checks.append(
            GateCheck(
                measure="windows of a named cluster moved",
                value=share,
                limit=limits.moved_of_one,
                passed=share <= limits.moved_of_one,
                reason=f"{share:.1%} of the windows of {shadow.named[one]!r} would have another id",
            )
        )
    return checks


def _flips(labels: Sequence[Label], ids: IntArray) -> float:
    """Share of windows whose id is not that of the window before, of the same boot.

    Args:
        labels: say which windows they are.
        ids: (n,) of each.
    """
    last: dict[tuple[str, int], tuple[int, int]] = {}
    pairs = changes = 0
    for label, one in zip(labels, ids.tolist(), strict=True):
        before = last.get((label.device, label.boot))
        if before is not None and before[0] == label.window - 1:
            pairs += 1
            changes += before[1] != one
        last[label.device, label.boot] = (label.window, one)
    return changes / pairs if pairs else 0.0


def check_latency(
    candidate: Model, limits: GateLimits, clock: Callable[[], float] = time.perf_counter
) -> GateCheck:
    """Is it fast enough on this machine?"""
    shape = (_BATCH, candidate.manifest.window.input_samples, len(candidate.manifest.channels))
    batch: npt.NDArray[np.float32] = np.zeros(shape, dtype=np.float32)
    seconds = []
    for _ in range(_REPEATS):
        began = clock()
        candidate.encoder.encode(batch)
        seconds.append(clock() - began)
    value = min(seconds)  # the others were disturbed
    return GateCheck(
        measure="latency",
        value=value,
        limit=limits.latency_s,
        passed=value <= limits.latency_s,
        reason=f"{_BATCH} windows take {value * 1000:.1f} ms on this machine",
    )
