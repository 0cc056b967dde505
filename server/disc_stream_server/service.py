"""The labelling service: starts the receiver, reads the spool behind it, publishes labels, keeps checkpoints.

::

    receiving process ──▶ spool ──▶ worker: decode ─▶ sessions ─▶ encode ─▶ publish ─▶ checkpoint
                                       ▲                                                   │
                                       └───────── after a crash, from the last one ────────┘

The worker is one thread; everything it does follows from the rows and the last checkpoint.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from disc_stream.artifacts.manifest import Manifest
from disc_stream.clock import Clock
from disc_stream.config import ServeConfig, default_state
from disc_stream.errors import BrokerError
from disc_stream.wire.broker import Broker
from disc_stream.wire.mqtt import LinkListener, MqttLink, Session
from disc_stream.wire.status import ServerStatus, State, server_status_to_dict
from disc_stream.wire.topics import Kind, Topics
from disc_stream_server.checkpoints import Checkpoints
from disc_stream_server.deferral import Deferral
from disc_stream_server.intake import Intake
from disc_stream_server.janitor import SPOOL, Janitor
from disc_stream_server.metas import MetaBook
from disc_stream_server.observers import Observers
from disc_stream_server.outbox import Outbox, last_will
from disc_stream_server.pipeline import Encoder, Labelled, Pipeline, open_sessions
from disc_stream_server.readiness import Heartbeat, ReadingProbe
from disc_stream_server.receiving.process import ReceiverProcess
from disc_stream_server.receiving.receiver import ReceiverSettings
from disc_stream_server.rejections import Rejections
from disc_stream_server.sessions import Rules
from disc_stream_server.sessions.device import Waiting
from disc_stream_server.shards import InProcessRouter
from disc_stream_server.stages import Stages
from disc_stream_server.storage.lock import FolderLock
from disc_stream_server.storage.retention import Retention
from disc_stream_server.storage.spool import Row, SpoolReader
from disc_stream_server.storage.state import StateStore

log = logging.getLogger(__name__)

_ROWS = 512  # read at once
_IDLE_S = 0.25
_SOON_S = 0.01
_CATCH_UP = 256  # windows that were put off, labelled at once while there is nothing else to do
_MOST_UNCONFIRMED = 20_000  # labels on their way to the broker, from which on no rows are read
_MOST_UNWRITTEN = 100_000  # labels that wait for a checkpoint, likewise
_WATCHDOG_S = 30.0


class Service:
    """Labels what the receiver spools, until it is stopped.

    Args:
        config: settings.
        manifest: of the model.
        encoder: runs it.
        provider: what it runs on, for the status.
        observers: are told of batches, labels and status.
        clock: time.
        on_failure: called from any thread with the error when the service cannot go on.

    Raises:
        StorageError: if the state folder cannot be used, or another server uses it.
    """

    def __init__(
        self,
        config: ServeConfig,
        manifest: Manifest,
        encoder: Encoder,
        provider: str,
        *,
        observers: Observers,
        clock: Clock,
        on_failure: Callable[[Exception], None],
    ) -> None:
        self._config, self._manifest, self._provider = config, manifest, provider
        self._observers, self._clock, self._on_failure = observers, clock, on_failure
        self._topics = Topics(config.prefix)
        self.state = config.state or default_state(config.client_id)
        self._lock = FolderLock(self.state)
        self._store = StateStore(self.state)
        self._reader = SpoolReader(self.state / SPOOL)
        self._position = self._store.position
        self._rejections = Rejections(clock)
        self._stages = Stages()
        self._link = MqttLink(
            Broker.parse(config.broker),
            f"{config.client_id}-labels",
            LinkListener(on_up=self._on_up, on_down=lambda _reason: self._wake(), on_fatal=on_failure),
            Session(will=last_will(self._topics, manifest.version)),
        )
        self._outbox = Outbox(self._link, self._topics)
        self._build(encoder)
        self._receiver = ReceiverProcess(self._receiver_settings(), on_head=self._wake, on_failure=on_failure)
        self._janitor = Janitor(
            self.state,
            Retention(config.keep_days * 86_400, config.keep_bytes, config.keep_device_bytes),
            clock,
            done=lambda: self._checkpoints.position,
        )
        self._woken = threading.Event()
        self._announce = threading.Event()
        self._stopping = threading.Event()
        self._give_up_at = math.inf
        self._since_us = 0
        self._status_at = 0.0
        self._forgotten = self._store.last_forgotten
        self._labels = 0
        self._heartbeat = Heartbeat(clock, config.status_interval_s)
        self._reading = ReadingProbe(clock, self._outbox.reading_probe, self._topics.all_of(Kind.RAW))
        self._worker = threading.Thread(target=self._work, name="labeller", daemon=True)

    def _build(self, encoder: Encoder) -> None:
        """The parts of the worker, each knowing those before it."""
        config = self._config
        self._sessions = open_sessions(
            self._manifest,
            stay=config.stay,
            max_devices=config.max_devices,
            rules=Rules(config.reorder, config.reorder_s, config.bridge_s, config.idle_s),
            archive=self,
        )
        self._pipeline = Pipeline(
            self._manifest,
            encoder,
            router=InProcessRouter(self._sessions),
            clock=self._clock,
            top_k=config.top_k,
            max_batch=config.max_batch,
            stages=self._stages,
        )
        self._metas = MetaBook(config.max_devices, self._store.fact)
        self._intake = Intake(
            self._topics,
            self._sessions,
            self._metas,
            rejections=self._rejections,
            observers=self._observers,
            stages=self._stages,
            max_payload_bytes=config.max_payload_bytes,
        )
        self._deferral = Deferral(
            self._sessions,
            self._store,
            stale_us=round(config.stale_s * 1e6),
            backlog=4 * max(_ROWS, config.max_batch),
        )
        self._checkpoints = Checkpoints(
            self._store, self._sessions, self._metas, self._intake, self._deferral, self._outbox,
            interval_s=config.checkpoint_s, clock=self._clock,
        )  # fmt: skip
        self._metas.restore(self._store.facts(), self._reader.get)

    def _receiver_settings(self) -> ReceiverSettings:
        config = self._config
        return ReceiverSettings(
            broker=config.broker,
            prefix=config.prefix,
            client_id=config.client_id,
            session_expiry_s=config.session_expiry_s,
            receive_maximum=config.receive_maximum,
            spool=str(Path(self.state / SPOOL).absolute()),
            max_file_bytes=config.spool_file_bytes,
            max_delay_s=config.max_delay_ms / 1000,
            floor=self._position,
        )

    def session(self, device: str) -> bytes | None:
        """The saved state of a device (``Archive``)."""
        return self._store.session(device)

    def waiting(self, positions: Sequence[int]) -> list[Waiting]:
        """Batches that waited when a device was saved (``Archive``)."""
        return list(self._intake.again(filter(None, map(self._reader.get, positions))))

    # -- life ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Receive, connect, and work in the background.

        Raises:
            BrokerError: if the broker cannot be reached or refuses.
            StorageError: if the spool cannot be used.
        """
        self._since_us = self._clock.unix_us()
        self._receiver.start()
        if self._backlog:
            text = "going on behind position %d: %d messages are in the spool and wait to be labelled"
            log.info(text, self._position, self._backlog)
        self._link.connect()
        self._janitor.start()
        self._worker.start()

    def stop(self, timeout_s: float) -> bool:
        """Receive no more, label what has come, say goodbye. May be called when ``start`` has failed.

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
            finished = finished and not self._worker.is_alive() and self._position >= self._receiver.head
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
        return self._heartbeat.waits_for(self._missing(), self._reading.unreadable)

    def _missing(self) -> str | None:
        if not self._receiver.connected or not self._link.connected:
            return "the broker"
        if self._receiver.blocked:
            return f"space for the spool ({self._receiver.blocked})"
        if self._checkpoints.blocked:
            return f"space for checkpoints ({self._checkpoints.blocked})"
        return None

    def _remaining(self) -> float:
        return max(0.0, self._give_up_at - self._clock.monotonic())

    def _wake(self) -> None:
        self._woken.set()

    def _on_up(self) -> None:
        self._announce.set()
        self._wake()

    # -- the worker ---------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            while not self._is_done():
                self._heartbeat.turned()
                busy = self._turn()
                self._housekeep()
                if not busy:
                    self._woken.wait(self._patience())
                    self._woken.clear()
            self._finish()
        except Exception as error:
            log.exception("the labelling thread failed; what is not labelled stays in the spool")
            self._on_failure(error)

    def _is_done(self) -> bool:
        if not self._stopping.is_set():
            return False
        return self._position >= self._receiver.head or not self._remaining()

    def _patience(self) -> float:
        """How long to sleep when nothing is to do: a checkpoint on its way is looked after soon."""
        return _SOON_S if self._checkpoints.is_on_its_way else _IDLE_S

    def _turn(self) -> bool:
        """Label the next rows, or windows that were put off; whether there was anything to do."""
        if self._outbox.unconfirmed > _MOST_UNCONFIRMED or self._checkpoints.backlog > _MOST_UNWRITTEN:
            return False
        self._stages.begin()
        rows = self._reader.read(self._position, _ROWS)
        self._stages.end("read")
        if rows:
            self._label_rows(rows)
            return True
        if late := self._deferral.catch_up(_CATCH_UP):
            self._send(self._pipeline.label(late, self._deferral.smooth, deferred=True))
            return True
        return False

    def _label_rows(self, rows: list[Row]) -> None:
        ready = self._intake.take(rows)
        self._position = rows[-1].position
        fresh = self._deferral.split(ready, self._clock.unix_us(), self._receiver.head - self._position)
        self._send(self._pipeline.label(fresh))

    def _send(self, labelled: list[Labelled]) -> None:
        self._stages.begin()
        labels = [one.label for one in labelled]
        self._outbox.labels(labels)
        self._stages.end("publish")
        self._checkpoints.add(labelled)
        self._stages.end("store")
        self._labels += len(labels)
        for label in labels:
            self._observers.on_label(label)

    def _housekeep(self) -> None:
        self._stages.begin()
        self._checkpoints.step(self._position)
        self._stages.end("store")
        self._rejections.summarise()
        self._receiver.check()
        if self._link.silent_s > _WATCHDOG_S:
            raise BrokerError(f"the network thread has not answered for {self._link.silent_s:.0f} s")
        announce = self._announce.is_set()
        if announce:
            self._announce.clear()
            self._outbox.model(self._manifest)
        if announce or self._clock.monotonic() >= self._status_at:
            self._forget()
            self._idle()
            self._publish_status(State.ONLINE)

    def _idle(self) -> None:
        """While nothing comes, time passes all the same for those that wait for something."""
        if self._position >= self._receiver.head and not self._stopping.is_set():
            ready: list = []  # type: ignore[type-arg]
            self._intake.tick(self._clock.unix_us(), ready)
            if ready:
                self._send(self._pipeline.label(ready))

    def _forget(self) -> None:
        """Drop devices that somebody has erased from the disk."""
        for number, device in self._store.forgotten(self._forgotten):
            self._forgotten = number
            self._sessions.forget(device)
            self._metas.drop(device)
            self._deferral.forget(device)
            self._checkpoints.forget(device)
            log.info("device %s was erased", device)

    def _finish(self) -> None:
        """A last checkpoint, so that the next start has nothing to repeat."""
        while not self._checkpoints.step(self._position, now=True) and self._remaining():
            if self._checkpoints.blocked or not self._link.connected:
                return
            self._link.flush(min(0.1, self._remaining()))

    def _publish_status(self, state: State) -> None:
        self._status_at = self._clock.monotonic() + self._config.status_interval_s
        connected = self._link.connected and self._receiver.connected
        status = ServerStatus(
            state=state,
            since_us=self._since_us,
            updated_us=self._clock.unix_us(),
            model=self._manifest.version,
            provider=self._provider,
            counters=self._counters(),
            rejected=dict(self._rejections.by_reason),
        )
        if self._link.connected:  # or they would pile up; a fresh one goes out on the next connection
            self._outbox.status(status)
        facts = {"connected": connected, "waits_for": self.waits_for(), "backlog": self._backlog}
        self._heartbeat.published()
        received = self._receiver.counts
        self._reading.step(received.get("received", 0) + received.get("probes", 0), connected=connected)
        self._observers.on_status({**server_status_to_dict(status), **facts})

    @property
    def _backlog(self) -> int:
        return max(0, self._receiver.head - self._position)

    def _counters(self) -> dict[str, int]:
        sessions = asdict(self._sessions.counts)
        faults = sessions.pop("clock_faults")
        return {
            **asdict(self._intake.counts),
            **sessions,
            **{f"clock_{name}": count for name, count in faults.items()},
            **self._receiver.counts,
            **self._stages.counters(),
            "cpu_us_other": round(time.process_time() * 1e6)
            - self._stages.total_us,  # network, page, start-up
            "labels": self._labels,
            "windows": self._pipeline.windows,
            "failed": self._pipeline.failed,
            "refused": self._link.refused,  # by the broker, labels mostly: an access list is wrong
            "devices": len(self._sessions),
            "spooled": self._receiver.head,
            "queue": self._backlog,
            "deferred": self._deferral.waiting,
            "checkpoint": self._checkpoints.position,
            "receiver_restarts": self._receiver.restarts,
        }
