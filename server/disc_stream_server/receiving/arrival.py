"""The time of arrival: the wall clock, but for its jumps."""

from __future__ import annotations

import logging

from disc_stream.clock import Clock

log = logging.getLogger(__name__)

_STEP_US = 1_000_000


class ArrivalClock:
    """Wall-clock time that runs with the monotonic clock, and says so when the wall clock was stepped.

    Small corrections (NTP's slewing) are followed without a word, so times never go back by them.

    Args:
        clock: of the machine.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset_us = clock.unix_us() - self._monotonic_us()
        self._last_us = 0

    def unix_us(self) -> int:
        """Unix microseconds."""
        wall, steady = self._clock.unix_us(), self._monotonic_us() + self._offset_us
        if abs(wall - steady) > _STEP_US:
            log.warning("the system clock was stepped by %+.1f s", (wall - steady) / 1e6)
            self._last_us = 0
        self._offset_us += wall - steady
        self._last_us = max(wall, self._last_us)
        return self._last_us

    def _monotonic_us(self) -> int:
        return round(self._clock.monotonic() * 1e6)
