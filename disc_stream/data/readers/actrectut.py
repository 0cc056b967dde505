"""ActRecTut: arm gestures and gaits of two people, body-worn inertial sensors, 32 Hz.

Bulling, Blanke and Schiele, "A tutorial on human activity recognition using body-worn inertial
sensors", ACM Computing Surveys 46(3), 2014, doi:10.1145/2499621.
``Data/subject<n>_gesture/data.mat`` and ``Data/subject<n>_walk/data.mat`` hold ``data`` (rows × columns)
and ``labels`` (1 = null). Columns go sensor by sensor: three of acceleration (mg: the magnitude at
rest is 1000 in every sensor) and two (gestures) or three (walk) of the gyroscope, which are the counts
of its 10-bit converter, about 415 at rest, and therefore have no unit. In the walk files the third
gyroscope column of each sensor is unconnected noise and is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from disc_stream.data.readers.base import Check, Contents, Progress, Reader, Selection, axes
from disc_stream.data.readers.mat import read_mat
from disc_stream.data.readers.source import Layout, Source
from disc_stream.data.types import UNLABELLED, LabelArray, Recording
from disc_stream.errors import DataError
from disc_stream.types import Channel, IntArray

_FS = 32.0
_PEOPLE = (1, 2)
_GESTURE_SENSORS = ("hand", "lower_arm", "upper_arm")
_WALK_SENSORS = ("hip", "lower_arm", "ankle", "upper_leg")
_GESTURES = (
    "open_window", "drink", "water_plant", "close_window", "cut", "chop", "stir", "book", "forehand",
    "backhand", "smash",
)  # fmt: skip
_GAITS = ("sitting", "standing", "walking", "walking_downstairs", "walking_upstairs")
_ROWS = {"gesture": (62_480, 70_778), "walk": (31_392, 32_577)}


@dataclass(frozen=True, slots=True)
class _Files:
    """One of the two kinds of recordings, and how to read it.

    Args:
        kind: ``gesture`` or ``walk``, as in the folders' names.
        prefix: of the recordings' names.
        sensors: where the sensors are worn, in column order.
        gyro_columns: of each sensor; the first two are kept.
        label_names: of file labels 2, 3, …; file label 1 is null.
    """

    kind: Literal["gesture", "walk"]
    prefix: str
    sensors: tuple[str, ...]
    gyro_columns: int
    label_names: tuple[str, ...]

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Three accelerations and two angular rates per sensor."""
        pairs = (axes(f"{sensor}_acc", "mg") + axes(f"{sensor}_gyro", "1", "xy") for sensor in self.sensors)
        return tuple(channel for pair in pairs for channel in pair)

    def read(self, source: Source, selection: Selection, progress: Progress) -> Contents:
        """Read both people's recordings; see ``base.ReadRecordings``."""
        wanted = [s for s in _PEOPLE if selection.wants(f"{self.prefix}-subject{s}", s)]
        recordings = []
        for done, subject in enumerate(wanted):
            progress(done, len(wanted))
            recordings.append(self._read_recording(source, subject))
        progress(len(wanted), len(wanted))
        checks: tuple[Check, ...] = ()
        if selection.everything:
            checks = tuple(
                Check(f"rows of person {r.subject}", len(r.samples), rows)
                for r, rows in zip(recordings, _ROWS[self.kind], strict=True)
            )
        return Contents(tuple(recordings), checks, files=len(recordings))

    def _read_recording(self, source: Source, subject: int) -> Recording:
        file = f"Data/subject{subject}_{self.kind}/data.mat"
        data, labels = read_mat(source, file, ("data", "labels"))
        where, width = source.where(file), 3 + self.gyro_columns
        columns = width * len(self.sensors)
        if data.shape[1] != columns:
            raise DataError(f"{where}: 'data' must have {columns} columns, got {data.shape[1]}")
        if labels.shape != (len(data), 1):
            got = " × ".join(map(str, labels.shape))
            raise DataError(f"{where}: 'labels' must be {len(data)} × 1 to fit 'data', got {got}")
        broken = np.flatnonzero(~np.isfinite(data).all(axis=1))
        if len(broken):
            raise DataError(f"{where}, row {broken[0] + 1} of 'data': expected finite numbers")
        kept = [width * sensor + column for sensor in range(len(self.sensors)) for column in range(5)]
        return Recording(
            name=f"{self.prefix}-subject{subject}",
            subject=subject,
            fs=_FS,
            channels=self.channels,
            samples=np.ascontiguousarray(data[:, kept], dtype=np.float32),
            labels=self._shift_labels(labels[:, 0].astype(np.int64), where),
            label_names=self.label_names,
        )

    def _shift_labels(self, labels: IntArray, where: str) -> LabelArray:
        """Turn 1 (null) into ``UNLABELLED`` and 2, 3, … into 0, 1, …."""
        largest = len(self.label_names) + 1
        wrong = np.flatnonzero((labels < 1) | (labels > largest))
        if len(wrong):
            raise DataError(
                f"{where}, row {wrong[0] + 1} of 'labels': must be 1..{largest}, got {labels[wrong[0]]}"
            )
        return np.where(labels == 1, UNLABELLED, labels - 2).astype(np.int16)


def _reader(name: str, title: str, files: _Files, n_clusters: int) -> Reader:
    return Reader(
        name=name,
        title=title,
        citation="Bulling, Blanke and Schiele, A tutorial on human activity recognition using body-worn "
        "inertial sensors, ACM Computing Surveys 46(3), 2014, doi:10.1145/2499621",
        terms="cite the paper; GPL-3.0",
        kind="recordings",
        fs=_FS,
        channels=files.channels,
        label_names=files.label_names,
        n_clusters=n_clusters,
        window_s=2.0,
        layout=Layout(
            "ActRecTut", f"Data/subject1_{files.kind}/data.mat", ("actrectut.zip", "ActRecTut-master.zip")
        ),
        read=files.read,
        notes=(
            "Angular rates are counts of a 10-bit converter (about 415 at rest), without a unit.",
            "The null class is unlabelled here.",
        ),
    )


ACTRECTUT = _reader(
    "actrectut",
    "ActRecTut: 11 arm gestures and null, 3 sensors on the right arm",
    _Files("gesture", "actrectut", _GESTURE_SENSORS, 2, _GESTURES),
    n_clusters=len(_GESTURES),
)

ACTRECTUT_WALK = _reader(
    "actrectut-walk",
    "ActRecTut: sitting, standing and 3 gaits, 4 sensors on hip, arm and leg",
    _Files("walk", "actrectut-walk", _WALK_SENSORS, 3, _GAITS),
    n_clusters=len(_GAITS),
)
