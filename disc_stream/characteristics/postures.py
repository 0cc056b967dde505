"""Names of still clusters, from the angle to the upright direction and the place of the sensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from disc_stream.characteristics.clusters import Characteristics
from disc_stream.characteristics.proposals import Proposal
from disc_stream.characteristics.words import UPRIGHT_DEG, duration

Place = Literal["trunk", "limb", "unknown"]

LYING_DEG = 64.9
"""Tilt of the trunk from which a body lies (Vähä-Ypyä et al. 2018, doi:10.1111/sms.13017, hip)."""

_LIMB_DEG = 35.0  # of a thigh or an arm: between hanging down and lying flat
_NIGHT = range(6)  # hours; a span that holds them all is a night
_LONG_S = 7200.0


def name_postures(clusters: Sequence[Characteristics], place: Place) -> dict[int, list[Proposal]]:
    """Proposals for the clusters in which nothing moves, by row.

    On the trunk, lying is told by the published angle; sitting differs from standing by a smaller one, so the
    least tilted of the model's still clusters is compared with the others. On a thigh or an arm, sitting and
    lying look the same (Bassett et al. 2014, Med Sci Sports Exerc 46:2025), so both are proposed, sitting
    first unless it lasts for hours or happens at night.

    Args:
        clusters: those that are still, of one model.
        place: of the sensors.
    """
    least = min((c.tilt_deg for c in clusters if c.tilt_deg is not None), default=0.0)
    return {c.row: _name(c, place, least, len(clusters)) for c in clusters}


def _name(c: Characteristics, place: Place, least: float, n: int) -> list[Proposal]:
    if c.tilt_deg is None:
        why = ("still", "which way is up for the wearer is not known")
        rest = [Proposal("sitting", 0.3, why), Proposal("standing", 0.2, why)]
        return [Proposal("lying", 0.4, (*why, *_long_rest(c))), *rest] if _long_rest(c) else rest
    tilted = ("still", f"tilted {c.tilt_deg:.0f}° from upright while walking")
    if place == "trunk":
        return _on_trunk(c.tilt_deg, tilted, least, n)
    if c.tilt_deg < _LIMB_DEG:
        where = "as the limb hangs while walking" if place == "limb" else "near to upright"
        return [Proposal("standing", 0.8, (*tilted, where)), Proposal("sitting", 0.2, tilted)]
    flat = (*tilted, "a thigh or an arm looks so in both")
    if long_rest := _long_rest(c):
        return [Proposal("lying", 0.6, (*flat, *long_rest)), Proposal("sitting", 0.4, flat)]
    return [Proposal("sitting", 0.6, flat), Proposal("lying", 0.4, flat)]


def _on_trunk(tilt: float, why: tuple[str, ...], least: float, n: int) -> list[Proposal]:
    if tilt >= LYING_DEG:
        return [Proposal("lying", 0.9, why), Proposal("sitting", 0.2, why)]
    if tilt >= UPRIGHT_DEG:
        return [Proposal("sitting", 0.8, why), Proposal("standing", 0.4, why)]
    if n > 1 and tilt >= 2 * least + 3.0:
        more = (*why, f"{tilt - least:.0f}° more than the most upright of the still clusters")
        return [Proposal("sitting", 0.6, more), Proposal("standing", 0.5, why)]
    return [Proposal("standing", 0.7, why), Proposal("sitting", 0.5, why)]


def _long_rest(c: Characteristics) -> tuple[str, ...]:
    """What speaks for a bed; empty if nothing does."""
    found = []
    if c.bout_s is not None and c.bout_s >= _LONG_S:
        found.append(f"lasts for {duration(c.bout_s)}")
    if c.hours is not None:
        start, stop = c.hours
        held = {(start + k) % 24 for k in range((stop - start) % 24)}
        if held.intersection(_NIGHT) and len(held - set(range(8)) - {20, 21, 22, 23}) == 0:
            found.append(f"from {start} to {stop} o'clock")
    return tuple(found)
