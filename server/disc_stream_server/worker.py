"""The labelling thread: turn by turn, with all that has to be looked after in between."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass

from disc_stream.artifacts.model import Model
from disc_stream.clock import Clock
from disc_stream.errors import BrokerError
from disc_stream.wire.mqtt import MqttLink
from disc_stream.wire.status import State
from disc_stream_server.labeller.labeller import Labeller
from disc_stream_server.observers import Observers
from disc_stream_server.outbox import Outbox
from disc_stream_server.readiness import Heartbeat, ReadingProbe
from disc_stream_server.receiving.process import ReceiverProcess
from disc_stream_server.reporting import Reporter
from disc_stream_server.storage.state import StateStore

log = logging.getLogger(__name__)

_IDLE_S = 0.25
_SOON_S = 0.01
WATCHDOG_S = 30.0
OnFailure = Callable[[Exception], None]


@dataclass(frozen=True, slots=True)
class Connections:
    """What the thread reads from and writes to.

    Args:
        receiver: the receiving process.
        link: the connection that labels go out on.
        outbox: publishes over it.
        store: the labeller's state.
    """

    receiver: ReceiverProcess
    link: MqttLink
    outbox: Outbox
    store: StateStore


@dataclass(frozen=True, slots=True)
class Watch:
    """Who looks at the thread, and how often.

    Args:
        reporter: makes the status.
        observers: are told of it.
        heartbeat: shows that the thread comes around.
        reading: shows that the broker delivers to us.
        interval_s: between two statuses.
    """

    reporter: Reporter
    observers: Observers
    heartbeat: Heartbeat
    reading: ReadingProbe
    interval_s: float


class Worker:
    """Labels until everything received is labelled after a stop, or time is over.

    Args:
        make_labeller: makes what labels, once there is a model; until then data is only collected.
        connections: what it reads from and writes to.
        watch: who looks at it.
        clock: time.
        on_failure: called on the thread with the error when it cannot go on.
    """

    def __init__(
        self,
        make_labeller: Callable[[Model], Labeller],
        connections: Connections,
        watch: Watch,
        clock: Clock,
        on_failure: OnFailure,
    ) -> None:
        self._make_labeller, self._watch = make_labeller, watch
        self._labeller: Labeller | None = None
        self._first: Model | None = None  # offered while there is no labeller
        self._announced: Model | None = None
        self._receiver, self._link = connections.receiver, connections.link
        self._outbox, self._store = connections.outbox, connections.store
        self._clock, self._on_failure = clock, on_failure
        self._woken, self._announce, self._stopping = threading.Event(), threading.Event(), threading.Event()
        self._give_up_at = math.inf
        self._status_at = 0.0
        self._forgotten = self._store.last_forgotten
        self._thread = threading.Thread(target=self._work, name="labeller", daemon=True)

    def begin_with(self, model: Model) -> None:
        """Label with this model; before the thread is started, or on it.

        Raises:
            StorageError: if the state cannot be used.
        """
        self._labeller = self._make_labeller(model)
        self._watch.reporter.watch(self._labeller)

    # -- from any thread ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Work in the background."""
        self._thread.start()

    def wake(self) -> None:
        """There may be something to do."""
        self._woken.set()

    def offer(self, model: Model) -> None:
        """Let another model, or the same with another catalogue, take over between two batches.

        The first one begins with what the spool has kept.
        """
        if self._labeller is None:
            self._first = model
        else:
            self._labeller.offer(model)
        self.wake()

    def announce(self) -> None:
        """Publish which model serves, and the status: the broker has accepted a connection."""
        self._announce.set()
        self.wake()

    def stop(self, give_up_at: float) -> bool:
        """Label what has been received and end; whether everything was finished by that monotonic time."""
        self._give_up_at = give_up_at
        self._stopping.set()
        self.wake()
        if self._thread.ident is None:  # it was never started
            return True
        self._thread.join(max(1.0, self._remaining()))
        return not self._thread.is_alive() and not self.backlog

    @property
    def is_alive(self) -> bool:
        """Whether the thread still works."""
        return self._thread.is_alive()

    @property
    def position(self) -> int:
        """Rows up to here are labelled or, without a model, received."""
        return self._receiver.head if self._labeller is None else self._labeller.position

    @property
    def kept_from(self) -> int:
        """Rows after this position are still needed."""
        return self._receiver.head if self._labeller is None else self._labeller.kept_from

    @property
    def backlog(self) -> int:
        """Rows that wait to be labelled."""
        waiting = self._labeller is not None and self._labeller.waiting > 0
        return max(int(waiting), self._receiver.head - self.position)

    def publish_status(self, state: State) -> None:
        """Publish the status, and tell the observers."""
        watch = self._watch
        self._status_at = self._clock.monotonic() + watch.interval_s
        status = watch.reporter.status(state, self._clock.unix_us())
        if self._link.connected:  # or they would pile up; a fresh one goes out on the next connection
            self._outbox.status(status)
        watch.heartbeat.published()
        received = self._receiver.counts
        count = received.get("received", 0) + received.get("probes", 0)
        watch.reading.step(count, connected=self._link.connected and self._receiver.connected)
        missing = watch.heartbeat.waits_for(watch.reporter.waits_for(), watch.reading.unreadable)
        watch.observers.on_status(watch.reporter.facts(status, missing, self.backlog))

    # -- on the thread ------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            while not self._is_done():
                self._watch.heartbeat.turned()
                busy = False
                if self._labeller is None and self._first is not None:
                    self.begin_with(self._first)
                    text = "first model %s (%s): what was kept is labelled from its beginning"
                    log.info(text, self._first.version, self._first.manifest.name)
                if self._labeller is not None:
                    busy = self._labeller.turn(self._receiver.head)
                    self._receiver.hold(self._labeller.crowding())
                self._housekeep()
                if not busy:
                    self._woken.wait(self._patience())
                    self._woken.clear()
            self._finish()
        except Exception as error:
            log.exception("the labelling thread failed; what is not labelled stays in the spool")
            self._on_failure(error)

    def _is_done(self) -> bool:
        return self._stopping.is_set() and (not self.backlog or not self._remaining())

    def _remaining(self) -> float:
        return max(0.0, self._give_up_at - self._clock.monotonic())

    def _patience(self) -> float:
        """How long to sleep when nothing is to do: what waits for the broker is looked after soon."""
        labeller = self._labeller
        if labeller is None or labeller.encoder_fault:
            return _IDLE_S
        return _SOON_S if labeller.checkpoints.is_on_its_way or labeller.waiting else _IDLE_S

    def _housekeep(self) -> None:
        if self._labeller is not None:
            self._labeller.step()
        self._watch.reporter.summarise()
        self._receiver.check()
        if self._link.silent_s > WATCHDOG_S:
            raise BrokerError(f"the network thread has not answered for {self._link.silent_s:.0f} s")
        announce = self._announce.is_set()
        if announce:
            self._announce.clear()
            self._announced = None
        announce = self._announce_model() or announce
        if announce or self._clock.monotonic() >= self._status_at:
            self._forget()
            if self._labeller is not None:
                self._labeller.reset_adaptations()
                self._labeller.problems.tell_limits(self._receiver.limited, self._clock.unix_us())
            self.publish_status(State.ONLINE)

    def _announce_model(self) -> bool:
        """Publish which model serves, if the broker does not know; whether that was done."""
        if self._labeller is None or self._labeller.model is self._announced:
            return False
        model, before = self._labeller.model, self._announced
        self._announced = model
        self._outbox.model(model)
        self._watch.observers.on_model(model)
        if before is not None and before.version != model.version:
            text = "model %s (%s) labels from position %d on, after %s"
            log.info(text, model.version, model.manifest.name, self._labeller.position, before.version)
        return True

    def _forget(self) -> None:
        """Drop devices that somebody has erased from the disk."""
        for number, device in self._store.forgotten(self._forgotten):
            self._forgotten = number
            if self._labeller is not None:
                self._labeller.forget(device)
            self._receiver.forget(device)
            self._watch.reporter.forget(device)
            self._watch.observers.on_forget(device)
            if self._labeller is None:
                self._store.drop_marks()
            log.info("a device was erased")

    def _finish(self) -> None:
        """A last checkpoint, so that the next start has nothing to repeat."""
        if self._labeller is None:
            return
        labeller = self._labeller
        while not labeller.step(now=True) and self._remaining():
            if labeller.checkpoints.blocked or labeller.encoder_fault or not self._link.connected:
                return
            self._link.flush(min(0.1, self._remaining()))
