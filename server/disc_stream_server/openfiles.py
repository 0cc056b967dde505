"""How many files and connections this process may have open."""

from __future__ import annotations

import logging
import resource

log = logging.getLogger(__name__)

WANTED = 65_536


def file_limit() -> int:
    """How many files this process may have open, 65,536 where the system sets no limit."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return WANTED if soft == resource.RLIM_INFINITY else soft


def raise_file_limit() -> None:
    """Let this process, and those that it starts, have as many files open as the system allows.

    The default of 1,024 is older than servers that keep a connection for everybody who looks on.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(hard, WANTED)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError) as error:
        log.warning("the limit of open files stays at %d: %s", soft, error)
