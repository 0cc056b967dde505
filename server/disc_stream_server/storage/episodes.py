"""Episodes on disk: made of the labels of each checkpoint, in its transaction.

So no episode is lost or made twice, whenever a server is killed. Nearly all labels come in the order of time:
the fold of their device takes them, and a row is written only where an episode begins or ends, beside the
state of the device. Labels that come late are written down as such, and the fold goes over their part of the
past again when there is time, at most 5 % of it (``late.py``).
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from disc_stream.artifacts.catalogue import Catalogue
from disc_stream.clock import Clock, SystemClock
from disc_stream.episodes import Began, EpisodeRules, Fields, Fold, Step
from disc_stream_server.storage import clusternames
from disc_stream_server.storage.clusterkeys import key_of, parts_of
from disc_stream_server.storage.clusternames import ClusterNames
from disc_stream_server.storage.historyrecords import EpisodeEvent, Kind
from disc_stream_server.storage.labelindex import Tail, chunks_of
from disc_stream_server.storage.late import Past
from disc_stream_server.storage.records import StoredLabel
from disc_stream_server.storage.sqlite import insert

log = logging.getLogger(__name__)

RULES_FACT = "rules"
"""Fact: what makes an episode, as JSON; readers join what a merge has made one by its ``join_s``."""

PENDING = "pending"
"""Fact: of labels that an earlier version left, the last position that is in no episode yet, and the last."""

_MAX_DEVICES = 20_000  # of which the state is kept in memory
_LATE_SHARE = 0.05  # of the time, for labels that came late
_LATE_LEAST_S = 0.02
_ADOPTED = 20_000  # labels of one transaction

_STATE = "ON CONFLICT (device) DO UPDATE SET state = excluded.state"
_LATE = (
    "INSERT INTO episode_late VALUES (?, ?, ?, ?) ON CONFLICT (device) DO UPDATE SET "
    "from_us = min(from_us, excluded.from_us), upto_us = max(upto_us, excluded.upto_us)"
)
_encode = msgspec.msgpack.Encoder().encode


class DeviceState(msgspec.Struct, array_like=True, gc=False):
    """What is remembered of a device.

    Args:
        fold: behind its newest label.
        tail: where its newest labels are.
        model: number of the one that gave the newest label.
        untimed: labels without a time, which are in no episode.
    """

    fold: Fold
    tail: Tail
    model: int = 0
    untimed: int = 0


decode_state = msgspec.msgpack.Decoder(DeviceState).decode
"""From the bytes that are kept."""


class _Fresh:
    """Labels of one device in one checkpoint."""

    __slots__ = ("model", "untimed", "windows")

    def __init__(self) -> None:
        self.windows: list[Fields] = []
        self.model = self.untimed = 0


def read_state(connection: sqlite3.Connection, device: str) -> DeviceState | None:
    """What is remembered of a device; None if it has no labels."""
    row = connection.execute("SELECT state FROM episode_states WHERE device = ?", (device,)).fetchone()
    return None if row is None else decode_state(row[0])


class Gathering:
    """Labels on their way into the database; those of each device are kept for its episodes.

    Args:
        keys: of a model's version, its number and that of its space.
    """

    def __init__(self, keys: ModelNumbers) -> None:
        self._keys = keys
        self.devices: dict[str, _Fresh] = {}
        self.now_us = 0
        """When the last of them was made."""

    def through(self, labels: Iterable[StoredLabel]) -> Iterator[StoredLabel]:
        """The same labels."""
        devices, keys = self.devices, self._keys
        version, number, base = "", 0, 0
        for one in labels:  # this is done for every label: fields are taken by their places
            fresh = devices.get(one[1])
            if fresh is None:
                fresh = devices[one[1]] = _Fresh()
            if one[15] != version:
                version = one[15]
                number, space = keys.of(version)
                base = key_of(space, 0)
            start_us, state = one[6], one[10]
            if start_us is None:
                fresh.untimed += 1
            else:
                if state >= 0:
                    state += base
                fresh.windows.append((start_us, start_us + one[5] - one[4], state, one[11], one[0]))
            fresh.model = number
            self.now_us = max(self.now_us, one[17])
            yield one


class ModelNumbers:
    """Numbers of models, and of the spaces that their clusters' ids are of."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._known: dict[str, tuple[int, int]] = {}

    def of(self, version: str) -> tuple[int, int]:
        """Of the model and of its space."""
        found = self._known.get(version)
        if found is None:
            found = self._known[version] = clusternames.number_of(self._connection, version)
        return found

    def clear(self) -> None:
        """Forget them: a transaction failed, or a catalogue has come."""
        self._known.clear()


class EpisodeBook:
    """Makes episodes of labels.

    Args:
        connection: to the labeller's database; all that is written is part of its transaction.
        rules: what makes an episode.
        clock: for how long late labels may take.
    """

    def __init__(
        self, connection: sqlite3.Connection, rules: EpisodeRules, clock: Clock | None = None
    ) -> None:
        self._connection, self.rules = connection, rules
        self._clock = clock or SystemClock()
        self._models = ModelNumbers(connection)
        self._names = ClusterNames()
        self._states: OrderedDict[str, DeviceState] = OrderedDict()
        self._events: list[tuple[Any, ...]] = []
        self._rows: dict[tuple[str, int], tuple[Any, ...]] = {}  # of episodes, to be written
        self._late_at = self._clock.monotonic()
        self._note_rules()

    def _note_rules(self) -> None:
        rules = self.rules
        facts = {"dwell_s": rules.dwell_s, "hysteresis": rules.hysteresis, "join_s": rules.join_s}
        value = json.dumps(facts).encode()
        query = "SELECT value FROM episode_facts WHERE name = ?"
        if self._connection.execute(query, (RULES_FACT,)).fetchone() != (value,):
            self._connection.execute(
                "INSERT OR REPLACE INTO episode_facts VALUES (?, ?)", (RULES_FACT, value)
            )

    def note(self, catalogue: Catalogue) -> None:
        """From the next label on, clusters are those of this catalogue."""
        clusternames.note_catalogue(self._connection, catalogue)
        self._models.clear()

    def forget(self, devices: Iterable[str]) -> None:
        """Drop devices that were erased from memory."""
        for device in devices:
            self._states.pop(device, None)

    def rolled_back(self) -> None:
        """The transaction failed: nothing of it is true."""
        self._states.clear()
        self._rows.clear()
        self._models.clear()

    # -- within a checkpoint ----------------------------------------------------------------------------

    def gather(self) -> Gathering:
        """What the checkpoint's labels go through."""
        return Gathering(self._models)

    def take(self, gathered: Gathering) -> tuple[EpisodeEvent, ...]:
        """Make episodes of labels that are in the database now; returns what has become of them."""
        self._events = []
        names = sorted(gathered.devices)
        changed: list[tuple[Any, ...]] = []
        chunks: list[tuple[Any, ...]] = []
        for device in names:
            fresh = gathered.devices[device]
            state = self.state(device)
            state.model = fresh.model
            state.untimed += fresh.untimed
            if fresh.windows:
                self._take(device, state, sorted(fresh.windows), chunks, gathered.now_us)
            changed.append((device, _encode(state)))
        insert(self._connection, "INSERT OR REPLACE INTO episodes", self._rows.values())
        self._rows.clear()
        insert(self._connection, "INSERT OR IGNORE INTO label_chunks", chunks)
        insert(self._connection, "INSERT INTO episode_states", changed, then=_STATE)
        self._take_late(gathered.now_us)
        self._make_room()
        return self._tell()

    def state(self, device: str) -> DeviceState:
        """What is remembered of a device."""
        state = self._states.get(device)
        if state is None:
            state = read_state(self._connection, device) or DeviceState(Fold(rivals=[]), Tail())
            self._states[device] = state
        else:
            self._states.move_to_end(device)
        return state

    def _take(
        self,
        device: str,
        state: DeviceState,
        windows: Sequence[Fields],
        chunks: list[tuple[Any, ...]],
        now_us: int,
    ) -> None:
        fold, rules = state.fold, self.rules
        last_us = fold.last_us
        if last_us is not None and windows[0][0] <= last_us:
            late = [one for one in windows if one[0] <= last_us]
            windows = windows[len(late) :]
            chunks += [tail.row(device) for tail in chunks_of(late)]
            values = (device, late[0][0], late[-1][0], now_us)
            self._connection.execute(_LATE, values)
        if steps := fold.run(windows, rules):
            self._write(device, steps, now_us)
        while left := state.tail.add(windows):
            chunks.append(state.tail.row(device))
            windows, state.tail = left, Tail()

    def _write(self, device: str, steps: Iterable[Step], now_us: int) -> None:
        for step in steps:
            span = step.span
            self._rows[device, span.begin_us] = (device, *msgspec.structs.astuple(span))
            if isinstance(step, Began):
                self._event(now_us, device, "begin", span.begin_us, None, span.state)
                continue
            if span.sure_us is None:
                self._event(now_us, device, "begin", span.begin_us, None, span.state)
            self._event(now_us, device, "end", span.begin_us, span.end_us, span.state)

    def _event(
        self, now_us: int, device: str, kind: Kind, begin_us: int, end_us: int | None, state: int | None
    ) -> None:
        self._events.append((None, now_us, device, kind, begin_us, end_us, state))

    def _tell(self) -> tuple[EpisodeEvent, ...]:
        """Write the events, and give them as readers get them."""
        events, self._events = self._events, []
        if not events:
            return ()
        insert(self._connection, "INSERT INTO episode_events", events)
        (last,) = self._connection.execute("SELECT max(sequence) FROM episode_events").fetchone()
        self._names.look(self._connection)
        return tuple(
            event_of((last - len(events) + 1 + number, *event[1:]), self._names)
            for number, event in enumerate(events)
        )

    def _make_room(self) -> None:
        while len(self._states) > _MAX_DEVICES:
            self._states.popitem(last=False)

    # -- labels that came late --------------------------------------------------------------------------

    def _take_late(self, now_us: int) -> None:
        """Go over what late labels have changed, the longest known first, while there is time."""
        began = self._clock.monotonic()
        until = began + max(_LATE_LEAST_S, _LATE_SHARE * (began - self._late_at))
        self._late_at = began
        rows = self._connection.execute("SELECT device, from_us, upto_us FROM episode_late ORDER BY since_us")
        for device, from_us, upto_us in rows.fetchall():
            self._settle(device, from_us, upto_us, now_us)
            if self._clock.monotonic() >= until:
                return

    def _settle(self, device: str, from_us: int, upto_us: int, now_us: int) -> None:
        connection, state = self._connection, self.state(device)
        past = Past(connection, device, state.tail, self._models)
        changed = past.settle(from_us, upto_us, self.rules, state.fold)
        connection.execute("DELETE FROM episode_late WHERE device = ?", (device,))
        if changed.fold is not None:
            state.fold = changed.fold
            connection.execute(
                "UPDATE episode_states SET state = ? WHERE device = ?", (_encode(state), device)
            )
        for begin_us, end_us in changed.times:
            self._event(now_us or past.labelled_us, device, "corrected", begin_us, end_us, None)

    def settle_all(self) -> None:
        """Go over all that late labels have changed, however long it takes; for tests and tools.

        Raises:
            sqlite3.Error: if the database cannot be written.
        """
        rows = self._connection.execute("SELECT device, from_us, upto_us FROM episode_late").fetchall()
        for device, from_us, upto_us in rows:
            self._settle(device, from_us, upto_us, 0)
        self._tell()

    # -- labels of an earlier version -------------------------------------------------------------------

    def adopt(self) -> None:
        """Make episodes of labels that were there before there were episodes; each portion a transaction.

        Raises:
            sqlite3.Error: if the database cannot be written.
        """
        connection = self._connection
        row = connection.execute("SELECT value FROM episode_facts WHERE name = ?", (PENDING,)).fetchone()
        if row is None:
            return
        done, last = json.loads(row[0])
        log.info("episodes are made of the labels that are kept, up to position %d", last)
        while done < last:
            rows = self._portion(done, last)
            done = rows[-1].position if rows else last
            connection.execute("BEGIN IMMEDIATE")
            gathered = self.gather()
            for _ in gathered.through(rows):
                pass
            self.take(gathered)
            value = json.dumps([done, last]).encode()
            connection.execute("INSERT OR REPLACE INTO episode_facts VALUES (?, ?)", (PENDING, value))
            connection.execute("COMMIT")
        connection.execute("DELETE FROM episode_facts WHERE name = ?", (PENDING,))

    def _portion(self, after: int, upto: int) -> Sequence[StoredLabel]:
        """Labels behind a position; those of one position are never parted."""
        rows = self._connection.execute(
            "SELECT * FROM labels WHERE position > ? AND position <= ? ORDER BY position LIMIT ?",
            (after, upto, _ADOPTED),
        ).fetchall()
        found = [StoredLabel._make(row) for row in rows]
        if len(found) < _ADOPTED:
            return found
        whole = [one for one in found if one.position < found[-1].position]
        return whole or found


def event_of(row: tuple[Any, ...], names: ClusterNames) -> EpisodeEvent:
    """An event from its row, as it is read today."""
    sequence, at_us, device, kind, begin_us, end_us, state = row
    if state is None:
        return EpisodeEvent(sequence, at_us, device, kind, begin_us, end_us, None, "")
    _, cluster = parts_of(names.public(state))
    return EpisodeEvent(sequence, at_us, device, kind, begin_us, end_us, cluster, names.name(state))
