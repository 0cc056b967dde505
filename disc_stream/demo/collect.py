"""The first stage: receive the fleet's samples through the broker and cut them into windows, unlabelled."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from disc_stream.data.types import UNLABELLED, WindowSet
from disc_stream.demo.fleet import Fleet
from disc_stream.errors import BrokerError, DiscStreamError, TrainingError
from disc_stream.stream.sessions import Sessions, StreamSpec
from disc_stream.stream.values import ReadyInput
from disc_stream.types import WindowSpec
from disc_stream.wire.broker import Broker
from disc_stream.wire.codecs import decode_batch
from disc_stream.wire.mqtt import LinkListener, Message, MqttLink
from disc_stream.wire.topics import Kind, Topics
from disc_stream_edge.publisher import Published, Publisher, Sending

log = logging.getLogger(__name__)

PREFIX = "ds/demo-training"  # apart from the topics that are served later
_STALLED_S = 20.0
_POLL_S = 0.1

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True, slots=True)
class Collected:
    """What was received.

    Args:
        windows: unlabelled, sorted by device and time.
        messages: number of messages it came in.
        seconds: it took.
    """

    windows: WindowSet
    messages: int
    seconds: float


class _Collector:
    """Subscribes to the samples and keeps complete windows."""

    def __init__(self, broker: Broker, fleet: Fleet, spec: WindowSpec) -> None:
        self._topics = Topics(PREFIX)
        whole = WindowSpec(spec.samples, spec.hop, spec.samples)  # training reads the second half too
        self._sessions = Sessions(StreamSpec(tuple(fleet.channels), fleet.fs, whole))
        self.ready: list[ReadyInput] = []
        self.batches = 0
        self.refused: str | None = None
        self.link = MqttLink(
            broker, f"disc-stream-demo-training-{uuid.uuid4().hex[:12]}", LinkListener(on_message=self._take)
        )
        self.link.subscribe(self._topics.all_of(Kind.RAW))

    def _take(self, message: Message) -> None:
        try:
            device, _ = self._topics.parse(message.topic)
            batch = decode_batch(message.payload, device=device, content_type=message.content_type)
            inputs = self._sessions.push(batch)
        except DiscStreamError as error:
            self.refused = str(error)
            return
        if inputs is not None:
            self.ready += inputs
            self.batches += 1


def collect(
    broker: Broker,
    fleet: Fleet,
    spec: WindowSpec,
    *,
    seconds: float,
    progress: Progress,
    stop: threading.Event,
) -> Collected:
    """Let the fleet stream as fast as the broker takes it, and window what arrives.

    Args:
        broker: the demo's.
        fleet: who streams.
        spec: window length and hop.
        seconds: of motion per device.
        progress: called with the messages received, and with their total where it is known.
        stop: ends it early.

    Raises:
        BrokerError: if the broker fails or messages do not arrive.
        TrainingError: if nothing could be windowed.
        KeyboardInterrupt: if it was stopped.
    """
    started = time.monotonic()
    samples = round(fleet.fs)
    sources = fleet.training_sources(seconds)
    lengths = [source.total_samples for source in sources]
    total = sum(-(-n // samples) for n in lengths if n is not None) if None not in lengths else None
    collector = _Collector(broker, fleet, spec)
    collector.link.connect()
    sent: list[Published] = []
    sending = Sending(samples=samples, speed=0, describe=True)
    publisher = Publisher(broker, prefix=PREFIX, sending=sending, on_publish=sent.append)
    try:
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(publisher.run, sources, stop)
            while not running.done():
                progress(collector.batches, total)
                stop.wait(_POLL_S)
            running.result()
        _await_rest(collector, len(sent), progress, stop)
    finally:
        collector.link.close()
    if stop.is_set():
        raise KeyboardInterrupt
    if not collector.ready:
        raise TrainingError(
            f"the streams are shorter than a window of {spec.samples / fleet.fs:g} s",
            remedy="Use longer recordings or a larger --minutes",
        )
    return Collected(_window_set(collector.ready, fleet), collector.batches, time.monotonic() - started)


def _await_rest(collector: _Collector, sent: int, progress: Progress, stop: threading.Event) -> None:
    """Wait for messages that are still on their way."""
    last, since = -1, time.monotonic()
    while collector.batches < sent and not stop.is_set():
        if collector.refused is not None:
            raise TrainingError(f"a stream cannot be learned from: {collector.refused}")
        if collector.batches > last:
            last, since = collector.batches, time.monotonic()
        elif time.monotonic() - since > _STALLED_S:
            raise BrokerError(f"only {last} of {sent} messages arrived through the broker")
        progress(collector.batches, sent)
        stop.wait(_POLL_S)


def _window_set(ready: list[ReadyInput], fleet: Fleet) -> WindowSet:
    """Windows in an order that does not depend on how the devices' messages interleaved."""
    number = {device: i for i, device in enumerate(fleet.devices)}
    ready = sorted(ready, key=lambda one: (number[one.device], one.window))
    n = len(ready)
    group = np.array([number[one.device] for one in ready])
    return WindowSet(
        x=np.stack([one.samples for one in ready]),
        y=np.full(n, UNLABELLED, dtype=np.int16),
        subject=group.astype(np.int64),
        group=group.astype(np.int32),
        start=np.array([round(one.t0_us * fleet.fs / 1e6) for one in ready], dtype=np.int64),
        fs=fleet.fs,
        channels=fleet.channels,
        label_names=(),
    )
