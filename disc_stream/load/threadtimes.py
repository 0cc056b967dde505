"""Processor time of a process and of its threads by name (Linux)."""

from __future__ import annotations

import contextlib
from pathlib import Path


class ThreadTimes:
    """Counts from when it is made; threads that have ended count with what they had at the last look.

    Args:
        pid: of the process.
        name: of the threads that are told apart; those that one of them starts have its name, too.
    """

    def __init__(self, pid: int, name: str) -> None:
        self._tasks, self._name = Path(f"/proc/{pid}/task"), name
        self._seen: dict[str, tuple[str, int]] = {}

    def look(self) -> tuple[float, float]:
        """Seconds of the threads with the name, and of all of them."""
        with contextlib.suppress(OSError):
            for task in self._tasks.iterdir():
                with contextlib.suppress(OSError):
                    name = (task / "comm").read_text().strip()
                    busy_ns = int((task / "schedstat").read_text().split()[0])
                    self._seen[task.name] = name, busy_ns
        named = sum(busy for name, busy in self._seen.values() if name == self._name)
        return named / 1e9, sum(busy for _, busy in self._seen.values()) / 1e9
