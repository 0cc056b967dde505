"""What is known of the past of devices; see ``history.History``. All times are UTC microseconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple, TypeVar

T = TypeVar("T")
Kind = Literal["begin", "end", "corrected"]


class Episode(NamedTuple):
    """An activity from then to then.

    Args:
        device: its id.
        begin_us: start.
        end_us: end; of one that goes on, the end of the newest label.
        goes_on: whether no later label has ended it. That its device is silent since ends nothing.
        cluster: public id of today; -1 unknown, -2 not worn.
        name: of today.
        windows: labels in it, also those of other clusters that were too few.
        confidence: mean smoothed probability over its windows, where those of other clusters count 0.
        was: public ids that its labels carried when they were published, more than one after a merge.
    """

    device: str
    begin_us: int
    end_us: int
    goes_on: bool
    cluster: int
    name: str
    windows: int
    confidence: float
    was: tuple[int, ...]

    @property
    def seconds(self) -> float:
        """How long."""
        return (self.end_us - self.begin_us) / 1e6


class WindowLabel(NamedTuple):
    """A label of one window, smoothed.

    Args:
        device: its id.
        begin_us: start of the window.
        end_us: its end.
        cluster: public id of today; -1 unknown, -2 not worn.
        name: of today.
        confidence: smoothed probability.
        was: public id that the label carries.
        best: the same before smoothing.
        best_confidence: its probability.
        distance: from the centroid, squared.
        novelty: None if it is not known.
        model: version that gave the label.
        boot: of the device.
        window: number of the window in the boot.
        position: of its message in the spool.
        deferred: whether the label came late, since the server was overloaded.
        bridged: whether a part of the window was made up.
        labelled_us: server time of the label.
    """

    device: str
    begin_us: int
    end_us: int
    cluster: int
    name: str
    confidence: float
    was: int
    best: int
    best_confidence: float
    distance: float
    novelty: float | None
    model: str
    boot: int
    window: int
    position: int
    deferred: bool
    bridged: bool
    labelled_us: int


class Share(NamedTuple):
    """How long a device did something.

    Args:
        cluster: public id of today; -1 unknown, -2 not worn.
        name: of today.
        seconds: in all.
        episodes: in how many.
    """

    cluster: int
    name: str
    seconds: float
    episodes: int


class DeviceSummary(NamedTuple):
    """What a device does now, as far as its labels go.

    Args:
        device: its id.
        last_us: end of the newest label; None if no label of it has a time.
        cluster: public id of what goes on; None if nothing does, or it is not decided yet.
        name: of that; "" likewise.
        since_us: since when it goes on; None likewise.
        model: version that gave the newest label.
        untimed: labels without a time, which are in no episode.
    """

    device: str
    last_us: int | None
    cluster: int | None
    name: str
    since_us: int | None
    model: str
    untimed: int


class EpisodeEvent(NamedTuple):
    """What has become of a device's episodes.

    Args:
        sequence: strictly growing; some numbers may be missing.
        at_us: server time of the label by which it came about.
        device: its id.
        kind: ``begin``; ``end``; or ``corrected``: labels came late, so read the episodes of that time again.
        begin_us: of the episode, or of the time that was corrected.
        end_us: None for a begin.
        cluster: public id; None for a correction.
        name: "" for a correction.
    """

    sequence: int
    at_us: int
    device: str
    kind: Kind
    begin_us: int
    end_us: int | None
    cluster: int | None
    name: str


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list.

    Args:
        items: the part.
        after: what to give as ``after`` for the next part; None if this is the last.
    """

    items: tuple[T, ...]
    after: str | None


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events behind a sequence number.

    Args:
        events: in order.
        sequence: what to give for the next; never less than what was given.
        complete: False if events between were removed, for their age: read the episodes anew.
        more: whether there are more already.
    """

    events: tuple[EpisodeEvent, ...]
    sequence: int
    complete: bool
    more: bool
