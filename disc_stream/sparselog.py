"""Log lines that a device's messages cause: few, whatever the messages are."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable

AGAIN_S = 3_600.0
"""Seconds after which the same is said of the same device again."""
PER_MINUTE = 60
"""Lines in a minute, of all devices."""

_MOST = 10_000  # (device, reason) pairs remembered


class SparseLog:
    """A log in which each device has one line an hour for each reason, and all together so many a minute.

    What is not said is counted, and the next line of the same device and reason says how often that was.

    Args:
        log: where lines go.
        now: monotonic seconds.
    """

    def __init__(self, log: logging.Logger, now: Callable[[], float] = time.monotonic) -> None:
        self._log, self._now = log, now
        self._said: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()  # when, and unsaid since
        self._left, self._refilled = float(PER_MINUTE), now()

    def warning(self, device: str, reason: str, text: str, *values: object) -> bool:
        """Warn of something about a device, unless that was done lately; whether it was done now.

        Args:
            device: device id, or what stands for it.
            reason: stable code of what is said.
            text: the line, with the places of ``values``.
            values: as in ``logging``.
        """
        return self._say(logging.WARNING, (device, reason), text, *values)

    def error(self, device: str, reason: str, text: str, *values: object, exc_info: bool = False) -> bool:
        """The same of an error of ours.

        Args:
            device: as there.
            reason: as there.
            text: as there.
            values: as there.
            exc_info: whether to show the exception that is being handled.
        """
        return self._say(logging.ERROR, (device, reason), text, *values, exc_info=exc_info)

    def _say(
        self, level: int, key: tuple[str, str], text: str, *values: object, exc_info: bool = False
    ) -> bool:
        now = self._now()
        at, unsaid = self._said.get(key, (-AGAIN_S, 0))
        self._left = min(float(PER_MINUTE), self._left + (now - self._refilled) * PER_MINUTE / 60)
        self._refilled = now
        if now - at < AGAIN_S or self._left < 1:
            self._remember(key, at, unsaid + 1)
            return False
        self._left -= 1
        self._remember(key, now, 0)
        more = f" (and {unsaid} times before)" if unsaid else ""
        self._log.log(level, f"{text}%s", *values, more, exc_info=exc_info)
        return True

    def forget(self, device: str) -> None:
        """Drop a device."""
        for key in [key for key in self._said if key[0] == device]:
            del self._said[key]

    def _remember(self, key: tuple[str, str], at: float, unsaid: int) -> None:
        self._said[key] = (at, unsaid)
        self._said.move_to_end(key)
        if len(self._said) > _MOST:
            self._said.popitem(last=False)
