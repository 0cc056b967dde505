"""What the live page knows: one card per device, fed through an inbox that never blocks.

The server's worker appends to the inbox; the page's own thread drains it a few times a second. If the
page cannot keep up, the oldest entries fall out of the inbox and are counted: the page loses detail, the
server loses nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from disc_stream.clock import Clock, SystemClock
from disc_stream.types import Label, Problem, SampleBatch, SoftLabel
from disc_stream_server.dashboard.trace import Point, Trace

INBOX = 20_000
STRIP = 120  # windows kept for the timeline strip
MAX_DEVICES = 2_000
TRACED_DEVICES = 400  # beyond this many, further cards show labels without a trace
_RATE_SPAN_S = 5

Annotate = Callable[[Label], str]
DeviceProblem = tuple[str, Problem | None]  # None: it is over


@dataclass(slots=True)
class _Card:
    """One device, and what changed since the last delta."""

    device: str
    seen: float
    trace: Trace | None
    label: Label | None = None
    note: str = ""
    problem: Problem | None = None
    strip: deque[int] = field(default_factory=lambda: deque(maxlen=STRIP))
    new_points: list[Point] = field(default_factory=list)
    new_windows: list[int] = field(default_factory=list)
    heard: bool = True  # since the last delta
    labelled: bool = False  # since the last delta
    restarted: bool = True  # the client must replace the card


class Board:
    """State of the live page.

    Args:
        clock: for ages and rates.
        annotate: text to show beside a device's label; called on the page's thread.
        max_devices: beyond this the device that was silent longest is forgotten.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        annotate: Annotate | None = None,
        max_devices: int = MAX_DEVICES,
    ) -> None:
        self._clock = clock or SystemClock()
        self._annotate = annotate
        self._max_devices = max_devices
        self._inbox: deque[SampleBatch | Label | DeviceProblem | dict[str, Any]] = deque(maxlen=INBOX)
        self._posted = 0
        self._taken = 0
        self._cards: dict[str, _Card] = {}
        self._gone: list[str] = []
        self._status: dict[str, Any] = {}
        self._per_second: deque[tuple[int, int]] = deque(maxlen=_RATE_SPAN_S + 1)  # (second, labels)

    # -- the server's thread ------------------------------------------------------------------------

    def post(self, item: SampleBatch | Label | DeviceProblem | dict[str, Any]) -> None:
        """Hand in something new; O(1), never blocks."""
        self._posted += 1
        self._inbox.append(item)

    # -- the page's thread --------------------------------------------------------------------------

    def drain(self) -> None:
        """Take in everything that was posted."""
        for _ in range(len(self._inbox)):
            item = self._inbox.popleft()
            self._taken += 1
            if isinstance(item, SampleBatch):
                self._take_batch(item)
            elif isinstance(item, Label):
                self._take_label(item)
            elif isinstance(item, tuple):
                self._take_problem(*item)
            else:
                self._status = item

    def _card(self, device: str) -> _Card:
        card = self._cards.get(device)
        if card is None:
            if len(self._cards) >= self._max_devices:
                silent = min(self._cards.values(), key=lambda c: c.seen)
                del self._cards[silent.device]
                self._gone.append(silent.device)
            traced = sum(c.trace is not None for c in self._cards.values()) < TRACED_DEVICES
            card = _Card(device, self._clock.monotonic(), Trace() if traced else None)
            self._cards[device] = card
        card.seen = self._clock.monotonic()
        card.heard = True
        return card

    def _take_batch(self, batch: SampleBatch) -> None:
        card = self._card(batch.device)
        if card.trace is None:
            return
        points = card.trace.add(batch)
        if points is None:
            card.restarted = True
        else:
            card.new_points += points

    def _take_label(self, label: Label) -> None:
        self._count_label()
        card = self._card(label.device)
        last = card.label
        if last is not None and last.boot == label.boot and label.window <= last.window:
            return  # published again after a restart of the server: already shown
        card.label = label
        card.labelled = True
        card.strip.append(label.smoothed.label)
        card.new_windows.append(label.smoothed.label)
        if self._annotate is not None:
            card.note = self._annotate(label)

    def _take_problem(self, device: str, problem: Problem | None) -> None:
        if problem is None and device not in self._cards:
            return
        card = self._card(device)
        card.problem = problem
        card.restarted = True

    def _count_label(self) -> None:
        second = int(self._clock.monotonic())
        if self._per_second and self._per_second[-1][0] == second:
            self._per_second[-1] = (second, self._per_second[-1][1] + 1)
        else:
            self._per_second.append((second, 1))

    def _labels_per_s(self) -> float:
        """Mean over the last whole seconds."""
        now = int(self._clock.monotonic())
        return sum(n for second, n in self._per_second if now - _RATE_SPAN_S <= second < now) / _RATE_SPAN_S

    # -- what goes out ------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """The whole state, for a client that has just come (or fell behind)."""
        now = self._clock.monotonic()
        return {
            "server": self._server_line(),
            "devices": [_whole(card, now) for card in sorted(self._cards.values(), key=lambda c: c.device)],
        }

    def delta(self) -> dict[str, Any]:
        """What changed since the last call."""
        now = self._clock.monotonic()
        changed = []
        for card in self._cards.values():
            if card.restarted:
                changed.append(_whole(card, now))
            elif card.heard:
                changed.append(_changes(card))
            card.new_points, card.new_windows = [], []
            card.heard = card.labelled = card.restarted = False
        gone, self._gone = self._gone, []
        return {"server": self._server_line(), "changed": changed, "gone": gone}

    def _server_line(self) -> dict[str, Any]:
        return {
            "status": self._status,
            "devices": len(self._cards),
            "labels_per_s": round(self._labels_per_s(), 2),
            "skipped": max(0, self._posted - self._taken - len(self._inbox)),
        }


def _whole(card: _Card, now: float) -> dict[str, Any]:
    trace = card.trace
    return {
        "id": card.device,
        "age_s": round(now - card.seen, 2),
        "trace": None
        if trace is None or not trace.names
        else {
            "names": trace.names,
            "unit": trace.unit,
            "rate": trace.rate,
            "size": trace.points.maxlen,
            "points": list(trace.points),
        },
        "windows": list(card.strip),
        "label": None if card.label is None else _shown(card.label),
        "note": card.note,
        "problem": None if card.problem is None else asdict(card.problem),
    }


def _changes(card: _Card) -> dict[str, Any]:
    change: dict[str, Any] = {"id": card.device}
    if card.new_points:
        change["points"] = card.new_points
    if card.labelled and card.label is not None:
        change |= {"label": _shown(card.label), "windows": card.new_windows, "note": card.note}
    return change


def _shown(label: Label) -> dict[str, Any]:
    return {
        "window": label.window,
        "smoothed": _soft(label.smoothed),
        "best": _soft(label.best),
        "soft": [_soft(s) for s in label.soft],
        "novelty": None if label.novelty is None else round(label.novelty, 2),
        "model": label.model,
    }


def _soft(soft: SoftLabel) -> dict[str, Any]:
    return {"label": soft.label, "name": soft.name, "confidence": round(soft.confidence, 4)}
