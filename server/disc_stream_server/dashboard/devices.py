"""What the live page knows of each device, written on the labelling thread and read on the page's.

Every write costs the same whatever the number of devices: a dictionary look-up and a few assignments; there
is no lock and no queue. Each attribute of a row is written by one thread only, and a reader that meets a row
between two of its assignments sees the rest at its next look.
"""

from __future__ import annotations

import re
from array import array
from collections import deque
from typing import TypeVar

from disc_stream.clock import Clock
from disc_stream.types import Label, Problem, SampleBatch

STRIP = 120  # windows kept for the timeline strip
MAX_DEVICES = 20_000
FORGET_S = 60.0  # devices silent for so long make room when the table is full
PRETRACED = 50  # devices whose trace is kept although nobody looks
BATCHES = 256  # for the traces, between two looks of the page; the oldest give way

_DIGITS = re.compile(r"(\d+)")

SortKey = tuple[str | int, ...]
T = TypeVar("T")


class Row:
    """One device.

    Args:
        device: id.
        seen: monotonic time of its first message.
        traced: whether its samples are wanted for drawing.
    """

    __slots__ = ("device", "label", "seen", "strip", "traced", "windows")

    def __init__(self, device: str, seen: float, traced: bool) -> None:
        self.device = device
        self.seen = seen
        self.traced = traced  # written by the page
        self.label: Label | None = None
        self.windows = 0
        """Labels shown so far."""
        self.strip = array("q", bytes(8 * STRIP))  # ring of smoothed labels

    def last_windows(self, since: int, until: int) -> list[int]:
        """Smoothed labels number ``since`` to ``until``, oldest first; no more than a strip holds."""
        first = max(since, self.windows - STRIP + 1)  # one less: that one may be overwritten just now
        return [self.strip[n % STRIP] for n in range(first, until)]


class DeviceTable:
    """All devices. ``batch``, ``label`` and ``problem`` are for the labelling thread, the rest for the page.

    Args:
        clock: time.
        max_devices: how many rows there may be; when as many devices are live, further ones are not shown.
    """

    def __init__(self, clock: Clock, max_devices: int = MAX_DEVICES) -> None:
        self._clock, self._max_devices = clock, max_devices
        self._rows: dict[str, Row] = {}
        self._new: deque[Row] = deque()  # not yet in the order
        self._batches: deque[SampleBatch] = deque(maxlen=BATCHES)
        self._posted = self._taken = 0  # batches for the traces
        self._erased: deque[str] = deque()
        self._order: list[tuple[SortKey, str]] = []
        self.problems: dict[str, Problem] = {}
        """Devices that have no labels, or worse ones, for a known reason."""
        self.labels = 0
        """Labels since the start."""

    # -- the labelling thread -----------------------------------------------------------------------

    def batch(self, batch: SampleBatch) -> None:
        """A device has sent samples."""
        row = self._rows.get(batch.device) or self._add(batch.device)
        if row is None:
            return
        row.seen = self._clock.monotonic()
        if row.traced:
            self._posted += 1
            self._batches.append(batch)

    def label(self, label: Label) -> None:
        """A device has got a label."""
        self.labels += 1
        row = self._rows.get(label.device) or self._add(label.device)
        if row is None:
            return
        last = row.label
        if last is not None and last.boot == label.boot and label.window <= last.window:
            return  # published again after a restart of the server: already shown
        row.strip[row.windows % STRIP] = label.smoothed.label
        row.label = label
        row.windows += 1  # last: what it counts is there

    def problem(self, device: str, problem: Problem | None) -> None:
        """Why a device has no labels, or worse ones; None: that is over."""
        if problem is None:
            self.problems.pop(device, None)
        elif device in self._rows or self._add(device) is not None:
            self.problems[device] = problem

    def forget(self, device: str) -> None:
        """A device was erased; the page drops it with its next upkeep."""
        self._rows.pop(device, None)
        self.problems.pop(device, None)
        self._erased.append(device)

    def _add(self, device: str) -> Row | None:
        if len(self._rows) >= self._max_devices:
            return None
        row = Row(device, self._clock.monotonic(), traced=len(self._rows) < PRETRACED)
        self._rows[device] = row
        self._new.append(row)
        return row

    # -- the page's thread --------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, device: str) -> Row | None:
        """A device's row."""
        return self._rows.get(device)

    def names(self) -> list[str]:
        """All devices in natural order: ``hip-2`` before ``hip-10``. Only new devices are sorted in."""
        fresh = len(self._new)
        if fresh:
            self._order += [(sort_key(row.device), row.device) for row in _take(self._new, fresh)]
            self._order.sort()  # fast on what is sorted already
        return [name for _, name in self._order]

    def first(self, count: int) -> list[str]:
        """The first so many of ``names``."""
        if self._new:
            self.names()
        return [name for _, name in self._order[:count]]

    def take_batches(self, limit: int = BATCHES) -> list[SampleBatch]:
        """Batches for the traces since the last call; the newest, where there are more than ``limit``."""
        batches = _take(self._batches, len(self._batches))[-limit:]
        self._taken += len(batches)
        return batches

    @property
    def skipped(self) -> int:
        """Batches that were not drawn, because more came than the page draws."""
        return max(0, self._posted - self._taken - len(self._batches))

    def drop_erased(self) -> list[str]:
        """Drop the devices that were erased since the last call from the order; returns them."""
        erased = _take(self._erased, len(self._erased))
        if erased:
            self.names()
            gone = set(erased)
            left = ((key, name) for key, name in self._order if name not in gone or name in self._rows)
            self._order = list(dict.fromkeys(left))  # one that is back already stands there twice
            kept = [batch for batch in _take(self._batches, len(self._batches)) if batch.device not in gone]
            self._batches.extendleft(reversed(kept))
        return erased

    def make_room(self) -> None:
        """When the table is full, remove those silent longest, a tenth at once, but no live ones."""
        if len(self._rows) < self._max_devices:
            return
        self.names()
        before = self._clock.monotonic() - FORGET_S
        rows = [row for _, name in self._order if (row := self._rows.get(name)) and row.seen < before]
        for row in sorted(rows, key=lambda row: row.seen)[: max(1, self._max_devices // 10)]:
            self._rows.pop(row.device, None)
            self.problems.pop(row.device, None)
        self._order = [entry for entry in self._order if entry[1] in self._rows]


def sort_key(device: str) -> SortKey:
    """Natural order of ids: runs of digits by their value, the rest without regard to case."""
    parts = _DIGITS.split(device.lower())
    return tuple(int(part) if index % 2 else part for index, part in enumerate(parts))


def _take(queue: deque[T], count: int) -> list[T]:
    """Remove up to ``count`` entries from the left, while another thread appends."""
    taken: list[T] = []
    try:
        for _ in range(count):
            taken.append(queue.popleft())  # noqa: PERF401 - what was taken is kept when it runs empty
    except IndexError:
        pass  # a bounded queue has dropped some meanwhile
    return taken
