"""Names of clusters in which people walk, climb or run."""

from __future__ import annotations

from collections.abc import Sequence

from disc_stream.characteristics.clusters import Characteristics
from disc_stream.characteristics.measures import MODERATE_MG, VIGOROUS_MG
from disc_stream.characteristics.postures import Place
from disc_stream.characteristics.proposals import Proposal
from disc_stream.characteristics.upright import WALKING_HZ

RUNNING_HZ = 2.3  # steps per second
_FEWEST_STEPS_HZ = 1.0  # slow climbing
_HOPPING_HZ = 2.25  # the rate that people choose for hops in place; nobody runs with so few steps
_SURELY_RUNNING_MG = 550.0
_LIMB_RAD_S = 1.3  # a thigh or an arm swings; the trunk turns by some degrees only
_LIMB_MG = 280.0
_STRIDES_S = 2.0  # shorter windows hold less than two strides, and stairs cannot be told by regularity


def is_running(c: Characteristics) -> bool:
    """More steps than in walking and vigorous; or so hard that it cannot be walking."""
    if not c.moving or c.mad_mg is None:
        return False
    fast = c.cadence_hz is not None and c.cadence_hz >= RUNNING_HZ
    return (fast and c.mad_mg >= VIGOROUS_MG) or c.mad_mg >= _SURELY_RUNNING_MG


def is_walking(c: Characteristics) -> bool:
    """Rhythmic at the rate of steps, and not running; on the level or on stairs."""
    if not c.moving or is_running(c) or c.mad_mg is None:
        return False
    # Less regular on stairs: at such strength, hardly anything else remains.
    paced = c.cadence_hz is None or _FEWEST_STEPS_HZ <= c.cadence_hz <= WALKING_HZ[1] + 0.4
    return paced and c.mad_mg >= MODERATE_MG and (c.rhythmic or c.mad_mg >= 2 * MODERATE_MG)


def place_of(clusters: Sequence[Characteristics]) -> Place:
    """Where the sensors are worn, by how much they turn and are shaken while people walk."""
    walks = [c for c in clusters if is_walking(c)]
    if not walks:
        return "unknown"
    total = sum(c.windows for c in walks)
    if all(c.rotation_rad_s is not None for c in walks):
        rotation = sum((c.rotation_rad_s or 0.0) * c.windows for c in walks) / total
        return "limb" if rotation >= _LIMB_RAD_S else "trunk"
    shaken = sum((c.mad_mg or 0.0) * c.windows for c in walks) / total
    return "limb" if shaken >= _LIMB_MG else "trunk"


def name_running(c: Characteristics) -> list[Proposal]:
    """Proposals for a cluster that ``is_running``."""
    why = [f"{c.cadence_hz:.1f} steps/s" if c.cadence_hz else "no even steps", f"{c.mad_mg:.0f} mg"]
    if c.flight is not None and c.flight >= 0.02:
        why.append(f"in the air for {100 * c.flight:.0f} % of the time")
    if c.cadence_hz is not None and c.cadence_hz < _HOPPING_HZ:
        why.append("too few steps for running")
        return [Proposal("jumping", 0.6, tuple(why)), Proposal("running", 0.5, tuple(why))]
    return [Proposal("running", 0.9, tuple(why)), Proposal("jumping", 0.3, tuple(why))]


def name_walks(clusters: Sequence[Characteristics], place: Place) -> dict[int, list[Proposal]]:
    """Proposals for the clusters that are ``is_walking``, by row: the level or the stairs.

    The most regular of them, and the largest of equals, is walking on the level. Climbing is slower, softer
    and leans the body to and fro; descending is less even, and on the trunk harder (McFadyen and Winter 1988,
    doi:10.1016/0021-9290(88)90282-5, for the forces of both).

    Args:
        clusters: those in which people walk, of one model.
        place: of the sensors.
    """
    if not clusters:
        return {}
    level = max(clusters, key=lambda c: c.regularity + 0.2 * c.share)
    return {c.row: _level(c) if c is level else _compared(c, level, place) for c in clusters}


def _level(c: Characteristics) -> list[Proposal]:
    why = (f"{c.cadence_hz:.1f} steps/s" if c.cadence_hz else "steps", f"regularity {c.regularity:.2f}")
    return [
        Proposal("walking", 0.8, why),
        Proposal("walking upstairs", 0.3, why),
        Proposal("walking downstairs", 0.3, why),
    ]


def _compared(c: Characteristics, level: Characteristics, place: Place) -> list[Proposal]:
    up, down = _climbs(c, level, place), _descends(c, level, place)
    most = 0.9 if c.window_s >= _STRIDES_S else 0.45
    base = _level(c)[0].evidence
    scores = {
        "walking": (0.5, ()),
        "walking upstairs": (0.2 * len(up), up),
        "walking downstairs": (0.3 * len(down), down),
    }
    found = [
        Proposal(name, round(min(most, score), 2), (*base, *why)) for name, (score, why) in scores.items()
    ]
    return sorted(found, key=lambda proposal: -proposal.score)


def _climbs(c: Characteristics, level: Characteristics, place: Place) -> tuple[str, ...]:
    found, ratio = [], _against(c, level)
    if ratio["cadence"] <= 0.95:
        found.append("slower than the most regular walk")
    if ratio["impact"] <= 0.88:
        found.append("softer steps")
    if ratio["turning"] >= 1.3:
        found.append("leans to and fro more")
    if place == "limb" and ratio["strength"] <= 0.85:
        found.append("weaker")
    return tuple(found)


def _descends(c: Characteristics, level: Characteristics, place: Place) -> tuple[str, ...]:
    ratio = _against(c, level)
    if ratio["cadence"] < 0.95 or ratio["turning"] >= 1.5:
        return ()  # that is climbing
    found = []
    if c.regularity <= level.regularity - 0.05:
        found.append("less regular than the most regular walk")
    if c.regularity <= level.regularity - 0.15:
        found.append("by far")
    if place == "trunk" and ratio["strength"] >= 1.25:
        found += ["harder", f"{c.mad_mg:.0f} mg against {level.mad_mg:.0f}"]
    if place == "limb" and ratio["strength"] <= 0.95:
        found.append("weaker")
    return tuple(found)


def _against(c: Characteristics, level: Characteristics) -> dict[str, float]:
    """Ratios of two clusters, each taken from its wearers' own walking where that is known."""
    plain = {
        "cadence": (c.cadence_hz, level.cadence_hz),
        "strength": (c.mad_mg, level.mad_mg),
        "impact": (c.impact, level.impact),
        "turning": (c.turning_deg, level.turning_deg),
    }
    found = {}
    for name, (mine, other) in plain.items():
        own = getattr(c.own_walk, name), getattr(level.own_walk, name)
        found[name] = _ratio(mine, other) if None in own else _ratio(*own)
    return found


def _ratio(value: float | None, other: float | None) -> float:
    """NaN where one is not known, which no comparison is true of."""
    return value / other if value is not None and other else float("nan")
