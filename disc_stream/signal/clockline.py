"""The line from a device's clock to the server's, through the messages that were fastest.

Delays only ever make a message late: late ones say nothing about the clock. So one message is kept for every
stretch of device time, the one with the shortest delay (Cristian, Probabilistic clock synchronization, 1989;
Paxson, On calibrating measurements of packet transit times, 1998), and a line is laid through those by the
median of the slopes of all pairs, which a few bad ones do not move (Theil 1950; Sen 1968,
doi:10.1080/01621459.1968.10480934).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

MAX_SKEW = 0.02
"""Crystals are within 1e-4, cheap oscillators within 1e-2; what is beyond this is no clock."""

_STRETCH_US, _MAX_STRETCH_US = 20_000_000, 640_000_000
_ANCHORS = 16
_MIN_ANCHORS, _MIN_SPAN_US = 4, 60_000_000  # for a slope: before that, delays hide it
_LATE_US = 100_000  # an anchor this much above what the others allow was late, as all its neighbours were
_SLACK_US = 20_000  # a message this much below the line moves it at once
_ONE = 2**40  # skew is kept in whole parts of this, so that the line never goes back by rounding


class ClockLine:
    """Server time as a line over device time.

    At most ``_ANCHORS`` points are kept. When there are as many, each two become one and stretches twice as
    long, from 20 s up to 640 s: after hours, the slope rests on hours. A message costs about a microsecond.
    """

    __slots__ = (
        "_anchors",
        "_delay",
        "_device",
        "_number",
        "_offset",
        "_reference",
        "_skew",
        "_spread",
        "_stretch",
    )

    def __init__(self) -> None:
        self._skew = 0  # in parts of _ONE
        self._offset = self._reference = 0
        self.restart()

    def restart(self) -> None:
        """The clock was set: forget all points. The skew stays, for the crystal is the same."""
        self._anchors: list[tuple[int, int]] = []  # (device time, delay)
        self._stretch = _STRETCH_US
        self._number: int | None = None  # of the stretch in progress
        self._device = self._delay = 0  # its best message
        self._spread: int | None = None

    @property
    def known(self) -> bool:
        """Whether there is any message to go by."""
        return self._number is not None

    @property
    def skew(self) -> float:
        """Rate of the server's clock over the device's, minus 1."""
        return self._skew / _ONE

    @property
    def spread_us(self) -> int | None:
        """How far above the lowest point three quarters of the points lie; None before there is a slope."""
        return self._spread

    def offset_at(self, device_us: int) -> int:
        """Server time minus device time at a device time, the shortest delay included."""
        return self._offset + ((device_us - self._reference) * self._skew >> 40)

    def observe(self, device_us: int, received_us: int) -> None:
        """Take a message.

        Args:
            device_us: device time at which it was complete.
            received_us: server time at which it arrived.
        """
        delay = received_us - device_us
        number = device_us // self._stretch
        if number == self._number:
            if delay < self._delay:
                self._device, self._delay = device_us, delay
        else:
            if self._number is None:
                self._offset, self._reference = delay, device_us
            else:
                self._close()
            self._number, self._device, self._delay = device_us // self._stretch, device_us, delay
        below = self._offset + ((device_us - self._reference) * self._skew >> 40) - delay
        if below > (0 if self._spread is None else _SLACK_US):
            self._offset -= below

    def state(self) -> tuple[Any, ...]:
        """Everything as plain values."""
        return (
            self._skew, self._offset, self._reference, self._stretch, self._number, self._device, self._delay,
            self._spread, tuple(self._anchors),
        )  # fmt: skip

    def restore(self, state: tuple[Any, ...]) -> None:
        """Continue where ``state`` was taken."""
        (
            self._skew, self._offset, self._reference, self._stretch, self._number, self._device, self._delay,
            self._spread, anchors,
        ) = state  # fmt: skip
        self._anchors = [(device, delay) for device, delay in anchors]

    def _close(self) -> None:
        """The stretch is over: its best message is a point of the line."""
        anchors = self._anchors
        anchors.append((self._device, self._delay))
        self._refit()
        if len(anchors) == _ANCHORS:
            if self._stretch >= _MAX_STRETCH_US:
                del anchors[0]
                return
            self._stretch *= 2
            pairs = zip(anchors[::2], anchors[1::2], strict=True)
            self._anchors = [min(pair, key=self._lateness) for pair in pairs]

    def _lateness(self, anchor: tuple[int, int]) -> int:
        return anchor[1] - self.offset_at(anchor[0])

    def _refit(self) -> None:
        last_device, last_delay = self._anchors[-1]
        # Differences of whole numbers first: as floats, Unix times have lost their microseconds.
        x = np.array([float(device - last_device) for device, _ in self._anchors])
        y = np.array([float(delay - last_delay) for _, delay in self._anchors])
        apart = np.abs(x[:, None] - x)
        # No clock could have made these points from the others: the messages all were late, as after a time
        # without network, when a device sends what it has kept.
        on_time = y <= (y + MAX_SKEW * apart).min(axis=1) + _LATE_US
        x, y = x[on_time], y[on_time]
        fitted = len(x) >= _MIN_ANCHORS and float(np.ptp(x)) >= _MIN_SPAN_US
        if fitted:
            first, second = _pairs(len(x))
            run = x[second] - x[first]
            slopes = np.sort((y[second] - y[first])[run != 0] / run[run != 0])
            slope = min(max(float(slopes[len(slopes) // 2]), -MAX_SKEW), MAX_SKEW)
            self._skew = round(slope * _ONE)
        above = np.sort(y - self.skew * x)
        self._reference = last_device
        self._offset = last_delay + round(float(above[len(above) // 4 if fitted else 0]))
        self._spread = round(float(above[3 * len(above) // 4] - above[0])) if fitted else None


@lru_cache(maxsize=_ANCHORS + 1)
def _pairs(n: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """All pairs of n points."""
    first, second = np.triu_indices(n, 1)
    return first, second
