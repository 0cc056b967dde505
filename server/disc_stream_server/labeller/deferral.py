"""Stretches of the spool whose windows are deferred, and how they are caught up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from disc_stream_server.labeller.checkpoints import Change
from disc_stream_server.labeller.lane import LaneStream
from disc_stream_server.storage.state import Lane, StateStore

OpenLane = Callable[[int], LaneStream]
"""Restores the lane with this number from what is on disk."""

_STRETCH = "stretch"  # fact: number of the stretch that ended last


@dataclass(frozen=True, slots=True)
class Backfill:
    """A stretch that is being caught up.

    Args:
        stretch: the stretch.
        stream: its lane.
    """

    stretch: Lane
    stream: LaneStream


class Deferral:
    """Keeps the stretches; only positions and states are kept, never samples of windows.

    Args:
        store: where the stretches are.
        open_lane: restores a lane.
    """

    def __init__(self, store: StateStore, open_lane: OpenLane) -> None:
        self._open_lane = open_lane
        self._ended: list[Lane] = store.lanes()
        self._current: Lane | None = None
        if self._ended and self._ended[-1].last is None:
            self._current = self._ended.pop()
        self.stretch = int(store.fact(_STRETCH) or b"0")
        """Number of the stretch that ended last; filters of the live lane begin anew after it."""
        self.backfill: Backfill | None = None
        """The stretch that is being caught up now."""
        self._change = Change()

    @property
    def is_active(self) -> bool:
        """Whether windows are being deferred."""
        return self._current is not None

    @property
    def windows(self) -> int:
        """Windows that wait, about."""
        waiting = [*self._ended, *([self._current] if self._current is not None else [])]
        return sum(lane.windows for lane in waiting)

    @property
    def newest(self) -> int:
        """Number of the newest stretch that has begun."""
        return self.stretch if self._current is None else self._current.lane

    def has_any_up_to(self, number: int) -> bool:
        """Whether windows of a stretch up to this number wait."""
        waiting = self._ended if self._current is None else [*self._ended, self._current]
        return any(lane.lane <= number for lane in waiting)

    def kept_from(self, position: int) -> int:
        """Rows after this position are still needed, given the position of the live lane."""
        lanes = [lane.position for lane in self._ended]
        if self._current is not None:
            lanes.append(self._current.first)
        return min([position, *lanes])

    # -- a stretch begins, goes on and ends ---------------------------------------------------------------

    def begin(self, position: int) -> None:
        """From this position on windows are deferred, once a checkpoint has written it down."""
        number = self.stretch + 1
        self._current = Lane(number, position, None, 0, position)
        self._change.opens = number

    def count(self, n_windows: int) -> None:
        """Windows of the stretch in progress."""
        assert self._current is not None  # noqa: S101 - see is_active
        self._current = replace(self._current, windows=self._current.windows + n_windows)
        self._change.windows[self._current.lane] = self._current.windows

    def end(self, position: int) -> None:
        """From this position on windows are labelled at once, once a checkpoint has written it down."""
        assert self._current is not None  # noqa: S101 - see is_active
        ended, self._current = replace(self._current, last=position), None
        self._ended.append(ended)
        self.stretch = ended.lane
        self._change.closes = ended.lane
        self._change.facts[_STRETCH] = b"%d" % ended.lane

    # -- catching up --------------------------------------------------------------------------------------

    def next_backfill(self) -> Backfill | None:
        """The stretch to catch up; None if there is none."""
        if self.backfill is None and self._ended:
            stretch = self._ended[0]
            stream = self._open_lane(stretch.lane)
            stream.position = stretch.position
            stream.smoother.stretch = stretch.lane - 1
            self.backfill = Backfill(stretch, stream)
        return self.backfill

    def caught_up(self, n_windows: int) -> None:
        """Windows of the stretch were labelled; at its end it goes."""
        assert self.backfill is not None  # noqa: S101 - there is one while it is caught up
        stretch, stream = self._ended[0], self.backfill.stream
        stretch = replace(stretch, windows=max(0, stretch.windows - n_windows), position=stream.position)
        self._ended[0] = stretch
        self._change.windows[stretch.lane] = stretch.windows

    def finish_backfill(self) -> None:
        """The stretch is caught up to its end."""
        stretch = self._ended.pop(0)
        self._change.windows.pop(stretch.lane, None)
        self._change.ended.append(stretch.lane)
        self.backfill = None

    def take_change(self) -> Change:
        """What the next checkpoint has to change."""
        change, self._change = self._change, Change()
        return change
