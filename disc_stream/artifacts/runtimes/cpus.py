"""How many processors this process may use: in a container or under ``taskset`` fewer than there are."""

from __future__ import annotations

import contextlib
import math
import os
import platform
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")
_CPUINFO = Path("/proc/cpuinfo")
# What decides which kernels a runtime takes.
_TOLD = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "asimd", "bf16")


def usable_cpus(cgroups: Path = _CGROUPS, membership: Path = _MEMBERSHIP) -> int:
    """Processors that this process may use, at least 1.

    The smaller of those that it is scheduled on and the quota of its control group, rounded up: with a quota
    of 1.5, a third thread would only be throttled together with the others.

    Args:
        cgroups: where control groups are mounted.
        membership: tells which ones this process is in, in the form of ``/proc/self/cgroup``.
    """
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(cgroups, membership)
    return max(1, own if quota is None else min(own, math.ceil(quota)))


def _quota(cgroups: Path, membership: Path) -> float | None:
    """The smallest quota of a process' control groups and those above them, in processors; None without."""
    try:
        lines = membership.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    groups = [cgroups, cgroups / "cpu"]  # in a container, its own group is often mounted as the root
    for line in lines:
        _, _, rest = line.partition(":")
        kinds, _, path = rest.partition(":")
        if kinds and "cpu" not in kinds.split(","):
            continue
        roots = [cgroups / kinds, cgroups / "cpu"] if kinds else [cgroups, cgroups / "unified"]
        below = Path(path.lstrip("/"))
        groups += [root / part for root in roots for part in (below, *below.parents)]
    found = [quota for group in groups if (quota := _quota_of(group)) is not None]
    return min(found, default=None)


def _quota_of(group: Path) -> float | None:
    """Quota of one control group, of version 2 or 1."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
        return None if quota == "max" else _share(int(quota), int(period))
    with contextlib.suppress(OSError, ValueError):
        return _share(
            int((group / "cpu.cfs_quota_us").read_text(encoding="ascii")),
            int((group / "cpu.cfs_period_us").read_text(encoding="ascii")),
        )
    return None


def _share(quota_us: int, period_us: int) -> float | None:
    return quota_us / period_us if quota_us > 0 and period_us > 0 else None


def cpu_model(cpuinfo: Path = _CPUINFO) -> str:
    """The processor's name and the instructions that matter for speed, such as ``AMD EPYC: avx2 avx512f``."""
    facts: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            name, colon, value = line.partition(":")
            if colon:
                facts.setdefault(name.strip(), value.strip())
    flags = set(facts.get("flags", facts.get("Features", "")).split())
    name = " ".join(
        facts[key] for key in ("model name", "cpu family", "model", "CPU part") if facts.get(key)
    ) or platform.processor() or platform.machine()  # fmt: skip
    return f"{name}: {' '.join(one for one in _TOLD if one in flags)}"
