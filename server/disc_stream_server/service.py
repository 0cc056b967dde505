"""The life of the server: starts what receives and what labels, and stops them.

::

    receiving process ──▶ spool ──▶ labelling thread ──▶ publish ──▶ checkpoint
                                       ▲                                 │
                                       └──── after a crash, from there ──┘

Everything that the labelling thread does follows from the rows and the last checkpoint. Without a model
the server collects: it receives and spools, and labels nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from disc_stream.artifacts.model import Model
from disc_stream.clock import Clock
from disc_stream.config import ServeConfig
from disc_stream.wire.broker import Broker
from disc_stream.wire.mqtt import LinkListener, MqttLink, Session
from disc_stream.wire.status import State
from disc_stream.wire.topics import Kind, Topics
from disc_stream_server.budget import bounds
from disc_stream_server.intake import Watchers
from disc_stream_server.janitor import Janitor
from disc_stream_server.labeller.labeller import Labeller
from disc_stream_server.labeller.settings import Surroundings
from disc_stream_server.metrics.snapshot import Snapshot
from disc_stream_server.observers import Observers
from disc_stream_server.outbox import Outbox, last_will
from disc_stream_server.readiness import Heartbeat, ReadingProbe
from disc_stream_server.receiving.process import ReceiverProcess
from disc_stream_server.rejections import Rejections
from disc_stream_server.reporting import Reporter
from disc_stream_server.stages import Stages
from disc_stream_server.tracing import make_traces
from disc_stream_server.wiring import (
    StateFolder,
    labeller_settings,
    receiver_settings,
    retention,
)
from disc_stream_server.worker import Connections, OnFailure, Watch, Worker

log = logging.getLogger(__name__)

_BREAK_OFF_S = 2.0


class Service:
    """Labels what the receiver spools, until it is stopped.

    Args:
        config: settings.
        model: labels; None to collect without labels, until one is offered.
        observers: are told of batches, labels, problems and status.
        clock: time.
        on_failure: called from any thread with the error when the service cannot go on.

    Raises:
        StorageError: if the state folder cannot be used, or another server uses it.
    """

    def __init__(
        self,
        config: ServeConfig,
        model: Model | None,
        *,
        observers: Observers,
        clock: Clock,
        on_failure: OnFailure,
    ) -> None:
        limits = bounds(config)
        self._clock = clock
        self._topics = Topics(config.prefix)
        self._folder = StateFolder(config)
        self.state = self._folder.path
        self._link = MqttLink(
            Broker.parse(config.broker),
            f"{config.client_id}-labels",
            LinkListener(on_up=self._on_up, on_down=lambda _reason: self._wake()),
            Session(will=last_will(self._topics, "" if model is None else model.version)),
        )
        outbox = Outbox(self._link, self._topics)
        self._traces = make_traces(config.traces, config.traces_share) if config.traces else None
        watchers = Watchers(Rejections(clock), observers, Stages(self._traces))
        around = Surroundings(self._folder.store, self._folder.reader, outbox, watchers, clock)
        settings = labeller_settings(config, self._topics, limits)
        self._receiver = ReceiverProcess(
            receiver_settings(config, self.state, self._folder.store.position, limits),
            on_head=self._wake,
        )
        self._reporter = Reporter(watchers, self._link, self._receiver, config.memory_mb * 2**20)
        self._heartbeat = Heartbeat(clock, config.status_interval_s)
        self._reading = ReadingProbe(clock, outbox.reading_probe, self._topics.all_of(Kind.RAW))
        self._worker = Worker(
            lambda model: Labeller(model, settings, around),
            Connections(self._receiver, self._link, outbox, self._folder.store),
            Watch(self._reporter, observers, self._heartbeat, self._reading, config.status_interval_s),
            clock,
            on_failure,
        )
        if model is not None:
            self._worker.begin_with(model)
        self._janitor = Janitor(self.state, retention(config), clock, done=lambda: self._kept_from)

    def start(self) -> None:
        """Receive, connect, and work in the background.

        Raises:
            BrokerError: if the broker cannot be reached or refuses.
            StorageError: if the spool cannot be used.
        """
        self._reporter.since_us = self._clock.unix_us()
        self._receiver.start()
        if backlog := self._worker.backlog:
            text = "going on behind position %d: %d messages are in the spool and wait to be labelled"
            log.info(text, self._worker.position, backlog)
        self._link.connect()
        self._janitor.start()
        self._worker.start()

    def offer(self, model: Model) -> None:
        """Let another model, or the same with another catalogue, take over; see ``Worker.offer``."""
        self._worker.offer(model)

    def report_retraining(self, facts: Callable[[], Mapping[str, int | str]]) -> None:
        """Let the status say where the retraining is, too."""
        self._reporter.watch_retraining(facts)

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
        give_up_at = self._clock.monotonic() + timeout_s
        finished = self._receiver.stop(timeout_s)
        finished = self._worker.stop(give_up_at) and finished
        self._janitor.stop()
        if not self._worker.is_alive:
            self._worker.publish_status(State.OFFLINE)
        left_s = max(0.0, give_up_at - self._clock.monotonic())
        finished = self._link.flush(left_s, reconnect=False) and finished
        if not finished:
            text = "stopped at the deadline of %g s with work left; it is kept for the next start"
            log.warning(text, timeout_s)
        self._link.close(timeout_s=max(1.0, give_up_at - self._clock.monotonic()))
        if not self._worker.is_alive:
            self.close()
        return finished

    def close(self) -> None:
        """Free the state folder, and send the last traces."""
        if self._traces is not None:
            self._traces.close()
        self._folder.close()

    def waits_for(self) -> str | None:
        """None if messages become labels now, else what is missing; may be asked from any thread."""
        return self._heartbeat.waits_for(self._reporter.waits_for(), self._reading.unreadable)

    @property
    def snapshot(self) -> Snapshot | None:
        """What metrics show, as of the last status; may be read from any thread."""
        return self._reporter.snapshot

    def _on_up(self) -> None:
        self._worker.announce()

    def _wake(self) -> None:
        self._worker.wake()

    @property
    def _kept_from(self) -> int:
        """Rows after this position are still needed."""
        return self._worker.kept_from
