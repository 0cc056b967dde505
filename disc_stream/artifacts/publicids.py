"""The clusters of a model as they are published: rows that were merged count as one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from disc_stream.artifacts.catalogue import Catalogue, ClusterInfo


@dataclass(frozen=True, slots=True, eq=False)
class PublicClusters:
    """M public clusters over the K rows of a model, M ≤ K; in the order of their first rows.

    Args:
        ids: (M,) public ids.
        names: (M,) their names.
        muted: (M,) whether labels of the cluster say that nobody needs to be told.
        column: (K,) of each row, the public cluster that it belongs to.
        own: (K,) own id of each row, under which it was published before a merge.
        registry: whose ids they are, "" if they mean nothing beyond this model.
    """

    ids: tuple[int, ...]
    names: tuple[str, ...]
    muted: tuple[bool, ...]
    column: npt.NDArray[np.intp]
    own: tuple[int, ...]
    registry: str = ""

    @classmethod
    def of(cls, catalogue: Catalogue) -> PublicClusters:
        """Those of a catalogue."""
        heads: dict[int, ClusterInfo] = {}  # whose name counts: the one merged into, or else the first
        for cluster in catalogue.clusters:
            one = cluster.public_id
            if one not in heads or cluster.id == one:
                heads[one] = cluster
        places = {one: column for column, one in enumerate(heads)}
        return cls(
            ids=tuple(heads),
            names=tuple(head.name for head in heads.values()),
            muted=tuple(head.muted for head in heads.values()),
            column=np.array([places[c.public_id] for c in catalogue.clusters], dtype=np.intp),
            own=catalogue.ids,
            registry=catalogue.registry,
        )

    @property
    def has_merged(self) -> bool:
        """Whether any two rows are published as one cluster."""
        return len(self.ids) < len(self.own)

    def add_up(self, q: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """Soft assignments to the public clusters: (n, K) to rows -> (n, M), the sums of merged rows."""
        if not self.has_merged:
            return q
        out = np.zeros((len(q), len(self.ids)), dtype=q.dtype)
        for row, column in enumerate(self.column):
            out[:, column] += q[:, row]
        return out

    def rows_of(self, q: npt.NDArray[np.floating], chosen: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        """The most probable row of a public cluster.

        Args:
            q: (n, K), soft assignments to rows.
            chosen: (n,), the public cluster of each window.

        Returns:
            (n,) rows.
        """
        if not self.has_merged:
            return chosen
        best: npt.NDArray[np.intp] = np.where(self.column == chosen[:, None], q, -1.0).argmax(axis=1)
        return best

    def carry_over(self, p: npt.NDArray[np.float64], ids: tuple[int, ...]) -> npt.NDArray[np.float64] | None:
        """A distribution over the public clusters of another model, or of an earlier catalogue, over these.

        What belonged to an id that is still there goes with it; the rest is spread evenly over all.

        Args:
            p: (L,), sums to 1.
            ids: (L,), the public ids it is over.

        Returns:
            (M,), sums to 1; None if no id is still there.
        """
        public = dict(zip(self.own, self.column.tolist(), strict=True))
        public |= {one: column for column, one in enumerate(self.ids)}
        out = np.zeros(len(self.ids))
        for one, share in zip(ids, p.tolist(), strict=True):
            if one in public:
                out[public[one]] += share
        kept = float(out.sum())
        if not kept > 0.0:
            return None
        return out + max(0.0, 1.0 - kept) / len(out)
