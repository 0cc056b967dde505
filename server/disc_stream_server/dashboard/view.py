"""The devices that one browser looks at, and what changed of them since its last update."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from disc_stream.types import Label, Problem, SoftLabel
from disc_stream_server.dashboard.devices import DeviceTable, Row
from disc_stream_server.dashboard.trace import Trace
from disc_stream_server.dashboard.traces import Traces

MAX_SHOWN = 200  # devices in one view
_SEARCH_S = 1.0  # between two searches through all devices
_MAX_WORDS, _MAX_FILTER = 8, 200

Annotate = Callable[[Label], str]


@dataclass(frozen=True, slots=True)
class Query:
    """Which devices are wanted.

    Args:
        words: in lower case; all must be in the device's id, its label's name or its problem.
        unlabelled: only devices that have no labels, or worse ones, for a known reason.
    """

    words: tuple[str, ...] = ()
    unlabelled: bool = False

    @classmethod
    def parse(cls, text: str, *, unlabelled: bool = False) -> Query:
        """Read the filter that a person has typed; what is beyond its limits is ignored."""
        return cls(tuple(text[:_MAX_FILTER].lower().split()[:_MAX_WORDS]), unlabelled)

    @property
    def searches(self) -> bool:
        """Whether every device must be looked at."""
        return bool(self.words) or self.unlabelled

    def matches(self, device: str, row: Row | None, problem: Problem | None) -> bool:
        """Whether a device is wanted."""
        if self.unlabelled and problem is None:
            return False
        label = row.label if row is not None else None
        name = label.smoothed.name if label is not None else "no label"
        reason = f"{problem.code} {problem.words}" if problem is not None else ""
        text = f"{device} {name} {reason}".lower()
        return all(word in text for word in self.words)


class _Card:
    """What a browser has been sent of a device."""

    __slots__ = ("label", "note", "points", "problem", "restarts", "row", "seen", "windows")

    def __init__(self, row: Row) -> None:
        self.row = row
        self.seen = row.seen
        self.label: Label | None = None
        self.note = ""
        self.problem: Problem | None = None
        self.windows = 0
        self.points = self.restarts = 0

    def update(self, trace: Trace | None, problem: Problem | None, annotate: Annotate) -> dict[str, Any]:
        """What is new since the last call; the trace as a whole where it began anew."""
        row, change = self.row, dict[str, Any]()
        windows, label, seen = row.windows, row.label, row.seen
        if label is not None and (label is not self.label or windows != self.windows):
            self.note = annotate(label) if label is not self.label else self.note
            change |= {"label": _shown(label), "note": self.note}
            change["windows"] = row.last_windows(self.windows, windows)
        if trace is not None and trace.restarts != self.restarts:
            change["trace"] = _whole_trace(trace)
        elif trace is not None and trace.count != self.points:
            change["points"] = trace.points(self.points)
        if problem is not self.problem:
            change["problem"] = None if problem is None else asdict(problem)
        if change or seen != self.seen:
            change["id"] = row.device
        self.seen, self.label, self.windows, self.problem = seen, label, windows, problem
        self.restarts, self.points = (trace.restarts, trace.count) if trace is not None else (0, 0)
        return change

    def whole(self, trace: Trace | None, now: float) -> dict[str, Any]:
        """Everything that was sent so far, for a browser that has just connected."""
        return {
            "id": self.row.device,
            "age_s": round(now - self.seen, 2),
            "trace": None if trace is None else _whole_trace(trace),
            "windows": self.row.last_windows(0, self.windows),
            "label": None if self.label is None else _shown(self.label),
            "note": self.note,
            "problem": None if self.problem is None else asdict(self.problem),
        }


class View:
    """The first devices that match a query, by name; work and memory do not grow with the number of devices.

    Only a search for words looks at all of them, once a second at most.

    Args:
        query: which devices.
        table: all of them.
        traces: of those that are shown.
        annotate: text to show beside a device's label.
    """

    def __init__(self, query: Query, table: DeviceTable, traces: Traces, annotate: Annotate) -> None:
        self._query, self._table, self._traces, self._annotate = query, table, traces, annotate
        self._cards: dict[str, _Card] = {}
        self._search_at = 0.0
        self._gone: list[str] = []
        self._came: set[str] = set()
        self.matching = 0
        """Devices that match, shown or not."""

    def choose(self, now: float) -> None:
        """Find out which devices to show."""
        if self._query.searches:
            if now < self._search_at:
                return
            self._search_at = now + _SEARCH_S
            found = self._search()
            self.matching = len(found)
            names = found[:MAX_SHOWN]
        else:
            names, self.matching = self._table.first(MAX_SHOWN), len(self._table)
        if names != list(self._cards):
            self._show(names)
        self._traces.want(self._cards)

    def _search(self) -> list[str]:
        table, problems, matches = self._table, self._table.problems, self._query.matches
        return [name for name in table.names() if matches(name, table.get(name), problems.get(name))]

    def _show(self, names: list[str]) -> None:
        before, self._cards = self._cards, {}
        for name in names:
            row = self._table.get(name)
            if row is None:
                continue
            card = before.get(name)
            if card is None or card.row is not row:
                card = _Card(row)
                self._came.add(name)
            self._cards[name] = card
        self._gone += [name for name in before if name not in self._cards]

    def delta(self, now: float) -> dict[str, Any]:
        """What changed since the last call: ``changed`` devices, those ``gone``, and the numbers."""
        changed = []
        for name, card in self._cards.items():
            trace = self._traces.get(name)
            change = card.update(trace, self._table.problems.get(name), self._annotate)
            if name in self._came:
                changed.append(card.whole(trace, now))
            elif change:
                changed.append(change)
        gone = [name for name in self._gone if name not in self._cards]
        self._gone, self._came = [], set()
        return {"changed": changed, "gone": gone, "view": self.numbers()}

    def state(self, now: float) -> dict[str, Any]:
        """Everything shown, as it was at the last ``delta``."""
        devices = [card.whole(self._traces.get(name), now) for name, card in self._cards.items()]
        return {"devices": devices, "view": self.numbers()}

    def numbers(self) -> dict[str, int]:
        """How many devices match, and how many of them are shown."""
        return {"matching": self.matching, "shown": len(self._cards)}


def _whole_trace(trace: Trace) -> dict[str, Any]:
    return {
        "names": trace.names,
        "unit": trace.unit,
        "rate": trace.rate,
        "size": trace.size,
        "points": trace.points(),
    }


def _shown(label: Label) -> dict[str, Any]:
    return {
        "window": label.window,
        "smoothed": _soft(label.smoothed),
        "best": _soft(label.best),
        "soft": [_soft(s) for s in label.soft],
        "novelty": None if label.novelty is None else round(label.novelty, 2),
        "adapted": None if label.adapted is None else round(label.adapted, 1),
        "model": label.model,
    }


def _soft(soft: SoftLabel) -> dict[str, Any]:
    return {"label": soft.label, "name": soft.name, "confidence": round(soft.confidence, 4)}
