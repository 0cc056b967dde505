"""All devices in one compact answer, in columns: whole, or what has changed since a mark.

``/devices`` tells everything about a device, and 20,000 of them take most of a second of a processor. A page
that lists, searches and sorts a fleet needs a few numbers of each; here they cost some microseconds each, and
those of devices that did nothing since the last answer cost nothing.
"""

from __future__ import annotations

import contextlib
import gzip
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from disc_stream.clock import Clock
from disc_stream_server.api.live.table import LiveTable, Now
from disc_stream_server.storage.history import MAX_LIMIT, DeviceSummary, History
from disc_stream_server.storage.queries import FILE, StateReader

OVERLAP_US = 2_000_000  # a label is dated when it is published, which is before the table has it
WHOLE_US = 1_000_000  # a whole answer is made once in this time, whoever asks
STORED_US = 30_000_000  # likewise what devices did that are silent in this run
_FEW = 50  # silent devices that are looked up one by one
_SMALL = 1_024  # bytes that are not worth compressing
_LEVEL = 1  # of gzip: more takes longer than the network would

Tags = Mapping[str, tuple[str, ...]]


class FleetColumns(msgspec.Struct):
    """The answer; see ``schemas.fleet`` for what each field is."""

    mark: str
    whole: bool
    now_us: int
    models: list[str]
    names: dict[int, str]
    tags: Tags | None
    problems: dict[str, Any]
    id: list[str] = msgspec.field(default_factory=list)
    seen_ms: list[int | None] = msgspec.field(default_factory=list)
    since_ms: list[int | None] = msgspec.field(default_factory=list)
    cluster: list[int | None] = msgspec.field(default_factory=list)
    confidence: list[float | None] = msgspec.field(default_factory=list)
    model: list[int | None] = msgspec.field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, encoded.

    Args:
        plain: JSON.
        packed: the same compressed; None if it is short.
    """

    plain: bytes
    packed: bytes | None


class FleetList:
    """Makes the answers; from any thread.

    Args:
        table: what is known of devices now.
        state: the state folder, for what silent devices did before.
        models: folder of the registry; None without one.
        tags: those of all devices.
        epoch: of the server's run.
        clock: time.
    """

    def __init__(
        self,
        table: LiveTable,
        state: Path,
        models: Path | None,
        tags: Callable[[], Tags],
        epoch: str,
        clock: Clock,
    ) -> None:
        self._table, self._state, self._models = table, state, models
        self._read_tags, self._epoch, self._clock = tags, epoch, clock
        self._lock = threading.Lock()
        self._tags: Tags = {}
        self._tags_turn = 0
        self._stored: dict[str, DeviceSummary | None] = {}
        self._stored_at = self._stored_turn = -1
        self._whole: Answer | None = None
        self._whole_key: tuple[int, int, int] = (0, 0, 0)

    def answer(self, since: str | None) -> Answer:
        """All devices, or those that have changed since the mark of an earlier answer.

        A mark of another run, or from before a device was erased, gives all of them.
        """
        with self._lock:
            now_us, erased = self._clock.unix_us(), self._table.erased
            self._look_at_tags()
            known = _Mark.parse(since)
            if known is not None and (known.epoch, known.erased) == (self._epoch, erased):
                tags = None if known.tags == self._tags_turn else self._tags
                return _encode(self._columns(now_us, erased, tags, known.at_us))
            made_us, *key = self._whole_key
            if self._whole is None or key != [erased, self._tags_turn] or now_us - made_us > WHOLE_US:
                self._whole = _encode(self._columns(now_us, erased, self._tags, None))
                self._whole_key = (now_us, erased, self._tags_turn)
            return self._whole

    def _look_at_tags(self) -> None:
        tags = self._read_tags()
        if tags != self._tags:
            self._tags, self._tags_turn = tags, self._tags_turn + 1

    def _columns(self, now_us: int, erased: int, tags: Tags | None, since_us: int | None) -> FleetColumns:
        mark = str(_Mark(self._epoch, erased, self._tags_turn, now_us))
        found = FleetColumns(mark, since_us is None, now_us, [], {}, tags, {})
        models: dict[str, int] = {}
        after_us = 0 if since_us is None else since_us - OVERLAP_US
        devices = self._table.all()
        for device, now in devices:
            if since_us is None or _changed_us(now) >= after_us:
                _add(found, models, device, now)
        if since_us is None:
            self._add_stored(found, models, {device for device, now in devices if now.label is not None})
        found.models = list(models)
        return found

    def _add_stored(self, found: FleetColumns, models: dict[str, int], live: set[str]) -> None:
        """Devices without a label of this run: what they did last, if that is stored."""
        there = {device: at for at, device in enumerate(found.id)}
        for device, last in self._silent(found.now_us, live).items():
            at = there.get(device)
            if at is None:
                at = len(found.id)
                found.id.append(device)
                for column in (found.seen_ms, found.since_ms, found.cluster, found.confidence, found.model):
                    column.append(None)
            if last is None:
                continue
            found.cluster[at], found.since_ms[at] = last.cluster, _ago(found.now_us, last.since_us)
            found.model[at] = models.setdefault(last.model, len(models))
            if found.seen_ms[at] is None:
                found.seen_ms[at] = _ago(found.now_us, last.last_us)
            if last.cluster is not None:
                found.names.setdefault(last.cluster, last.name)

    def _silent(self, now_us: int, live: set[str]) -> dict[str, DeviceSummary | None]:
        """Devices that are known, and have no label of this run."""
        if now_us - self._stored_at > STORED_US or self._stored_turn != self._table.erased:
            self._stored_at, self._stored_turn = now_us, self._table.erased
            self._stored = self._read_stored(live)
        known = dict.fromkeys(device for device in self._tags if device not in self._stored)
        return {device: last for device, last in {**self._stored, **known}.items() if device not in live}

    def _read_stored(self, live: set[str]) -> dict[str, DeviceSummary | None]:
        if not (self._state / FILE).exists():
            return {}
        with contextlib.closing(StateReader(self._state)) as reader:
            # Parts that concern no device of their own have names that no device can have.
            known = [one for one in reader.devices() if one[:1].isalnum() and one not in live]
        stored: dict[str, DeviceSummary | None] = dict.fromkeys(known)
        if not stored:
            return stored
        with contextlib.closing(History(self._state, self._models)) as history:
            if len(known) <= _FEW:
                return {device: history.device(device) for device in known}
            after: str | None = ""
            while after is not None:
                page = history.devices(limit=MAX_LIMIT, after=after)
                stored.update((one.device, one) for one in page.items if one.device in stored)
                after = page.after
        return stored


@dataclass(frozen=True, slots=True)
class _Mark:
    """What a page has got: of which run, with how many erased, whose tags, and when."""

    epoch: str
    erased: int
    tags: int
    at_us: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.erased}-{self.tags}-{self.at_us}"

    @classmethod
    def parse(cls, text: str | None) -> _Mark | None:
        """None if it is none."""
        epoch, *numbers = (text or "").split("-")
        if len(numbers) != 3 or not all(one.isdecimal() and len(one) < 20 for one in numbers):
            return None
        return cls(epoch, *map(int, numbers))


def _changed_us(now: Now) -> int:
    label = now.label
    return max(now.seen_us, now.problem_us, 0 if label is None else label.published_us)


def _add(found: FleetColumns, models: dict[str, int], device: str, now: Now) -> None:
    label = now.label
    found.id.append(device)
    found.seen_ms.append(_ago(found.now_us, now.seen_us))
    found.since_ms.append(_ago(found.now_us, now.since_us or None))
    if now.problem is not None:
        found.problems[device] = now.problem
    if label is None:
        found.cluster.append(None)
        found.confidence.append(None)
        found.model.append(None)
        return
    smoothed = label.smoothed
    found.cluster.append(smoothed.label)
    found.confidence.append(round(smoothed.confidence, 3))
    found.model.append(models.setdefault(label.model, len(models)))
    if smoothed.label not in found.names:
        found.names[smoothed.label] = smoothed.name


def _ago(now_us: int, at_us: int | None) -> int | None:
    """Milliseconds; less than 0 for what is ahead of our clock."""
    return None if at_us is None else (now_us - at_us) // 1000


def _encode(columns: FleetColumns) -> Answer:
    plain = msgspec.json.encode(columns)
    return Answer(plain, gzip.compress(plain, _LEVEL, mtime=0) if len(plain) > _SMALL else None)
