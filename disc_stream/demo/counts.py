"""Counts what was sent, accepted, labelled and received, by device and number, and the latency of labels."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from disc_stream.signal.windowing import count_windows
from disc_stream.types import Label, Problem, SampleBatch, WindowSpec
from disc_stream_edge.publisher import Published

_TIMED_BATCHES = 4_096  # of each device, whose publishing time is remembered
_LATENCIES = 1_000_000

Stream = tuple[str, int]  # device, boot


@dataclass(slots=True)
class _Stream:
    """One device in one boot."""

    sent: int = 0
    samples: int = 0
    accepted: int = 0
    published_at: OrderedDict[int, float] = field(default_factory=OrderedDict)  # seq -> monotonic time
    next_window: int = 0  # every window below it has been received
    ahead: set[int] = field(default_factory=set)  # received above it
    received: int = 0
    twice: int = 0

    def receive(self, window: int) -> bool:
        """Note a label; False if it came before."""
        if window < self.next_window or window in self.ahead:
            self.twice += 1
            return False
        self.received += 1
        self.ahead.add(window)
        while self.next_window in self.ahead:
            self.ahead.remove(self.next_window)
            self.next_window += 1
        return True


class DeliveryCounts:
    """Told by three threads: the publisher, the server's worker, and a subscriber to the labels.

    It is an observer of the server. Only what was published through ``on_publish`` counts: batches and labels
    of other boots, such as those of the motion that was collected before, are none of it.

    Args:
        spec: how streams are cut, which determines how many labels are expected.
    """

    def __init__(self, spec: WindowSpec) -> None:
        self._spec = spec
        self._lock = threading.Lock()
        self._streams: dict[Stream, _Stream] = {}
        self._latencies: deque[float] = deque(maxlen=_LATENCIES)
        self.bytes = 0
        self.status: dict[str, Any] = {}

    def on_publish(self, published: Published) -> None:
        """A message is handed to the broker connection."""
        with self._lock:
            stream = self._streams.setdefault((published.device, published.boot), _Stream())
            stream.sent += 1
            stream.samples += published.n_samples
            stream.published_at[published.seq] = published.monotonic
            if len(stream.published_at) > _TIMED_BATCHES:
                stream.published_at.popitem(last=False)
            self.bytes += published.n_bytes

    def on_batch(self, batch: SampleBatch) -> None:
        """The server has accepted a message, one that it had not seen before."""
        with self._lock:
            if (stream := self._streams.get((batch.device, batch.boot))) is not None:
                stream.accepted += 1

    def on_label(self, label: Label) -> None:
        """Counted where it arrives, not where it is made."""

    def on_status(self, status: dict[str, Any]) -> None:
        """The server's own counters."""
        self.status = status

    def on_problem(self, device: str, problem: Problem | None) -> None:
        """Not counted: the server's status and the missing labels tell."""

    def receive(self, label: Label, monotonic: float) -> bool:
        """A subscriber has received a label; False if it had come before, or is of another boot."""
        with self._lock:
            stream = self._streams.get((label.device, label.boot))
            if stream is None:
                return False
            new = stream.receive(label.window)
            published = stream.published_at.get(label.seq)
            if new and published is not None:
                self._latencies.append(monotonic - published)
            return new

    @property
    def sent(self) -> int:
        """Messages handed to the broker."""
        with self._lock:
            return sum(stream.sent for stream in self._streams.values())

    @property
    def open(self) -> int:
        """Messages not yet accepted plus labels not yet received."""
        with self._lock:
            return sum(
                stream.sent - stream.accepted + max(0, self._due(stream) - stream.received)
                for stream in self._streams.values()
            )

    def _due(self, stream: _Stream) -> int:
        return count_windows(stream.samples, self._spec.input_samples, self._spec.hop)

    def summary(self, seconds: float) -> dict[str, Any]:
        """Everything that was counted.

        Args:
            seconds: for the rates: how long was published.
        """
        with self._lock:
            streams = list(self._streams.values())
            latencies = np.array(self._latencies)
        counters, rejected = self.status.get("counters", {}), self.status.get("rejected", {})
        sent, accepted = sum(s.sent for s in streams), sum(s.accepted for s in streams)
        due, received = sum(self._due(s) for s in streams), sum(s.received for s in streams)
        samples = sum(s.samples for s in streams)
        return {
            "devices": len({device for device, _boot in self._streams}),
            "messages": {
                "sent": sent,
                "received": accepted,
                "lost": sent - accepted,
                "duplicates": counters.get("duplicates", 0),
                "rejected": sum(rejected.values()),
            },
            "windows": due,
            "labels": {
                "expected": due,
                "received": received,
                "missing": sum(max(0, self._due(s) - s.received) for s in streams),
                "duplicates": sum(s.twice for s in streams),
            },
            "latency_ms": _latency(latencies),
            "throughput": {
                "messages_per_s": round(sent / seconds, 2),
                "samples_per_s": round(samples / seconds, 1),
                "labels_per_s": round(received / seconds, 2),
                "kilobytes_per_s": round(self.bytes / 1000 / seconds, 2),
            },
        }


def _latency(seconds: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, float] | None:
    """From the publishing of the message that completed a window's input to the label's arrival."""
    if not len(seconds):
        return None
    p50, p99 = np.percentile(seconds * 1000, [50, 99])
    return {"p50": round(p50, 2), "p99": round(p99, 2), "max": round(float(seconds.max()) * 1000, 2)}
