"""The third stage: the fleet publishes live, the server labels, a subscriber receives, results are shown."""

from __future__ import annotations

import queue
import threading
import time
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.live import Live

from disc_stream.demo.counts import DeliveryCounts
from disc_stream.demo.fleet import Fleet
from disc_stream.demo.newcomer import NewActivity
from disc_stream.demo.notes import TruthNotes
from disc_stream.demo.service import DemoService
from disc_stream.demo.truth import TruthComparison
from disc_stream.watching.events import DeviceFilter, Event, LabelSeen, read_message
from disc_stream.watching.state import LiveState
from disc_stream.watching.table import StateTable
from disc_stream.watching.views import REFRESH_HZ, LineView
from disc_stream.wire.mqtt import LinkListener, Message, MqttLink
from disc_stream.wire.topics import DEFAULT_PREFIX, Kind, Topics
from disc_stream_edge.publisher import Publisher, Sending

_SLICE_S = 0.1
_DRAIN_S = 10.0  # without any progress, after publishing has ended


@dataclass(frozen=True, slots=True)
class Records:
    """What is recorded while labels come.

    Args:
        counts: messages, windows and labels; an observer of the server.
        comparison: labels and true activities.
        notes: each device's last label beside the true activity.
    """

    counts: DeliveryCounts
    comparison: TruthComparison
    notes: TruthNotes


class LiveDemo:
    """The fleet and the display, while the service labels; use it in a ``with`` statement.

    Args:
        service: labels everything that was collected before; started.
        fleet: who publishes.
        records: are kept up to date.
        speed: 1 is real time.
        follow: is told of each live label, and asked now and then what is due; None for nobody.
    """

    def __init__(
        self,
        service: DemoService,
        fleet: Fleet,
        records: Records,
        *,
        speed: float,
        follow: NewActivity | None = None,
    ) -> None:
        self._service, self._fleet, self._speed = service, fleet, speed
        self._counts, self._comparison, self._notes = records.counts, records.comparison, records.notes
        self._follow = follow
        self._topics = Topics(DEFAULT_PREFIX)
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._link = MqttLink(
            service.broker,
            f"disc-stream-demo-display-{uuid.uuid4().hex[:12]}",
            LinkListener(on_message=self._receive),
        )
        self._link.subscribe(self._topics.all_of(Kind.LABEL))
        self._link.subscribe(self._topics.server_status)
        self._publish_no_more = threading.Event()
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="fleet")
        self._publishing: Future[None] | None = None
        self._parts = ExitStack()
        self._started_at = 0.0
        self.published_s = 0.0

    def __enter__(self) -> Self:
        with ExitStack() as parts:  # ended in reverse order
            parts.callback(self._link.close)
            self._link.connect()
            parts.callback(self._end_publishing)
            self._started_at = time.monotonic()
            self._publishing = self._threads.submit(self._publish)
            self._parts = parts.pop_all()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._parts.close()

    def _end_publishing(self) -> None:
        self._publish_no_more.set()
        self._threads.shutdown(wait=True)

    # -- the fleet's thread ---------------------------------------------------------------------------

    def _publish(self) -> None:
        """Publish until stopped; recordings begin again, as after a reboot of the device."""
        publisher = Publisher(
            self._service.broker, sending=Sending(speed=self._speed), on_publish=self._counts.on_publish
        )
        boot = int(time.time())
        while not self._publish_no_more.is_set():
            sources = self._fleet.sources(boot=boot, start_us=time.time_ns() // 1000)
            self._comparison.follow(self._fleet.truths)
            publisher.run(sources, self._publish_no_more)
            boot += 1

    # -- the subscriber's thread ----------------------------------------------------------------------

    def _receive(self, message: Message) -> None:
        now = time.monotonic()
        event = read_message(message, self._topics, DeviceFilter())
        if event is None or (isinstance(event, LabelSeen) and not self._counts.receive(event.label, now)):
            return
        self._events.put(event)

    # -- the main thread ------------------------------------------------------------------------------

    def run(self, stop: threading.Event, *, duration_s: float | None, quiet: bool) -> None:
        """Show labels until ``stop`` is set or the time is over; then stop publishing and drain.

        Raises:
            DiscStreamError: if a part of the service fails.
        """
        state = LiveState()
        console = Console()
        on_terminal = console.is_terminal and not console.is_dumb_terminal and not quiet
        lines = None if on_terminal or quiet else LineView()
        table = StateTable(
            state, "The first windows are on their way.", self._notes.by_device, self._notes.title
        )
        live: AbstractContextManager[Any] = (
            Live(table, console=console, refresh_per_second=REFRESH_HZ, vertical_overflow="crop")
            if on_terminal
            else nullcontext()
        )
        end = None if duration_s is None else self._started_at + duration_s
        with live:
            while not stop.is_set() and (end is None or time.monotonic() < end):
                self._check()
                if self._follow is not None:
                    self._follow.step()
                left = _SLICE_S if end is None else min(_SLICE_S, max(0.0, end - time.monotonic()))
                self._take(left, state, lines)
            self._drain(state, lines)

    def _take(self, timeout_s: float, state: LiveState, lines: LineView | None) -> None:
        try:
            event = self._events.get(timeout=timeout_s)
        except queue.Empty:
            return
        if isinstance(event, LabelSeen):
            if self._follow is not None:
                self._follow.label(event.label)
            self._comparison.add(event.label)
            self._notes.add(event.label)
        if state.take(event) and lines is not None:
            lines.show(event)

    def _check(self) -> None:
        """Raise what has made a part of the service end."""
        self._service.check()
        if self._publishing is not None and self._publishing.done():
            self._publishing.result()

    def _drain(self, state: LiveState, lines: LineView | None) -> None:
        """Publish no more; wait for what is on its way as long as something arrives."""
        self._end_publishing()
        self.published_s = time.monotonic() - self._started_at
        self._check()
        still_open, deadline = self._counts.open, time.monotonic() + _DRAIN_S
        while (still_open or not self._events.empty()) and time.monotonic() < deadline:
            self._take(_SLICE_S, state, lines)
            if self._counts.open != still_open:
                still_open, deadline = self._counts.open, time.monotonic() + _DRAIN_S
