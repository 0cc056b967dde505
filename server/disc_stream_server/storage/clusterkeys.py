"""The numbers under which states are kept in episodes: a cluster's public id within its space.

Ids of clusters mean the same within one registry, or one model that is of none. A space is named by the
number of the first model of it that labelled. What is no cluster (unknown, not worn) is the same everywhere.
"""

from __future__ import annotations

_IDS = 2**33


def key_of(space: int, cluster: int) -> int:
    """The number of a cluster, or of a state.

    Args:
        space: number of the space.
        cluster: public id; negative for a state.
    """
    return cluster if cluster < 0 else space * _IDS + cluster


def parts_of(key: int) -> tuple[int, int]:
    """Number of the space, 0 for a state, and public id."""
    return (0, key) if key < 0 else divmod(key, _IDS)
