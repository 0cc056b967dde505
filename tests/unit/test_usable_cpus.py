"""How many processors a process may use, as control groups of both versions say it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from disc_stream.artifacts.runtimes.cpus import cpu_model, usable_cpus


@pytest.fixture(autouse=True)
def _eight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)))


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="ascii")


def cpus(folder: Path, membership: str) -> int:
    (folder / "self").write_text(membership, encoding="ascii")
    return usable_cpus(folder / "cgroup", folder / "self")


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("max 100000\n", 8), ("150000 100000\n", 2), ("200000 100000\n", 2), ("20000 100000\n", 1),
     ("1600000 100000\n", 8), ("0 100000\n", 8), ("100000 0\n", 8), ("many\n", 8), ("", 8)],
)  # fmt: skip
def test_the_quota_of_version_2_rounded_up(quota: str, expected: int, tmp_path: Path) -> None:
    write(tmp_path / "cgroup" / "a" / "b" / "cpu.max", quota)
    assert cpus(tmp_path, "0::/a/b\n") == expected


def test_a_group_above_may_have_the_smaller_quota(tmp_path: Path) -> None:
    write(tmp_path / "cgroup" / "a" / "cpu.max", "300000 100000")
    write(tmp_path / "cgroup" / "a" / "b" / "cpu.max", "max 100000")
    assert cpus(tmp_path, "0::/a/b\n") == 3


def test_in_a_container_the_own_group_is_the_root(tmp_path: Path) -> None:
    write(tmp_path / "cgroup" / "cpu.max", "200000 100000")
    assert cpus(tmp_path, "0::/docker/not-visible-here\n") == 2


@pytest.mark.parametrize("mounted", ["cpu,cpuacct", "cpu"])
def test_the_quota_of_version_1(mounted: str, tmp_path: Path) -> None:
    group = tmp_path / "cgroup" / mounted / "job"
    write(group / "cpu.cfs_quota_us", "250000\n")
    write(group / "cpu.cfs_period_us", "100000\n")
    assert cpus(tmp_path, "5:memory:/job\n4:cpu,cpuacct:/job\n") == 3


def test_no_quota_of_version_1_is_minus_one(tmp_path: Path) -> None:
    group = tmp_path / "cgroup" / "cpu" / "job"
    write(group / "cpu.cfs_quota_us", "-1\n")
    write(group / "cpu.cfs_period_us", "100000\n")
    assert cpus(tmp_path, "4:cpu:/job\n") == 8


def test_without_control_groups_the_scheduler_decides(tmp_path: Path) -> None:
    assert usable_cpus(tmp_path / "none", tmp_path / "nothing") == 8


def test_a_processor_is_named_with_what_decides_its_kernels(tmp_path: Path) -> None:
    lines = ("model name\t: Some CPU", "model\t\t: 7", "flags\t: fpu avx2 avx512f sse", "model name\t: x")
    write(tmp_path / "info", "\n".join(lines))
    assert cpu_model(tmp_path / "info") == "Some CPU 7: avx2 avx512f"
    assert cpu_model(tmp_path / "nothing")
