"""Keeping freed memory while training runs."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of glibc's malloc.h
_TRIM_DEFAULT, _MMAP_DEFAULT = 128 * 1024, 65536
_NEVER = 2**31 - 1

_users = 0


@contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Let glibc keep inside the process what it frees; what is left is handed back at the end.

    Every step of a training frees and takes again hundreds of megabytes in large blocks. By default each
    goes back to the system at once, and the next step gets fresh pages that the kernel has to clear, which
    takes a good part of the step's time. Elsewhere than on Linux with glibc this does nothing.
    """
    global _users  # noqa: PLW0603 - a setting of the whole process
    libc = _glibc()
    if libc is None:
        yield
        return
    _users += 1
    libc.mallopt(_M_MMAP_MAX, 0)
    libc.mallopt(_M_TRIM_THRESHOLD, _NEVER)
    try:
        yield
    finally:
        _users -= 1
        if _users == 0:
            libc.mallopt(_M_MMAP_MAX, _MMAP_DEFAULT)
            libc.mallopt(_M_TRIM_THRESHOLD, _TRIM_DEFAULT)
            libc.malloc_trim(0)


@cache
def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") else None
