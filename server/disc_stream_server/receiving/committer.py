"""What has been received becomes durable and is acknowledged, on a thread of its own.

While a group is on its way to the disk the network thread reads on. Else what one device sends without end
would pile up in the broker during each sync, and the messages of the others with it, for the broker has one
queue for us.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from disc_stream.clock import Clock
from disc_stream.errors import SpoolFullError, StorageError
from disc_stream.wire.mqtt import Message
from disc_stream.wire.topics import Kind, Topics, is_device
from disc_stream_server.receiving.arrival import ArrivalClock
from disc_stream_server.receiving.feeding import Feeder
from disc_stream_server.receiving.known import KnownMetas
from disc_stream_server.receiving.ratelimiter import Fate, RateLimiter
from disc_stream_server.receiving.settings import ReceiverCounts, ReceiverSettings
from disc_stream_server.storage.overflow import OverflowQueue
from disc_stream_server.storage.rows import TIME_TOPIC
from disc_stream_server.storage.spool import Arrival, SpoolWriter

log = logging.getLogger(__name__)

_RETRY_S = 1.0
_TICK_S = 1.0  # longest sleep
_CLOSE_S = 10.0
_MANY = 64  # messages that are committed at once, however short they have waited
_META, _RAW = f"/{Kind.META.value}", f"/{Kind.RAW.value}"
_MAX_NAME = 128  # characters of what stands for a device in a topic
_TIME_ROW_S = 1.0  # between two rows that say how much time has passed
_FEED_S = 0.1  # between two looks into the overflow queue
_SOON_S = 0.01  # the same where the last one has not found the end
_LITTLE_BYTES, _PAUSE_S = 2**16, 0.001  # after a burst of no more, reading pauses
_AHEAD_BYTES = 2**22  # of messages that are read while others are on their way to the disk
_LATELY_S = 60.0  # what clears the topics of an erased device comes within that
_UNSAFE_BYTES = 2**23  # of messages of QoS 0 that wait to be committed; further ones are turned away


@dataclass(slots=True)
class _Group:
    """Messages that become durable together; what is, is taken out, so nothing is stored twice."""

    messages: list[Message]
    connection: int
    arrivals: list[Arrival] = field(default_factory=list)
    waiting: list[tuple[str, Arrival]] = field(default_factory=list)


class Committer:
    """Makes messages durable, in the order in which they came.

    Args:
        settings: of the receiver.
        acknowledge: called with messages that are durable, in the order in which they came.
        report: told of ``head``, and that the ``blocked`` state has changed (None).
        clock: time.

    Raises:
        StorageError: if the spool cannot be opened.
    """

    def __init__(
        self,
        settings: ReceiverSettings,
        acknowledge: Callable[[Sequence[Message]], None],
        report: Callable[[dict[str, Any] | None], None],
        clock: Clock,
    ) -> None:
        self._settings, self._tell_broker, self._report = settings, acknowledge, report
        self._clock = ArrivalClock(clock)
        self._topics = Topics(settings.prefix)
        self.counts = ReceiverCounts()
        self._lock = threading.Lock()  # of what has arrived, which both threads touch
        self._arrived: list[Message] = []  # not durable yet
        self._arrived_bytes = 0
        self._burst_bytes = 0  # of what the network thread has taken since it last paused
        self._since = 0.0  # monotonic time at which the first of them came
        self._connection = 0  # number of the present one, for messages of earlier ones come again
        self._group: _Group | None = None  # those that are becoming durable
        self._known = KnownMetas()
        self._retained_told = False
        self.blocked = ""
        """Why nothing is acknowledged at the moment, "" if it is."""
        self._retry_at = 0.0
        self._spool_lock = threading.Lock()  # rows of messages, and those of time
        self._quiet_since = time.monotonic()  # the last message
        self._told_time = self._quiet_since  # the last row
        self.spool = SpoolWriter(
            Path(settings.spool), max_file_bytes=settings.max_file_bytes, floor=settings.floor
        )
        self.overflow = OverflowQueue(Path(settings.spool))
        self.limiter = RateLimiter(settings.limits, self.overflow.devices)
        self.feeder = Feeder(self.overflow, self.limiter, self._enter, self._clock)
        self._feed_at = 0.0
        self.limited: dict[str, dict[str, int]] = {}
        """Devices that exceed what they may, for the status."""
        self._erased: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._erased_at: dict[str, float] = {}  # monotonic time, of those erased lately
        self.failure: StorageError | None = None
        """Why it had to end."""
        self.ended = threading.Event()
        self.ticked = time.monotonic()
        """When the thread last came around, in monotonic seconds."""
        self._stopping, self._woken = threading.Event(), threading.Event()
        self._swapped = threading.Event()  # what had arrived is a group now
        self._lingers = False  # for further messages
        self._thread = threading.Thread(target=self._work, name="commit", daemon=True)

    def start(self) -> None:
        """Work in the background."""
        self._thread.start()

    def stop(self) -> None:
        """Finish what is here, and end; from any thread."""
        self._stopping.set()
        self._woken.set()

    def close(self) -> None:
        """Close the files, once what was begun is on the disk."""
        self.stop()
        if self._thread.ident is not None:
            self._thread.join(_CLOSE_S)
        if self._thread.is_alive():  # the disk hangs
            return
        self.overflow.close()
        self.spool.close()

    def forget(self, device: str) -> None:
        """Drop what is known of a device that was erased; from any thread."""
        self._erased.put(device)
        self._woken.set()

    # -- on the network thread --------------------------------------------------------------------------

    def take(self, message: Message) -> None:
        """A message has arrived."""
        if self._stopping.is_set():
            return  # unacknowledged: it stays with the broker
        if message.qos == 0 and (
            len(self._arrived) >= self._settings.receive_maximum or self._arrived_bytes >= _UNSAFE_BYTES
        ):
            self.counts.turned_away += 1
            return
        self._burst_bytes += len(message.payload) + message.dropped
        most = self._settings.max_payload_bytes + 1  # enough to see that it is too large
        if len(message.payload) > most:
            message = replace(message, payload=message.payload[:most])
        with self._lock:
            if not self._arrived:
                self._since = time.monotonic()
            self._arrived.append(message)
            self._arrived_bytes += len(message.payload)

    def wants(self, topic: str, size: int) -> bool:
        """Whether a large payload is to be read: one that is refused would only cost the others time."""
        return not self.limiter.refuses(self._device_of(topic), size)

    def wake(self) -> None:
        """All that was there has been taken; returns once there is room for more."""
        n, size, self._burst_bytes = len(self._arrived), self._burst_bytes, 0
        if n >= _MANY or (n and not self._lingers):
            self._woken.set()
        if 0 < size < _LITTLE_BYTES:  # looking again for each single message would cost more than the message
            time.sleep(_PAUSE_S)
        if self._arrived_bytes > _AHEAD_BYTES and not (self.blocked or self._stopping.is_set()):
            self._swapped.clear()
            if self._arrived_bytes > _AHEAD_BYTES:
                self._swapped.wait(_TICK_S)

    def drop(self) -> None:
        """The connection is lost: the broker sends again what was not acknowledged."""
        with self._lock:
            self._arrived, self._arrived_bytes = [], 0
            self._connection += 1

    # -- on the committing thread -----------------------------------------------------------------------

    def _work(self) -> None:
        patience_s = 0.0
        try:
            while not self.ended.is_set():
                self._woken.wait(patience_s)
                self._woken.clear()
                self.ticked = time.monotonic()
                self._linger()
                patience_s = self._round()
        except StorageError as error:
            self.failure = error
        except Exception as error:
            log.exception("error while messages were stored; what is not acknowledged comes again")
            self.failure = StorageError(f"messages cannot be stored ({error})")
        finally:
            self.ended.set()

    def _linger(self) -> None:
        """Wait for further messages, as long as there are few and they have only just come."""
        left_s = self._since + self._settings.max_delay_s - time.monotonic()
        if left_s > 0 and 0 < len(self._arrived) < _MANY and not self._stopping.is_set():
            self._lingers = True
            self._woken.wait(min(left_s, _TICK_S))
            self._lingers = False

    def _round(self) -> float:
        """Commit what is here; seconds until there may be more to do."""
        self.commit()
        self._drop_erased()
        self.counts.waiting = len(self.overflow)
        if not self.blocked and time.monotonic() >= self._feed_at:
            more = self.feeder.feed()
            self._feed_at = time.monotonic() + (_SOON_S if more else _FEED_S)  # each costs a sync
        self.limited = self.limiter.limited()
        if self._stopping.is_set() and (not (self._arrived or self._group) or self.blocked):
            self.ended.set()
        now = time.monotonic()
        if self.blocked:
            return max(0.0, self._retry_at - now)
        if self._arrived:
            return 0.0
        return max(0.0, min(_TICK_S, self._feed_at - now)) if self.overflow.devices else _TICK_S

    def commit(self) -> None:
        """Make what has arrived durable, or what could not be made so the last time; then acknowledge it.

        Raises:
            StorageError: if the spool fails for another reason than want of space.
        """
        if self.blocked and time.monotonic() < self._retry_at:
            return
        if self._group is None and not self._arrived:
            return
        group = self._group = self._group or self._sort()
        if group.connection == self._connection:
            if not self._store(group):
                return
            self._acknowledge(group.messages)
        self._group = None

    def _sort(self) -> _Group:
        """What is to become of the messages that have arrived."""
        with self._lock:
            group = _Group(self._arrived, self._connection)
            self._arrived, self._arrived_bytes = [], 0
        self._swapped.set()
        now = self._clock.unix_us()
        self.limiter.begin()
        for message in group.messages:
            topic, size = message.topic, len(message.payload)
            if message.retained and self._is_of_old(message):
                continue
            device = self._device_of(topic)
            if message.dropped:
                self.limiter.refuse(device)
                self.counts.over_quota += 1
                continue
            if self._erased_at and self._is_of_erased(device, size):
                continue
            if not size and (not is_device(device) or topic.endswith(_RAW) or self._topics.is_test(topic)):
                self.counts.empty += topic.endswith(_RAW) and not self._topics.is_test(topic)
                continue  # a test; or a retained message was removed that was never used
            arrival = Arrival(now, topic, message.content_type, message.payload)
            fate = self.limiter.judge(device, size)
            if fate is Fate.ADMITTED:
                group.arrivals.append(arrival)
            elif fate is Fate.WAITS:
                group.waiting.append((device, arrival))
                self.counts.limited += 1
            else:
                self.counts.over_quota += 1
        return group

    def _is_of_erased(self, device: str, size: int) -> bool:
        """Whether a message only clears what was retained of a device that was erased just now."""
        if size:  # it is there again
            self._erased_at.pop(device, None)
            return False
        return device in self._erased_at

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
            if not self._guarded(lambda: self.overflow.put(group.waiting)):
                return False
            group.waiting = []
        return True

    def _acknowledge(self, messages: list[Message]) -> None:
        self._tell_broker(messages)
        for message in messages:
            if message.topic.endswith(_META) and not message.dropped:
                self._known.remember(message)
        self.counts.received += len(messages)
        self.counts.received_bytes += sum([len(message.payload) + message.dropped for message in messages])

    def _enter(self, arrivals: Sequence[Arrival]) -> bool:
        """Whether they are durable in the spool; False if there is no space at the moment."""

        def append() -> None:
            with self._spool_lock:
                self.spool.append(arrivals)
            self._quiet_since = self._told_time = time.monotonic()

        if not self._guarded(append):
            return False
        self._report({"event": "head", "head": self.spool.head})
        return True

    def _guarded(self, write: Callable[[], None]) -> bool:
        """Whether something could be written; False if there is no space at the moment."""
        before = time.thread_time()
        try:
            write()
        except SpoolFullError as error:
            self.counts.retries += 1
            self._retry_at = time.monotonic() + _RETRY_S
            if not self.blocked:
                log.error("nothing is acknowledged until there is space: %s", error)  # noqa: TRY400
                self.blocked = str(error)
                self._report(None)
            return False
        finally:
            self.counts.cpu_us_spool += round((time.thread_time() - before) * 1e6)
        self.counts.groups += 1
        if self.blocked:
            log.warning("there is space again: receiving goes on")
            self.blocked = ""
            self._report(None)
        return True

    def _drop_erased(self) -> None:
        if self._erased_at:
            since = time.monotonic() - _LATELY_S
            self._erased_at = {name: at for name, at in self._erased_at.items() if at > since}
        while not self._erased.empty():
            device = self._erased.get()
            self._erased_at[device] = time.monotonic()
            self.limiter.forget(device)
            self.overflow.devices.pop(device, None)
            self._known.forget(f"{self._settings.prefix}/{device}{_META}")

    def _is_of_old(self, message: Message) -> bool:
        """Whether a retained message is nothing new: samples of any time, or the meta we last saw."""
        if message.topic.endswith(_RAW):
            if not self._retained_told:
                self._retained_told = True
                log.warning("%s is retained by the broker: retained samples are passed over", message.topic)
            self.counts.retained += 1
            return True
        return self._known.is_last(message)

    # -- on the main thread -----------------------------------------------------------------------------

    def accept(self, messages: Iterable[Message]) -> None:
        """Store messages before the thread begins.

        Raises:
            StorageError: if the spool fails for another reason than want of space.
        """
        self._arrived = list(messages)
        self.commit()

    def tell_time(self) -> None:
        """While nothing comes, write rows that say how much time has passed, as long as something may wait.

        What waits for a missing message is given up by these rows and not by the labeller's clock: a replay
        of the spool then decides the same.
        """
        now = time.monotonic()
        if self.blocked or now - self._told_time < _TIME_ROW_S:
            return
        idle = self._told_time - self._quiet_since > self._settings.idle_s
        if idle and now - self._told_time < 86_400.0:  # once a day, for what is kept for days
            return
        try:
            with self._spool_lock:
                self.spool.append([Arrival(self._clock.unix_us(), TIME_TOPIC, "", b"")])
        except SpoolFullError:
            return  # the next message says so
        self._told_time = now
        self._report({"event": "head", "head": self.spool.head})
