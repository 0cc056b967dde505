"""Which ids the rows of a candidate get: continuity, with what people said in the registry."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from disc_stream.artifacts.catalogue import Catalogue, ClusterInfo
from disc_stream.artifacts.model import Model
from disc_stream.clustering.anchors import AnchorSet
from disc_stream.clustering.continuity import Alignment, Evidence, Wishes, align
from disc_stream.registry import Cluster, RowIds, RowProposal, Transition
from disc_stream.retraining.describing import Described
from disc_stream.types import Float32Array, IntArray
from disc_stream.wire.limits import MAX_UINT32

_BATCH = 512


def rows_of(model: Model, x: Float32Array) -> tuple[IntArray, Float32Array]:
    """Row and squared distance to its centroid of every window, (n,) each.

    Args:
        model: reads the first samples of them.
        x: (n, T, C) in the model's units and channels.
    """
    n_input = model.manifest.window.input_samples
    rows, distances = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.float32)]
    for start in range(0, len(x), _BATCH):
        encoded = model.encoder.encode(np.ascontiguousarray(x[start : start + _BATCH, :n_input]))
        best = encoded.q.argmax(axis=1)
        rows.append(best.astype(np.int64))
        distances.append(encoded.distance[np.arange(len(best)), best])
    return np.concatenate(rows), np.concatenate(distances)


def wishes_of(clusters: Sequence[Cluster], live: Sequence[int]) -> Wishes:
    """What people said, as continuity asks for it.

    Args:
        clusters: all of the registry, retired ones too.
        live: own ids of the rows in production.
    """
    return Wishes(
        live=live,
        names={one.id: one.name for one in clusters if one.name},
        merged_into={one.id: one.merged_into for one in clusters if one.merged_into is not None},
        rejected=[(one.id, other) for one in clusters for other in one.rejections],
        retired=[one.id for one in clusters if one.id not in set(live)],
    )


def align_candidate(candidate: Model, anchors: AnchorSet, rows: IntArray, wishes: Wishes) -> Alignment:
    """Ids for the rows of a candidate, by where it puts the anchors: ``rows``, (n,)."""
    return align(Evidence(anchors.ids, rows, len(candidate.catalogue), weights=anchors.weights), wishes)


def proposal_of(alignment: Alignment | None, described: Sequence[Described], based_on: str | None) -> RowIds:
    """Ids and descriptions of the rows, for the registry; without an alignment all ids are fresh."""
    if alignment is None:
        fresh = tuple(RowProposal(description=one.text, proposals=one.proposals) for one in described)
        return RowIds(based_on=based_on, rows=fresh)
    rows = tuple(
        RowProposal(
            id=row.id,
            parent=row.parent if row.id is None else None,
            merged_into=row.merged_into if row.id is None else None,
            description=one.text,
            proposals=one.proposals,
        )
        for row, one in zip(alignment.rows, described, strict=True)
    )
    transitions = tuple(Transition.model_validate(one, from_attributes=True) for one in alignment.transitions)
    return RowIds(based_on=based_on, rows=rows, transitions=transitions)


def provisional(candidate: Model, alignment: Alignment, wishes: Wishes, registry: str) -> Model:
    """The candidate with its ids, to compare its labels with those of the model in production.

    Fresh rows have ids from the top of their range until the registry gives them one.
    """
    clusters = []
    for row, (info, aligned) in enumerate(zip(candidate.catalogue.clusters, alignment.rows, strict=True)):
        own = MAX_UINT32 - row if aligned.id is None else aligned.id
        public = aligned.merged_into if aligned.id is None else wishes.public(own)
        merged = None if public in {own, None} else public
        clusters.append(ClusterInfo(**{**info.model_dump(), "id": own, "merged_into": merged}))
    catalogue = Catalogue.of(candidate.version, clusters)
    return candidate.with_catalogue(catalogue.model_copy(update={"registry": registry}))
