"""Tells of connections that break: one line for an outage, with its length, whatever the number of them.

A process may have hundreds of connections to a broker (a fleet, phones), and all break together when the
broker is restarted. While it stays away for longer, one more line says so.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

log = logging.getLogger("disc_stream.wire.mqtt")


@dataclass(slots=True)
class _Outage:
    """What is known of one.

    Args:
        since: monotonic seconds.
        reason: why the first connection broke; "" if there was none yet.
    """

    since: float
    reason: str
    away: set[int] = field(default_factory=set)
    broken: set[int] = field(default_factory=set)
    told: bool = False


class Outages:
    """The outages of brokers, by address, as the connections of this process see them; thread-safe.

    Args:
        now: monotonic seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._present: dict[str, _Outage] = {}

    def lost(self, broker: str, link: int, reason: str) -> None:
        """A connection broke."""
        with self._lock:
            self._note(broker, link, reason)

    def failed(self, broker: str, link: int, error: object) -> None:
        """An attempt to connect failed; the first one of an outage is told."""
        with self._lock:
            outage = self._note(broker, link, "")
            is_first, outage.told = not outage.told, True
        if is_first:
            log.warning("broker %s is not reachable (%s); trying again", broker, error)

    def back(self, broker: str, link: int) -> None:
        """There is a connection again; the last one of an outage tells how long it was."""
        outage = self._without(broker, link)
        if outage is None:
            return
        length, n = self._now() - outage.since, len(outage.broken)
        many = f", {n} connections" if n > 1 else ""
        reason = f" (lost: {outage.reason})" if outage.reason else ""
        log.warning("broker %s is back after %.1f s%s%s", broker, length, many, reason)

    def ended(self, broker: str, link: int) -> None:
        """Nobody wants the connection any more."""
        self._without(broker, link)

    def _note(self, broker: str, link: int, reason: str) -> _Outage:
        outage = self._present.get(broker)
        if outage is None:
            outage = self._present[broker] = _Outage(self._now(), reason)
        outage.away.add(link)
        outage.broken.add(link)
        return outage

    def _without(self, broker: str, link: int) -> _Outage | None:
        """The outage that is over with this connection, if it is."""
        with self._lock:
            outage = self._present.get(broker)
            if outage is None or link not in outage.away:
                return None
            outage.away.remove(link)
            if outage.away:
                return None
            return self._present.pop(broker)


OUTAGES = Outages()
"""Those of this process."""
