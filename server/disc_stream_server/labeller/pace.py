"""How many windows a turn has time for, from the encoder to their labels."""

from __future__ import annotations

_TURN_S = 0.01  # beside one window of each device
_FIRST, _LEAST = 32, 4
_NEWEST = 0.2  # weight of the last turn in what a window is known to take


class Pace:
    """Knows what a window takes, from the turns so far; it has no influence on any label.

    Args:
        most: windows of a turn at most.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._window_s: float | None = None
        self.windows = min(_FIRST, most)
        """Windows that a turn has time for."""

    def took(self, n: int, seconds: float) -> None:
        """A turn with n windows took so long."""
        window_s = seconds / n
        known = window_s if self._window_s is None else self._window_s
        self._window_s = known + _NEWEST * (window_s - known)
        fitting = self._most if self._window_s * self._most <= _TURN_S else int(_TURN_S / self._window_s)
        self.windows = min(self._most, max(_LEAST, fitting))
