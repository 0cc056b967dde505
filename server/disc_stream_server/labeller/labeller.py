"""The labeller: takes rows of the spool turn by turn, and sends their labels on their way.

A turn is short whatever the rows hold: so many bytes of them are taken, and so many windows are encoded, at
least one of each device that has any (``WaitingWindows``). A device that sends much waits for itself.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from disc_stream.artifacts.model import Model
from disc_stream.clock import Clock
from disc_stream.errors import EncoderUnavailableError
from disc_stream.stream.labelling import LabelMaker, Occasion
from disc_stream.stream.pipeline import LabelOptions, encoder_stage
from disc_stream.stream.problems import ProblemBook
from disc_stream.stream.values import Failure, ReadyInput
from disc_stream_server.intake import Watchers
from disc_stream_server.labeller.checkpoints import Change, Checkpoints
from disc_stream_server.labeller.deferral import Deferral
from disc_stream_server.labeller.lane import LIVE, LaneSettings, LaneStream, quiet
from disc_stream_server.labeller.overload import Overload, OverloadRules
from disc_stream_server.labeller.pace import Pace
from disc_stream_server.labeller.problems import PART, Problems
from disc_stream_server.outbox import Outbox
from disc_stream_server.storage.reader import SpoolReader
from disc_stream_server.storage.records import DeadLetter
from disc_stream_server.storage.rows import Row
from disc_stream_server.storage.state import StateStore

log = logging.getLogger(__name__)

ROWS = 512
"""Rows read at once."""

_TURN_BYTES = 2**18  # payloads read at once, but one row at least
_BACKFILL_ROWS = 256
_RETRY_S = 1.0
# Labels on their way to the broker, from which on a device with many windows waits: the broker takes them one
# by one in between the messages of everybody, and those of the other devices would stand behind them.
_AHEAD, _AHEAD_EACH = 32, 16  # at least, and for each device that has windows


@dataclass(frozen=True, slots=True)
class LabelRoom:
    """What may wait to leave the labeller; beyond it no rows are read.

    Args:
        unconfirmed: labels on their way to the broker.
        unwritten: labels that wait for a checkpoint.
        letter_bytes: of dead letters that wait for a checkpoint.
    """

    unconfirmed: int = 20_000
    unwritten: int = 100_000
    letter_bytes: int = 16 * 2**20


@dataclass(frozen=True, slots=True)
class LabellerSettings:
    """How the labeller works.

    Args:
        lanes: what all lanes have in common.
        options: how windows are labelled.
        overload: when windows are deferred.
        checkpoint_s: between two checkpoints.
        rows: rows read at once; the labels do not depend on it.
        room: what may wait to leave it.
    """

    lanes: LaneSettings
    options: LabelOptions
    overload: OverloadRules
    checkpoint_s: float
    rows: int = ROWS
    room: LabelRoom = LabelRoom()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the labeller works with.

    Args:
        store: its state.
        reader: the spool.
        outbox: publishes.
        watchers: are told of what comes.
        clock: time.
    """

    store: StateStore
    reader: SpoolReader
    outbox: Outbox
    watchers: Watchers
    clock: Clock


@dataclass(slots=True)
class LabellerCounts:
    """Totals since the start.

    Args:
        labels: labels published.
        windows: windows labelled or deferred.
        failed: windows that the encoder could not use.
    """

    labels: int = 0
    windows: int = 0
    failed: int = 0


class Labeller:
    """Labels the rows of the spool, in order, from the last checkpoint on.

    Args:
        model: labels the windows.
        settings: how.
        around: what it works with.
    """

    def __init__(self, model: Model, settings: LabellerSettings, around: Surroundings) -> None:
        self._model, self._settings, self._around = model, settings, around
        self._reader, self._outbox, self._clock = around.reader, around.outbox, around.clock
        self._stages, self._observers = around.watchers.stages, around.watchers.observers
        self._encoder = encoder_stage(model, settings.options.max_batch)
        self._label_maker = LabelMaker(model, settings.options.top_k)
        self._overload = Overload(settings.overload)
        self.problems = Problems(around.store, around.outbox, self._observers)
        self.live = LaneStream(LIVE, model, settings.lanes, around.store, around.watchers, self.problems.book)
        self.live.parts[PART] = self.problems
        self.live.position = around.store.position
        self.deferral = Deferral(around.store, self._open_backfill)
        self.live.smoother.stretch = self.deferral.stretch
        self.checkpoints = Checkpoints(around.store, around.outbox, self, settings.checkpoint_s, around.clock)
        self.counts = LabellerCounts()
        self.switch_at = 0
        """Number of checkpoints that must be written before rows are taken again."""
        self._pace = Pace(settings.options.max_batch)
        self._retry_at = 0.0
        self.encoder_fault = ""
        """Why the encoder does not work, "" if it does."""
        self._fail(self.live, self.live.take_misfits())

    def _open_backfill(self, number: int) -> LaneStream:
        watchers = quiet(self._around.watchers)
        lane = LaneStream(
            number, self._model, self._settings.lanes, self._around.store, watchers, ProblemBook()
        )
        self._fail(lane, lane.take_misfits())
        return lane

    @property
    def position(self) -> int:
        """Rows up to here are taken; their windows are labelled, deferred or waiting."""
        return self.live.position

    @property
    def waiting(self) -> int:
        """Windows of rows that were taken, which wait for the encoder."""
        return len(self.live.waiting)

    def crowding(self) -> frozenset[str]:
        """Devices of which so many windows wait that no further messages of theirs should come for now."""
        return self.live.waiting.crowding()

    @property
    def kept_from(self) -> int:
        """Rows after this position are still needed."""
        return self.deferral.kept_from(self.checkpoints.position)

    def lanes(self) -> list[LaneStream]:
        """The lanes in use, the live one first."""
        backfill = self.deferral.backfill
        return [self.live] if backfill is None else [self.live, backfill.stream]

    def take_change(self) -> Change:
        """What the next checkpoint has to change beside the lanes."""
        return self.deferral.take_change()

    # -- turns ------------------------------------------------------------------------------------------

    def turn(self, head: int) -> bool:
        """Take the next rows and label the next windows; whether there was anything to do.

        Args:
            head: position of the newest row.
        """
        if self.encoder_fault and self._clock.monotonic() < self._retry_at:
            return False
        if self._is_behind():
            return False
        if self.checkpoints.written < self.switch_at:
            self.checkpoints.step(now=True)
            return False
        if self.encoder_fault:  # nothing further is taken until it works
            if any(lane.waiting for lane in self.lanes()):
                return self._label_waiting(self.live) or self._turn_backfill()
            self.encoder_fault = ""  # its windows were erased: the next ones show whether it works
        took = self._take(head)
        if took is None:
            return False
        labelled = self._label_waiting(self.live)
        return took or labelled or self._turn_backfill()

    def _is_behind(self) -> bool:
        """Whether so much waits to leave the labeller that no rows are to be taken."""
        room, checkpoints = self._settings.room, self.checkpoints
        if checkpoints.letter_bytes > room.letter_bytes:
            self.step(now=True)
        return (
            self._outbox.unconfirmed > room.unconfirmed
            or checkpoints.backlog > room.unwritten
            or checkpoints.letter_bytes > room.letter_bytes
        )

    def _take(self, head: int) -> bool | None:
        """Take rows if there is room for their windows; whether there were any, None to come back later."""
        live = self.live
        if live.waiting.is_full:
            return False
        self._stages.begin()
        rows = self._reader.read(live.position, self._settings.rows, _TURN_BYTES)
        self._stages.end("read")
        if not rows:
            return False
        switches = self._is_to_switch(rows, head)
        if live.waiting and (switches or live.begins_day(rows[0])):
            return False  # first the windows from before
        if switches:
            return self._switch() or None
        ready = live.take(live.portion(rows))
        self.counts.windows += len(ready)
        if self.deferral.is_active:
            self.deferral.count(len(ready))
        else:
            live.waiting.add(ready)
        return True

    def step(self, *, now: bool = False) -> bool:
        """Look after problems and checkpoints; whether everything is on disk.

        Args:
            now: take a checkpoint whether it is due or not.
        """
        self.problems.publish()
        if self.encoder_fault:  # the next encoder may be that of another model: it is to see the rows again
            return False
        return self.checkpoints.step(now=now)

    def forget(self, device: str) -> None:
        """Drop a device that was erased from the disk."""
        for lane in self.lanes():
            lane.forget(device)
        self.checkpoints.forget(device)

    # -- labels -----------------------------------------------------------------------------------------

    def _label_waiting(self, lane: LaneStream, *, deferred: bool = False) -> bool:
        """Label the windows whose turn it is; whether there were any that could be labelled.

        If the encoder does not work they wait.
        """
        room = max(_AHEAD, _AHEAD_EACH * lane.waiting.devices) - self._outbox.unconfirmed
        chosen = lane.waiting.choose(min(self._pace.windows, room), self._settings.options.max_batch)
        if not chosen:
            return False
        began = self._clock.monotonic()
        try:
            self._send(lane, chosen, deferred=deferred)
        except EncoderUnavailableError as error:
            if not self.encoder_fault:
                log.error(  # noqa: TRY400 - the reason is one line
                    "%s; nothing is labelled until it works again, and nothing is lost", error
                )
            self.encoder_fault = error.message
            self._retry_at = self._clock.monotonic() + _RETRY_S
            return False
        lane.waiting.done(chosen)
        self._pace.took(len(chosen), self._clock.monotonic() - began)
        if self.encoder_fault:
            log.warning("the encoder works again: labelling goes on")
            self.encoder_fault = ""
        return True

    def _send(self, lane: LaneStream, ready: Sequence[ReadyInput], *, deferred: bool) -> None:
        self._stages.begin()
        assigned = self._encoder.encode(ready)
        self._stages.end("encode")
        self._fail(lane, assigned.failures)
        if not assigned.ready:
            return
        smoothed = lane.smoother.smooth(assigned.ready, assigned.q)
        labelled = self._label_maker.label(assigned, smoothed, Occasion(self._clock.unix_us(), deferred))
        self._stages.end("label")
        labels = [one.label for one in labelled]
        self._outbox.labels(labels)
        self._stages.end("publish")
        self.checkpoints.add(labelled)
        self._stages.end("store")
        self.counts.labels += len(labels)
        for label in labels:
            lane.problems.labelled(label.device)
            self._observers.on_label(label)

    def _fail(self, lane: LaneStream, failures: Sequence[Failure]) -> None:
        """Windows that have no label become dead letters, with the reason."""
        self.counts.failed += len(failures)
        for failure in failures:
            ready, reason, message = failure
            self._around.watchers.rejections.add(ready.device, reason, message)
            lane.problems.report(ready.device, reason, message, ready.received_us)
        self.checkpoints.add_letters(map(_letter_of, failures))

    # -- deferral ---------------------------------------------------------------------------------------

    def _is_to_switch(self, rows: Sequence[Row], head: int) -> bool:
        """Whether deferral is to begin or to end before these rows."""
        age_us = self._clock.unix_us() - rows[0].received_us
        active = self.deferral.is_active
        return active != self._overload.wants_deferral(age_us, head - rows[-1].position, deferring=active)

    def _switch(self) -> bool:
        """Begin or end a stretch whose windows are deferred; whether the checkpoint for it is written."""
        if self.checkpoints.is_on_its_way:
            self.checkpoints.step()
            return False
        position = self.live.position
        if self.deferral.is_active:
            self.deferral.end(position)
            self.live.smoother.stretch = self.deferral.stretch
            log.info("windows are labelled at once again from position %d on", position)
        else:
            self.deferral.begin(position)
            log.warning("the backlog is too long: windows are deferred from position %d on", position)
        self.switch_at = self.checkpoints.written + 1
        self.checkpoints.step(now=True)
        return self.checkpoints.written >= self.switch_at

    def _turn_backfill(self) -> bool:
        """Label the next rows of a stretch whose windows were deferred."""
        backfill = self.deferral.next_backfill()
        if backfill is None:
            return False
        last, lane = backfill.stretch.last or 0, backfill.stream
        takes = not lane.waiting.is_full and lane.position < last and not self.encoder_fault
        if takes:
            self._take_deferred(lane, last)
        labelled = self._label_waiting(lane, deferred=True)
        if not lane.waiting and lane.position >= last:
            self.deferral.finish_backfill()
            return not self.encoder_fault
        return (takes or labelled) and not self.encoder_fault

    def _take_deferred(self, lane: LaneStream, last: int) -> None:
        """Take the next rows of a stretch."""
        rows = self._reader.read(lane.position, _BACKFILL_ROWS, _TURN_BYTES)
        rows = [row for row in rows if row.position <= last]
        if not rows:  # they have been erased
            lane.position = last
        elif not (lane.waiting and lane.begins_day(rows[0])):
            ready = lane.take(lane.portion(rows))
            self.deferral.caught_up(len(ready))
            lane.waiting.add(ready)


def _letter_of(failure: Failure) -> DeadLetter:
    """The dead letter of a window: its samples, as the encoder was given them."""
    ready, reason, message = failure
    payload = ready.samples.astype("<f4").tobytes()
    return DeadLetter(
        position=ready.position, received_us=ready.received_us, topic="", device=ready.device, reason=reason,
        message=f"window {ready.window} of boot {ready.boot}: {message}", content_type="", payload=payload,
        size=len(payload),
    )  # fmt: skip
