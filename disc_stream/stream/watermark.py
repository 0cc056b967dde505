"""The time of the stream: how far the rows that were read have come, never backwards.

Waiting ends by this time and not by the machine's: the rows alone decide, so a replay decides the same.
While nothing is received, the receiver writes rows that say how much time has passed.
"""

from __future__ import annotations


class Watermark:
    """Adds up the time between rows.

    It equals the newest arrival time while the server's clock runs forward. A clock that is set back stops
    it for that one row only: it goes on with the differences after it.
    """

    __slots__ = ("_last_us", "now_us")

    def __init__(self) -> None:
        self._last_us = 0
        self.now_us = 0
        """Microseconds; starts at the Unix time of the first row."""

    def advance(self, received_us: int) -> int:
        """Take the arrival time of the next row and return the watermark."""
        if received_us > self._last_us:
            self.now_us += received_us - self._last_us
        self._last_us = received_us
        return self.now_us

    def state(self) -> tuple[int, int]:
        """Plain values, to continue from elsewhere."""
        return self._last_us, self.now_us

    def restore(self, state: tuple[int, int]) -> None:
        """Continue where ``state`` was taken."""
        self._last_us, self.now_us = state
