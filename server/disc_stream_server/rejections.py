"""What was refused and why: counted by reason, said without flooding the log."""

from __future__ import annotations

import logging
from collections import Counter

from disc_stream.clock import Clock
from disc_stream.sparselog import SparseLog

log = logging.getLogger(__name__)

SUMMARY_S = 60.0
_LONGEST = 500  # characters of a refusal, which may quote what was sent


class Rejections:
    """Counts refusals; one of each device and reason is logged in full each hour, the others in summaries.

    Args:
        clock: tells when a summary is due.
        silent: count only; for messages that were refused before.
    """

    def __init__(self, clock: Clock, *, silent: bool = False) -> None:
        self._silent = silent
        self.by_reason: Counter[str] = Counter()
        self._clock = clock
        self._log = SparseLog(log, clock.monotonic)
        self._unsaid: Counter[str] = Counter()
        self._last_summary = clock.monotonic()

    def add(self, device: str, reason: str, message: str, *, count: int = 1) -> None:
        """Count refusals.

        Args:
            device: device id, or the topic where that is not known.
            reason: stable code.
            message: one line for a person.
            count: how many.
        """
        self.by_reason[reason] += count
        if self._silent:
            return
        if not self._log.warning(
            device, reason, "refused a message of %s (%s): %s", device, reason, message[:_LONGEST]
        ):
            self._unsaid[reason] += count

    def forget(self, device: str) -> None:
        """Drop a device that was erased."""
        self._log.forget(device)

    def summarise(self) -> None:
        """Log what was refused since the last summary, if one is due and there was anything."""
        now = self._clock.monotonic()
        if now - self._last_summary < SUMMARY_S:
            return
        self._last_summary = now
        if self._unsaid:
            parts = ", ".join(f"{count} × {reason}" for reason, count in self._unsaid.most_common())
            log.warning("refused further messages: %s", parts)
            self._unsaid.clear()
