"""Proposed names for the clusters of one model, with what speaks for them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from disc_stream.characteristics.clusters import Characteristics
from disc_stream.characteristics.gaits import (
    RUNNING_HZ,
    is_running,
    is_walking,
    name_running,
    name_walks,
    place_of,
)
from disc_stream.characteristics.measures import MODERATE_MG
from disc_stream.characteristics.postures import Place, name_postures
from disc_stream.characteristics.proposals import Proposal
from disc_stream.characteristics.words import CHANGES_POSTURE_DEG

_PEDALLING_HZ = (0.7, 1.7)  # turns of the crank per second
_LEANS_DEG = 12.0
_TO_AND_FRO = -0.25
_BUZZES = 0.5
_SOFT_MG = 300.0


def propose_names(
    clusters: Sequence[Characteristics], rejected: Mapping[int, Collection[str]] | None = None
) -> tuple[tuple[Proposal, ...], ...]:
    """Names for all clusters of one model, best first, from physics and the stream alone.

    Clusters are compared with each other: the posture of a still one with that of walking, stairs with the
    most regular walk. No label is used, so a name is a guess that a person should confirm.

    Args:
        clusters: all of them.
        rejected: row -> names that are never to be proposed again for it, in any case of letters.

    Returns:
        For each cluster, in the same order, its proposals; none for a cluster of which too little is known.
    """
    place = place_of(clusters)
    pedalling = {c.row: why for c in clusters if (why := _pedals(c, place))}
    walks = [c for c in clusters if is_walking(c) and c.row not in pedalling]
    rests = [c for c in clusters if _rests(c) and c.row not in pedalling]
    found: dict[int, list[Proposal]] = {**name_walks(walks, place), **name_postures(rests, place)}
    for c in clusters:
        if is_running(c):
            found[c.row] = name_running(c)
        elif c.row in pedalling:
            found[c.row] = [
                Proposal("cycling", 0.7, pedalling[c.row]),
                Proposal("walking", 0.3, ("rhythmic",)),
            ]
        elif c.row not in found:
            found[c.row] = _other(c)
    unwanted = {row: {name.casefold().strip() for name in names} for row, names in (rejected or {}).items()}
    return tuple(
        tuple(p for p in found[c.row] if p.name.casefold() not in unwanted.get(c.row, ())) for c in clusters
    )


def _rests(c: Characteristics) -> bool:
    """Nothing moves, or little and without rhythm, as in somebody who stands and looks around."""
    if c.moving is False:
        return True
    little = c.mad_mg is not None and c.mad_mg < MODERATE_MG and not c.rhythmic
    return little and (c.turning_deg or 0.0) < CHANGES_POSTURE_DEG


def _pedals(c: Characteristics, place: Place) -> tuple[str, ...]:
    """What speaks for cycling; empty if too little does."""
    if not c.moving or c.mad_mg is None or c.mad_mg > _SOFT_MG or (c.tilt_deg or 0.0) < _LEANS_DEG:
        return ()
    leans = f"leans by {c.tilt_deg:.0f}° from upright"
    turns = c.cadence_hz is not None and _PEDALLING_HZ[0] <= c.cadence_hz <= _PEDALLING_HZ[1]
    if turns and c.half_regularity is not None and c.half_regularity < _TO_AND_FRO and place == "limb":
        return leans, f"{c.cadence_hz:.1f} even turns/s", "no steps in them"
    if not c.rhythmic and c.impact >= _BUZZES and (c.turning_deg or 0.0) < CHANGES_POSTURE_DEG / 2:
        return leans, "vibrates more than it moves", "no steps"
    return ()


def _other(c: Characteristics) -> list[Proposal]:
    if c.windows == 0 or c.moving is None:
        return []
    if c.moving and not c.rhythmic and (c.turning_deg or 0.0) >= CHANGES_POSTURE_DEG:
        why = (f"gravity turns by {c.turning_deg:.0f}° within a window", "not rhythmic")
        return [Proposal("changing posture", 0.7, why)]
    if c.rhythmic and c.cadence_hz is not None:
        strength = "strength not known" if c.mad_mg is None else f"{c.mad_mg:.0f} mg"
        why = (f"{c.cadence_hz:.1f} steps/s", strength)
        return [Proposal("walking" if c.cadence_hz < RUNNING_HZ else "running", 0.4, why)]
    return [Proposal("moving about", 0.2, ("moves", "not rhythmic"))]
