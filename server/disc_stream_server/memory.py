"""The memory of a process that runs for months: Python's collector and glibc's heap; and how much one has."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
from collections.abc import Iterable
from pathlib import Path

_YOUNG, _MIDDLE, _OLD = 20_000, 20, 100
"""Objects that may come before the youngest are looked at, and rounds before the next older are."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_LARGE = 4 * 2**20
_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident_bytes(pids: Iterable[int]) -> int:
    """Resident memory of processes (Linux); 0 for one that has ended."""
    return sum(map(_resident, pids))


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0


def collect_seldom() -> None:
    """Look for cycles less often; what is there now is not looked at again.

    Labels that wait for their checkpoint make the collector believe that garbage piles up, and with ten
    thousand devices it then goes through half a million objects every second: a tenth of all time. Cycles
    are rare here (exceptions mostly), and the youngest are still looked at once 20,000 objects have come.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)


def reuse_large_buffers() -> None:
    """Let glibc keep buffers of up to some MiB for the next message.

    Else each of them is fetched from the system and given back, page by page, which for messages of
    hundreds of KiB takes longer than reading them.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE)
        libc.mallopt(_M_TRIM_THRESHOLD, 4 * _LARGE)


def give_back_memory() -> None:
    """Let glibc return what is free to the system: with many sizes coming and going it keeps ever more."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def family_bytes(pid: int) -> int:
    """Resident memory of a process and all below it (Linux); 0 for one that has ended."""
    children: set[int] = set()
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            children |= {int(child) for child in (task / "children").read_text().split()}
    return _resident(pid) + sum(map(family_bytes, children))
