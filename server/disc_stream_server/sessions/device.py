"""The state of one device in one boot, and its form on disk."""

from __future__ import annotations

from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

import cbor2
import numpy as np

from disc_stream.clustering.smoothing import StickyFilter
from disc_stream.signal.deviceclock import ClockFault, DeviceClock
from disc_stream.signal.resampling import StreamResampler
from disc_stream.signal.windowing import StreamWindower
from disc_stream.types import Channel, Float32Array, SampleBatch
from disc_stream_server.layout import Layout

_VERSION = 4
_SIMPLE = frozenset({int, float, str, bytes, bool, type(None)})
PAST_BOOTS = 8  # boots of a device that are remembered, to know their late batches


class Waiting(NamedTuple):
    """A batch that came before one that is missing.

    Args:
        batch: the batch.
        position: of its row in the spool.
        received_us: server time of its arrival.
    """

    batch: SampleBatch
    position: int
    received_us: int


class Anchor(NamedTuple):
    """Where a batch begins: its first sample's place in the segment, device time (µs) and rate there."""

    at: int
    t0_us: int
    fs: float


class Device:
    """One device in one boot; plain attributes, for the stream passes through here."""

    __slots__ = (
        "anchors", "boot", "bridged", "buffer", "channels", "clock", "fault", "fs", "index", "last",
        "last_gap", "last_us", "layout", "name", "next_seq", "past_boots", "repeats", "resampler", "segment",
        "smoothed_segment", "smoothing", "waiting", "windower",
    )  # fmt: skip

    def __init__(self, name: str, boot: int, next_seq: int, past_boots: tuple[int, ...]) -> None:
        self.name, self.boot, self.next_seq, self.past_boots = name, boot, next_seq, past_boots
        self.channels: tuple[Channel, ...]
        self.layout: Layout
        self.fs: float
        self.buffer: int
        self.windower: StreamWindower
        self.smoothing: StickyFilter
        self.resampler: StreamResampler | None = None
        self.clock = DeviceClock()
        self.fault = ClockFault.NONE
        self.segment = 0
        self.smoothed_segment = -1
        self.index = 0  # samples of the device since the segment began
        self.last: Float32Array | None = None  # (C,) the last sample, to bridge a gap from
        self.last_us = 0  # server time of the last batch that was in order
        self.repeats = 0  # batches dropped since the last good one
        self.last_gap = (0, 0)  # first missing seq, how many
        # Short lists: an empty deque alone takes 760 bytes of each device.
        self.anchors: list[Anchor] = []
        self.bridged: list[tuple[int, int]] = []  # spans of made-up samples, by index
        self.waiting: dict[int, Waiting] = {}  # by seq


def save_device(device: Device, model: str) -> bytes:
    """Everything that the next batch depends on; batches that wait are given by their rows in the spool.

    Args:
        device: whose state.
        model: stands for the channels, rate, windows and clusters that this state is made for.
    """
    resampler = None if device.resampler is None else _plain(device.resampler.state())
    return cbor2.dumps(
        [
            _VERSION, model, device.boot, device.next_seq, list(device.past_boots),
            _save_channels(device.channels), device.fs,
            _plain(device.windower.state()), _plain(device.smoothing.state()), resampler,
            _plain(device.clock.state()), str(device.fault), device.segment, device.smoothed_segment,
            device.index, None if device.last is None else device.last.tobytes(), device.last_us,
            list(device.last_gap), list(chain.from_iterable(device.anchors)),
            [list(b) for b in device.bridged], sorted(one.position for one in device.waiting.values()),
        ]
    )  # fmt: skip


@lru_cache(maxsize=256)
def _save_channels(channels: tuple[Channel, ...]) -> bytes:
    """Many devices have the same, and nested lists are what takes time: a third of all."""
    return cbor2.dumps([[c.name, c.unit, c.scale] for c in channels])


class Saved(NamedTuple):
    """A device as it was saved, before it has borrowed a buffer."""

    model: str
    boot: int
    next_seq: int
    past_boots: list[int]
    channels: tuple[Channel, ...]
    fs: float
    windower: Any
    smoothing: Any
    resampler: Any
    clock: Any
    fault: str
    segment: int
    smoothed_segment: int
    samples: int
    last: bytes | None
    last_us: int
    last_gap: list[int]
    anchors: list[Any]
    bridged: list[list[int]]
    waiting: list[int]


def load_device(blob: bytes) -> Saved | None:
    """Read what ``save_device`` wrote; None if it is of another version."""
    fields = cbor2.loads(blob)
    if not isinstance(fields, list) or fields[0] != _VERSION:
        return None
    saved = Saved(*fields[1:])
    return saved._replace(channels=tuple(Channel(*channel) for channel in cbor2.loads(fields[5])))


def renew_device(device: Device, saved: Saved) -> None:
    """Put saved values into a device that another model has windowed: its order and its clock go on."""
    device.clock.restore(_rich(saved.clock))
    device.fault = ClockFault(saved.fault)
    device.windower.number_from(saved.windower[2])
    device.segment, device.last_us = saved.segment + 1, saved.last_us
    device.last_gap = (saved.last_gap[0], saved.last_gap[1])


def fill_device(device: Device, saved: Saved) -> None:
    """Put saved values into a device whose windower, smoothing and resampler were made anew."""
    device.windower.restore(_rich(saved.windower))
    device.smoothing.restore(_rich(saved.smoothing))
    if device.resampler is not None and saved.resampler is not None:
        device.resampler.restore(_rich(saved.resampler))
    device.clock.restore(_rich(saved.clock))
    device.fault = ClockFault(saved.fault)
    device.segment, device.smoothed_segment = saved.segment, saved.smoothed_segment
    device.index, device.last_us = saved.samples, saved.last_us
    device.last = None if saved.last is None else np.frombuffer(saved.last, dtype=np.float32)
    device.last_gap = (saved.last_gap[0], saved.last_gap[1])
    device.anchors = list(map(Anchor, saved.anchors[::3], saved.anchors[1::3], saved.anchors[2::3]))
    device.bridged = [(first, last) for first, last in saved.bridged]


def _plain(value: Any) -> Any:
    """States are plain values and arrays; arrays become [dtype, shape, bytes] under a key of their own."""
    if type(value) in _SIMPLE:  # nearly all: a checkpoint of ten thousand devices passes through here
        return value
    if isinstance(value, np.ndarray):
        return {"a": [value.dtype.str, list(value.shape), value.tobytes()]}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    return value


def _rich(value: Any) -> Any:
    if isinstance(value, dict):
        dtype, shape, data = value["a"]
        return np.frombuffer(data, dtype=np.dtype(dtype)).reshape(shape)
    if isinstance(value, list):
        return tuple(_rich(item) for item in value)
    return value
