"""From the broker to the broker: one worker that takes messages, labels them and acknowledges them.

::

    network thread ──▶ Inbox ──▶ worker: decode ─▶ pipeline ─▶ publish labels ─▶ acknowledge, in order
                    (bounded)      ▲                                │
                                   └── as many as are there, up to max_batch windows or max_delay_ms

A message is acknowledged after the labels that it completes are confirmed by the broker, in the order of
receipt. When the worker is behind, the broker keeps the rest (Receive Maximum). A message that cannot be
used is counted, logged and acknowledged: it never holds up the others.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from disc_stream.artifacts.manifest import Manifest
from disc_stream.clock import Clock
from disc_stream.config import ServeConfig
from disc_stream.errors import PayloadError, StreamMismatchError, TopicError
from disc_stream.wire.broker import Broker
from disc_stream.wire.codecs import decode_batch
from disc_stream.wire.meta import decode_meta
from disc_stream.wire.mqtt import Message, MqttLink
from disc_stream.wire.status import ServerStatus, State, server_status_to_dict
from disc_stream.wire.topics import Kind, Topics
from disc_stream_server.inbox import Inbox
from disc_stream_server.metas import MetaBook, fetch_metas
from disc_stream_server.observers import Observers
from disc_stream_server.outbox import Outbox, last_will
from disc_stream_server.pipeline import Pipeline
from disc_stream_server.rejections import Rejections
from disc_stream_server.sessions import Sessions

log = logging.getLogger(__name__)

_FLUSH_SLICE_S = 0.5


@dataclass(slots=True)
class Received:
    """What came in and what went out.

    Args:
        messages: messages received, repetitions and refused ones included.
        bytes: their payloads.
        metas: descriptions of devices among them.
        batches: sample batches taken.
        labels: labels published.
        unlabelled: labels that could not be published.
    """

    messages: int = 0
    bytes: int = 0
    metas: int = 0
    batches: int = 0
    labels: int = 0
    unlabelled: int = 0


class Ingest:
    """Runs the pipeline on what a broker delivers.

    Args:
        config: settings.
        manifest: of the model, for the announcements.
        provider: what runs the model, for the status.
        pipeline: labels batches.
        sessions: the pipeline's, for their counts.
        observers: are told of batches, labels and status.
        clock: time.
        on_failure: called from any thread with the error when the service cannot go on.
    """

    def __init__(
        self,
        config: ServeConfig,
        manifest: Manifest,
        provider: str,
        *,
        pipeline: Pipeline,
        sessions: Sessions,
        observers: Observers,
        clock: Clock,
        on_failure: Callable[[Exception], None],
    ) -> None:
        self._config, self._manifest, self._provider = config, manifest, provider
        self._pipeline, self._sessions, self._observers = pipeline, sessions, observers
        self._clock, self._on_failure = clock, on_failure
        self._topics = Topics(config.prefix)
        self._counts = Received()
        self._rejections = Rejections(clock)
        self._metas = MetaBook(clock, config.max_devices)
        self._inbox = Inbox(config.receive_maximum)
        self._announce = threading.Event()  # the broker may have lost what we announced
        self._give_up_at = math.inf  # monotonic time at which a graceful stop ends
        self._unacknowledged: list[Message] = []  # used, and their labels published
        self._since_us = 0
        self._status_at = 0.0
        self._link = MqttLink(
            Broker.parse(config.broker),
            config.client_id,
            on_message=self._receive,
            on_up=self._on_up,
            on_down=self._on_down,
            on_fatal=self._on_failure,
            session_expiry_s=config.session_expiry_s,
            receive_maximum=config.receive_maximum,
            manual_ack=True,
            will=last_will(self._topics, manifest.version),
        )
        self._outbox = Outbox(self._link, self._topics)
        self._worker = threading.Thread(target=self._work, name="ingest", daemon=True)

    # -- life ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Learn the retained metas, connect, and work in the background.

        Raises:
            BrokerError: if the broker cannot be reached or refuses.
        """
        self._since_us = self._clock.unix_us()
        for message in fetch_metas(self._link.broker, self._topics, self._config.client_id):
            self._take(message)
        self._link.subscribe(self._topics.all_of(Kind.RAW))
        self._link.subscribe(self._topics.all_of(Kind.META))
        self._link.connect()
        self._worker.start()

    def stop(self, timeout_s: float) -> bool:
        """Receive no more, label and acknowledge what has come, say goodbye.

        What is not finished in time stays unacknowledged, and the broker keeps it for the next start.

        Returns:
            Whether everything was finished in time.
        """
        self._give_up_at = self._clock.monotonic() + timeout_s
        self._inbox.close()
        if self._worker.ident is not None:  # it was started
            self._worker.join(timeout_s)
        finished = not self._worker.is_alive() and not len(self._inbox)
        if not self._worker.is_alive():
            self._publish_status(State.OFFLINE)
        remaining = max(0.0, self._give_up_at - self._clock.monotonic())
        finished = self._link.flush(remaining) and finished
        if not finished:
            log.warning("stopped at the deadline of %g s with work left; the broker keeps it", timeout_s)
        self._link.close(timeout_s=max(1.0, self._give_up_at - self._clock.monotonic()))
        return finished

    # -- on the network thread ------------------------------------------------------------------------

    def _receive(self, message: Message) -> None:
        self._inbox.put(message)

    def _on_up(self) -> None:
        self._announce.set()
        self._inbox.wake()

    def _on_down(self, _reason: str) -> None:
        self._status_at = 0.0
        self._inbox.wake()

    # -- on the worker --------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            while not self._is_done():
                self._finish(self._gather())
                self._housekeep()
            self._give_up_held(everything=True)
        except Exception as error:
            log.exception("the worker failed; unacknowledged messages stay with the broker")
            self._on_failure(error)

    def _is_done(self) -> bool:
        if self._inbox.is_open:
            return False
        return not len(self._inbox) or self._clock.monotonic() >= self._give_up_at

    def _gather(self) -> list[Message]:
        """Take messages until a batch of windows is full, or the first has waited long enough."""
        taken: list[Message] = []
        wait = max(0.0, self._status_at - self._clock.monotonic())
        most = max(1, self._config.receive_maximum // 4)
        send_at = 0.0
        while len(taken) < most and self._pipeline.waiting < self._config.max_batch:
            message = self._inbox.get(wait)
            if message is None:
                break
            if not taken:
                send_at = self._clock.monotonic() + self._config.max_delay_ms / 1000
            taken.append(message)
            self._take(message)
            wait = max(0.0, send_at - self._clock.monotonic()) if self._pipeline.waiting else 0.0
        return taken

    def _take(self, message: Message) -> None:
        self._counts.messages += 1
        self._counts.bytes += len(message.payload)
        self._use(message)

    def _use(self, message: Message) -> None:
        """Use one message, or count why not; never raises."""
        device = repr(message.topic[:80])
        try:
            device, kind = self._topics.parse(message.topic)
            if kind is Kind.META:
                self._take_meta(device, message)
            else:
                self._take_samples(device, message)
        except TopicError as error:
            self._rejections.add(device, "topic", error.message)
        except (PayloadError, StreamMismatchError) as error:
            self._rejections.add(device, error.reason, str(error))
        except Exception as error:
            log.exception("unexpected error with a message of %s; it is passed over", device)
            self._rejections.add(device, "internal", repr(error))

    def _take_meta(self, device: str, message: Message) -> None:
        self._counts.metas += 1
        if not message.payload:  # withdrawn
            self._metas.forget(device)
            return
        for held in self._metas.learn(device, decode_meta(message.payload)):
            self._use(held)

    def _take_samples(self, device: str, message: Message) -> None:
        try:
            batch = decode_batch(
                message.payload,
                device=device,
                content_type=message.content_type,
                meta=self._metas.of(device),
                max_bytes=self._config.max_payload_bytes,
            )
        except PayloadError as error:
            if error.reason == "no-meta" and self._metas.hold(device, message):
                return
            raise
        if self._pipeline.accept(batch):
            self._counts.batches += 1
            self._observers.on_batch(batch)

    def _finish(self, taken: Sequence[Message]) -> None:
        """Label what is complete, publish it, and acknowledge what it came from."""
        labels = self._pipeline.run()
        lost = self._outbox.labels(labels)
        self._counts.labels += len(labels) - lost
        self._counts.unlabelled += lost
        for label in labels:
            self._observers.on_label(label)
        self._unacknowledged += taken
        self._acknowledge()

    def _acknowledge(self) -> None:
        """Acknowledge everything once the broker has confirmed all labels.

        While there is other work to do this does not wait, unless the broker would soon have to: it sends
        nothing more when Receive Maximum messages are unacknowledged.
        """
        idle = not len(self._inbox) or len(self._unacknowledged) >= self._config.receive_maximum // 2
        confirmed = self._link.flush(0)
        while idle and not confirmed and self._clock.monotonic() < self._give_up_at:
            if not self._link.connected:
                self._unacknowledged.clear()  # the broker sends them again, as repetitions
                return
            confirmed = self._link.flush(_FLUSH_SLICE_S)
        if confirmed:
            for message in self._unacknowledged:
                self._link.ack(message)
            self._unacknowledged.clear()

    def _housekeep(self) -> None:
        self._give_up_held()
        turned_away = self._inbox.take_turned_away()
        if turned_away:
            text = "messages of QoS 0 came faster than they could be used; publish with QoS 1"
            self._rejections.add("some device", "overflow", text, count=turned_away)
        self._rejections.summarise()
        announce = self._announce.is_set()
        if announce:
            self._announce.clear()
            self._outbox.model(self._manifest)
        if announce or self._clock.monotonic() >= self._status_at:
            self._publish_status(State.ONLINE)

    def _give_up_held(self, *, everything: bool = False) -> None:
        for device, count in self._metas.expired(everything=everything):
            text = "the payload describes no channels and no meta came"
            self._rejections.add(device, "no-meta", text, count=count)

    def _publish_status(self, state: State) -> None:
        self._status_at = self._clock.monotonic() + self._config.status_interval_s
        status = ServerStatus(
            state=state,
            since_us=self._since_us,
            updated_us=self._clock.unix_us(),
            model=self._manifest.version,
            provider=self._provider,
            counters={
                **asdict(self._counts),
                **asdict(self._sessions.counts),
                "windows": self._pipeline.windows,
                "failed": self._pipeline.failed,
                "refused": self._link.refused,  # by the broker, labels mostly: an access list is wrong
                "devices": len(self._sessions),
                "queue": len(self._inbox),
            },
            rejected=dict(self._rejections.by_reason),
        )
        connected = self._link.connected
        if connected:  # or they would pile up; a fresh one goes out on the next connection
            self._outbox.status(status)
        self._observers.on_status({**server_status_to_dict(status), "connected": connected})
