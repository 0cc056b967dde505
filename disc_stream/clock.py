"""Time as a dependency: code asks a clock, tests turn one by hand."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """What the streaming code may know about time."""

    def unix_us(self) -> int:
        """Wall-clock time in microseconds since 1970 (may step)."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back; for durations and deadlines."""
        ...


class SystemClock:
    """The machine's own clock."""

    def unix_us(self) -> int:
        """Wall-clock time in microseconds since 1970."""
        return time.time_ns() // 1_000

    def monotonic(self) -> float:
        """Seconds since an arbitrary start."""
        return time.monotonic()


@dataclass
class ManualClock:
    """A clock that moves only when told to.

    Args:
        now_us: wall-clock time to start from, in microseconds.
    """

    now_us: int = 0
    _elapsed_s: float = 0.0

    def unix_us(self) -> int:
        """Wall-clock time in microseconds."""
        return self.now_us

    def monotonic(self) -> float:
        """Seconds advanced so far."""
        return self._elapsed_s

    def advance(self, seconds: float) -> None:
        """Move both times forward by ``seconds``.

        Raises:
            ValueError: if ``seconds`` is negative.
        """
        if seconds < 0:
            raise ValueError(f"a clock cannot go back, got {seconds} s")
        self.now_us += round(seconds * 1e6)
        self._elapsed_s += seconds
