"""Everything that the live page knows.

::

    labelling thread ──▶ DeviceTable ◀── a few times a second ── View of each browser ──▶ what changed
                         (O(1) a message)                        (200 devices at most)

The work for a message does not depend on the number of devices, nor on who looks; the work for a browser
depends on what it shows.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from disc_stream.clock import Clock, SystemClock
from disc_stream.types import Label, Problem, SampleBatch
from disc_stream_server.dashboard.devices import BATCHES, MAX_DEVICES, DeviceTable
from disc_stream_server.dashboard.traces import Traces
from disc_stream_server.dashboard.view import Annotate, Query, View

log = logging.getLogger(__name__)

MUCH_BACKLOG = 1_000  # messages that wait to be labelled, from which on the page makes do with less
FEW_BATCHES = 64  # drawn at once meanwhile
_RATE_SPAN_S = 5.0
_UPKEEP_S = 1.0

Readiness = Callable[[], str | None]


class Board:
    """State of the live page.

    Args:
        clock: for ages and rates.
        annotate: text to show beside a device's label; called on the page's thread.
        ready: what keeps messages from becoming labels now, None if nothing does; called on the page's
            thread. Default: goes by the last status.
        max_devices: how many are kept.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        annotate: Annotate | None = None,
        ready: Readiness | None = None,
        max_devices: int = MAX_DEVICES,
    ) -> None:
        self._clock = clock or SystemClock()
        self._annotate = annotate
        self._annotate_failed = False
        self.ready = ready or self._by_status
        """None if messages become labels now, else what the server is waiting for."""
        self._table = DeviceTable(self._clock, max_devices)
        self._traces = Traces(self._table, self._clock)
        self._status: tuple[dict[str, Any], float] = ({}, 0.0)  # and when it came
        self._totals: deque[tuple[float, int]] = deque([(self._clock.monotonic(), 0)])  # time, labels so far
        self._upkeep_at = 0.0
        # Bound, not wrapped: they are called for every message.
        self.on_batch: Callable[[SampleBatch], None] = self._table.batch
        self.on_label: Callable[[Label], None] = self._table.label
        self.on_problem: Callable[[str, Problem | None], None] = self._table.problem
        self.on_forget: Callable[[str], None] = self._table.forget

    # -- the labelling thread -----------------------------------------------------------------------

    def on_status(self, status: dict[str, Any]) -> None:
        """The server's status."""
        self._status = (dict(status), self._clock.monotonic())

    # -- the page's thread --------------------------------------------------------------------------

    def update(self) -> None:
        """Take in what has come since the last call."""
        now = self._clock.monotonic()
        self._traces.forget(self._table.drop_erased())
        self._traces.update(FEW_BATCHES if self.hurried else BATCHES)
        self._totals.append((now, self._table.labels))
        while len(self._totals) > 2 and self._totals[1][0] <= now - _RATE_SPAN_S:
            self._totals.popleft()
        if now >= self._upkeep_at:
            self._upkeep_at = now + _UPKEEP_S
            self._table.make_room()
            self._traces.drop_unwanted()

    def view(self, query: Query) -> View:
        """A look at some of the devices."""
        return View(query, self._table, self._traces, self._note)

    @property
    def status(self) -> dict[str, Any]:
        """The last status; the same object until another comes."""
        return self._status[0]

    @property
    def hurried(self) -> bool:
        """Whether the server has so much to do that the page makes do with less."""
        return int(self.status.get("backlog", 0)) > MUCH_BACKLOG

    def server(self) -> dict[str, Any]:
        """What is true of the server now, the status itself left out."""
        status, came_at = self._status
        return {
            "devices": len(self._table),
            "unlabelled": len(self._table.problems),
            "labels_per_s": round(self._labels_per_s(), 2),
            "skipped": self._table.skipped,
            "waits_for": self.ready(),
            "status_age_s": round(self._clock.monotonic() - came_at, 1) if status else None,
        }

    def now(self) -> float:
        """Monotonic time."""
        return self._clock.monotonic()

    def _labels_per_s(self) -> float:
        """Mean over the last seconds."""
        (begin, before), (end, after) = self._totals[0], self._totals[-1]
        return (after - before) / (end - begin) if end > begin else 0.0

    def _note(self, label: Label) -> str:
        if self._annotate is None:
            return ""
        try:
            return self._annotate(label)
        except Exception:
            if not self._annotate_failed:
                self._annotate_failed = True
                log.exception("the note beside a label could not be made; the page goes on without")
            return ""

    def _by_status(self) -> str | None:
        status = self.status
        if not status:
            return "the first status of the server"
        if status.get("waits_for"):
            return str(status["waits_for"])
        if status.get("connected") is False:
            return "the broker"
        return None if status.get("state") == "online" else "the server to be online"
