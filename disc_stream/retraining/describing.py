"""What the machine says of the clusters of a candidate, until people name them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from disc_stream.characteristics import MotionWindows, characterise, describe_all, propose_names
from disc_stream.clustering.continuity import AlignedRow
from disc_stream.errors import DataError, StreamMismatchError
from disc_stream.registry import Cluster, NameProposal
from disc_stream.retraining.replayset import ReplaySet
from disc_stream.stream.sessions import StreamSpec
from disc_stream.types import IntArray

log = logging.getLogger(__name__)

_MAX_WINDOWS = 8_000
_MAX_PROPOSALS = 3


@dataclass(frozen=True, slots=True)
class Described:
    """One row.

    Args:
        text: a short description; empty if nothing is known.
        proposals: names, the best first.
    """

    text: str = ""
    proposals: tuple[NameProposal, ...] = ()


def describe_rows(
    replay: ReplaySet, spec: StreamSpec, rows: IntArray, rejected: Sequence[frozenset[str]]
) -> tuple[Described, ...]:
    """Describe every cluster from the windows that it has.

    Args:
        replay: the windows.
        spec: their channels and rate.
        rows: (n,) cluster of each.
        rejected: by row, names that people said it does not have; K of them.

    Returns:
        K descriptions; empty ones where the windows have no acceleration that is understood.
    """
    newest = np.sort(np.argsort(-replay.when_us, kind="stable")[:_MAX_WINDOWS])
    windows = MotionWindows(
        replay.x[newest], spec.fs, spec.channels, replay.devices[newest], replay.when_us[newest]
    )
    try:
        clusters = characterise(windows, rows[newest], len(rejected))
    except (DataError, StreamMismatchError) as error:
        log.warning("the clusters cannot be described: %s", error.message)
        return (Described(),) * len(rejected)
    proposals = propose_names(clusters, dict(enumerate(rejected)))
    return tuple(
        Described(
            text if cluster.windows else "",
            tuple(
                NameProposal(name=one.name, evidence="; ".join(one.evidence)[:1000])
                for one in some[:_MAX_PROPOSALS]
            ),
        )
        for cluster, text, some in zip(clusters, describe_all(clusters), proposals, strict=True)
    )


def with_left_names(
    described: Sequence[Described], rows: Sequence[AlignedRow], rejected: Sequence[frozenset[str]]
) -> tuple[Described, ...]:
    """Put the name that most of a nameless row had before in front of the others, if it was not rejected.

    It is a proposal and not a name: a part that was split off may be the very motion that did not belong.
    """
    return tuple(
        _with_left_name(one, row.left_name, row.left_share)
        if row.left_name and row.left_name not in refused
        else one
        for one, row, refused in zip(described, rows, rejected, strict=True)
    )


def _with_left_name(described: Described, name: str, share: float) -> Described:
    first = NameProposal(name=name, evidence=f"{share:.0%} of its windows had this name before")
    others = [one for one in described.proposals if one.name != name]
    return Described(described.text, (first, *others)[:_MAX_PROPOSALS])


def rejected_names(ids: Sequence[int | None], clusters: Sequence[Cluster]) -> tuple[frozenset[str], ...]:
    """By row, the names that people said its id does not have."""
    known: Mapping[int, frozenset[str]] = {one.id: frozenset(one.rejected_names) for one in clusters}
    return tuple(frozenset() if own is None else known.get(own, frozenset()) for own in ids)
