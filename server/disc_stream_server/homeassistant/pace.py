"""When a state is published: once it has stayed, not too often, and from time to time while it holds.

Home Assistant writes every state into a database and every page; where messages come several times in a
second its users have seen it become slow, and their disks full.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast states may come.

    Args:
        dwell_s: seconds that a new state must stay.
        apart_s: seconds between two messages of a device.
        heartbeat_s: seconds after which a state that holds is sent again.
    """

    dwell_s: float = 5.0
    apart_s: float = 5.0
    heartbeat_s: float = 300.0


_RESTLESS = 6
"""A device that never stays in a state for the dwell time is shown in the latest after so many of them."""

_GONE_S = 86_400.0


@dataclass(slots=True)
class _Device:
    state: str
    began: float  # when this state was first seen without a break
    began_us: int
    label: int
    seen: float
    left: float = 0.0  # when the state that is shown was left
    shown: str | None = None
    shown_at: float = -math.inf
    beat_at: float = -math.inf  # when the heartbeat was last looked at


@dataclass(frozen=True, slots=True)
class Due:
    """A state that is to be published now."""

    device: str
    state: str
    label: int
    since_us: int


class Gate:
    """Lets states through at the pace; time is given, in monotonic seconds. Both methods are cheap.

    Args:
        pace: how fast.
    """

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._devices: dict[str, _Device] = {}
        self._open: dict[str, None] = {}  # whose state differs from what is shown, the longest first
        self._beats: OrderedDict[str, None] = OrderedDict()  # that were shown, the longest ago first

    def __len__(self) -> int:
        return len(self._devices)

    def see(self, device: str, state: str, label: int, now: float, now_us: int) -> bool:
        """A device is in a state; whether the device is new."""
        known = self._devices.get(device)
        if known is None:
            self._devices[device] = _Device(state, now, now_us, label, now)
            self._open[device] = None
            return True
        known.seen = now
        if known.state != state:
            if known.state == known.shown:
                known.left = now
            known.state, known.began, known.began_us, known.label = state, now, now_us, label
            if state == known.shown:
                self._open.pop(device, None)
            else:
                self._open[device] = None
        return False

    def due(self, now: float) -> Iterator[Due]:
        """What is to be published now; whoever takes one publishes it."""
        for device in list(self._open):
            if self._may_change(self._devices[device], now):
                yield self._show(device, now)
        while self._beats:
            device = next(iter(self._beats))
            known = self._devices[device]
            if now - known.beat_at < self._pace.heartbeat_s:
                return
            if known.state == known.shown and known.seen > known.shown_at:
                yield self._show(device, now)
            elif now - known.seen > _GONE_S:
                self.forget(device)
            else:  # another state waits, or it is silent: whether what was shown holds is not known
                self._look_again(device, known, now)

    def _may_change(self, known: _Device, now: float) -> bool:
        if known.shown is None:
            return True
        if now - known.shown_at < self._pace.apart_s:
            return False
        dwell_s = self._pace.dwell_s
        return now - known.began >= dwell_s or now - known.left >= _RESTLESS * dwell_s

    def again(self) -> None:
        """Let every state be published anew: the broker may have lost them."""
        for device, known in self._devices.items():
            known.shown, known.shown_at = None, -math.inf
            self._open[device] = None

    def forget(self, device: str) -> bool:
        """Drop a device; whether it was known."""
        self._open.pop(device, None)
        self._beats.pop(device, None)
        return self._devices.pop(device, None) is not None

    def devices(self) -> tuple[str, ...]:
        """All that are known."""
        return tuple(self._devices)

    def _show(self, device: str, now: float) -> Due:
        known = self._devices[device]
        known.shown, known.shown_at = known.state, now
        self._open.pop(device, None)
        self._look_again(device, known, now)
        return Due(device, known.state, known.label, known.began_us)

    def _look_again(self, device: str, known: _Device, now: float) -> None:
        known.beat_at = now
        self._beats[device] = None
        self._beats.move_to_end(device)
