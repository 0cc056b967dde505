"""The last known state of every device and of the server."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from disc_stream.clock import Clock, SystemClock
from disc_stream.types import Label, Problem
from disc_stream.watching.events import (
    Event,
    LabelSeen,
    LinkChanged,
    ProblemSeen,
    ServerSeen,
    ServerSilent,
    Unreadable,
)
from disc_stream.wire.status import ServerStatus, State

_RATE_SPAN_S = 10.0
_MIN_SILENCE_S = 15.0  # of a server, after which its status has expired
_STATUS_INTERVALS = 4.0  # longest ones seen, likewise


@dataclass(slots=True)
class DeviceLine:
    """One device.

    Args:
        label: its last one; None for a device that has had none.
        received_at: monotonic time at which it came (or would have, if it was retained).
        windows: labels seen while we listened.
        problem: why it has no labels now, or worse ones.
    """

    label: Label | None
    received_at: float
    windows: int = 0
    problem: Problem | None = None


class LiveState:
    """Takes events, keeps what is true now.

    Args:
        clock: for ages and rates.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or SystemClock()
        self.devices: dict[str, DeviceLine] = {}
        self.server: ServerStatus | None = None
        self._server_at = 0.0  # monotonic time at which its status came
        self._status_interval_s = 0.0  # the longest one seen
        self._silence_reported = False
        self.link_down: str | None = None  # the reason, while the broker is away
        self.unreadable = 0
        self.last_unreadable: Unreadable | None = None
        self._arrivals: deque[float] = deque(maxlen=100_000)

    def take(self, event: Event) -> bool:
        """Note an event; False if it is nothing new (such as a label that was seen already)."""
        match event:
            case LabelSeen(label, retained):
                return self._take_label(label, retained)
            case ProblemSeen(device, problem):
                return self._take_problem(device, problem)
            case ServerSeen(status, retained):
                return self._take_status(status, retained)
            case ServerSilent():
                return True
            case LinkChanged(up, reason):
                self.link_down = None if up else reason
                return True
            case Unreadable():
                self.unreadable += 1
                self.last_unreadable = event
                return True

    def _take_status(self, status: ServerStatus, retained: bool) -> bool:
        now, at = self.clock.monotonic(), self._server_at
        changed = self.server is None or self.server.state != status.state or self._silence_reported
        if retained and status.updated_us is not None:
            now -= max(0.0, (self.clock.unix_us() - status.updated_us) / 1e6)
        elif not retained and self.server is not None and not self._silence_reported:
            self._status_interval_s = max(self._status_interval_s, now - at)
        self.server, self._server_at, self._silence_reported = status, now, False
        return changed

    def is_of_former_model(self, line: DeviceLine) -> bool:
        """Whether the last label of a device is of another model than the one that serves now.

        What a cluster is called there need not be what the same name means today.
        """
        serving = "" if self.server is None else self.server.model
        return line.label is not None and serving not in ("", line.label.model)

    def server_silent_s(self) -> float | None:
        """How long a server that calls itself online has been silent; None while its status is valid."""
        if self.server is None or self.server.state is not State.ONLINE:
            return None
        silent = self.clock.monotonic() - self._server_at
        limit = max(_MIN_SILENCE_S, _STATUS_INTERVALS * self._status_interval_s)
        return silent if silent > limit else None

    def notice_silence(self) -> ServerSilent | None:
        """The event that the server has fallen silent, once."""
        silent = self.server_silent_s()
        if silent is None or self._silence_reported:
            return None
        self._silence_reported = True
        return ServerSilent(silent)

    def _take_problem(self, device: str, problem: Problem | None) -> bool:
        line = self.devices.get(device)
        if line is None:
            if problem is None:
                return False
            line = self.devices[device] = DeviceLine(None, self.clock.monotonic())
        before, line.problem = line.problem, problem
        if problem is None and line.label is None:
            del self.devices[device]
        codes = [None if one is None else one.code for one in (before, problem)]
        return codes[0] != codes[1]  # a higher count is no news

    def _take_label(self, label: Label, retained: bool) -> bool:
        now = self.clock.monotonic()
        line = self.devices.get(label.device)
        last = line.label if line is not None else None
        if last is not None and (last.boot, last.window) == (label.boot, label.window):
            return False
        received_at = now
        if retained:
            received_at -= max(0.0, (self.clock.unix_us() - label.published_us) / 1e6)
        else:
            self._arrivals.append(now)
        if line is None:
            line = self.devices[label.device] = DeviceLine(label, received_at)
        line.label, line.received_at = label, received_at
        line.windows += not retained
        return True

    def labels_per_s(self) -> float:
        """Mean over the last ten seconds."""
        since = self.clock.monotonic() - _RATE_SPAN_S
        while self._arrivals and self._arrivals[0] < since:
            self._arrivals.popleft()
        return len(self._arrivals) / _RATE_SPAN_S
