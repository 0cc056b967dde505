"""Frozen values that pass between packages."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel of a stream.

    Args:
        name: such as ``acc_x`` or ``gyro_z``; unique within a stream.
        unit: of the physical value: ``g``, ``m/s2``, ``mg``, ``rad/s``, ``deg/s``, ``mdps``, ``uT`` or ``1``.
        scale: physical value of one count; 1.0 where samples are already physical.
    """

    name: str
    unit: str
    scale: float = 1.0


class SampleBatch(msgspec.Struct, frozen=True, gc=False):
    """Consecutive samples of one device, as decoded from one message.

    A ``msgspec.Struct``, like all that is made of each message: one is made in less than a tenth of the time
    that a frozen dataclass takes. ``msgspec.structs.replace`` is its ``dataclasses.replace``.

    Args:
        device: device id, taken from the topic.
        boot: id of the device's boot; (device, boot, seq) is unique.
        seq: number of the batch within the boot, from 0, uint32.
        t0_us: device clock at the first sample, in microseconds.
        fs: sampling rate in Hz.
        channels: one per column of ``samples``.
        samples: (n_samples, n_channels), in counts; int16, int32 or float32.
    """

    device: str
    boot: int
    seq: int
    t0_us: int
    fs: float
    channels: tuple[Channel, ...]
    samples: npt.NDArray[np.generic]

    def physical(self) -> Float32Array:
        """Samples in the channels' units, (n_samples, n_channels) float32."""
        scales = np.array([c.scale for c in self.channels], dtype=np.float32)
        samples = self.samples.astype(np.float32, copy=False)
        if bool(np.all(scales == 1.0)):
            return samples
        return samples * scales


@dataclass(frozen=True, slots=True)
class DeviceMeta:
    """What a device says of itself in its retained ``meta`` message.

    Args:
        fs: sampling rate in Hz.
        channels: names, units and scales, in the order of the samples.
        placement: where it is worn, free text.
        model: hardware, free text.
        firmware: version, free text.
        battery: what is left of it, 0 to 1; None if it does not say.
    """

    fs: float
    channels: tuple[Channel, ...]
    placement: str = ""
    model: str = ""
    firmware: str = ""
    battery: float | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a device has no labels now.

    Args:
        code: stable name for programs, lower case with hyphens, such as ``rate-differs``.
        words: one sentence for people: what is missing or wrong, with the values seen and expected.
        since_us: server clock when it was first seen, Unix microseconds.
        count: how often it was seen since then, in messages or windows; at least 1.
        remedy: what to do, one sentence for people; "" if nothing can be said.
    """

    code: str
    words: str
    since_us: int
    count: int
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """How a stream is cut into windows.

    Windows of ``samples`` start every ``hop`` samples. Only the first ``input_samples`` of each are
    encoded: DISC reads the first half and uses the second as the target of its future-prediction
    decoder in training alone, so a label is ready before its window ends.

    Args:
        samples: window length T in samples.
        hop: samples between two window starts; T/2 for 50 % overlap.
        input_samples: samples from the window's start that the encoder reads, at most T.
    """

    samples: int
    hop: int
    input_samples: int

    def __post_init__(self) -> None:
        """Check the sizes.

        Raises:
            ValueError: if a size is not positive or the input is longer than the window.
        """
        if self.samples < 4 or not 1 <= self.hop <= self.samples:
            raise ValueError(
                f"a window needs at least 4 samples and a hop of 1..samples, "
                f"got samples={self.samples}, hop={self.hop}"
            )
        if not 1 <= self.input_samples <= self.samples:
            raise ValueError(f"input_samples must be 1..{self.samples}, got {self.input_samples}")


UNKNOWN = -1
"""In the place of a cluster's public id: a window that is too far from all clusters."""

NOT_WORN = -2
"""In the place of a cluster's public id: a window of a device that is not worn."""

STATE_NAMES = {UNKNOWN: "unknown", NOT_WORN: "not worn"}


class SoftLabel(msgspec.Struct, frozen=True, gc=False):
    """A cluster and the probability that a window belongs to it."""

    label: int
    name: str
    confidence: float


class Label(msgspec.Struct, frozen=True, gc=False):
    """The label of one window, as published on the device's label topic.

    A ``msgspec.Struct``, because labels are made by the thousand a second: ``msgspec.structs.replace`` is its
    ``dataclasses.replace``.

    Args:
        device: device id.
        boot: boot of the device in which the window was recorded.
        window: number of the window within the boot, from 0.
        t0_us: device clock at the window's first sample, in microseconds.
        t1_us: device clock at the window's end (t0 + T/fs), in microseconds.
        best: the most probable cluster; its id stays the same across retraining. ``UNKNOWN`` or ``NOT_WORN``
            where the window is of no cluster.
        soft: the k most probable clusters, most probable first.
        smoothed: the cluster after causal smoothing over the device's earlier windows; a state like ``best``.
        distance: squared Euclidean distance from the embedding to the best centroid.
        novelty: ``distance`` over the 95 % quantile seen in training for that cluster; above 1 is unusual.
        model: version of the bundle that gave the label.
        seq: number of the batch that completed the window's input.
        published_us: server clock when the label was made, Unix microseconds.
        t0_unix_us: server clock at the window's begin, by the fitted clock of the device; None if not known.
        bridged: whether a part of the window was made up, to bridge a short gap.
        deferred: whether the label was deferred because the server was overloaded.
        muted: whether people have said of the cluster that nobody needs to be told of it.
        adapted: how far the centroids had followed the device, in standard deviations of their clusters (0
            for not yet); None where they do not follow.
    """

    device: str
    boot: int
    window: int
    t0_us: int
    t1_us: int
    best: SoftLabel
    soft: tuple[SoftLabel, ...]
    smoothed: SoftLabel
    distance: float
    novelty: float | None
    model: str
    seq: int
    published_us: int
    t0_unix_us: int | None = None
    bridged: bool = False
    deferred: bool = False
    muted: bool = False
    adapted: float | None = None
