"""What a candidate makes of the windows in the spool: its ids, and the gate's checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from disc_stream.artifacts.model import Model
from disc_stream.clustering.anchors import AnchorSet, Bounds
from disc_stream.clustering.continuity import Alignment, Wishes
from disc_stream.data.types import UNLABELLED, WindowSet
from disc_stream.registry import GateCheck, device_digest
from disc_stream.retraining import gate
from disc_stream.retraining.describing import Described, describe_rows, rejected_names, with_left_names
from disc_stream.retraining.naming import align_candidate, provisional, rows_of, wishes_of
from disc_stream.retraining.recent import Recent
from disc_stream.retraining.replayset import ReplaySet
from disc_stream.stream.pipeline import Pipeline
from disc_stream.stream.sessions import StreamSpec
from disc_stream.types import IntArray

if TYPE_CHECKING:
    from disc_stream.retraining.pipeline import Base
    from disc_stream.retraining.request import RetrainRequest

_CARRY_OVER_WINDOWS = 6_000


@dataclass(frozen=True, slots=True)
class Judged:
    """The result.

    Args:
        checks: of the gate.
        alignment: which ids its rows go on with; None where nothing was in production.
        anchors: that it was made with; None likewise.
        described: its rows in words.
    """

    checks: tuple[GateCheck, ...]
    alignment: Alignment | None
    anchors: AnchorSet | None
    described: tuple[Described, ...]


@dataclass(frozen=True, slots=True)
class Material:
    """What a candidate is judged by.

    Args:
        replay: the windows that it has learned from.
        recent: the last windows in the spool.
        spec: channels, rate and lengths of both.
        kept: anchors of earlier retrainings, of windows of the same shape; None for none.
    """

    replay: ReplaySet
    recent: Recent
    spec: StreamSpec
    kept: AnchorSet | None = None


def judge(candidate: Model, material: Material, base: Base, request: RetrainRequest) -> Judged:
    """Give a candidate its ids, and ask whether it may take over."""
    replay, spec, limits = material.replay, material.spec, request.limits
    rows, _ = rows_of(candidate, replay.x)
    checks = [gate.check_parity(candidate, limits)]
    checks += gate.check_collapse(rows, len(candidate.catalogue), limits)
    if base.version is None:
        checks.append(gate.check_latency(candidate, limits))
        nothing = (frozenset[str](),) * len(candidate.catalogue)
        return Judged(tuple(checks), None, None, describe_rows(replay, spec, rows, nothing))
    wishes = wishes_of(base.clusters, base.ids)
    anchors = anchors_of(material, base.ids, request.seed)
    seen = gate.Anchored(*rows_of(candidate, anchors.windows), anchors.weights)
    alignment = align_candidate(candidate, anchors, seen.rows, wishes)
    checks += gate.check_coverage(seen, candidate, limits)
    checks += gate.check_continuity(alignment, limits)
    checks += _carry_over(replay, rows, request)
    checks += gate.check_shadow(_shadow(candidate, alignment, material.recent, wishes, base), limits)
    checks.append(gate.check_latency(candidate, limits))
    rejected = rejected_names(alignment.ids, base.clusters)
    described = with_left_names(describe_rows(replay, spec, rows, rejected), alignment.rows, rejected)
    return Judged(tuple(checks), alignment, anchors, described)


def anchors_of(material: Material, live: Sequence[int], seed: int, bounds: Bounds | None = None) -> AnchorSet:
    """Anchors: a bounded choice of the windows with an id that is in production.

    Those that were kept stand in for ids of which the spool has few windows left.

    Args:
        material: has them.
        live: own ids of the rows in production.
        seed: of the choice.
        bounds: None for the usual ones.
    """
    bounds, replay = bounds or Bounds(), material.replay
    known = np.flatnonzero(np.isin(replay.ids, live))
    anchors = AnchorSet.published(
        replay.x[known],
        replay.ids[known],
        replay.devices[known],
        when_us=replay.when_us[known],
        distance=replay.distance[known],
    )
    if (kept := material.kept) is not None:
        ids, counts = np.unique(anchors.ids, return_counts=True)
        wanting = np.setdiff1d(np.array(live), ids[counts >= bounds.per_id])
        there = set(zip(anchors.devices.tolist(), anchors.when_us.tolist(), strict=True))
        again = [one in there for one in zip(kept.devices.tolist(), kept.when_us.tolist(), strict=True)]
        anchors = anchors.joined(kept.select(np.isin(kept.ids, wanting) & ~np.array(again, dtype=bool)))
    return anchors.reduced(bounds, seed=seed)


def _carry_over(replay: ReplaySet, rows: IntArray, request: RetrainRequest) -> list[GateCheck]:
    """On windows that the models in production have labelled; the newest of them."""
    from disc_stream.training.plus.fitting import carry_over_of

    known = np.flatnonzero(replay.ids >= 0)
    newest = np.sort(known[np.argsort(-replay.when_us[known], kind="stable")[:_CARRY_OVER_WINDOWS]])
    _, devices = np.unique(replay.devices[newest], return_inverse=True)
    scorer = carry_over_of(replay.x[newest], devices.astype(np.int64), seed=request.seed)
    if scorer is None:
        return []
    scores = []
    for labels in (replay.ids[newest], rows[newest]):
        kinds, dense = np.unique(labels, return_inverse=True)
        scores.append(scorer.score(dense.astype(np.int64), len(kinds)))
    return [gate.check_carry_over(scores[0], scores[1], request.limits)]


def _shadow(
    candidate: Model, alignment: Alignment, recent: Recent, wishes: Wishes, base: Base
) -> gate.Shadow:
    """Label the last windows in the spool as the candidate would have."""
    model = provisional(candidate, alignment, wishes, base.registry)
    ready = recent.inputs(model.manifest.window.input_samples)
    before = {
        (one.device, one.boot, one.window): wishes.public(label)
        for one, label in zip(ready, recent.label.tolist(), strict=True)
    }
    labels = [one.label for one in Pipeline(model).label(ready)]
    published = np.array([before[one.device, one.boot, one.window] for one in labels], dtype=np.int64)
    named = {one.id: one.name for one in base.clusters if one.name}
    return gate.Shadow(len(ready), published, labels, named)


def window_set(replay: ReplaySet, spec: StreamSpec) -> WindowSet:
    """The windows as training takes them; a boot of a device is a recording.

    A device has the same number in every retraining, so that one can tell what it did before.
    """
    names, which = np.unique(replay.devices, return_inverse=True)
    numbers = np.array([int(device_digest(str(name)), 16) >> 1 for name in names], dtype=np.int64)
    pairs = np.stack([which.astype(np.int64), replay.boots], axis=1)
    _, group = np.unique(pairs, axis=0, return_inverse=True)
    n = len(replay)
    return WindowSet(
        x=replay.x,
        y=np.full(n, UNLABELLED, dtype=np.int16),
        subject=numbers[which],
        group=group.reshape(-1).astype(np.int32),
        start=np.round(replay.t0_us * (spec.fs / 1e6)).astype(np.int64),
        fs=spec.fs,
        channels=spec.channels,
        label_names=(),
    )
