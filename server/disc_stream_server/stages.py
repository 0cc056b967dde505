"""Where the processor's time goes: total per stage, taken at the borders between stages."""

from __future__ import annotations

import time
from collections import defaultdict


class Stages:
    """Adds up this thread's processor time, stage by stage; a border costs about a microsecond."""

    def __init__(self) -> None:
        self.ns: defaultdict[str, int] = defaultdict(int)
        self._last = 0

    def begin(self) -> None:
        """What follows belongs to the stage that is named at its end."""
        self._last = time.thread_time_ns()

    def end(self, stage: str) -> None:
        """What lay between the last border and here was ``stage``."""
        now = time.thread_time_ns()
        self.ns[stage] += now - self._last
        self._last = now

    @property
    def total_us(self) -> int:
        """All stages together, in microseconds."""
        return sum(self.ns.values()) // 1000

    def counters(self) -> dict[str, int]:
        """Microseconds by ``cpu_us_<stage>``."""
        return {f"cpu_us_{stage}": ns // 1000 for stage, ns in self.ns.items()}
