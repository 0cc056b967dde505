"""How many samples go into a message: few while labels are live, many during and after an outage.

A message costs a topic, a header, a write to the card and a confirmation, whatever is in it. What waits in
the outbox is not live any more, so longer messages lose nothing by waiting a little longer to be complete;
and more samples fit into the same bound.
"""

from __future__ import annotations

from collections.abc import Callable

_SHARE = 8  # a message holds at most this part of what waits


class AdaptiveBatching:
    """The size of the next message of a device.

    Args:
        live: samples while nothing waits.
        most: samples at most; what a power cut can take is one message that is not complete.
        waiting: tells how many samples of a device wait.
    """

    def __init__(self, live: int, most: int, waiting: Callable[[], float]) -> None:
        self._live, self._most, self._waiting = live, max(live, most), waiting

    def __call__(self) -> int:
        """Samples of the next message."""
        return max(self._live, min(self._most, int(self._waiting()) // _SHARE))
