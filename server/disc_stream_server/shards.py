"""Who keeps the state of a device.

Everything keyed by device goes through ``ShardRouter``. One process has one shard that keeps them all;
several processes would each own some of the virtual shards of ``virtual_shard``.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from disc_stream.types import Float32Array, SampleBatch

N_VIRTUAL_SHARDS = 256


def virtual_shard(device: str) -> int:
    """Number of a device's shard, the same in every process (unlike ``hash``)."""
    return zlib.crc32(device.encode()) % N_VIRTUAL_SHARDS


class ReadyInput(NamedTuple):
    """The encoder's input for one window.

    Args:
        device: device id.
        boot: boot of the device in which the window was recorded.
        window: number of the window within the boot, from 0.
        t0_us: device clock at the window's first sample, in microseconds.
        seq: number of the batch that completed the input.
        segment: changes wherever the stream is broken (gap, new boot); smoothing starts anew with it.
        samples: (input_samples, n_channels) float32, in the model's units and order.
        position: of the batch that completed the input, in the spool; 0 where there is none.
        received_us: server time of that batch's arrival, Unix microseconds.
        t0_unix_us: server time at the window's first sample, by the device's fitted clock; None if unknown.
        bridged: whether a part of the samples was made up to bridge a gap.
    """

    device: str
    boot: int
    window: int
    t0_us: int
    seq: int
    segment: int
    samples: Float32Array
    position: int = 0
    received_us: int = 0
    t0_unix_us: int | None = None
    bridged: bool = False


class Shard(Protocol):
    """The state of some devices and what is done with it."""

    def push(self, batch: SampleBatch) -> list[ReadyInput] | None:
        """Take the next batch of a device; returns the inputs it completes, None if it is a repetition."""
        ...

    def smooth(self, ready: Sequence[ReadyInput], q: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Soft assignments (n, K) of windows, each smoothed over the windows of its device before it."""
        ...


class ShardRouter(Protocol):
    """Finds the shard of a device."""

    def shard_of(self, device: str) -> Shard:
        """The shard that keeps this device's state."""
        ...


class InProcessRouter:
    """One shard for all devices.

    Args:
        shard: the shard.
    """

    def __init__(self, shard: Shard) -> None:
        self._shard = shard

    def shard_of(self, device: str) -> Shard:  # noqa: ARG002 - there is only one
        """The shard."""
        return self._shard
