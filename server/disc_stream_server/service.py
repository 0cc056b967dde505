"""The life of the server: starts what receives and what labels, watches over both, and stops them.

::

    receiving process ──▶ spool ──▶ labelling thread ──▶ publish ──▶ checkpoint
                                       ▲                                 │
                                       └──── after a crash, from there ──┘

Everything that the labelling thread does follows from the rows and the last checkpoint. Without a model
the server collects: it receives and spools, and labels nothing.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from disc_stream.artifacts.model import Model
from disc_stream.clock import Clock
from disc_stream.config import ServeConfig, default_state
from disc_stream.errors import BrokerError
from disc_stream.stream.pipeline import LabelOptions, stream_spec
from disc_stream.stream.rules import Rules
from disc_stream.wire.broker import Broker
from disc_stream.wire.mqtt import LinkListener, MqttLink, Session
from disc_stream.wire.status import State
from disc_stream.wire.topics import Kind, Topics
from disc_stream_server.intake import Watchers
from disc_stream_server.janitor import SPOOL, Janitor
from disc_stream_server.labeller.labeller import ROWS, Labeller, LabellerSettings, Surroundings
from disc_stream_server.labeller.lane import LaneSettings
from disc_stream_server.labeller.overload import OverloadRules
from disc_stream_server.metas import HOLD_US
from disc_stream_server.observers import Observers
from disc_stream_server.outbox import Outbox, last_will
from disc_stream_server.readiness import Heartbeat, ReadingProbe
from disc_stream_server.receiving.process import ReceiverProcess
from disc_stream_server.receiving.receiver import ReceiverSettings
from disc_stream_server.rejections import Rejections
from disc_stream_server.reporting import Reporter
from disc_stream_server.stages import Stages
from disc_stream_server.storage.lock import FolderLock
from disc_stream_server.storage.retention import Retention
from disc_stream_server.storage.spool import SpoolReader
from disc_stream_server.storage.state import StateStore
from disc_stream_server.stream_rules import note_rules

log = logging.getLogger(__name__)

_IDLE_S = 0.25
_SOON_S = 0.01
_BREAK_OFF_S = 2.0
WATCHDOG_S = 30.0
OnFailure = Callable[[Exception], None]


@dataclass(frozen=True, slots=True)
class Serving:
    """What is served.

    Args:
        model: labels the windows; None to collect without labels.
        provider: what the model runs on, for the status.
    """

    model: Model | None
    provider: str = ""

    @property
    def version(self) -> str:
        """Of the model, "" without one."""
        return "" if self.model is None else self.model.version


class Service:
    """Labels what the receiver spools, until it is stopped.

    Args:
        config: settings.
        serving: the model, if there is one.
        observers: are told of batches, labels, problems and status.
        clock: time.
        on_failure: called from any thread with the error when the service cannot go on.

    Raises:
        StorageError: if the state folder cannot be used, or another server uses it.
    """

    def __init__(
        self,
        config: ServeConfig,
        serving: Serving,
        *,
        observers: Observers,
        clock: Clock,
        on_failure: OnFailure,
    ) -> None:
        self._config, self._serving = config, serving
        self._clock, self._on_failure = clock, on_failure
        topics = Topics(config.prefix)
        self.state = config.state or default_state(config.client_id)
        self._lock = FolderLock(self.state)
        self._store = StateStore(self.state)
        self._reader = SpoolReader(self.state / SPOOL)
        self._link = MqttLink(
            Broker.parse(config.broker),
            f"{config.client_id}-labels",
            LinkListener(on_up=self._on_up, on_down=lambda _reason: self._wake(), on_fatal=on_failure),
            Session(will=last_will(topics, serving.version)),
        )
        self._outbox = Outbox(self._link, topics)
        watchers = Watchers(Rejections(clock), observers, Stages())
        rules = Rules(config.reorder, config.reorder_s, config.bridge_s, config.idle_s)
        self._labeller: Labeller | None = None
        if serving.model is not None:
            note_rules(self._store, rules, stream_spec(serving.model).key)
            settings = _labeller_settings(config, topics, rules)
            around = Surroundings(self._store, self._reader, self._outbox, watchers, clock)
            self._labeller = Labeller(serving.model, settings, around)
        self._receiver = ReceiverProcess(
            _receiver_settings(config, self.state, self._store.position, rules),
            on_head=self._wake,
            on_failure=on_failure,
        )
        self._reporter = Reporter(
            serving.version, serving.provider, watchers, self._link, self._receiver, self._labeller
        )
        self._observers = observers
        self._janitor = Janitor(
            self.state,
            Retention(config.keep_days * 86_400, config.keep_bytes, config.keep_device_bytes),
            clock,
            done=lambda: self._receiver.head if self._labeller is None else self._labeller.kept_from,
        )
        self._woken, self._announce, self._stopping = threading.Event(), threading.Event(), threading.Event()
        self._give_up_at = math.inf
        self._status_at = 0.0
        self._forgotten = self._store.last_forgotten
        self._heartbeat = Heartbeat(clock, config.status_interval_s)
        self._reading = ReadingProbe(clock, self._outbox.reading_probe, topics.all_of(Kind.RAW))
        self._worker = threading.Thread(target=self._work, name="labeller", daemon=True)

    # -- life ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Receive, connect, and work in the background.

        Raises:
            BrokerError: if the broker cannot be reached or refuses.
            StorageError: if the spool cannot be used.
        """
        self._reporter.since_us = self._clock.unix_us()
        self._receiver.start()
        if self._backlog:
            text = "going on behind position %d: %d messages are in the spool and wait to be labelled"
            log.info(text, self._position, self._backlog)
        self._link.connect()
        self._janitor.start()
        self._worker.start()

    def break_off(self) -> None:
        """Make a ``start`` fail that waits for the broker; from another thread."""
        self._receiver.stop(_BREAK_OFF_S)
        self._link.close()

    def stop(self, timeout_s: float) -> bool:
        """Receive no more, label what has come, disconnect. May be called when ``start`` has failed.

        What is not finished in time stays in the spool, and is labelled after the next start.

        Returns:
            Whether everything was finished in time.
        """
        self._give_up_at = self._clock.monotonic() + timeout_s
        finished = self._receiver.stop(timeout_s)
        self._stopping.set()
        self._wake()
        if self._worker.ident is not None:  # it was started
            self._worker.join(max(1.0, self._remaining()))
            finished = finished and not self._worker.is_alive() and not self._backlog
        self._janitor.stop()
        if not self._worker.is_alive():
            self._publish_status(State.OFFLINE)
        finished = self._link.flush(self._remaining(), reconnect=False) and finished
        if not finished:
            log.warning(
                "stopped at the deadline of %g s with work left; it is kept for the next start", timeout_s
            )
        self._link.close(timeout_s=max(1.0, self._remaining()))
        if not self._worker.is_alive():
            self.close()
        return finished

    def close(self) -> None:
        """Free the state folder."""
        self._reader.close()
        self._store.close()
        self._lock.release()

    def waits_for(self) -> str | None:
        """None if messages become labels now, else what is missing; may be asked from any thread."""
        return self._heartbeat.waits_for(self._reporter.waits_for(), self._reading.unreadable)

    @property
    def _position(self) -> int:
        return self._receiver.head if self._labeller is None else self._labeller.position

    @property
    def _backlog(self) -> int:
        pending = self._labeller is not None and self._labeller.is_pending
        return max(int(pending), self._receiver.head - self._position)

    def _remaining(self) -> float:
        return max(0.0, self._give_up_at - self._clock.monotonic())

    def _wake(self) -> None:
        self._woken.set()

    def _on_up(self) -> None:
        self._announce.set()
        self._wake()

    # -- the labelling thread -------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            while not self._is_done():
                self._heartbeat.turned()
                busy = self._labeller is not None and self._labeller.turn(self._receiver.head)
                self._housekeep()
                if not busy:
                    self._woken.wait(self._patience())
                    self._woken.clear()
            self._finish()
        except Exception as error:
            log.exception("the labelling thread failed; what is not labelled stays in the spool")
            self._on_failure(error)

    def _is_done(self) -> bool:
        return self._stopping.is_set() and (not self._backlog or not self._remaining())

    def _patience(self) -> float:
        """How long to sleep when nothing is to do: a checkpoint on its way is looked after soon."""
        hurry = self._labeller is not None and self._labeller.checkpoints.is_on_its_way
        return _SOON_S if hurry else _IDLE_S

    def _housekeep(self) -> None:
        if self._labeller is not None:
            self._labeller.step()
        self._reporter.summarise()
        self._receiver.check()
        if self._link.silent_s > WATCHDOG_S:
            raise BrokerError(f"the network thread has not answered for {self._link.silent_s:.0f} s")
        announce = self._announce.is_set()
        if announce:
            self._announce.clear()
            if self._serving.model is not None:
                self._outbox.model(self._serving.model)
        if announce or self._clock.monotonic() >= self._status_at:
            self._forget()
            self._publish_status(State.ONLINE)

    def _forget(self) -> None:
        """Drop devices that somebody has erased from the disk."""
        for number, device in self._store.forgotten(self._forgotten):
            self._forgotten = number
            if self._labeller is not None:
                self._labeller.forget(device)
            log.info("device %s was erased", device)

    def _finish(self) -> None:
        """A last checkpoint, so that the next start has nothing to repeat."""
        if self._labeller is None:
            return
        while not self._labeller.step(now=True) and self._remaining():
            if self._labeller.checkpoints.blocked or self._labeller.is_pending or not self._link.connected:
                return
            self._link.flush(min(0.1, self._remaining()))

    def _publish_status(self, state: State) -> None:
        self._status_at = self._clock.monotonic() + self._config.status_interval_s
        status = self._reporter.status(state, self._clock.unix_us())
        if self._link.connected:  # or they would pile up; a fresh one goes out on the next connection
            self._outbox.status(status)
        self._heartbeat.published()
        received = self._receiver.counts
        count = received.get("received", 0) + received.get("probes", 0)
        self._reading.step(count, connected=self._link.connected and self._receiver.connected)
        self._observers.on_status(self._reporter.facts(status, self.waits_for(), self._backlog))


def _labeller_settings(config: ServeConfig, topics: Topics, rules: Rules) -> LabellerSettings:
    return LabellerSettings(
        LaneSettings(
            topics,
            rules,
            config.stay,
            config.max_devices,
            config.max_payload_bytes,
            keep_days=max(config.keep_devices_days, config.keep_days),  # not before its messages
        ),
        LabelOptions(config.top_k, config.stay, config.max_batch),
        OverloadRules(round(config.stale_s * 1e6), 4 * max(ROWS, config.max_batch)),
        config.checkpoint_s,
    )


def _receiver_settings(config: ServeConfig, state: Path, floor: int, rules: Rules) -> ReceiverSettings:
    return ReceiverSettings(
        broker=config.broker,
        prefix=config.prefix,
        client_id=config.client_id,
        session_expiry_s=config.session_expiry_s,
        receive_maximum=config.receive_maximum,
        spool=str(Path(state / SPOOL).absolute()),
        max_file_bytes=config.spool_file_bytes,
        max_delay_s=config.max_delay_ms / 1000,
        floor=floor,
        idle_s=max(rules.reorder_s, HOLD_US / 1e6) + 1.0,
    )
