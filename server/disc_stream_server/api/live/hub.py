"""Fan-out of what happens to viewers; one who does not read falls behind alone, and is told so.

::

    labelling thread ──▶ LiveTable ◀── a few times a second ── LiveHub ──▶ queue of each viewer ──▶ network

Each label is encoded once; viewers with one filter share each event. A viewer's queue is bounded: when it is
full it is emptied, what was in it is counted, and the viewer is told the number before anything else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from disc_stream.clock import Clock
from disc_stream.types import Float32Array, Label
from disc_stream_server.api.auth.roles import Identity
from disc_stream_server.api.live.feed import (
    Event,
    Filter,
    encode_label,
    labels_event,
    plain_event,
    problem_event,
    trace_facts,
)
from disc_stream_server.api.live.table import LiveTable
from disc_stream_server.dashboard.trace import Trace

log = logging.getLogger(__name__)

INTERVAL_S = 0.1
HURRIED_S = 1.0  # while the server has more important things to do
MUCH_BACKLOG = 1_000
IDLE_S = 1.0
LONGEST_S = 2.0
SHARE = 0.06  # of one processor that the feed may use; beyond it, events become rarer
QUEUE = 32  # events that a viewer may be behind: four seconds
MAX_VIEWERS = 256
HEARTBEAT_S = 5.0
MOST_LABELS = 5_000
"""Labels in one event; older ones of the same tick are counted as dropped."""
_LOOK_S = 2.0  # between two looks at tags, and whether viewers may stay
_MOST_TRACES = 400
_ASKED_S = 15.0  # so long a trace is kept that was asked for once

StillGood = Callable[[Identity], bool]
TaggedWith = Callable[[frozenset[str]], frozenset[str]]


class Viewer:
    """One connection.

    Args:
        who: looks on.
        address: of the machine that it is on, or of a proxy.
        wanted: which labels.
    """

    def __init__(self, who: Identity, address: str, wanted: Filter) -> None:
        self.who, self.address, self.wanted = who, address, wanted
        self.dropped = 0
        self.ended = ""
        """Why it was ended; "" while it goes on."""
        self._queue: asyncio.Queue[Event | None] = asyncio.Queue(QUEUE)
        self._untold = 0
        self.traces: dict[str, tuple[int, int]] = {}
        """By device, restarts and points that it knows."""

    def offer(self, event: Event) -> int:
        """Queue an event; with a full queue, drop what is in it. How many labels were dropped."""
        lost = 0
        if self._queue.full():
            lost = self._clear()
            self._untold += lost
            self.dropped += lost
        self._queue.put_nowait(event)
        return lost

    def end(self, why: str) -> None:
        """Let the connection end after what it is sending now."""
        self.ended = why
        self._clear()
        self._queue.put_nowait(None)

    async def next(self) -> list[Event] | None:
        """What to send next; an empty list for a sign of life; None once it has ended."""
        try:
            async with asyncio.timeout(HEARTBEAT_S):
                event = await self._queue.get()
        except TimeoutError:
            return []
        if event is None:
            return None
        if self._untold:
            told, self._untold = self._untold, 0
            return [plain_event("dropped", {"labels": told, "in_all": self.dropped}), event]
        return [event]

    def _clear(self) -> int:
        lost = 0
        while not self._queue.empty():
            event = self._queue.get_nowait()
            lost += event.labels if event is not None else 0
        return lost


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a viewer is: ``EPOCH-NUMBER-TIME``.

    Args:
        epoch: of the server's run.
        number: of the next label in it.
        at_us: when the label before was published; for other runs.
    """

    epoch: str
    number: int
    at_us: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.number}-{self.at_us}"

    @classmethod
    def parse(cls, text: str) -> Mark | None:
        """Read a mark; None if it is none."""
        epoch, _, rest = text.partition("-")
        number, _, at_us = rest.partition("-")
        if not (number.isdecimal() and at_us.isdecimal()) or len(text) > 64 or not epoch.isalnum():
            return None
        return cls(epoch, int(number), int(at_us))


class LiveHub:
    """Sends each viewer what it asked for.

    Args:
        table: what is known; read on this hub's event loop only.
        clock: time.
        still_good: whether somebody who was admitted may stay.
        tagged_with: devices that have one of some tags.
    """

    def __init__(
        self, table: LiveTable, clock: Clock, *, still_good: StillGood, tagged_with: TaggedWith
    ) -> None:
        self.table, self._clock = table, clock
        self._still_good, self._tagged_with = still_good, tagged_with
        self.epoch = f"{clock.unix_us():x}"
        self._viewers: dict[Viewer, None] = {}
        self._joined = asyncio.Event()
        self._tagged: dict[frozenset[str], frozenset[str]] = {frozenset(): frozenset()}
        self._traces: dict[str, Trace] = {}
        self._asked: dict[str, float] = {}
        self._map_until = 0.0
        self._places: dict[str, tuple[Label, Float32Array]] = {}
        self._number = table.count
        self._at_us = 0
        self._status: dict[str, Any] = {}
        self._look_at = 0.0
        self._rates: list[tuple[float, int]] = [(clock.monotonic(), table.count)]
        self._closed = self._failed = False
        self.dropped = 0
        """Labels that slow viewers did not get."""

    # -- viewers ----------------------------------------------------------------------------------------

    @property
    def viewers(self) -> int:
        """How many look on."""
        return len(self._viewers)

    def has_room_for(self, address: str) -> bool:
        """Whether one more is taken; an address with many gives up its oldest to one with fewer."""
        if len(self._viewers) < MAX_VIEWERS:
            return not self._closed
        held = Counter(viewer.address for viewer in self._viewers)
        greedy, most = held.most_common(1)[0]
        if most <= held[address] + 1:
            return False
        oldest = next(viewer for viewer in self._viewers if viewer.address == greedy)
        self._viewers.pop(oldest)
        oldest.end("others at other addresses need the room")
        return True

    @contextlib.contextmanager
    def joined(self, viewer: Viewer) -> Any:
        """Look on."""
        self._viewers[viewer] = None
        self._tagged.setdefault(viewer.wanted.tags, self._tagged_with(viewer.wanted.tags))
        self._want_traces()
        self._joined.set()
        try:
            yield viewer
        finally:
            self._viewers.pop(viewer, None)
            self._want_traces()

    def change(self, viewer: Viewer, wanted: Filter) -> None:
        """Let a viewer see something else from now on."""
        viewer.wanted = wanted
        self._tagged.setdefault(wanted.tags, self._tagged_with(wanted.tags))
        self._want_traces()

    def mark(self) -> str:
        """Where a viewer is that has got everything up to the last tick."""
        return str(Mark(self.epoch, self._number, self._at_us))

    def matching(self, wanted: Filter, numbered: list[tuple[int, Label]]) -> list[Label]:
        """Of some labels, those that are wanted."""
        tagged = self._tagged.get(wanted.tags) or self._tagged_with(wanted.tags)
        return [label for _, label in numbered if wanted.wants(label, tagged)]

    def tagged(self, tags: frozenset[str]) -> frozenset[str]:
        """Devices that have one of some tags, as known at the last look."""
        return self._tagged.get(tags) or self._tagged_with(tags)

    def trace(self, device: str) -> Trace | None:
        """A device's trace, if somebody has asked for it."""
        return self._traces.get(device)

    def want_map(self) -> None:
        """Somebody looks at the map: windows are placed on it for a while."""
        self._map_until = self._clock.monotonic() + _ASKED_S
        self.table.mapped = True

    def placed(self) -> list[tuple[Label, Float32Array]]:
        """The last windows of devices since somebody looks at the map: label and embedding (d,)."""
        return list(self._places.values())

    # -- ticks ------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Tick until cancelled."""
        used, interval = time.thread_time(), IDLE_S
        while True:
            self._joined.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._joined.wait(), interval)
            try:
                self.tick()
            except Exception:
                if not self._failed:
                    self._failed = True
                    log.exception("a tick of the live feed failed; it is tried again")
            before, used = used, time.thread_time()
            interval = self._interval(used - before)

    def _interval(self, used_s: float) -> float:
        if not self._viewers:
            return IDLE_S
        hurried = int(self.table.status.get("backlog", 0)) > MUCH_BACKLOG
        return min(LONGEST_S, max(HURRIED_S if hurried else INTERVAL_S, used_s / SHARE))

    def tick(self) -> None:
        """Take in what is new, and send it."""
        now = self._clock.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_S
            self._look()
        self._rates.append((now, self.table.count))
        while len(self._rates) > 2 and self._rates[1][0] <= now - 5.0:
            self._rates.pop(0)
        groups: dict[Filter, list[Viewer]] = {}
        for viewer in self._viewers:
            groups.setdefault(viewer.wanted, []).append(viewer)
        self._send_labels(groups)
        self._send_problems(groups)
        self._send_status()
        self._send_traces(groups)
        self._place(now)

    def _place(self, now: float) -> None:
        """Take in where windows lie, as long as somebody looks."""
        for labels, embedding in self.table.take_embedded():
            for row, label in enumerate(labels):
                self._places[label.device] = (label, embedding[row].copy())  # of many others, else
        if now > self._map_until and (self.table.mapped or self._places):
            self.table.mapped = False
            self._places.clear()

    def labels_per_s(self) -> float:
        """Mean over the last seconds."""
        (begin, before), (end, after) = self._rates[0], self._rates[-1]
        return (after - before) / (end - begin) if end > begin else 0.0

    def close(self) -> None:
        """End every connection."""
        self._closed = True
        for viewer in self._viewers:
            viewer.end("the server stops")

    def _send_labels(self, groups: dict[Filter, list[Viewer]]) -> None:
        fresh = self.table.since(self._number)
        if not fresh:
            return
        self._number, self._at_us = fresh[-1][0] + 1, fresh[-1][1].published_us
        encoded: dict[int, bytes] = {}
        for wanted, viewers in groups.items():
            tagged = self._tagged.get(wanted.tags, frozenset())
            found = [(number, label) for number, label in fresh if wanted.wants(label, tagged)]
            for number, label in found[-MOST_LABELS:]:
                if number not in encoded:
                    encoded[number] = encode_label(label)
            if found:
                self._offer(viewers, labels_event([encoded[n] for n, _ in found[-MOST_LABELS:]], self.mark()))

    def _send_problems(self, groups: dict[Filter, list[Viewer]]) -> None:
        for device, problem in self.table.take_changes():
            event = None
            for wanted, viewers in groups.items():
                if wanted.wants_device(device, self._tagged.get(wanted.tags, frozenset())):
                    event = event or problem_event(device, problem)
                    self._offer(viewers, event)

    def _send_status(self) -> None:
        status = self.table.status
        if status is not self._status:
            self._status = status
            self._offer(list(self._viewers), plain_event("status", status))

    def _send_traces(self, groups: dict[Filter, list[Viewer]]) -> None:
        for device in self.table.take_erased():
            self._traces.pop(device, None)
            self._places.pop(device, None)
        for batch in self.table.take_batches():
            if batch.device in self.table.traced:
                self._traces.setdefault(batch.device, Trace()).add(batch)
        for wanted, viewers in groups.items():
            for device in wanted.traces:
                trace = self._traces.get(device)
                if trace is None or not trace.size:
                    continue
                for viewer in viewers:
                    restarts, points = viewer.traces.get(device, (0, 0))
                    since = points if restarts == trace.restarts else 0
                    if trace.count > since:
                        viewer.traces[device] = (trace.restarts, trace.count)
                        facts = trace_facts(device, trace, since)
                        self._offer([viewer], plain_event("trace", {**facts, "restarted": since == 0}))

    def _offer(self, viewers: list[Viewer], event: Event) -> None:
        for viewer in viewers:
            self.dropped += viewer.offer(event)

    def _look(self) -> None:
        """Read the tags anew, and end those whose token has ended."""
        wanted = {viewer.wanted.tags for viewer in self._viewers}
        self._tagged = {tags: self._tagged_with(tags) for tags in {*wanted, frozenset[str]()}}
        self._want_traces()
        good: dict[Identity, bool] = {}
        for viewer in list(self._viewers):
            if viewer.who not in good:
                good[viewer.who] = self._still_good(viewer.who)
            if not good[viewer.who]:
                self._viewers.pop(viewer)
                viewer.end("the token has expired or was revoked")

    def want_trace(self, device: str) -> None:
        """Somebody has asked for the trace of a device; it is kept for a while."""
        self._asked[device] = self._clock.monotonic() + _ASKED_S
        self._want_traces()

    def _want_traces(self) -> None:
        now = self._clock.monotonic()
        self._asked = {device: until for device, until in self._asked.items() if until > now}
        wanted = {device for viewer in self._viewers for device in viewer.wanted.traces} | set(self._asked)
        self.table.traced = frozenset(sorted(wanted)[:_MOST_TRACES])
        for device in set(self._traces) - wanted:
            del self._traces[device]
        for device in set(self.table.seen) - wanted:
            self.table.seen.pop(device, None)


async def events(viewer: Viewer) -> AsyncIterator[list[Event]]:
    """What a viewer gets until it has ended."""
    while (some := await viewer.next()) is not None:
        yield some
