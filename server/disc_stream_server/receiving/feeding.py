"""From the overflow queue into the spool, as fast as the limits of each device allow."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from disc_stream_server.receiving.arrival import ArrivalClock
from disc_stream_server.receiving.ratelimiter import RateLimiter
from disc_stream_server.storage.overflow import OverflowQueue
from disc_stream_server.storage.rows import Arrival

_ROWS, _BYTES = 256, 2**20  # of a device, taken at once

Enter = Callable[[Sequence[Arrival]], bool]
"""Makes messages durable in the spool; False if there is no space at the moment."""


class Feeder:
    """Lets messages that wait into the spool, device by device.

    Args:
        overflow: where they wait.
        limiter: knows what may enter.
        enter: puts them into the spool.
        clock: a message arrives, for the labeller, when it enters the spool.
    """

    def __init__(
        self, overflow: OverflowQueue, limiter: RateLimiter, enter: Enter, clock: ArrivalClock
    ) -> None:
        self._overflow, self._limiter, self._enter, self._clock = overflow, limiter, enter, clock

    def feed(self) -> None:
        """Let in what may enter now.

        Raises:
            StorageError: if the overflow queue cannot be read or changed.
        """
        for device in list(self._overflow.devices):
            limit = min(_ROWS, self._limiter.may_enter(device))
            if limit and not self._let_in(device, self._overflow.next_of(device, limit)):
                return

    def _let_in(self, device: str, found: list[tuple[int, Arrival]]) -> bool:
        """Move the first of these messages into the spool; False if there is no space at the moment."""
        now, size = self._clock.unix_us(), 0
        taken: list[tuple[int, Arrival]] = []
        for number, arrival in found:
            if size >= _BYTES or not self._limiter.has_room(device):
                break
            self._limiter.taken(device, len(arrival.payload))
            size += len(arrival.payload)
            taken.append((number, arrival._replace(received_us=now)))
        if not taken:
            return True
        if not self._enter([arrival for _, arrival in taken]):
            return False
        self._overflow.remove(device, taken)
        return True
