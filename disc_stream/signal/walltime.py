"""The time of day at which a window happened, or None where that is not known.

A clock that shows the time of day keeps its own: data that was stored and comes an hour late was recorded an
hour ago. What is believed lies after 2014, at most 5 minutes ahead of the server and at most a year behind it
(a clock that was never set shows the year it was made in). It is used as it is, without correction: that it
is off by some minutes cannot be told from data that is some minutes late.

A clock that counts from the boot says nothing of the day by itself. It is mapped by the clock line, which
goes through the messages that came fastest, but only while data is live:

==============  =============================================================================================
live            after 3 s of arrivals in which device time went on at least half as fast as arrivals did, and
                no message came faster than those before by more than 100 ms (and 2 % of the time between);
                the message that makes it live did not come in a burst
no longer live  when a message comes faster than all before by more than 1 s: those before were late
late            a message that came more than 75 s slower than the fastest: it was stored during an outage.
                Devices that send once a minute are not late
==============  =============================================================================================
"""

from __future__ import annotations

from typing import Any

MAX_AHEAD_US = 300_000_000
"""A clock further ahead of the server does not show the time of day."""

MAX_BEHIND_US = 366 * 86_400_000_000
"""Nor does one further behind."""

MAX_LATE_US = 75_000_000
"""Data that comes later than that was stored."""

_UNIX_US = 1_400_000_000_000_000  # 2014
_LIVE_AFTER_US = 3_000_000
_FASTER_US, _LIVE_FASTER_US = 100_000, 1_000_000
_DRIFT = 0.02  # a clock that is off by more is no clock;
_MAX_DRIFT_US = 30_000_000  # but a slow one is allowed for no longer, without a message
_PACE = 0.5  # of real time, at least
_MAX_JITTER_US = 2_000_000  # of stamps; a step back by more: the clock was set
_LINE_OFF_US = 1_000_000


class WallTime:
    """Time of day of one device in one boot. It has no time source of its own."""

    __slots__ = (
        "_begin_us", "_fastest_us", "_floor_at_us", "_floor_us", "_last_end_us", "_last_received_us",
        "_last_t0_us", "_late", "_live", "_own", "_said_us", "_since_us",
    )  # fmt: skip

    def __init__(self) -> None:
        self._own = False  # whether the device's clock shows the time of day
        self._live = False
        self._late = False  # the last batch
        self._last_t0_us = self._last_end_us = 0
        self._last_received_us = 0  # 0: nothing has been observed
        self._since_us = self._begin_us = 0  # arrival and end of the message from which on data may be live
        self._floor_us = self._floor_at_us = 0  # shortest delay since then, when that message came
        self._fastest_us = 0  # the same, but growing as it would by a slow clock
        self._said_us = 0  # the latest time that was given; 0: none

    def observe(self, t0_us: int, end_us: int, received_us: int) -> None:
        """Take the next batch of the boot, in order.

        Args:
            t0_us: device time of its first sample in µs, units and wraps mended.
            end_us: device time at its end.
            received_us: server time of its arrival, Unix µs; what is not a time of day is not known.
        """
        if received_us < _UNIX_US:
            self._own = self._live = False
            self._last_received_us = 0
            return
        if self._last_received_us and t0_us < self._last_t0_us - _MAX_JITTER_US:
            self._last_received_us = self._said_us = 0
        behind_us = received_us - end_us
        self._own = t0_us > _UNIX_US and -MAX_AHEAD_US <= behind_us <= MAX_BEHIND_US
        self._pace(end_us, received_us)
        self._last_t0_us, self._last_end_us, self._last_received_us = t0_us, end_us, received_us

    def at(self, device_us: int, line_us: int | None) -> int | None:
        """Time of day of a moment in or shortly before the last batch, Unix µs; None if it is not known.

        Windows ask in their order, and stamps jitter: the answers never go back until the clock is set back.

        Args:
            device_us: device time in µs, mended.
            line_us: server time of it by the clock line.
        """
        wall_us = self._wall(device_us, line_us)
        if wall_us is None:
            return None
        if wall_us < self._said_us - _MAX_JITTER_US:
            return None  # this or what was said before is wrong
        self._said_us = max(wall_us, self._said_us)
        return self._said_us

    def _wall(self, device_us: int, line_us: int | None) -> int | None:
        if not self._last_received_us:
            return None
        if self._own:
            return device_us
        if line_us is None or self._late or not self._live:
            return None
        # Messages are only ever late, so the fastest one bounds the time from above. Where the line lies far
        # from it, it was drawn out over an outage, or the device's clock stood still.
        fastest_us = device_us + self._fastest_us
        return max(min(line_us, fastest_us), fastest_us - _LINE_OFF_US)

    def _pace(self, end_us: int, received_us: int) -> None:
        """Whether data comes as fast as it is made."""
        delay_us = received_us - end_us
        if not self._last_received_us:
            self._restart(end_us, received_us)
            return
        passed_us = max(0, received_us - self._last_received_us)
        faster_us = self._floor_us - _drift(received_us - self._floor_at_us) - delay_us
        if faster_us > (_LIVE_FASTER_US if self._live else _FASTER_US):
            self._restart(end_us, received_us)
            return
        if delay_us <= self._floor_us:
            self._floor_us, self._floor_at_us = delay_us, received_us
        self._fastest_us = min(delay_us, self._fastest_us + _drift(passed_us))
        self._late = delay_us - self._fastest_us > MAX_LATE_US
        since_us = received_us - self._since_us
        keeps_pace = end_us - self._begin_us >= _PACE * since_us and passed_us >= _PACE * (
            end_us - self._last_end_us
        )
        self._live = self._live or (since_us >= _LIVE_AFTER_US and keeps_pace)

    def _restart(self, end_us: int, received_us: int) -> None:
        self._live = self._late = False
        self._since_us, self._begin_us = received_us, end_us
        self._fastest_us = self._floor_us = received_us - end_us
        self._floor_at_us = received_us

    # -- saved state ------------------------------------------------------------------------------------

    def state(self) -> tuple[Any, ...]:
        """Everything as plain values, for ``restore``."""
        return (
            self._own, self._live, self._late, self._last_t0_us, self._last_end_us, self._last_received_us,
            self._since_us, self._begin_us, self._floor_us, self._floor_at_us, self._fastest_us,
            self._said_us,
        )  # fmt: skip

    def restore(self, state: tuple[Any, ...]) -> None:
        """Continue where ``state`` was taken."""
        (
            self._own, self._live, self._late, self._last_t0_us, self._last_end_us, self._last_received_us,
            self._since_us, self._begin_us, self._floor_us, self._floor_at_us, self._fastest_us,
            self._said_us,
        ) = state  # fmt: skip


def _drift(passed_us: int) -> int:
    """By how much a clock may be off after a time without a message that was fast."""
    return round(_DRIFT * min(passed_us, _MAX_DRIFT_US))
