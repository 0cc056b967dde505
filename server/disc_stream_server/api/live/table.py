"""What is known of each device now, and the labels of the last while in a ring.

Written on the labelling thread, read on the page's. Every write is a few assignments, whatever the number of
devices and viewers; there is no lock. A reader that meets a device between two of them sees the rest at its
next look.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from disc_stream.clock import Clock
from disc_stream.stream.encoding import Assigned
from disc_stream.types import DeviceMeta, Float32Array, Label, Problem, SampleBatch
from disc_stream_server.api.live.drift import DriftSeries
from disc_stream_server.api.live.received import Received

RING = 16_384
"""Labels that a viewer can resume from without a look into the store."""
BATCHES = 256
"""For the traces, between two looks; the oldest give way."""
EMBEDDED = 64
"""Batches of windows whose embeddings wait for the next look, likewise."""
MAX_DEVICES = 20_000


@dataclass(slots=True)
class Now:
    """One device.

    Args:
        seen_us: Unix microseconds of its last message or label.
        label: its last one.
        problem: why it has none, or worse ones.
        since_us: Unix microseconds since when its label is that, as far as this run has seen; 0 without one.
        received: how its samples come.
        problem_us: Unix microseconds at which its problem came or went.
    """

    seen_us: int
    label: Label | None = None
    problem: Problem | None = None
    since_us: int = 0
    received: Received = field(default_factory=Received)
    problem_us: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """The last window of a device that somebody looks at.

    Args:
        label: of it.
        embedding: (d,).
        distance: (K,) squared distances to the centroids of the model.
        samples: (T, C), what the encoder read, in the model's units.
    """

    label: Label
    embedding: Float32Array
    distance: Float32Array
    samples: Float32Array


class LiveTable:
    """All devices. The methods that begin with ``on_`` are those of an observer.

    Args:
        clock: time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._devices: dict[str, Now] = {}
        self._ring: deque[tuple[int, Label]] = deque(maxlen=RING)
        self._changes: deque[tuple[str, Problem | None]] = deque(maxlen=RING)
        self._batches: deque[SampleBatch] = deque(maxlen=BATCHES)
        self._erased: deque[str] = deque()
        self.traced: frozenset[str] = frozenset()
        """Devices whose samples are wanted; replaced as a whole."""
        self.mapped = False
        """Whether the embeddings of all windows are wanted."""
        self.seen: dict[str, Seen] = {}
        """Last windows of the devices that are ``traced``."""
        self.drift = DriftSeries()
        """How unusual windows are, over time."""
        self._metas: dict[str, DeviceMeta] = {}
        self._embedded: deque[tuple[Sequence[Label], Float32Array]] = deque(maxlen=EMBEDDED)
        self.erased = 0
        """Devices since the start."""
        self.count = 0
        """Labels since the start."""
        self.status: dict[str, Any] = {}
        """The server's last one; replaced as a whole."""

    # -- the labelling thread -----------------------------------------------------------------------

    def on_batch(self, batch: SampleBatch) -> None:
        """A device has sent samples."""
        now = self._devices.get(batch.device) or self._add(batch.device)
        if now is not None:
            now.seen_us = self._clock.unix_us()
            now.received.take(batch)
        if batch.device in self.traced:
            self._batches.append(batch)

    def on_label(self, label: Label) -> None:
        """A device has got a label."""
        now = self._devices.get(label.device) or self._add(label.device)
        self.drift.add(label)
        self._ring.append((self.count, label))
        self.count += 1  # last: what it counts is there
        if now is None:
            return
        last = now.label
        if last is None or last.boot != label.boot or label.window > last.window:
            if last is None or last.smoothed.label != label.smoothed.label:
                now.since_us = label.published_us if label.t0_unix_us is None else label.t0_unix_us
            now.label = label  # others were published again after a restart, or late

    def on_problem(self, device: str, problem: Problem | None) -> None:
        """Why a device has no labels; None: that is over."""
        now = self._devices.get(device) or self._add(device)
        if now is not None:
            now.problem = problem
            now.problem_us = self._clock.unix_us()
            self._changes.append((device, problem))

    def on_meta(self, device: str, meta: DeviceMeta) -> None:
        """A device has described itself."""
        if device in self._metas or len(self._metas) < MAX_DEVICES:
            self._metas[device] = meta  # it may be retained, and its device gone: so it is no sign of life

    def on_windows(self, labels: Sequence[Label], windows: Assigned) -> None:
        """Windows were labelled together; nothing of them is kept that nobody looks at."""
        if self.mapped:
            self._embedded.append((labels, windows.embedding))
        if self.traced:
            for row, label in enumerate(labels):
                if label.device in self.traced:
                    parts = windows.embedding[row], windows.distance[row], windows.samples[row]
                    self.seen[label.device] = Seen(label, *(part.copy() for part in parts))

    def on_status(self, status: dict[str, Any]) -> None:
        """The server's status."""
        self.status = dict(status)

    def on_forget(self, device: str) -> None:
        """A device was erased."""
        self._devices.pop(device, None)
        self.seen.pop(device, None)
        self._metas.pop(device, None)
        kept = [one for one in self._ring if one[1].device != device]  # on the one thread that appends
        self._ring.clear()
        self._ring.extend(kept)
        self._erased.append(device)
        self.erased += 1

    def _add(self, device: str) -> Now | None:
        if len(self._devices) >= MAX_DEVICES:
            return None
        now = self._devices[device] = Now(self._clock.unix_us())
        return now

    # -- the page's thread --------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._devices)

    def get(self, device: str) -> Now | None:
        """What is known of one."""
        return self._devices.get(device)

    def meta(self, device: str) -> DeviceMeta | None:
        """What a device has said of itself in this run."""
        return self._metas.get(device)

    def all(self) -> list[tuple[str, Now]]:
        """All of them, in no order."""
        return list(self._devices.items())

    def ids(self) -> list[str]:
        """All of them, in no order."""
        return list(self._devices)

    def problems(self) -> int:
        """How many have one."""
        return sum(now.problem is not None for now in list(self._devices.values()))

    def since(self, number: int) -> list[tuple[int, Label]]:
        """Labels from that number on, as far as they are kept, with their numbers."""
        found: list[tuple[int, Label]] = []
        for one in reversed(_snapshot(self._ring)):
            if one[0] < number:
                break
            found.append(one)
        found.reverse()
        return found

    @property
    def oldest(self) -> int:
        """Number of the oldest label that is kept."""
        return max(0, self.count - RING)

    def take_changes(self) -> list[tuple[str, Problem | None]]:
        """Problems that came or went since the last call."""
        return list(_drain(self._changes))

    def take_batches(self) -> list[SampleBatch]:
        """Batches for the traces since the last call."""
        return list(_drain(self._batches))

    def take_embedded(self) -> list[tuple[Sequence[Label], Float32Array]]:
        """Labels and embeddings (n, d) of the windows since the last call, as far as they were wanted."""
        return list(_drain(self._embedded))

    def take_erased(self) -> list[str]:
        """Devices that were erased since the last call."""
        return list(_drain(self._erased))


def _snapshot(ring: deque[tuple[int, Label]]) -> list[tuple[int, Label]]:
    """A copy of what another thread appends to."""
    while True:
        try:
            return list(ring)
        except RuntimeError:  # it was appended to meanwhile
            continue


def _drain(queue: deque[Any]) -> Iterator[Any]:
    """Take what is there now."""
    for _ in range(len(queue)):
        try:
            yield queue.popleft()
        except IndexError:
            return
