"""Where samples come from: recordings that are replayed, and synthetic wearables; ``lines.py`` has a third.

A source is one device. It numbers its batches and stamps them with its own clock, so that what it says does
not depend on how fast the publisher reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from disc_stream.data.series import Series, as_series
from disc_stream.data.synthetic import MessageLoss, SyntheticWearable, device_names, placements
from disc_stream.data.types import Recording
from disc_stream.errors import ConfigError
from disc_stream.types import Channel, DeviceMeta, Float32Array, SampleBatch
from disc_stream.wire.topics import check_device

SampleType = Literal["float32", "int16"]

# Full scale of int16 samples, by unit: the usual largest range of inertial sensors.
_FULL_SCALE = {
    "g": 16.0,
    "mg": 16_000.0,
    "m/s2": 16.0 * 9.80665,
    "rad/s": 34.906585,
    "deg/s": 2_000.0,
    "mdps": 2_000_000.0,
    "uT": 4_912.0,
}
_INT16_MAX = 32_767


BatchSize = int | Callable[[], int]
"""Samples of a batch; a function is asked at the beginning of each."""


def size_of(size: BatchSize) -> int:
    """Samples that the next batch shall have."""
    return size if isinstance(size, int) else size()


class Source(Protocol):
    """One device and its samples."""

    @property
    def device(self) -> str:
        """Device id."""
        ...

    @property
    def boot(self) -> int:
        """Id of this boot."""
        ...

    @property
    def meta(self) -> DeviceMeta:
        """What goes into the retained description."""
        ...

    @property
    def paced(self) -> bool:
        """Whether the publisher sets the pace; False where the samples arrive by themselves."""
        ...

    @property
    def total_samples(self) -> int | None:
        """Length, or None if it is not known or endless."""
        ...

    def batches(self, n_samples: BatchSize) -> Iterator[SampleBatch]:
        """The samples in batches of ``n_samples``; the last one may be shorter."""
        ...


class ReplaySource:
    """A recording, as if its device sent it now; the device's clock is the recording's, from 0.

    Args:
        recording: what to send; where it has a gap, a batch's number is left out and its clock goes on.
        device: device id; the recording's name by default.
        boot: id of the boot; a server that has seen (device, boot, seq) takes it for a duplicate.
        dtype: ``float32`` keeps every bit, ``int16`` quantises to the usual full scale of the unit.

    Raises:
        ConfigError: if a channel's unit has no full scale and ``dtype`` is ``int16``.
        TopicError: if the device id is not valid.
    """

    paced = True

    def __init__(
        self,
        recording: Recording | Series,
        *,
        device: str | None = None,
        boot: int = 1,
        dtype: SampleType = "float32",
    ) -> None:
        series = as_series(recording)
        self.device = check_device(device or series.name)
        self.boot, self._series, self._dtype = boot, series, dtype
        first = series.parts[0]
        self.meta = DeviceMeta(first.fs, sample_channels(first.channels, dtype), model="replay")

    @property
    def total_samples(self) -> int:
        """Length of the recording."""
        return self._series.n_samples

    def batches(self, n_samples: BatchSize) -> Iterator[SampleBatch]:
        """The recording from its beginning."""
        channels = self.meta.channels
        for batch in self._series.batches(self.device, self.boot, n_samples):
            samples = to_counts(batch.physical(), channels, self._dtype)
            yield replace(batch, channels=channels, samples=samples)


class SyntheticSource:
    """A synthetic wearable.

    Args:
        wearable: the person and the sensor.
        boot: id of the boot.
        start_us: device clock at the first sample, Unix microseconds.
        seconds: length, or None for an endless stream.
        dtype: as for ``ReplaySource``.
    """

    paced = True

    def __init__(
        self,
        wearable: SyntheticWearable,
        *,
        boot: int,
        start_us: int,
        seconds: float | None = None,
        dtype: SampleType = "float32",
    ) -> None:
        self.device = check_device(wearable.device)
        self.boot, self._wearable, self._start_us, self._dtype = boot, wearable, start_us, dtype
        self.total_samples = None if seconds is None else round(seconds * wearable.fs)
        self.meta = DeviceMeta(
            wearable.fs,
            sample_channels(wearable.channels, dtype),
            placement=wearable.placement.value,
            model="synthetic",
        )

    def batches(self, n_samples: BatchSize) -> Iterator[SampleBatch]:
        """The stream; can be taken once."""
        fs, channels = self.meta.fs, self.meta.channels
        start = seq = 0
        while self.total_samples is None or start < self.total_samples:
            n = size_of(n_samples)
            n = n if self.total_samples is None else min(n, self.total_samples - start)
            samples, _ = self._wearable.read(n)
            t0_us = self._start_us + round(start * 1e6 / fs)
            counts = to_counts(samples, channels, self._dtype)
            yield SampleBatch(self.device, self.boot, seq, t0_us, fs, channels, counts)
            start += n
            seq += 1


class LeftSource:
    """A device of which messages of an earlier run wait; it has no new samples.

    Args:
        device: device id.
        boot: its last boot.
        meta: what it said of itself.
    """

    paced = True
    total_samples = 0

    def __init__(self, device: str, boot: int, meta: DeviceMeta) -> None:
        self.device, self.boot, self.meta = device, boot, meta

    def batches(self, n_samples: BatchSize) -> Iterator[SampleBatch]:  # noqa: ARG002
        """Nothing."""
        return iter(())


class LossySource:
    """A source behind a bad radio link: some of its messages are never sent.

    Args:
        source: the device.
        loss: decides which.
    """

    def __init__(self, source: Source, loss: MessageLoss) -> None:
        self.device, self.boot, self.meta = source.device, source.boot, source.meta
        self.paced, self.total_samples = source.paced, source.total_samples
        self.dropped = 0
        self._source, self._loss = source, loss

    def batches(self, n_samples: BatchSize) -> Iterator[SampleBatch]:
        """What is left; the missing numbers show the loss."""
        for batch in self._source.batches(n_samples):
            if self._loss.loses_next():
                self.dropped += 1
            else:
                yield batch


def sample_channels(channels: tuple[Channel, ...], dtype: SampleType) -> tuple[Channel, ...]:
    """The channels as the device describes them: with a scale where samples are int16.

    Raises:
        ConfigError: if a unit has no usual full scale.
    """
    if dtype == "float32":
        return channels
    for channel in channels:
        if channel.unit not in _FULL_SCALE:
            raise ConfigError(
                f"int16 has no full scale for {channel.name!r} in {channel.unit!r}", remedy="Use float32"
            )
    return tuple(Channel(c.name, c.unit, _FULL_SCALE[c.unit] / _INT16_MAX) for c in channels)


def to_counts(
    samples: Float32Array, channels: tuple[Channel, ...], dtype: SampleType
) -> npt.NDArray[np.generic]:
    """Physical samples (n, C) as they are sent; int16 saturates at full scale."""
    if dtype == "float32":
        return samples
    counts = np.rint(samples / np.array([c.scale for c in channels], dtype=np.float32))
    return np.clip(counts, -_INT16_MAX, _INT16_MAX).astype(np.int16)


@dataclass(frozen=True, slots=True)
class FleetMotion:
    """What the people of a synthetic fleet do.

    Args:
        seed: same seed and ids, same samples.
        placement: ``waist``, ``pocket``, ``wrist``, or ``mixed`` to take turns.
        dwell: factor on how long activities last.
    """

    seed: int = 0
    placement: str = "waist"
    dwell: float = 1.0


def synthetic_fleet(
    devices: int | Sequence[str],
    *,
    start_us: int,
    motion: FleetMotion | None = None,
    seconds: float | None = None,
    boot: int | None = None,
    dtype: SampleType = "float32",
) -> list[SyntheticSource]:
    """A fleet of synthetic wearables that were all switched on at ``start_us``.

    Args:
        devices: how many, or their ids.
        start_us: device clock at the first sample, Unix microseconds.
        motion: where they are worn, and what their wearers do.
        seconds: length, or None for endless streams.
        boot: id of the boot; by default the second of ``start_us``.
        dtype: type of the samples on the wire.
    """
    names = device_names(devices) if isinstance(devices, int) else devices
    number = start_us // 1_000_000 if boot is None else boot
    motion = motion or FleetMotion()
    return [
        SyntheticSource(
            SyntheticWearable(name, motion.seed, placement=worn, dwell=motion.dwell),
            boot=number,
            start_us=start_us,
            seconds=seconds,
            dtype=dtype,
        )
        for name, worn in zip(names, placements(motion.placement, len(names)), strict=True)
    ]
