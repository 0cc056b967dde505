"""Sends the samples of one or many devices to the broker, at their pace, and loses none silently."""

from __future__ import annotations

import heapq
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from disc_stream.clock import Clock, SystemClock
from disc_stream.errors import ConfigError, PayloadError
from disc_stream.types import SampleBatch
from disc_stream.wire.broker import Broker
from disc_stream.wire.codecs import CONTENT_TYPES, Encoding, encode_batch
from disc_stream.wire.meta import decode_meta, encode_meta
from disc_stream.wire.topics import DEFAULT_PREFIX, Topics
from disc_stream_edge.batching import AdaptiveBatching
from disc_stream_edge.connection import Connection
from disc_stream_edge.forwarding import Forwarding
from disc_stream_edge.keeping import Direct, Keeper, Kept
from disc_stream_edge.outbox import Entry, Outbox
from disc_stream_edge.sources import BatchSize, LeftSource, Source

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 256  # beyond, devices share one: every connection costs a thread here and a socket there
_OPENERS = 16
_FLUSH_S = 30.0
_FLUSH_STOPPED_S = 3.0  # somebody waits for us to end


@dataclass(frozen=True, slots=True)
class Published:
    """A message that is handed to the connection now.

    Args:
        device: device id.
        boot: boot of the device.
        seq: number of the batch.
        t0_us: device clock at its first sample.
        n_samples: samples in it.
        n_bytes: size of the payload.
        monotonic: ``time.monotonic()`` at the moment.
        unix_us: wall-clock time at the moment.
    """

    device: str
    boot: int
    seq: int
    t0_us: int
    n_samples: int
    n_bytes: int
    monotonic: float
    unix_us: int


@dataclass(frozen=True, slots=True)
class PublishSummary:
    """What a run of the publisher did.

    Args:
        devices: number of devices.
        messages: sample messages sent.
        samples: samples in them.
        bytes: payload bytes in them.
        confirmed: messages that the broker has confirmed, with an outbox also those of earlier runs.
        lost: messages sent and not confirmed, or refused by the broker; with an outbox those that gave way,
            were refused for good, or could not be written.
        invalid: batches that were not sent because they hold NaN or values outside the limits.
        seconds: duration of sending, without connecting.
        stopped: whether it was told to stop before the sources ended.
        waiting: messages that are left in the outbox for the next run.
    """

    devices: int
    messages: int
    samples: int
    bytes: int
    confirmed: int
    lost: int
    invalid: int
    seconds: float
    stopped: bool
    waiting: int = 0


@dataclass(slots=True)
class _Tally:
    messages: int = 0
    samples: int = 0
    bytes: int = 0
    invalid: int = 0

    def summary(
        self, devices: int, confirmed: int, lost: int, seconds: float, *, stopped: bool, waiting: int = 0
    ) -> PublishSummary:
        """These numbers, and what became of the messages."""
        return PublishSummary(
            devices, self.messages, self.samples, self.bytes, confirmed, lost, self.invalid, seconds, stopped,
            waiting,
        )  # fmt: skip


@dataclass(slots=True)
class _Device:
    """A source, its connection, and where it stands."""

    device: str
    keeper: Keeper
    paced: bool
    batches: Iterator[SampleBatch]
    start: float  # monotonic time of the device's first sample
    first_t0_us: int | None = None

    def due(self, batch: SampleBatch, speed: float) -> float:
        """Monotonic time when the batch's last sample has been taken."""
        if not self.paced or speed == 0:
            return self.start
        if self.first_t0_us is None:
            self.first_t0_us = batch.t0_us
        elapsed_s = (batch.t0_us - self.first_t0_us) / 1e6 + len(batch.samples) / batch.fs
        return self.start + elapsed_s / speed


@dataclass(frozen=True, slots=True)
class Sending:
    """How a publisher sends.

    Args:
        encoding: of the payloads.
        samples: per message, at least 1.
        speed: 1 is real time, 20 is twenty times as fast, 0 as fast as the broker confirms.
        describe: whether each message carries the channels' names and units (meta has them anyway).
        max_unconfirmed: messages of one connection that may wait for confirmation, at least 1.
        most_samples: per message, while messages wait in an outbox (``AdaptiveBatching``).
        share: one connection for all devices (True), one for each (False), by their number (None).

    Raises:
        ConfigError: if a number is out of range.
    """

    encoding: Encoding = Encoding.CBOR
    samples: int = 25
    speed: float = 1.0
    describe: bool = False
    max_unconfirmed: int = 64
    most_samples: int = 250
    share: bool | None = None

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.samples < 1:
            raise ConfigError(
                f"a message needs at least 1 sample, got {self.samples}", remedy="Use --samples 25"
            )
        if self.max_unconfirmed < 1:
            raise ConfigError(f"max_unconfirmed must be at least 1, got {self.max_unconfirmed}")
        if not 0 <= self.speed < float("inf"):
            raise ConfigError(
                f"speed must be 0 or more, got {self.speed}", remedy="Use --speed 1 for real time"
            )


class Maker(Protocol):
    """Makes messages of the batches of devices."""

    def __call__(self, batch: SampleBatch) -> Sequence[Entry]:
        """The messages that a batch leads to; raises a ``PayloadError`` if it cannot be used."""
        ...

    def finish(self) -> Sequence[Entry]:
        """What is still to be sent when no more batches come."""
        ...


class Publisher:
    """Publishes sources to a broker over MQTT with QoS 1.

    Each device has its own connection with its own last will, up to ``MAX_CONNECTIONS`` devices; more share
    one. Messages are sent when their last sample is due. Without an outbox a device with too many unconfirmed
    messages waits, so that a slow or absent broker holds it back instead of filling the memory. With one,
    messages go to disk first, and the broker need not be there.

    Args:
        broker: where to.
        prefix: topic prefix.
        sending: encoding, size and pace of the messages.
        on_publish: called on the sending thread for each message; must be quick.
        outbox: keeps messages until they are confirmed; what earlier runs have left there is sent, too.
        maker: makes other messages of the batches; default: one of each batch, with its samples.

    Raises:
        TopicError: if the prefix is not valid.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        prefix: str = DEFAULT_PREFIX,
        sending: Sending | None = None,
        on_publish: Callable[[Published], None] | None = None,
        outbox: Outbox | None = None,
        maker: Maker | None = None,
    ) -> None:
        self._outbox, self._maker = outbox, maker
        self._make: Callable[[SampleBatch], Sequence[Entry]] = maker or self._encode
        self._broker, self._topics = broker, Topics(prefix)
        self._sending = sending or Sending()
        self._on_publish = on_publish
        self._on_model: Callable[[bytes], None] | None = None
        self._clock: Clock = SystemClock()

    def hear_model(self, on_model: Callable[[bytes], None]) -> None:
        """Also listen to what the server says of its model; to be called before ``run``.

        On the connection of the first device: a broker that takes the user name for the client id allows a
        device one connection alone.

        Args:
            on_model: is given the message, on a network thread.
        """
        self._on_model = on_model

    def run(self, sources: Sequence[Source], stop: threading.Event | None = None) -> PublishSummary:
        """Publish until all sources have ended or ``stop`` is set; then disconnect gracefully.

        Raises:
            ConfigError: if there is no source, or two have the same device id.
            BrokerError: if the broker cannot be reached or refuses us at the start, or if another client
                takes over a device; later breaks of the connection are waited out.
        """
        stop = stop or threading.Event()
        names = [source.device for source in sources]
        if len(set(names)) < len(names) or not (names or self._outbox):
            raise ConfigError("every source needs its own device id", remedy="Check --device and --replay")
        if self._outbox is None:
            return self._run_direct(sources, stop)
        return self._run_kept(sources, stop, self._outbox)

    def _run_direct(self, sources: Sequence[Source], stop: threading.Event) -> PublishSummary:
        tally = _Tally()
        with self._connections(sources, stop) as connections:
            begin = time.monotonic()
            keepers = [Direct(connection) for connection in connections]
            self._send(self._devices(sources, keepers, self._sending.samples, begin), tally, stop)
        seconds = time.monotonic() - begin
        confirmed = sum(connection.confirmed for connection in set(connections))
        return tally.summary(
            len(sources), confirmed, tally.messages - confirmed, seconds, stopped=stop.is_set()
        )

    def _run_kept(self, sources: Sequence[Source], stop: threading.Event, outbox: Outbox) -> PublishSummary:
        tally, before = _Tally(), outbox.tally
        for source in sources:
            outbox.begin_boot(source.device, source.boot, encode_meta(source.meta))
        everyone = [*sources, *left_sources(outbox, {source.device for source in sources})]
        if not everyone:
            return tally.summary(0, 0, 0, 0.0, stopped=False)
        size: BatchSize = self._sending.samples
        if self._maker is None:
            size = AdaptiveBatching(
                self._sending.samples,
                self._sending.most_samples,
                lambda: outbox.tally.waiting_samples / len(everyone),
            )
        with self._connections(everyone, stop) as connections:
            ways = list(dict.fromkeys(connections))
            forwarding = Forwarding(outbox, ways, self._sending.max_unconfirmed)
            forwarding.start()
            keeper = Kept(outbox, forwarding)
            try:
                begin = time.monotonic()
                self._send(self._devices(everyone, [keeper] * len(everyone), size, begin), tally, stop)
                forwarding.drain(_FLUSH_STOPPED_S if stop.is_set() else _FLUSH_S, stop)
            finally:
                keeper.flush()
                forwarding.stop()
            forwarding.check()
        now = outbox.tally
        lost = now.dropped - before.dropped + now.refused - before.refused + keeper.unstored
        return tally.summary(
            len(sources), now.confirmed - before.confirmed, lost, time.monotonic() - begin,
            stopped=stop.is_set(), waiting=now.waiting,
        )  # fmt: skip

    @contextmanager
    def _connections(self, sources: Sequence[Source], stop: threading.Event) -> Iterator[list[Connection]]:
        """A connection for each source, in their order; all are closed at the end, whatever happens."""
        shared = len(sources) > MAX_CONNECTIONS if self._sending.share is None else self._sending.share
        if shared and len(sources) > 1:
            log.warning("%d devices share one connection; they have no last will", len(sources))
        groups = [sources] if shared else [[source] for source in sources]
        args = self._sending.max_unconfirmed, self._clock
        hears = [self._on_model, *[None] * (len(groups) - 1)]
        opened = [
            Connection(self._broker, self._topics, group, *args, on_model)
            for group, on_model in zip(groups, hears, strict=True)
        ]
        with ThreadPoolExecutor(_OPENERS) as pool:
            try:
                list(pool.map(Connection.open if self._outbox is None else Connection.begin, opened))
                yield opened * len(sources) if shared else opened
            finally:
                limit_s = _FLUSH_STOPPED_S if stop.is_set() else _FLUSH_S
                list(pool.map(lambda connection: connection.close(limit_s), opened))

    def _devices(
        self, sources: Sequence[Source], keepers: Sequence[Keeper], size: BatchSize, begin: float
    ) -> list[_Device]:
        """The devices at their first sample; they start one after another, for a fleet is never in step."""
        devices = []
        for number, (source, keeper) in enumerate(zip(sources, keepers, strict=True)):
            message_s = (
                self._sending.samples / source.meta.fs / self._sending.speed if self._sending.speed else 0.0
            )
            start = begin + message_s * number / len(sources)
            devices.append(_Device(source.device, keeper, source.paced, source.batches(size), start))
        return devices

    def _send(self, devices: list[_Device], tally: _Tally, stop: threading.Event) -> None:
        """Send batch after batch in the order they are due."""
        queue: list[tuple[float, int, SampleBatch]] = []
        for number, device in enumerate(devices):
            self._push_next(queue, number, device)
        while queue and not stop.is_set():
            due, number, batch = queue[0]
            device = devices[number]
            wait_s = due - time.monotonic()
            if wait_s > 0:
                device.keeper.flush()
                if stop.wait(wait_s):
                    break
            if not device.keeper.has_room(may_wait=device.paced and self._sending.speed == 0):
                device.keeper.flush()
                heapq.heapreplace(queue, (time.monotonic(), number, batch))  # let the others go first
                continue
            heapq.heappop(queue)
            self._send_batch(device, batch, tally)
            if not device.paced:
                device.keeper.flush()  # before the source is waited for
            self._push_next(queue, number, device)
        self._finish(devices, tally)

    def _finish(self, devices: list[_Device], tally: _Tally) -> None:
        """Send what is left when the sources have ended."""
        keepers = {device.device: device.keeper for device in devices}
        for entry in () if self._maker is None else self._maker.finish():
            self._put(keepers[entry.device], [entry], tally)
        for device in devices:
            device.keeper.flush()

    def _push_next(self, queue: list[tuple[float, int, SampleBatch]], number: int, device: _Device) -> None:
        batch = next(device.batches, None)
        if batch is not None:
            heapq.heappush(queue, (device.due(batch, self._sending.speed), number, batch))

    def _send_batch(self, device: _Device, batch: SampleBatch, tally: _Tally) -> None:
        try:
            entries = self._make(batch)
        except PayloadError as error:
            tally.invalid += 1
            if tally.invalid == 1:
                log.warning("batch %d of %s is not sent: %s", batch.seq, batch.device, error)
            return
        size = sum(len(entry.payload) for entry in entries)
        if self._on_publish is not None:
            self._on_publish(
                Published(
                    batch.device, batch.boot, batch.seq, batch.t0_us, len(batch.samples), size,
                    time.monotonic(), self._clock.unix_us(),
                )
            )  # fmt: skip
        tally.samples += len(batch.samples)
        self._put(device.keeper, entries, tally)

    def _put(self, keeper: Keeper, entries: Sequence[Entry], tally: _Tally) -> None:
        for entry in entries:
            keeper.put(entry)
            tally.messages += 1
            tally.bytes += len(entry.payload)

    def _encode(self, batch: SampleBatch) -> Sequence[Entry]:
        """The batch itself, as one message."""
        sending = self._sending
        payload = encode_batch(batch, sending.encoding, describe_channels=sending.describe)
        kind = CONTENT_TYPES[sending.encoding]
        return (Entry(batch.device, batch.boot, batch.seq, len(batch.samples), kind, payload),)


def left_sources(outbox: Outbox, without: Collection[str]) -> list[LeftSource]:
    """The devices of which messages of earlier runs wait in an outbox.

    Args:
        outbox: of the messages.
        without: devices that are known otherwise.
    """
    found = []
    for device in outbox.waiting():
        boot = outbox.last_boot(device)
        meta = outbox.meta(device, boot)
        if device not in without and meta is not None:
            found.append(LeftSource(device, boot, decode_meta(meta)))
    return found
