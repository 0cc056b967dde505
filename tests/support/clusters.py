"""Public clusters without a model."""

from __future__ import annotations

from collections.abc import Sequence

from disc_stream.artifacts.catalogue import Catalogue, ClusterInfo
from disc_stream.artifacts.publicids import PublicClusters


def public(*ids: int, merged: dict[int, int] | None = None, registry: str = "") -> PublicClusters:
    """Clusters with these own ids, one a row, some of them merged into another."""
    return PublicClusters.of(catalogue(ids, merged or {}, registry))


def catalogue(ids: Sequence[int], merged: dict[int, int], registry: str = "") -> Catalogue:
    """Their catalogue; cluster 7 is named "c7"."""
    clusters = [ClusterInfo(id=one, name=f"c{one}", size=1, merged_into=merged.get(one)) for one in ids]
    return Catalogue.of("model", clusters).model_copy(update={"registry": registry})


THREE = public(0, 1, 2)
