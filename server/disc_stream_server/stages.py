"""Where the time goes: processor time and duration of each stage, taken at the borders between stages."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from disc_stream.stream.values import Labelled

STAGE_BOUNDS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Upper bounds of the durations of a stage, in seconds; one call works on many messages or windows."""
DELAY_BOUNDS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)
"""The same of the time from a message to the label that it completed."""

Mark = tuple[str, int]
"""A stage, and when it ended: nanoseconds of ``time.perf_counter_ns``."""
OnLabelled = Callable[[Sequence[Labelled], int, Sequence[Mark]], None]
"""Is told of labels that went to the broker's connection: them, when their batch was begun, its stages."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """What a histogram held at one time; plain values, read from any thread.

    Args:
        bounds: n upper bounds, ascending.
        counts: n + 1, how many were in each bucket; the last one is above all bounds.
        total: sum of all values.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float


class Histogram:
    """Counts values by size, within fixed bounds; adding one costs less than a microsecond.

    Args:
        bounds: upper bounds, ascending.
    """

    __slots__ = ("_bounds", "_counts", "_total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0

    def add(self, value: float) -> None:
        """Count one."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    def distribution(self) -> Distribution:
        """What it holds now."""
        return Distribution(self._bounds, tuple(self._counts), self._total)


class Stages:
    """Adds up this thread's time, stage by stage; a border costs a few microseconds.

    Args:
        on_labelled: is told of labels; None for nobody.
    """

    def __init__(self, on_labelled: OnLabelled | None = None) -> None:
        self.ns: defaultdict[str, int] = defaultdict(int)
        self._on_labelled = on_labelled
        self._last = self._began = self._border = 0
        self._marks: list[Mark] = []
        self._durations: dict[str, Histogram] = {}
        self._delays = {False: Histogram(DELAY_BOUNDS_S), True: Histogram(DELAY_BOUNDS_S)}  # by deferred

    def begin(self) -> None:
        """What follows belongs to the stage that is named at its end."""
        self._last = time.thread_time_ns()
        self._began = self._border = time.perf_counter_ns()
        self._marks.clear()

    def end(self, stage: str) -> None:
        """What lay between the last border and here was ``stage``."""
        now, border = time.thread_time_ns(), time.perf_counter_ns()
        self.ns[stage] += now - self._last
        durations = self._durations.get(stage)
        if durations is None:
            durations = self._durations[stage] = Histogram(STAGE_BOUNDS_S)
        durations.add((border - self._border) / 1e9)
        self._last, self._border = now, border
        self._marks.append((stage, border))

    def labelled(self, labelled: Sequence[Labelled]) -> None:
        """Labels were handed to the broker's connection, in the stage that has just ended."""
        for one in labelled:
            label = one.label
            self._delays[label.deferred].add(max(0, label.published_us - one.ready.received_us) / 1e6)
        if self._on_labelled is not None:
            self._on_labelled(labelled, self._began, self._marks)

    @property
    def total_us(self) -> int:
        """All stages together, in microseconds."""
        return sum(self.ns.values()) // 1000

    def counters(self) -> dict[str, int]:
        """Microseconds by ``cpu_us_<stage>``."""
        return {f"cpu_us_{stage}": ns // 1000 for stage, ns in self.ns.items()}

    def durations(self) -> Mapping[str, Distribution]:
        """How long each stage took, in seconds, call by call."""
        return {stage: one.distribution() for stage, one in self._durations.items()}

    def delays(self) -> Mapping[bool, Distribution]:
        """Seconds from a message to the label of the window that it completed, by whether it was deferred."""
        return {deferred: one.distribution() for deferred, one in self._delays.items()}
