"""Which clusters are published under which id: merges, and the rejections that forbid some."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Groups:
    """The merges and rejections at one moment.

    Args:
        merged_into: id -> id it is merged into, for every cluster that there ever was; None for none.
        rejections: pairs (a, b), a < b.
    """

    merged_into: Mapping[int, int | None]
    rejections: frozenset[tuple[int, int]]

    @classmethod
    def read(cls, connection: sqlite3.Connection) -> Groups:
        """As the database has them."""
        merged = dict(connection.execute("SELECT id, merged_into FROM clusters").fetchall())
        pairs = connection.execute("SELECT a, b FROM rejections").fetchall()
        return cls(merged, frozenset((a, b) for a, b in pairs))

    def public(self, cluster: int) -> int:
        """The id under which a cluster is published."""
        seen = {cluster}
        while (into := self.merged_into.get(cluster)) is not None and into not in seen:
            seen.add(into)
            cluster = into
        return cluster

    def members(self, public: int) -> set[int]:
        """All clusters that are published under an id, retired ones too."""
        return {cluster for cluster in self.merged_into if self.public(cluster) == public}

    def direct(self, cluster: int) -> list[int]:
        """What was merged into a cluster itself."""
        return sorted(own for own, into in self.merged_into.items() if into == cluster)

    def refusal(self, cluster: int, into: int) -> str:
        """Why a cluster cannot be merged into another; empty if it can."""
        if cluster == into:
            return f"cluster {cluster} cannot be merged into itself"
        if self.public(into) == cluster or self._passes(into, cluster):
            chain = f"{into} is merged into {self.merged_into.get(into)}"
            return f"merging {cluster} into {into} would go in a circle: {chain}"
        ours, theirs = self.members(self.public(cluster)), self.members(self.public(into))
        pairs = ((min(a, b), max(a, b)) for a in ours for b in theirs)
        if clash := min(self.rejections.intersection(pairs), default=None):
            return f"{cluster} cannot be merged into {into}: somebody said that {clash[0]} is not {clash[1]}"
        return ""

    def _passes(self, cluster: int, by: int) -> bool:
        """Whether what a cluster is merged into leads by another one."""
        seen: set[int] = set()
        following = self.merged_into.get(cluster)
        while following is not None and following not in seen:
            if following == by:
                return True
            seen.add(following)
            following = self.merged_into.get(following)
        return False


def live_ids(connection: sqlite3.Connection) -> dict[int, int]:
    """Own id -> row, of the version in production."""
    rows = connection.execute(
        "SELECT id, row FROM rows WHERE version = "
        "(SELECT version FROM deployments ORDER BY number DESC LIMIT 1)"
    )
    return {own: row for own, row in rows if own is not None}
