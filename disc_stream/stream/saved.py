"""The form of a device on disk: one typed schema for saving and for restoring."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec
import numpy as np

from disc_stream.signal.deviceclock import ClockFault
from disc_stream.stream.device import Anchor, Candidate, Device, PastBoot
from disc_stream.stream.values import Arrival
from disc_stream.types import Channel, SampleBatch

VERSION = 6


class SavedBatch(msgspec.Struct, array_like=True, gc=False):
    """A batch that waits, with its samples: nothing has to be read from the spool again."""

    boot: int
    seq: int
    t0_us: int
    fs: float
    channels: bytes
    dtype: str
    samples: bytes
    position: int
    received_us: int
    at_us: int


class SavedCandidate(msgspec.Struct, array_like=True, gc=False):
    """A boot that is not believed yet."""

    boot: int
    run: int
    total: int
    arrivals: list[SavedBatch]


class SavedOrder(msgspec.Struct, array_like=True, gc=False):
    """Boots and order."""

    boot: int
    next_seq: int
    past_boots: list[PastBoot]
    candidates: list[SavedCandidate]
    distrust: int
    waiting: list[SavedBatch]
    numbered: bool
    odd: int
    arrived: tuple[int, int, float]
    repeats: int
    last_gap: tuple[int, int]
    heard_us: int


class SavedGrid(msgspec.Struct, array_like=True, gc=False):
    """What is cut into windows, for one model."""

    windower: tuple[int, int, int, int, bytes]
    resampler: Any
    index: int
    last: bytes | None
    anchors: list[Anchor]
    bridged: list[tuple[int, int]]


class SavedDevice(msgspec.Struct, array_like=True, gc=False):
    """Everything that the next batch depends on.

    Args:
        version: of this form.
        model: stands for the channels, rate and windows that the grid is made for.
    """

    version: int
    model: str
    order: SavedOrder
    grid: SavedGrid
    channels: bytes
    fs: float
    clock: Any
    rate: Any
    wall: Any
    joiner: Any
    fault: ClockFault
    segment: int
    next_window: int
    last_us: int
    last_raw_us: int | None
    batches_since: int
    since_s: float
    cause: str


def _plain(value: Any) -> Any:
    """Arrays become (dtype, shape, bytes) in a mapping of their own; called for what msgpack lacks."""
    if isinstance(value, np.ndarray):
        return {"a": [value.dtype.str, list(value.shape), value.tobytes()]}
    if isinstance(value, np.generic):
        return value.item()
    raise NotImplementedError(type(value))


_encoder = msgspec.msgpack.Encoder(enc_hook=_plain)
_decoder = msgspec.msgpack.Decoder(SavedDevice)
_MAX_CHANNELS = 256
_saved_channels: dict[int, tuple[tuple[Channel, ...], bytes]] = {}


def save_device(device: Device, model: str) -> bytes:
    """A device as bytes.

    Args:
        device: the device.
        model: stands for the channels, rate and windows that it is cut for.
    """
    order = SavedOrder(
        device.boot, device.next_seq, device.past_boots,
        [_save_candidate(one) for one in device.candidates] if device.candidates else [],
        device.distrust,
        [_save_arrival(one) for one in device.waiting.values()] if device.waiting else [], device.numbered,
        device.odd, device.arrived, device.repeats, device.last_gap, device.heard_us,
    )  # fmt: skip
    grid = SavedGrid(
        device.windower.state(),
        None if device.resampler is None else device.resampler.state(),
        device.index, None if device.last is None else device.last.tobytes(), device.anchors, device.bridged,
    )  # fmt: skip
    return _encoder.encode(
        SavedDevice(
            VERSION, model, order, grid, save_channels(device.channels), device.fs,
            device.clock.state(), device.rate.state(), device.wall.state(),
            None if device.joiner is None else device.joiner.state(), device.fault, device.segment,
            device.windower.windows, device.last_us, device.last_raw_us, device.batches_since,
            device.since_s, device.cause,
        )
    )  # fmt: skip


def load_device(blob: bytes) -> SavedDevice:
    """Read what ``save_device`` wrote.

    Raises:
        ValueError: if it is of another version or garbled.
    """
    try:
        saved = _decoder.decode(blob)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from None
    if saved.version != VERSION:
        raise ValueError(f"it is of format {saved.version}, this version writes {VERSION}")
    return saved


def fill_order(device: Device, saved: SavedDevice) -> None:
    """Restore what holds for every model: boots, order, clock and rate."""
    order = saved.order
    device.past_boots, device.distrust = order.past_boots, order.distrust
    for one in order.candidates:
        candidate = Candidate(one.boot)
        candidate.run, candidate.total = one.run, one.total
        candidate.arrivals = [_load_arrival(device.name, batch) for batch in one.arrivals]
        device.candidates.append(candidate)
    for batch in order.waiting:
        device.waiting[batch.seq] = _load_arrival(device.name, batch)
    device.numbered, device.odd, device.arrived = order.numbered, order.odd, order.arrived
    device.repeats, device.last_gap, device.heard_us = order.repeats, order.last_gap, order.heard_us
    device.clock.restore(_rich(saved.clock))
    device.rate.restore(_rich(saved.rate))
    device.wall.restore(_rich(saved.wall))
    device.fault = saved.fault
    device.last_us, device.last_raw_us = saved.last_us, saved.last_raw_us
    device.batches_since, device.since_s, device.cause = saved.batches_since, saved.since_s, saved.cause


def fill_grid(device: Device, saved: SavedDevice) -> None:
    """Restore the unfinished windows, for the same model."""
    grid = saved.grid
    device.windower.restore(grid.windower)
    if device.resampler is not None and grid.resampler is not None:
        device.resampler.restore(_rich(grid.resampler))
    device.segment, device.index = saved.segment, grid.index
    device.last = None if grid.last is None else np.frombuffer(grid.last, dtype=np.float32)
    device.anchors, device.bridged = grid.anchors, grid.bridged


def save_channels(channels: tuple[Channel, ...]) -> bytes:
    """Many devices have the same ones: those of a kind share one object, which is found by its identity."""
    known = _saved_channels.get(id(channels))
    if known is None or known[0] is not channels:
        if len(_saved_channels) >= _MAX_CHANNELS:
            _saved_channels.clear()
        known = channels, _encoder.encode([[c.name, c.unit, c.scale] for c in channels])
        _saved_channels[id(channels)] = known
    return known[1]


@lru_cache(maxsize=256)
def load_channels(blob: bytes) -> tuple[Channel, ...]:
    """Read what ``save_channels`` wrote; equal ones are the same object."""
    return tuple(Channel(*one) for one in msgspec.msgpack.decode(blob))


def _save_candidate(candidate: Candidate) -> SavedCandidate:
    arrivals = [_save_arrival(one) for one in candidate.arrivals]
    return SavedCandidate(candidate.boot, candidate.run, candidate.total, arrivals)


def _save_arrival(arrival: Arrival) -> SavedBatch:
    batch = arrival.batch
    return SavedBatch(
        batch.boot, batch.seq, batch.t0_us, batch.fs, save_channels(batch.channels), batch.samples.dtype.str,
        np.ascontiguousarray(batch.samples).tobytes(), arrival.position, arrival.received_us, arrival.at_us,
    )  # fmt: skip


def _load_arrival(device: str, saved: SavedBatch) -> Arrival:
    channels = load_channels(saved.channels)
    samples = np.frombuffer(saved.samples, dtype=np.dtype(saved.dtype)).reshape(-1, len(channels))
    batch = SampleBatch(device, saved.boot, saved.seq, saved.t0_us, saved.fs, channels, samples)
    return Arrival(batch, saved.position, saved.received_us, saved.at_us)


def _rich(value: Any) -> Any:
    if isinstance(value, dict):
        dtype, shape, data = value["a"]
        return np.frombuffer(data, dtype=np.dtype(dtype)).reshape(shape)
    if isinstance(value, list):
        return tuple(_rich(item) for item in value)
    return value
