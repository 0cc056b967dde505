"""The labeller: takes rows of the spool turn by turn, and sends their labels on their way.

A turn is short whatever the rows hold: so many bytes of them are taken, and so many windows are encoded, at
least one of each device that has any (``WaitingWindows``). A device that sends much waits for itself.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from disc_stream.artifacts.model import Model
from disc_stream.errors import EncoderUnavailableError
from disc_stream.stream.labelling import LabelMaker, Occasion
from disc_stream.stream.pipeline import encoder_stage, stream_spec
from disc_stream.stream.problems import ProblemBook
from disc_stream.stream.values import Failure, ReadyInput
from disc_stream_server.labeller.checkpoints import Change, Checkpoints
from disc_stream_server.labeller.deferral import Deferral
from disc_stream_server.labeller.lane import LIVE, LaneStream, quiet
from disc_stream_server.labeller.overload import Overload
from disc_stream_server.labeller.pace import Pace
from disc_stream_server.labeller.problems import PART, Problems
from disc_stream_server.labeller.resets import Resets
from disc_stream_server.labeller.settings import LabellerCounts, LabellerSettings, Surroundings
from disc_stream_server.labeller.swap import Swap, note_model
from disc_stream_server.storage.historyrecords import EpisodeEvent
from disc_stream_server.storage.records import DeadLetter
from disc_stream_server.storage.rows import Row

log = logging.getLogger(__name__)

_TURN_BYTES = 2**18  # payloads read at once, but one row at least
_BACKFILL_ROWS = 256
_RETRY_S = 1.0
# Labels on their way to the broker, from which on a device with many windows waits: the broker takes them one
# by one in between the messages of everybody, and those of the other devices would stand behind them.
_AHEAD, _AHEAD_EACH = 32, 16  # at least, and for each device that has windows


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
        self._swap = Swap()
        self.problems = Problems(around.store, around.outbox, self._observers)
        self.deferral = Deferral(around.store, self._open_backfill)
        self.live = self._open_live()
        self._at_start = (self._reader.head, self.deferral.newest)
        self.checkpoints = Checkpoints(
            around.store, around.outbox, self, settings.checkpoint_s, settings.room.unwritten, around.clock
        )
        self.counts = LabellerCounts()
        self.switch_at = 0
        """Number of checkpoints that must be written before rows are taken again."""
        self._resets = Resets(around.store)
        self._pace = Pace(max(settings.options.max_batch, settings.rows))
        self._retry_at = 0.0
        self.encoder_fault = ""
        """Why the encoder does not work, "" if it does."""
        self._fail(self.live, self.live.take_misfits())
        note_model(around.store, settings.lanes.rules, model)

    def _open_live(self) -> LaneStream:
        """The live lane as it is on disk."""
        around = self._around
        live = LaneStream(
            LIVE, self._model, self._settings.lanes, around.store, around.watchers, self.problems.book
        )
        live.parts[PART] = self.problems
        live.position = around.store.position
        live.smoother.stretch = self.deferral.stretch
        return live

    def _open_backfill(self, number: int) -> LaneStream:
        watchers = quiet(self._around.watchers)
        lane = LaneStream(
            number, self._model, self._settings.lanes, self._around.store, watchers, ProblemBook()
        )
        self._fail(lane, lane.take_misfits())
        return lane

    @property
    def model(self) -> Model:
        """Labels the windows now."""
        return self._model

    def offer(self, model: Model) -> None:
        """Let another model, or the same with another catalogue, take over soon; from any thread."""
        self._swap.offer(model)

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
        change = self.deferral.take_change()
        change.facts |= {**self._swap.take_facts(), **self._resets.take_facts()}
        return change

    def tell(self, event: EpisodeEvent) -> None:
        """A checkpoint has made an episode begin or end."""
        self._observers.on_episode(event)

    # -- turns ------------------------------------------------------------------------------------------

    def turn(self, head: int) -> bool:
        """Take the next rows and label the next windows; whether there was anything to do.

        Args:
            head: position of the newest row.
        """
        if self._swap.is_wanted and (self.encoder_fault or self._has_caught_up()):
            return self._take_over()
        if self._is_to_wait():
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

    def _is_to_wait(self) -> bool:
        """Whether something else must come first: the encoder, the broker, the disk."""
        if self.encoder_fault and self._clock.monotonic() < self._retry_at:
            return True
        if self._is_behind():
            return True
        if self.checkpoints.written < self.switch_at:
            self.checkpoints.step(now=True)
            return True
        return False

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
        waiting = live.waiting
        if waiting.is_full or waiting.unserved >= self._settings.options.max_batch:
            return False  # in a backlog of many devices, rows would be taken faster than they are labelled
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
        elif ready and (live.waiting or not self._fits(ready) or not self._label(live, ready)):
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

    def reset_adaptations(self) -> None:
        """Let devices begin again with the model's centroids where somebody has asked for it.

        No further window is labelled until a checkpoint says so: after a crash the same labels come out.
        """
        if self._resets.look(self.lanes()):
            self.switch_at = self.checkpoints.written + 1 + self.checkpoints.is_on_its_way

    # -- labels -----------------------------------------------------------------------------------------

    def _label_waiting(self, lane: LaneStream, *, deferred: bool = False) -> bool:
        """Label the windows whose turn it is; whether there were any that could be labelled."""
        quantum = min(self._pace.windows, self._room(lane.waiting.devices))
        chosen = lane.waiting.choose(quantum, self._settings.options.max_batch)
        if not chosen or not self._label(lane, chosen, deferred=deferred):
            return False
        lane.waiting.done(chosen)
        return True

    def _fits(self, ready: Sequence[ReadyInput]) -> bool:
        """Whether windows can be labelled at once: then they need no queue, in which most would be alone."""
        n = len(ready)
        return n <= self._pace.windows and n <= self._room(len({one.device for one in ready}))

    def _room(self, devices: int) -> int:
        """Labels that may be handed to the broker's connection now."""
        return max(_AHEAD, _AHEAD_EACH * devices) - self._outbox.unconfirmed

    def _label(self, lane: LaneStream, windows: Sequence[ReadyInput], *, deferred: bool = False) -> bool:
        """Label windows; False if the encoder does not work: they wait then."""
        began = self._clock.monotonic()
        try:
            self._send(lane, windows, deferred=deferred)
        except EncoderUnavailableError as error:
            if not self.encoder_fault:
                log.error(  # noqa: TRY400 - the reason is one line
                    "%s; nothing is labelled until it works again, and nothing is lost", error
                )
            self.encoder_fault = error.message
            self._retry_at = self._clock.monotonic() + _RETRY_S
            return False
        self._pace.took(len(windows), self._clock.monotonic() - began)
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
        followed = lane.follow(assigned)
        occasion = Occasion(self._clock.unix_us(), deferred)
        labelled = self._label_maker.label(followed.assigned, followed.smoothed, occasion, followed.not_worn)
        self._stages.end("label")
        labels = [one.label for one in labelled]
        self._outbox.labels(labels)
        self._stages.end("publish")
        self._stages.labelled(labelled)
        self.checkpoints.add(labelled)
        self._stages.end("store")
        self.counts.labels += len(labels)
        for label in labels:
            lane.problems.labelled(label.device)
            self._observers.on_label(label)
        if not deferred:
            self._observers.on_windows(labels, assigned)

    def _fail(self, lane: LaneStream, failures: Sequence[Failure]) -> None:
        """Windows that have no label become dead letters, with the reason."""
        self.counts.failed += len(failures)
        for failure in failures:
            ready, reason, message = failure
            self._around.watchers.rejections.add(ready.device, reason, message)
            lane.problems.report(ready.device, reason, message, ready.received_us)
        self.checkpoints.add_letters(map(_letter_of, failures))

    # -- another model ----------------------------------------------------------------------------------

    def _has_caught_up(self) -> bool:
        """Whether everything that was received before the start is labelled.

        The last run may have published labels of it that no checkpoint knows of: the same model gives them
        again.
        """
        head, stretch = self._at_start
        return self.live.position >= head and not self.deferral.has_any_up_to(stretch)

    def _take_over(self) -> bool:
        """Bring the exchange of the model further; whether there was anything to do."""
        if self.checkpoints.written < self.switch_at:  # a stretch begins or ends first
            self.checkpoints.step(now=True)
            return False
        if not self.encoder_fault:  # else the new one shall have the windows that wait, too
            for lane in self.lanes():
                if lane.waiting and self._label_waiting(lane, deferred=lane is not self.live):
                    return True
        model = self._swap.commit(self.checkpoints)
        if model is None:
            return False
        self._use(model)
        return True

    def _use(self, model: Model) -> None:
        """Everything is on disk; label with this model from here on."""
        is_cut_alike = stream_spec(model).key == stream_spec(self._model).key
        self._model, self.encoder_fault = model, ""
        self._encoder = encoder_stage(model, self._settings.options.max_batch)
        self._label_maker = LabelMaker(model, self._settings.options.top_k)
        note_model(self._around.store, self._settings.lanes.rules, model)
        if is_cut_alike:
            for lane in self.lanes():
                lane.use(model)
            return
        before, self.deferral.backfill = self.live, None  # both begin anew from the disk
        self.live = self._open_live()
        self.live.continue_counts(before)
        self._fail(self.live, self.live.take_misfits())

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
