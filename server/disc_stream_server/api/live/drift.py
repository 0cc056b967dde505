"""How unusual a fleet's motion is for its model over time: a bounded series since the server was started."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from disc_stream.types import NOT_WORN, UNKNOWN, Label

SPAN_US = 600_000_000
"""Of one point."""
MOST = 1_008
"""Points: a week."""


@dataclass(slots=True)
class Point:
    """The windows of some minutes.

    Args:
        from_us: Unix microseconds.
        model: version that labelled them.
        windows: of devices that are worn.
        unusual: those further from their cluster than 95 % of its training windows.
        unknown: those of no cluster.
    """

    from_us: int
    model: str
    windows: int = 0
    unusual: int = 0
    unknown: int = 0


class DriftSeries:
    """Takes labels on the labelling thread, for less than a microsecond each; read from any."""

    def __init__(self) -> None:
        self._points: deque[Point] = deque(maxlen=MOST)
        self._now = Point(0, "")

    def add(self, label: Label) -> None:
        """A label was made."""
        now = self._now
        if label.published_us >= now.from_us + SPAN_US or label.model != now.model:
            now = self._now = Point(label.published_us // SPAN_US * SPAN_US, label.model)
            self._points.append(now)
        best = label.best.label
        if best != NOT_WORN:
            now.windows += 1
            now.unusual += label.novelty is not None and label.novelty > 1.0
            now.unknown += best == UNKNOWN

    def points(self) -> list[Point]:
        """All of them, the oldest first."""
        return [self._points[n] for n in range(len(self._points))]
