"""The batches of one phone on their way to the broker."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

from disc_stream.errors import BrokerError
from disc_stream.types import DeviceMeta, SampleBatch
from disc_stream.wire.broker import Broker
from disc_stream_edge.phones.assembling import CHANNELS
from disc_stream_edge.publisher import Publisher, Sending

_WAITING = 1_500  # batches: half an hour of nothing but acceleration at five a second would be more
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
    """Publishes the batches of one phone with QoS 1, on a thread that begins with the first one.

    Args:
        broker: where to.
        prefix: topic prefix.
    """

    def __init__(self, broker: Broker, prefix: str) -> None:
        self._broker, self._prefix = broker, prefix
        self._waiting: queue.Queue[SampleBatch] = queue.Queue(_WAITING)
        self._ended, self._stop = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self.trouble = ""
        """Why nothing can be published now, "" if all is well."""
        self.dropped = 0
        """Batches for which there was no room."""

    @property
    def has_room(self) -> bool:
        """Whether more may come; the broker has been away for long if not."""
        return self._waiting.qsize() < _WAITING // 2

    def put(self, batch: SampleBatch) -> None:
        """Send a batch."""
        try:
            self._waiting.put_nowait(batch)
        except queue.Full:
            self.dropped += 1
        if self._thread is None:
            source = PhoneSource(batch, self._waiting, self._ended)
            self._thread = threading.Thread(
                target=self._run, args=(source,), name=f"phone-{batch.device}", daemon=True
            )
            self._thread.start()

    def _run(self, source: PhoneSource) -> None:
        publisher = Publisher(self._broker, prefix=self._prefix, sending=Sending(describe=True))
        while not self._stop.is_set():
            try:
                publisher.run([source], self._stop)
            except BrokerError as error:
                self.trouble = str(error)
                self._ended.wait(_AGAIN_S)
                if self._ended.is_set():
                    return
            else:
                return

    def close(self) -> None:
        """Send what waits, for a few seconds at most, and say goodbye."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(_FLUSH_S)
            self._stop.set()
            self._thread.join(_FLUSH_S)
