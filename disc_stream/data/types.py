"""What every reader returns: recordings (continuous) or window sets (pre-cut)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from disc_stream.types import Channel, Float32Array

UNLABELLED = -1
LabelArray = npt.NDArray[np.int16]
SubjectArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Recording:
    """One continuous recording of one person.

    Args:
        name: unique within the dataset and valid as a device id, such as ``hapt-exp01-user01``.
        subject: the person, as the dataset numbers them.
        fs: sampling rate in Hz.
        channels: names and units; scale 1.0, since samples are physical.
        samples: (n_samples, n_channels) float32, physical units.
        labels: (n_samples,) int16 index into ``label_names``, or -1 where unlabelled.
        label_names: the dataset's activities.
        start_us: time of the first sample on the recording's own clock, in microseconds.
        clock_fs: samples a second by that clock, where they are not quite ``fs``; 0.0 where they are.
        part_of: the recording that this is an uninterrupted stretch of; "" if it is whole.
    """

    name: str
    subject: int
    fs: float
    channels: tuple[Channel, ...]
    samples: Float32Array
    labels: LabelArray
    label_names: tuple[str, ...]
    start_us: int = 0
    clock_fs: float = 0.0
    part_of: str = ""

    def time_us(self, sample: int) -> int:
        """Time of a sample on the recording's own clock, in microseconds."""
        return self.start_us + round(sample * 1e6 / (self.clock_fs or self.fs))

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return len(self.samples) / self.fs


@dataclass(frozen=True, slots=True)
class WindowSet:
    """Windows ready for training, of one split of a dataset.

    Args:
        x: (n_windows, n_samples, n_channels) float32, physical units.
        y: (n_windows,) int16 index into ``label_names`` (majority of the window), -1 where unlabelled.
        subject: (n_windows,) int64.
        group: (n_windows,) int32, number of the recording; rows of one group are in time order.
        start: (n_windows,) int64, index of the first sample within its recording.
        fs: sampling rate in Hz.
        channels: names and units.
        label_names: the dataset's activities.
    """

    x: Float32Array
    y: LabelArray
    subject: SubjectArray
    group: npt.NDArray[np.int32]
    start: npt.NDArray[np.int64]
    fs: float
    channels: tuple[Channel, ...]
    label_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.x)

    def select(self, mask: npt.NDArray[np.bool_]) -> WindowSet:
        """The windows where ``mask`` (n_windows,) is true."""
        return WindowSet(
            self.x[mask], self.y[mask], self.subject[mask], self.group[mask], self.start[mask],
            self.fs, self.channels, self.label_names,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Split:
    """Subject-disjoint training and test parts, and how they came about.

    Args:
        train: windows to learn from.
        test: windows of people (or, for one-person datasets, of recordings) never learned from.
        protocol: one sentence on how the split was made.
        n_clusters: the usual number of activities K of the dataset.
    """

    train: WindowSet
    test: WindowSet
    protocol: str
    n_clusters: int
    scored: Sequence[int] = field(default_factory=tuple)
    """Indices of ``label_names`` on which metrics are computed; empty means all."""
