"""The last known state of every device and of the server."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from disc_stream.clock import Clock, SystemClock
from disc_stream.types import Label
from disc_stream.watching.events import Event, LabelSeen, LinkChanged, ServerSeen, Unreadable
from disc_stream.wire.status import ServerStatus

_RATE_SPAN_S = 10.0


@dataclass(slots=True)
class DeviceLine:
    """One device.

    Args:
        label: its last one.
        heard_at: monotonic time at which it came (or would have, if it was retained).
        windows: labels seen while we listened.
    """

    label: Label
    heard_at: float
    windows: int = 0


class LiveState:
    """Takes events, keeps what is true now.

    Args:
        clock: for ages and rates.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or SystemClock()
        self.devices: dict[str, DeviceLine] = {}
        self.server: ServerStatus | None = None
        self.link_down: str | None = None  # the reason, while the broker is away
        self.unreadable = 0
        self.last_unreadable: Unreadable | None = None
        self._arrivals: deque[float] = deque(maxlen=100_000)

    def take(self, event: Event) -> bool:
        """Note an event; False if it tells nothing new (a label that was seen already)."""
        match event:
            case LabelSeen(label, retained):
                return self._take_label(label, retained)
            case ServerSeen(status):
                changed = self.server is None or self.server.state != status.state
                self.server = status
                return changed
            case LinkChanged(up, reason):
                self.link_down = None if up else reason
                return True
            case Unreadable():
                self.unreadable += 1
                self.last_unreadable = event
                return True

    def _take_label(self, label: Label, retained: bool) -> bool:
        now = self.clock.monotonic()
        line = self.devices.get(label.device)
        if line is not None and (line.label.boot, line.label.window) == (label.boot, label.window):
            return False
        heard_at = now
        if retained:
            heard_at -= max(0.0, (self.clock.unix_us() - label.published_us) / 1e6)
        else:
            self._arrivals.append(now)
        if line is None:
            line = self.devices[label.device] = DeviceLine(label, heard_at)
        line.label, line.heard_at = label, heard_at
        line.windows += not retained
        return True

    def labels_per_s(self) -> float:
        """Mean over the last ten seconds."""
        since = self.clock.monotonic() - _RATE_SPAN_S
        while self._arrivals and self._arrivals[0] < since:
            self._arrivals.popleft()
        return len(self._arrivals) / _RATE_SPAN_S
