"""``disc-stream benchmark drift``: how often drift is seen where there is none, and how soon where there is.

What is compared: the detector that a server runs, two others of ``river`` on the same signals, and for each
of them a *dummy* that fires at random, as often as it did over all of these streams together.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from disc_stream.benchmarks.cells import hardware
from disc_stream.benchmarks.driftstreams import (
    CHANGES,
    WAYS,
    DriftPlan,
    Fleet,
    Say,
    Stream,
    Streams,
)
from disc_stream.clustering.drift import MONTH_S, Detector, DriftRule, adwin, devices_needed
from disc_stream.errors import ConfigError

SCHEMA = "disc-stream.drift/1"
DETECTORS = ("adwin", "page-hinkley", "kswin")
DATASETS = ("hapt", "motionsense", "wisdm", "mhealth-partial")
_DUMMIES = 200  # repetitions of the dummy


def candidates(rule: DriftRule, names: Sequence[str]) -> dict[str, Callable[[], Detector]]:
    """What is compared: that of the server, and others of river.

    Raises:
        ConfigError: if a name is not one of ``DETECTORS``.
    """
    from river.drift import KSWIN, PageHinkley

    known: dict[str, Callable[[], Detector]] = {
        "adwin": adwin(rule.delta / 2),
        "page-hinkley": lambda: PageHinkley(min_instances=30, delta=0.01, threshold=20.0, alpha=1.0),
        "kswin": lambda: KSWIN(alpha=1e-6, window_size=100, stat_size=30, seed=0),
    }
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(f"there is no detector {unknown[0]!r}", remedy=f"Use {', '.join(known)}")
    return {name: known[name] for name in names}


def alarms(stream: Stream, make: Callable[[], Detector], min_blocks: int) -> list[int]:
    """Blocks at which a device of this stream alarms; after each its detectors begin anew."""
    found, detectors, since = [], [make(), make()], 0
    for number, values in enumerate(stream.blocks.tolist()):
        since += 1
        changed = False
        for detector, value in zip(detectors, values, strict=True):
            detector.update(value)
            changed |= detector.drift_detected
        if changed and since >= min_blocks:
            found.append(number)
            detectors, since = [make(), make()], 0
    return found


def chance(streams: Sequence[Stream], rate: float, rng: np.random.Generator) -> list[list[int]]:
    """Blocks at which the dummy fires."""
    return [np.flatnonzero(rng.random(len(one.blocks)) < rate).tolist() for one in streams]


def score(streams: Sequence[Stream], found: Sequence[Sequence[int]]) -> dict[str, Any]:
    """False alarms per device and month, share of changes that were seen within a day, and the delay.

    An alarm is false where nothing has changed, and before the change.
    """
    months, false, delays, n_changes = 0.0, 0, [], 0
    for stream, at in zip(streams, found, strict=True):
        end = len(stream.blocks) if stream.change is None else stream.change
        months += end * stream.block_s / MONTH_S
        false += sum(number < end for number in at)
        if stream.change is None:
            continue
        n_changes += 1
        after = [number for number in at if number >= end]
        delays.append((after[0] - end + 1) * stream.block_s / 3600 if after else np.inf)
    facts: dict[str, Any] = {"false_alarms": false, "device_months": round(months, 2)}
    facts["false_per_month"] = round(false / months, 3) if months else None
    if n_changes:
        within = np.array(delays)
        median = float(np.median(within))
        facts |= {
            "changes": n_changes,
            "seen_in_a_day": round(float((within <= 24).mean()), 3),
            "seen_ever": round(float(np.isfinite(within).mean()), 3),
            "median_delay_h": round(median, 1) if np.isfinite(median) else None,
        }
    return facts


def measure_drift(
    datasets: Sequence[str],
    data: Path | None,
    plan: DriftPlan,
    names: Sequence[str] = DETECTORS,
    say: Say = lambda _what: None,
) -> dict[str, Any]:
    """Measure.

    Args:
        datasets: names.
        data: the folder that holds them.
        plan: how much.
        names: of the detectors.
        say: is told what is being done.

    Returns:
        The report: ``rows``, one for each dataset, way, change (or ``none``) and detector.

    Raises:
        DiscStreamError: if a dataset cannot be read, or river is not installed.
    """
    rule = DriftRule()
    detectors = candidates(rule, names)
    rows = []
    for dataset in datasets:
        say(f"reading {dataset}")
        maker = Streams(dataset, data, plan, rule)
        for way in WAYS:
            kinds = {"none": maker.stationary(way, say)}
            kinds |= {change: maker.changed(way, change, say) for change in CHANGES}
            for name, make in detectors.items():
                say(f"{dataset}, {way}: {name}")
                rows += _rows((dataset, way, name), kinds, make, rule, plan.seed)
    facts = {"people": plan.people, "days": plan.days, "seed": plan.seed, "hardware": hardware()}
    return {"schema": SCHEMA, **facts, "rule": _rule_facts(rule), "rows": rows, "totals": totals(rows)}


def fleet_score(
    fleets: Sequence[Fleet], found: Sequence[Sequence[Sequence[int]]], rule: DriftRule
) -> dict[str, Any]:
    """False alarms of whole fleets, how many of them saw their change, and after how long."""
    false, delays = 0, []
    for fleet, at in zip(fleets, found, strict=True):
        first, block_s = fleet[0], fleet[0].block_s
        numbers = fleet_alarms(at, rule.horizon_s / block_s, devices_needed(len(fleet), rule))
        end = len(first.blocks) if first.change is None else first.change
        false += sum(number < end for number in numbers)
        after = [number for number in numbers if number >= end]
        delays += [round((after[0] - end + 1) * block_s / 3600, 1)] if after else []
    needed = devices_needed(len(fleets[0]), rule)
    facts = {"fleets": len(fleets), "devices": len(fleets[0]), "needed": needed, "false_alarms": false}
    return facts | {"seen": len(delays), "delay_h": max(delays, default=None)}


def fleet_alarms(found: Sequence[Sequence[int]], horizon: float, needed: int) -> list[int]:
    """Blocks at which enough devices had alarmed within a horizon, at most one in each horizon."""
    events = sorted((number, device) for device, at in enumerate(found) for number in at)
    alarmed: list[int] = []
    for number, _ in events:
        recent = {device for at, device in events if number - horizon < at <= number}
        if len(recent) >= needed and (not alarmed or number - alarmed[-1] >= horizon):
            alarmed.append(number)
    return alarmed


def _rows(
    where: tuple[str, str, str],
    kinds: dict[str, list[Fleet]],
    make: Callable[[], Detector],
    rule: DriftRule,
    seed: int,
) -> list[dict[str, Any]]:
    found = {
        kind: [[alarms(one, make, rule.min_blocks) for one in fleet] for fleet in fleets]
        for kind, fleets in kinds.items()
    }
    n_alarms = sum(len(at) for fleets in found.values() for fleet in fleets for at in fleet)
    rate = n_alarms / sum(len(one.blocks) for fleets in kinds.values() for one in chain(*fleets))
    rng = np.random.default_rng([seed, zlib.crc32(" ".join(where).encode())])
    facts = dict(zip(("dataset", "way", "detector"), where, strict=True))
    rows = []
    for kind, fleets in kinds.items():
        streams = list(chain(*fleets))
        dummies = [score(streams, chance(streams, rate, rng)) for _ in range(_DUMMIES)]
        names = [name for name in ("false_per_month", "seen_in_a_day") if name in dummies[0]]
        dummy = {name: round(float(np.mean([one[name] for one in dummies])), 3) for name in names}
        result = score(streams, list(chain(*found[kind])))
        fleet = fleet_score(fleets, found[kind], rule)
        rows.append({**facts, "change": kind, **result, "dummy": dummy, "fleet": fleet})
    return rows


def totals(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Over all datasets, by way and detector: false alarms where nothing changes, changes seen in a day."""
    found = []
    for way in WAYS:
        for name in dict.fromkeys(row["detector"] for row in rows):
            mine = [row for row in rows if (row["way"], row["detector"]) == (way, name)]
            still = [row for row in mine if row["change"] == "none"]
            moved = [row for row in mine if row["change"] != "none"]
            months = sum(row["device_months"] for row in still)
            dummy = [np.mean([row["dummy"][key] for row in part]) for part, key in (
                (still, "false_per_month"), (moved, "seen_in_a_day"))]  # fmt: skip
            found.append({
                "way": way, "detector": name,
                "false_per_month": round(sum(row["false_alarms"] for row in still) / months, 3),
                "worst_dataset": max(row["false_per_month"] for row in still),
                "seen_in_a_day": round(float(np.mean([row["seen_in_a_day"] for row in moved])), 3),
                "dummy_false_per_month": round(float(dummy[0]), 3),
                "dummy_seen_in_a_day": round(float(dummy[1]), 3),
            })  # fmt: skip
    return found


def _rule_facts(rule: DriftRule) -> dict[str, Any]:
    return {"block": rule.block, "min_blocks": rule.min_blocks, "delta": rule.delta, "unknown": rule.unknown}
