"""The state of one device, as the stream works on it."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from disc_stream.signal.deviceclock import ClockFault, DeviceClock
from disc_stream.signal.joining import Joiner
from disc_stream.signal.rate import RateEstimator
from disc_stream.signal.resampling import StreamResampler
from disc_stream.signal.walltime import WallTime
from disc_stream.signal.windowing import StreamWindower
from disc_stream.stream.layout import Layout
from disc_stream.stream.values import Arrival
from disc_stream.types import Channel, Float32Array

MAX_PAST_BOOTS = 8
"""Boots of a device that are remembered, to recognise their late batches and to return to them."""


class Anchor(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Where a batch begins: its first sample's index in the segment, device time (µs) and rate there (Hz)."""

    at: int
    t0_us: int
    fs: float


class PastBoot(NamedTuple):
    """A boot that was left: the next batch it would have had, and the number of its next window."""

    boot: int
    next_seq: int
    next_window: int


class Candidate:
    """Batches of another boot than the current one, which is not believed yet.

    Args:
        boot: its id.
    """

    __slots__ = ("arrivals", "boot", "run", "total")

    def __init__(self, boot: int) -> None:
        self.boot = boot
        self.arrivals: list[Arrival] = []
        self.run = 0  # batches since the current boot was heard
        self.total = 0


class Device:
    """One device; plain attributes, for every message passes through here.

    Args:
        name: device id.
        boot: the current boot.
        next_seq: number of the batch that comes next.
    """

    __slots__ = (
        "anchors", "arrived", "batches_since", "boot", "bridged", "buffer", "candidates", "cause", "channels",
        "clock", "distrust", "due_us", "fault", "fs", "heard_us", "index", "joiner", "last", "last_gap",
        "last_raw_us", "last_us", "layout", "name", "next_seq", "numbered", "odd", "past_boots", "rate",
        "repeats", "resampler", "segment", "since_s", "waiting", "wall", "windower",
    )  # fmt: skip

    def __init__(self, name: str, boot: int, next_seq: int) -> None:
        self.name, self.boot, self.next_seq = name, boot, next_seq
        self.channels: tuple[Channel, ...]
        self.layout: Layout
        self.fs: float  # rate in use, Hz
        self.buffer: int
        self.windower: StreamWindower
        self.resampler: StreamResampler | None = None
        self.clock = DeviceClock()
        self.rate = RateEstimator()
        self.wall = WallTime()
        self.joiner: Joiner | None = None
        self.fault = ClockFault.NONE
        # -- boots and order
        self.past_boots: list[PastBoot] = []
        self.candidates: list[Candidate] = []
        self.distrust = 0  # times it returned to a boot that it had left
        self.waiting: dict[int, Arrival] = {}  # by seq
        self.due_us = 0  # watermark at which something that waits is given up; 0: nothing waits
        self.numbered = True  # whether seq numbers batches
        self.odd = 0  # batches in a row whose number and time contradict each other
        self.arrived = (0, 0, 0.0)  # seq, t0 and samples / fs (µs) of the batch that arrived last
        self.repeats = 0  # batches dropped since the last good one
        self.last_gap = (0, 0)  # first missing seq, how many
        self.heard_us = 0  # watermark at the last batch of the current boot
        # -- windows
        self.segment = 0
        self.index = 0  # samples of the device since the segment began
        self.last: Float32Array | None = None  # (C,) the last sample, to bridge a gap from
        self.last_us = 0  # server time of the last batch that was in order
        self.last_raw_us: int | None = None  # its t0, as sent
        # Short lists: an empty deque alone takes 760 bytes of each device.
        self.anchors: list[Anchor] = []
        self.bridged: list[tuple[int, int]] = []  # spans of interpolated samples, by index
        # -- what is told when no window comes
        self.batches_since = 0  # batches since the last window
        self.since_s = 0.0  # of samples in them
        self.cause = ""  # of the last break


def release_grid(device: Device) -> None:
    """Forget what was cut so far: the next sample starts a new segment."""
    device.windower.break_at(0)
    device.index = 0
    device.anchors.clear()
    device.bridged.clear()
    device.segment += 1
    device.last = None
