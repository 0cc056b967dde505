"""How a server works: how long labels take, and what its spool does to its disk."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from disc_stream.config import ServeConfig
from disc_stream_server.janitor import SPOOL
from disc_stream_server.metrics.snapshot import Snapshot
from disc_stream_server.stages import Distribution

_DAY_S = 86_400
_LEAST_S = 600.0  # of a run, before what it receives is taken for what it will receive


def operation_facts(config: ServeConfig, state: Path, snapshot: Snapshot | None) -> dict[str, Any]:
    """What ``/operation`` answers."""
    delays = {} if snapshot is None else snapshot.delays
    return {
        "delay": _distribution(delays.get(False)),
        "deferred_delay": _distribution(delays.get(True)),
        "stages": [] if snapshot is None else _stages(snapshot.stages),
        "spool": spool_facts(config, state, snapshot),
    }


def _distribution(found: Distribution | None) -> dict[str, Any] | None:
    if found is None or not sum(found.counts):
        return None
    n = sum(found.counts)
    quantiles = {f"p{round(100 * q)}": quantile(found, q) for q in (0.5, 0.95, 0.99)}
    return {
        "bounds": list(found.bounds), "counts": list(found.counts), "mean": found.total / n, **quantiles
    }  # fmt: skip


def quantile(found: Distribution, q: float) -> float | None:
    """Below which a share of the values lies, by straight lines within the buckets; None above the last."""
    wanted, below, low = q * sum(found.counts), 0, 0.0
    for bound, count in zip(found.bounds, found.counts, strict=False):
        if count and below + count >= wanted:
            return low + (bound - low) * max(0.0, wanted - below) / count
        below, low = below + count, bound
    return None


def _stages(found: Mapping[str, Distribution]) -> list[dict[str, Any]]:
    return [
        {"name": name, "calls": sum(one.counts), "seconds": one.total,
         "p99": quantile(one, 0.99) if sum(one.counts) else None}
        for name, one in sorted(found.items(), key=lambda item: -item[1].total)
    ]  # fmt: skip


def spool_facts(config: ServeConfig, state: Path, snapshot: Snapshot | None) -> dict[str, Any]:
    """What the spool takes of its disk, and how long there is room, as things go."""
    folder, used, files = state / SPOOL, 0, 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_file():
                    used, files = used + entry.stat().st_size, files + 1
        disk = os.statvfs(folder)
        free, whole = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
    except OSError:
        return {"bytes": used, "files": files, "free": None, "disk": None, "per_day": None, "days_left": None,
                "kept_at_most": config.keep_bytes, "kept_days": config.keep_days}  # fmt: skip
    per_day = _per_day(snapshot)
    return {
        "bytes": used, "files": files, "free": free, "disk": whole, "per_day": per_day,
        "days_left": _days_left(config, used, free, per_day),
        "kept_at_most": config.keep_bytes, "kept_days": config.keep_days,
    }  # fmt: skip


def _per_day(snapshot: Snapshot | None) -> float | None:
    """Payloads received a day, as since the start."""
    if snapshot is None or snapshot.status.since_us is None or snapshot.status.updated_us is None:
        return None
    run_s = (snapshot.status.updated_us - snapshot.status.since_us) / 1e6
    received = snapshot.status.counters.get("received_bytes")
    return None if received is None or run_s < _LEAST_S else received * _DAY_S / run_s


def _days_left(config: ServeConfig, used: int, free: int, per_day: float | None) -> float | None:
    """Until the disk is full; None if that is not known, or retention removes as much as comes before."""
    if not per_day:
        return None
    most = per_day * config.keep_days
    if config.keep_bytes is not None:
        most = min(most, config.keep_bytes)
    return None if most - used <= free else free / per_day
