"""Broker, spool, acknowledgement.

::

    network thread: read all that has arrived ──▶ commit it (fsync) ──▶ PUBACK in receive order ──▶ again

What arrives during a commit waits in the socket, so groups grow with the load by themselves. When the disk
is full nothing is acknowledged: the broker holds the rest back (Receive Maximum), and the same group is
tried again until there is space.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from disc_stream.clock import Clock, SystemClock
from disc_stream.errors import BrokerError, SpoolFullError, StorageError
from disc_stream.wire.broker import Broker
from disc_stream.wire.limits import HEADER_BYTES, MAX_PACKET_BYTES
from disc_stream.wire.mqtt import LinkListener, Message, MqttLink, Session
from disc_stream.wire.topics import Kind, Topics
from disc_stream_server.memory import give_back_memory
from disc_stream_server.metas import fetch_metas
from disc_stream_server.receiving.arrival import ArrivalClock
from disc_stream_server.storage.rows import TIME_TOPIC
from disc_stream_server.storage.spool import Arrival, SpoolWriter

log = logging.getLogger(__name__)

Report = Callable[[dict[str, Any]], None]

_RETRY_S = 1.0
_MANY = 64  # messages that are committed at once, however short they have waited
_BEAT_S = 0.5
_TRIM_S = 60.0
_META, _RAW = f"/{Kind.META.value}", f"/{Kind.RAW.value}"
_MOST_METAS = 200_000  # descriptions whose last content is remembered
_TIME_ROW_S = 1.0  # between two rows that say how much time has passed
_DEAD_S = 30.0  # a network thread that has not come around for so long is dead


@dataclass(frozen=True, slots=True)
class ReceiverSettings:
    """What the receiving process is told; plain values, for they cross a pipe.

    Args:
        broker: URL; it may hold a password, so it is never logged.
        prefix: of the topics.
        client_id: fixed, the broker keeps our queue under it.
        session_expiry_s: how long it does.
        receive_maximum: unacknowledged messages in flight to us.
        spool: folder of the spool.
        max_file_bytes: size from which on the spool begins a new file.
        max_delay_s: longest wait for further messages to commit together.
        floor: position that is known to have been given away, even if the spool has been removed since.
        idle_s: for so long after the last message, rows are written that say that time has passed.
        max_payload_bytes: larger payloads are refused by whoever reads the spool; of those, a byte more than
            this is spooled.
    """

    broker: str = field(repr=False)
    prefix: str
    client_id: str
    session_expiry_s: int
    receive_maximum: int
    spool: str
    max_file_bytes: int
    max_delay_s: float
    floor: int = 0
    idle_s: float = 11.0
    max_payload_bytes: int = 262_144

    @property
    def max_packet_bytes(self) -> int:
        """What the broker may send us at most; the one of `disc-stream broker config` takes no more."""
        return max(MAX_PACKET_BYTES, self.max_payload_bytes + HEADER_BYTES)


@dataclass(slots=True)
class ReceiverCounts:
    """Totals since the process began.

    Args:
        received: messages, repetitions included.
        received_bytes: their payloads.
        groups: transactions they were committed in.
        takeovers: connections that ended because another client connected with our id.
        turned_away: messages of QoS 0 that came faster than they could be committed.
        probes: messages of the server to itself, which are not spooled.
        sessions_lost: connections on which the broker had no queue for us though there had been one before:
            what was published while we were away is lost.
        retries: commits that failed for want of space.
        retained: samples that the broker had kept from before; they are passed over.
        cpu_us_spool: processor time of committing, microseconds.
        cpu_us_receive: processor time of everything else in this process.
    """

    received: int = 0
    received_bytes: int = 0
    groups: int = 0
    takeovers: int = 0
    turned_away: int = 0
    probes: int = 0
    sessions_lost: int = 0
    retries: int = 0
    retained: int = 0
    cpu_us_spool: int = 0
    cpu_us_receive: int = 0


class Receiver:
    """Receives until told to stop.

    Args:
        settings: where from and where to.
        report: told of ``ready``, ``head`` and ``state``, as plain values.
        clock: time.

    Raises:
        StorageError: if the spool cannot be opened.
    """

    def __init__(self, settings: ReceiverSettings, report: Report, clock: Clock | None = None) -> None:
        self._settings, self._report = settings, report
        self._clock = ArrivalClock(clock or SystemClock())
        self._topics = Topics(settings.prefix)
        self._probe_topic = self._topics.reading_probe
        self._counts = ReceiverCounts()
        self._waiting: list[Message] = []  # received and not durable yet; touched on the network thread only
        self._known: dict[str, bytes] = {}  # digest of the last description, by topic
        self._stopping = threading.Event()
        self.ready = threading.Event()
        """Whether it has had a connection."""
        self._ended = threading.Event()
        self._failure: StorageError | None = None
        self._retained_told = False
        self._blocked = ""
        self._retry_at = 0.0
        self._spool_lock = threading.Lock()  # messages come on the network thread, time on the other one
        self._quiet_since = time.monotonic()  # the last message
        self._told_time = self._quiet_since  # the last row
        self._since = 0.0  # monotonic time at which the first message that waits has come; 0 for none
        self._spool = SpoolWriter(
            Path(settings.spool), max_file_bytes=settings.max_file_bytes, floor=settings.floor
        )
        # Has an earlier run received? Then the broker should know us.
        self._is_back = self._spool.head > 0 and settings.session_expiry_s > 0
        self._lost_before = 0
        self._link = MqttLink(
            Broker.parse(settings.broker),
            settings.client_id,
            LinkListener(
                on_message=self._arrive,
                on_burst=self._on_burst,
                on_up=self._on_up,
                on_down=self._on_down,
            ),
            Session(
                expiry_s=settings.session_expiry_s,
                receive_maximum=settings.receive_maximum,
                manual_ack=True,
                max_packet_bytes=settings.max_packet_bytes,
            ),
        )

    def run(self) -> None:
        """Connect and work until ``stop``.

        Raises:
            BrokerError: if the broker cannot be reached or refuses at the start.
            StorageError: if the spool fails for another reason than want of space.
        """
        try:
            with self._beating():
                self._waiting = fetch_metas(self._link.broker, self._topics, self._settings.client_id)
                self._commit()
                self._link.subscribe(self._topics.all_of(Kind.META))
                self._link.subscribe(self._topics.all_of(Kind.RAW))
                self._link.connect()
            self.ready.set()
            self._report({"event": "ready", "head": self._spool.head})
            trimmed = time.monotonic()
            while not self._ended.wait(_BEAT_S):
                self._beat()
                self._tell_time()
                if time.monotonic() - trimmed > _TRIM_S:
                    give_back_memory()
                    trimmed = time.monotonic()
                if self._link.silent_s > _DEAD_S:
                    raise BrokerError(
                        f"the network thread has not come around for {self._link.silent_s:.0f} s"
                    )
        finally:
            self._link.close()
            self._beat()
            self._spool.close()
        if self._failure is not None:
            raise self._failure

    @contextmanager
    def _beating(self) -> Iterator[None]:
        """Report while this thread waits for the broker: connecting may take long, and is not hanging."""
        over = threading.Event()

        def beat() -> None:
            while not over.wait(_BEAT_S):
                self._beat()

        thread = threading.Thread(target=beat, name="beat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def stop(self) -> None:
        """Let ``run`` commit and acknowledge what is here, and return; from any thread."""
        self._stopping.set()
        self._link.wake()

    # -- on the network thread ------------------------------------------------------------------------

    def _arrive(self, message: Message) -> None:
        if self._stopping.is_set():
            return  # unacknowledged: it stays with the broker
        if message.topic == self._probe_topic:
            self._counts.probes += 1
        if message.qos == 0 and len(self._waiting) >= self._settings.receive_maximum:
            self._counts.turned_away += 1
            return
        most = self._settings.max_payload_bytes + 1  # enough to see that it is too large
        if len(message.payload) > most:
            message = message._replace(payload=message.payload[:most])
        self._waiting.append(message)

    def _on_burst(self) -> float | None:
        """Commit what is here, unless it is little and has only just come."""
        if 0 < len(self._waiting) < _MANY and not self._stopping.is_set():
            now = time.monotonic()
            self._since = self._since or now
            if (left := self._since + self._settings.max_delay_s - now) > 0:
                return left
        self._since = 0.0
        try:
            self._commit()
        except StorageError as error:
            self._failure = error
            self._ended.set()
        if self._stopping.is_set() and (not self._waiting or self._blocked):
            self._ended.set()
        return None

    def _on_up(self) -> None:
        """Count sessions that the broker has lost, also while this process was away."""
        history = self._link.history
        if self._is_back and not history.session_present:
            self._lost_before = 1
            log.warning(
                "broker %s has no session of %r any more: what was sent since the last run is lost; let it "
                "keep its data over a restart, and raise session_expiry_s (%d s) if we are away for longer",
                self._link.broker, self._settings.client_id, self._settings.session_expiry_s,
            )  # fmt: skip
        self._is_back = False
        self._counts.sessions_lost = self._lost_before + history.sessions_lost

    def _on_down(self, _reason: str) -> None:
        self._waiting.clear()  # the broker sends them again
        ends = self._link.history.ends
        while ends:
            self._report({"event": "ended", "at": ends.popleft()})
        self._beat()

    def _commit(self) -> None:
        """Make what has arrived durable, then acknowledge it."""
        messages = self._waiting
        if not messages or (self._blocked and time.monotonic() < self._retry_at):
            return
        now = self._clock.unix_us()
        arrivals = [
            Arrival(now, message.topic, message.content_type, message.payload)
            for message in messages
            if not (message.retained and self._is_of_old(message))
            and (message.payload or not self._topics.is_test(message.topic))
        ]
        if arrivals and not self._append(arrivals):
            return
        self._waiting = []
        self._link.ack(*messages)
        for message in messages:
            if message.topic.endswith(_META):
                self._remember(message)
        self._counts.received += len(messages)
        self._counts.received_bytes += sum([len(message.payload) for message in messages])
        if arrivals:
            self._report({"event": "head", "head": self._spool.head})

    def _append(self, arrivals: Sequence[Arrival]) -> bool:
        """Whether they are durable; False if there is no space at the moment."""
        before = time.thread_time()
        try:
            with self._spool_lock:
                self._spool.append(arrivals)
            self._quiet_since = self._told_time = time.monotonic()
        except SpoolFullError as error:
            self._counts.retries += 1
            self._retry_at = time.monotonic() + _RETRY_S
            if not self._blocked:
                log.error("nothing is acknowledged until there is space: %s", error)  # noqa: TRY400
                self._blocked = str(error)
                self._beat()
            return False
        finally:
            self._counts.cpu_us_spool += round((time.thread_time() - before) * 1e6)
        self._counts.groups += 1
        if self._blocked:
            log.warning("there is space again: receiving goes on")
            self._blocked = ""
            self._beat()
        return True

    def _tell_time(self) -> None:
        """While nothing comes, write rows that say how much time has passed, as long as something may wait.

        What waits for a missing message is given up by these rows and not by the labeller's clock: a replay
        of the spool then decides the same.
        """
        now = time.monotonic()
        if self._blocked or now - self._told_time < _TIME_ROW_S:
            return
        if self._told_time - self._quiet_since > self._settings.idle_s:
            return
        try:
            with self._spool_lock:
                self._spool.append([Arrival(self._clock.unix_us(), TIME_TOPIC, "", b"")])
        except SpoolFullError:
            return  # the next message says so
        self._told_time = now
        self._report({"event": "head", "head": self._spool.head})

    def _is_of_old(self, message: Message) -> bool:
        """Whether a retained message is nothing new: samples of any time, or the meta we last saw."""
        if message.topic.endswith(_RAW):
            if not self._retained_told:
                self._retained_told = True
                log.warning("%s is retained by the broker: retained samples are passed over", message.topic)
            self._counts.retained += 1
            return True
        return self._is_known(message)

    def _is_known(self, message: Message) -> bool:
        """Whether this is the description we last saw: the broker sends them again on every connection."""
        return self._known.get(message.topic) == _digest(message)

    def _remember(self, message: Message) -> None:
        if len(self._known) >= _MOST_METAS:
            self._known.clear()
        self._known[message.topic] = _digest(message)

    # -- what the main process hears -------------------------------------------------------------------

    def _beat(self) -> None:
        self._counts.takeovers = self._link.history.takeovers
        everything = round(time.process_time() * 1e6)
        self._counts.cpu_us_receive = everything - self._counts.cpu_us_spool
        self._report(
            {
                "event": "state",
                "connected": self._link.connected,
                "since": self._link.history.since,
                "waits": self._link.connecting,
                "blocked": self._blocked,
                "head": self._spool.head,
                "counts": asdict(self._counts),
            }
        )


def _digest(message: Message) -> bytes:
    return hashlib.blake2b(message.payload, digest_size=8).digest()
