"""Timing of short work on a machine that may do other things too."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch

Clock = Literal["wall", "cpu"]

_MOST_REPEATS = 10_000


@dataclass(frozen=True, slots=True)
class Effort:
    """How long is measured.

    Args:
        rounds: of each piece of work, in turn with the others; the fastest counts.
        seconds: that a round takes at least; short work is repeated.
        clock: ``wall``, or ``cpu`` for the processor time of the process over its threads, which other
            programs on the machine disturb less and which says nothing of what a GPU does.
        threads: of the work, that ``cpu`` divides by.
        deadline: of ``time.monotonic``, after which no further round begins; None for no limit.
    """

    rounds: int = 3
    seconds: float = 0.2
    clock: Clock = "wall"
    threads: int = 1
    deadline: float | None = None

    @property
    def is_over(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline is not None and time.monotonic() >= self.deadline

    def now(self) -> float:
        """Seconds by the clock."""
        return time.perf_counter() if self.clock == "wall" else time.process_time() / self.threads


def fastest(works: Mapping[str, Callable[[], object]], effort: Effort) -> dict[str, float]:
    """Seconds of each piece of work, taken in turn, after one that is not counted.

    Work that a GPU does must wait for its end itself. What the deadline left no time for is missing.
    """
    best: dict[str, float] = {}
    for work in works.values():
        if effort.is_over:
            return best
        work()
    for _ in range(effort.rounds):
        for name, work in works.items():
            if effort.is_over:
                return best
            best[name] = min(best.get(name, float("inf")), _round(work, effort))
    return best


def _round(work: Callable[[], object], effort: Effort) -> float:
    """Seconds of one piece of work, repeated until it took long enough to be timed."""
    began, until, repeats = effort.now(), time.perf_counter() + effort.seconds, 0
    while repeats == 0 or (time.perf_counter() < until and repeats < _MOST_REPEATS and not effort.is_over):
        work()
        repeats += 1
    return max(effort.now() - began, 1e-9) / repeats


def product(device: torch.device, dtype: torch.dtype, side: int) -> Callable[[], object]:
    """A square matrix product in torch, waited for."""
    a = torch.randn(side, side, device=device).to(dtype)

    def multiply() -> None:
        a @ a
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return multiply
