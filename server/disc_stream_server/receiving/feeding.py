"""From the overflow queue into the spool, as fast as the limits of each device allow."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from disc_stream_server.receiving.arrival import ArrivalClock
from disc_stream_server.receiving.ratelimiter import RateLimiter
from disc_stream_server.storage.overflow import OverflowQueue
from disc_stream_server.storage.rows import Arrival

_ROWS = 256  # of a device, taken at once
_BYTES = 2**20  # of all devices, taken at once: so much may be read into memory, and one message more

Enter = Callable[[Sequence[Arrival]], bool]
"""Makes messages durable in the spool; False if there is no space at the moment."""


class Feeder:
    """Lets messages that wait into the spool, in turn from each device.

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

    def feed(self) -> bool:
        """Let in what may enter now: of all devices together, for each commit costs a sync.

        A device whose turn does not come stands first the next time.

        Returns:
            Whether more might have entered, had it not been too much at once.

        Raises:
            StorageError: if the overflow queue cannot be read or changed.
        """
        now, left = self._clock.unix_us(), float(_BYTES)
        taken: dict[str, list[tuple[int, Arrival]]] = {}
        for device in list(self._overflow.devices):
            if left <= 0:
                break
            messages, size = self._limiter.may_enter(device)
            if not messages:
                continue
            found = self._overflow.next_of(device, min(_ROWS, messages), min(left, size))
            if found:
                taken[device] = [(number, arrival._replace(received_us=now)) for number, arrival in found]
                left -= sum(len(arrival.payload) for _, arrival in found)
        if taken and self._enter([arrival for some in taken.values() for _, arrival in some]):
            for device, some in taken.items():
                self._limiter.taken(device, len(some), sum(len(arrival.payload) for _, arrival in some))
            self._overflow.remove(taken)
        return left <= 0
