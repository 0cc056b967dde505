"""Broker, spool, acknowledgement.

::

    network thread: read all that has arrived ──▶ commit it (fsync) ──▶ PUBACK in receive order ──▶ again

What arrives during a commit waits in the socket, so groups grow with the load by themselves. When the disk
is full nothing is acknowledged: the broker holds the rest back (Receive Maximum), and the same group is
tried again until there is space. What a device sends beyond its limits goes into the overflow queue instead,
and from there into the spool as fast as the limits allow.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from disc_stream.clock import Clock, SystemClock
from disc_stream.errors import BrokerError, SpoolFullError, StorageError
from disc_stream.wire.broker import Broker
from disc_stream.wire.mqtt import LinkListener, Message, MqttLink, Session
from disc_stream.wire.topics import Kind, Topics, is_device
from disc_stream_server.memory import give_back_memory
from disc_stream_server.metas import fetch_metas
from disc_stream_server.receiving.arrival import ArrivalClock
from disc_stream_server.receiving.feeding import Feeder
from disc_stream_server.receiving.known import KnownMetas
from disc_stream_server.receiving.ratelimiter import Fate, RateLimiter
from disc_stream_server.receiving.settings import ReceiverCounts, ReceiverSettings
from disc_stream_server.storage.overflow import OverflowQueue
from disc_stream_server.storage.rows import TIME_TOPIC
from disc_stream_server.storage.spool import Arrival, SpoolWriter

log = logging.getLogger(__name__)

Report = Callable[[dict[str, Any]], None]

_RETRY_S = 1.0
_MANY = 64  # messages that are committed at once, however short they have waited
_BEAT_S = 0.5
_TRIM_S = 60.0
_META, _RAW = f"/{Kind.META.value}", f"/{Kind.RAW.value}"
_MAX_NAME = 128  # characters of what stands for a device in a topic
_TIME_ROW_S = 1.0  # between two rows that say how much time has passed
_FEED_S = 0.1  # between two looks into the overflow queue
_SOON_S = 0.01  # the same where the last one has not found the end
_UNSAFE_BYTES = 2**23  # of messages of QoS 0 that wait to be committed; further ones are turned away
_DEAD_S = 30.0  # a network thread that has not come around for so long is dead


@dataclass(slots=True)
class _Group:
    """Messages that become durable together; what is, is taken out, so nothing is stored twice."""

    messages: list[Message]
    arrivals: list[Arrival] = field(default_factory=list)
    waiting: list[tuple[str, Arrival]] = field(default_factory=list)


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
        self._waiting_bytes = 0
        self._group: _Group | None = None  # those that are becoming durable
        self._known = KnownMetas()
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
        self._overflow = OverflowQueue(Path(settings.spool))
        self._limiter = RateLimiter(settings.limits, self._overflow.devices)
        self._feeder = Feeder(self._overflow, self._limiter, self._enter, self._clock)
        self._feed_at = 0.0
        self._limited: dict[str, dict[str, int]] = {}
        self._erased: queue.SimpleQueue[str] = queue.SimpleQueue()
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
                wants=self._wants,
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
            self._overflow.close()
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

    def hold(self, devices: Iterable[str]) -> None:
        """Let nothing of these devices into the spool until further notice; from any thread."""
        self._limiter.held = frozenset(devices)

    def forget(self, device: str) -> None:
        """Drop what is known of a device that was erased; from any thread."""
        self._erased.put(device)
        self._link.wake()

    # -- on the network thread ------------------------------------------------------------------------

    def _wants(self, topic: str, size: int) -> bool:
        """Whether a large payload is to be read: one that is refused would cost the others time for nothing."""
        return not self._limiter.refuses(self._device_of(topic), size)

    def _arrive(self, message: Message) -> None:
        if self._stopping.is_set():
            return  # unacknowledged: it stays with the broker
        if message.topic == self._probe_topic:
            self._counts.probes += 1
        if message.qos == 0 and (
            len(self._waiting) >= self._settings.receive_maximum or self._waiting_bytes >= _UNSAFE_BYTES
        ):
            self._counts.turned_away += 1
            return
        most = self._settings.max_payload_bytes + 1  # enough to see that it is too large
        if len(message.payload) > most:
            message = message._replace(payload=message.payload[:most])
        self._waiting.append(message)
        self._waiting_bytes += len(message.payload)

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
            self._drop_erased()
            self._counts.waiting = len(self._overflow)
            if not self._blocked and time.monotonic() >= self._feed_at:
                more = self._feeder.feed()
                self._feed_at = time.monotonic() + (_SOON_S if more else _FEED_S)  # each costs a sync
        except StorageError as error:
            self._failure = error
            self._ended.set()
        self._limited = self._limiter.limited()
        if self._stopping.is_set() and (not (self._waiting or self._group) or self._blocked):
            self._ended.set()
        return max(_SOON_S, self._feed_at - time.monotonic()) if self._overflow.devices else None

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
        self._waiting_bytes, self._group = 0, None
        ends = self._link.history.ends
        while ends:
            self._report({"event": "ended", "at": ends.popleft()})
        self._beat()

    def _commit(self) -> None:
        """Make what has arrived durable, then acknowledge it."""
        if self._blocked and time.monotonic() < self._retry_at:
            return
        while self._group is not None or self._waiting:
            group = self._group = self._group or self._sort()
            if not self._store(group):
                return
            self._group = None
            self._acknowledge(group.messages)

    def _sort(self) -> _Group:
        """What is to become of the messages that have arrived."""
        group, self._waiting, self._waiting_bytes = _Group(self._waiting), [], 0
        now = self._clock.unix_us()
        self._limiter.begin()
        for message in group.messages:
            topic, size = message.topic, len(message.payload)
            if message.retained and self._is_of_old(message):
                continue
            device = self._device_of(topic)
            if message.dropped:
                self._limiter.refuse(device)
                self._counts.over_quota += 1
                continue
            if not size and (not is_device(device) or topic.endswith(_RAW) or self._topics.is_test(topic)):
                self._counts.empty += topic.endswith(_RAW) and not self._topics.is_test(topic)
                continue  # a test; or a retained message was removed that was never used
            arrival = Arrival(now, topic, message.content_type, message.payload)
            fate = self._limiter.judge(device, size)
            if fate is Fate.ADMITTED:
                group.arrivals.append(arrival)
            elif fate is Fate.WAITS:
                group.waiting.append((device, arrival))
                self._counts.limited += 1
            else:
                self._counts.over_quota += 1
        return group

    def _device_of(self, topic: str) -> str:
        """Whose limits a message counts for; the topic need not be of our grammar."""
        return topic[len(self._settings.prefix) + 1 : topic.rfind("/")][:_MAX_NAME]

    def _store(self, group: _Group) -> bool:
        """Whether everything of a group is durable; False if there is no space at the moment."""
        if group.arrivals:
            if not self._enter(group.arrivals):
                return False
            group.arrivals = []
        if group.waiting:
            if not self._guarded(lambda: self._overflow.put(group.waiting)):
                return False
            group.waiting = []
        return True

    def _acknowledge(self, messages: list[Message]) -> None:
        self._link.ack(*messages)
        for message in messages:
            if message.topic.endswith(_META):
                self._known.remember(message)
        self._counts.received += len(messages)
        self._counts.received_bytes += sum([len(message.payload) + message.dropped for message in messages])

    def _enter(self, arrivals: Sequence[Arrival]) -> bool:
        """Whether they are durable in the spool; False if there is no space at the moment."""

        def append() -> None:
            with self._spool_lock:
                self._spool.append(arrivals)
            self._quiet_since = self._told_time = time.monotonic()

        if not self._guarded(append):
            return False
        self._report({"event": "head", "head": self._spool.head})
        return True

    def _guarded(self, write: Callable[[], None]) -> bool:
        """Whether something could be written; False if there is no space at the moment."""
        before = time.thread_time()
        try:
            write()
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
        idle = self._told_time - self._quiet_since > self._settings.idle_s
        if idle and now - self._told_time < 86_400.0:  # once a day, for what is kept for days
            return
        try:
            with self._spool_lock:
                self._spool.append([Arrival(self._clock.unix_us(), TIME_TOPIC, "", b"")])
        except SpoolFullError:
            return  # the next message says so
        self._told_time = now
        self._report({"event": "head", "head": self._spool.head})

    def _drop_erased(self) -> None:
        while not self._erased.empty():
            device = self._erased.get()
            self._limiter.forget(device)
            self._overflow.devices.pop(device, None)
            self._known.forget(f"{self._settings.prefix}/{device}{_META}")

    def _is_of_old(self, message: Message) -> bool:
        """Whether a retained message is nothing new: samples of any time, or the meta we last saw."""
        if message.topic.endswith(_RAW):
            if not self._retained_told:
                self._retained_told = True
                log.warning("%s is retained by the broker: retained samples are passed over", message.topic)
            self._counts.retained += 1
            return True
        return self._known.is_last(message)

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
                "limited": self._limited,
            }
        )
