"""A source whose samples a test hands over, batch by batch."""

from __future__ import annotations

import queue
from collections.abc import Iterator

import numpy as np

from disc_stream.types import DeviceMeta, SampleBatch
from tests.support.device import LEFT, constant, make_batch
from tests.support.tiny_bundle import CHANNELS, FS


class Feed:
    """A device of the tiny model's; each batch is a window.

    Args:
        device: its id.
    """

    paced = False
    total_samples = None

    def __init__(self, device: str) -> None:
        self.device, self.boot = device, 1
        self.meta = DeviceMeta(FS, CHANNELS)
        self._waiting: queue.Queue[SampleBatch | None] = queue.Queue()
        self._seq = 0

    def push(self, mean: tuple[float, float, float] = LEFT) -> None:
        """A window of motion around a mean."""
        noise = np.random.default_rng(self._seq).normal(scale=0.1, size=(8, 3)).astype(np.float32)
        self._waiting.put(make_batch(self.device, self._seq, constant(mean, 8) + noise))
        self._seq += 1

    def end(self) -> None:
        """No more come."""
        self._waiting.put(None)

    def batches(self, _n_samples: object) -> Iterator[SampleBatch]:
        """The batches as they come."""
        yield from iter(self._waiting.get, None)
