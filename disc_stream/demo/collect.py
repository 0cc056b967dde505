"""The first stage: the fleet publishes its unlabelled motion as fast as it goes, and the server keeps it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from disc_stream.demo.fleet import Fleet
from disc_stream.demo.progress import Step
from disc_stream.demo.service import DemoService
from disc_stream.errors import TrainingError
from disc_stream.signal.windowing import count_windows
from disc_stream.types import WindowSpec
from disc_stream_edge.publisher import Published, Publisher, PublishSummary, Sending

WINDOW_S = 2.56


@dataclass(frozen=True, slots=True)
class Collected:
    """What the server has received.

    Args:
        windows: whole ones that it makes.
        motion_s: seconds of motion, all devices together.
        messages: it came in.
        seconds: it took.
    """

    windows: int
    motion_s: float
    messages: int
    seconds: float


def window_spec(fs: float, *, whole: bool = False) -> WindowSpec:
    """Windows of 2.56 s that overlap by half; the first half is encoded, or with ``whole`` all of it."""
    half = max(2, round(WINDOW_S * fs / 2))
    return WindowSpec(2 * half, half, 2 * half if whole else half)


def collect(
    service: DemoService, fleet: Fleet, *, seconds: float, step: Step, stop: threading.Event
) -> Collected:
    """Let the fleet stream as fast as the broker and the server take it.

    Args:
        service: receives; started.
        fleet: who streams.
        seconds: of motion per device.
        step: is told the messages received, and their total where it is known.
        stop: ends it early.

    Raises:
        BrokerError: if the broker fails or messages do not arrive.
        TrainingError: if the streams are too short to learn from.
        KeyboardInterrupt: if it was stopped.
    """
    began = time.monotonic()
    sending = Sending(samples=round(fleet.fs), speed=0, describe=True)
    sources = fleet.training_sources(seconds)
    lengths = [source.total_samples for source in sources]
    known = sum(-(-n // sending.samples) for n in lengths if n is not None) if None not in lengths else None
    tally: Counter[str] = Counter()  # samples of each device

    def note(published: Published) -> None:
        tally[published.device] += published.n_samples

    publisher = Publisher(service.broker, sending=sending, on_publish=note)
    with ThreadPoolExecutor(1, thread_name_prefix="fleet") as pool:
        running: Future[PublishSummary] = pool.submit(publisher.run, sources, stop)

        def sent() -> int | None:
            return running.result().messages if running.done() else None

        service.await_spooled(sent, lambda there: step(there, known), stop)
    if stop.is_set():
        raise KeyboardInterrupt
    spec = window_spec(fleet.fs)
    windows = sum(count_windows(n, spec.samples, spec.hop) for n in tally.values())
    if not windows:
        raise TrainingError(
            f"the streams are shorter than a window of {spec.samples / fleet.fs:g} s",
            remedy="Use longer recordings or a larger --minutes",
        )
    motion_s = sum(tally.values()) / fleet.fs
    return Collected(windows, motion_s, running.result().messages, time.monotonic() - began)
