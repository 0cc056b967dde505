"""The batches of one phone on their way to the broker."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

from disc_stream.errors import DiscStreamError
from disc_stream.types import DeviceMeta, SampleBatch
from disc_stream.wire.broker import Broker
from disc_stream_edge.outbox import Outbox
from disc_stream_edge.phones.assembling import CHANNELS
from disc_stream_edge.publisher import Publisher, Sending

_WAITING = 1_500  # batches: half an hour of nothing but acceleration at five a second would be more
_MANY = 50  # messages in an outbox: more than are ever on their way while all is well
_POLL_S = 0.2
_AGAIN_S = 2.0
_FLUSH_S = 5.0


class PhoneSource:
    """A phone as a source of the publisher: batches as they come.

    Args:
        first: a batch of the phone; its device, boot and rate are those of the source.
        waiting: further batches.
        ended: no more come.
    """

    paced = False
    total_samples = None

    def __init__(self, first: SampleBatch, waiting: queue.Queue[SampleBatch], ended: threading.Event) -> None:
        self.device, self.boot = first.device, first.boot
        channels = tuple(channel for part in CHANNELS.values() for channel in part)
        self.meta = DeviceMeta(first.fs, channels, model="phone")
        self._waiting, self._ended = waiting, ended

    def batches(self, _n_samples: object) -> Iterator[SampleBatch]:
        """The batches, as long as the phone makes them."""
        while True:
            try:
                yield self._waiting.get(timeout=_POLL_S)
            except queue.Empty:
                if self._ended.is_set():
                    return


class PhoneSender:
    """Publishes the batches of one phone with QoS 1, on a thread of its own.

    With an outbox they are on disk until the broker has confirmed them, also over an end of the process, and
    what an earlier run has left is sent first; without one they wait in memory.

    Args:
        broker: where to.
        prefix: topic prefix.
        outbox: of this phone alone; closed at the end.
    """

    def __init__(self, broker: Broker, prefix: str, outbox: Outbox | None = None) -> None:
        self._broker, self._prefix, self._outbox = broker, prefix, outbox
        self._waiting: queue.Queue[SampleBatch] = queue.Queue(_WAITING)
        self._begun, self._ended, self._stop = threading.Event(), threading.Event(), threading.Event()
        self._source: PhoneSource | None = None
        self._thread: threading.Thread | None = None
        self._fault = ""
        self._dropped = 0

    @property
    def trouble(self) -> str:
        """Why nothing can be published now, "" if all is well."""
        waiting = 0 if self._outbox is None else self._outbox.tally.waiting
        if not self._fault and waiting > _MANY:
            return f"the broker does not answer; {waiting} messages wait on disk"
        return self._fault

    @property
    def dropped(self) -> int:
        """Batches for which there was no room."""
        return self._dropped + (0 if self._outbox is None else self._outbox.tally.dropped)

    @property
    def has_room(self) -> bool:
        """Whether more may come; the broker has been away for long if not."""
        return self._waiting.qsize() < _WAITING // 2

    def new_boot(self, device: str, number: int) -> int:
        """The id of a boot that begins now: a number, or one above the phone's last if that is higher."""
        return number if self._outbox is None else self._outbox.next_boot(device, number)

    def start(self, device: str) -> None:
        """Send what an earlier run has left, without waiting for the phone."""
        if self._outbox is not None and self._outbox.tally.waiting:
            self._run_on_thread(device)

    def put(self, batch: SampleBatch) -> None:
        """Send a batch."""
        try:
            self._waiting.put_nowait(batch)
        except queue.Full:
            self._dropped += 1
        if self._source is None:
            self._source = PhoneSource(batch, self._waiting, self._ended)
            self._begun.set()
        if self._thread is None:
            self._run_on_thread(batch.device)

    def _run_on_thread(self, device: str) -> None:
        self._thread = threading.Thread(target=self._run, name=f"phone-{device}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        sending = Sending(describe=True)
        publisher = Publisher(self._broker, prefix=self._prefix, sending=sending, outbox=self._outbox)
        while not self._stop.is_set():
            source = self._source
            try:
                if source is None:
                    publisher.run([], self._begun)
                else:
                    publisher.run([source], self._stop)
            except DiscStreamError as error:
                self._fault = str(error)
                self._ended.wait(_AGAIN_S)
                if self._ended.is_set():
                    return
            else:
                if source is not None:
                    return
                self._begun.wait()
                if self._source is None:
                    return

    def close(self) -> None:
        """Send what waits, for a few seconds at most, and say goodbye."""
        self._ended.set()
        self._begun.set()
        if self._thread is not None:
            self._thread.join(_FLUSH_S)
            self._stop.set()
            self._thread.join(_FLUSH_S)
        if self._outbox is not None and (self._thread is None or not self._thread.is_alive()):
            self._outbox.close()
