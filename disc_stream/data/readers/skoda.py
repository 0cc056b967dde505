"""Skoda Mini Checkpoint: a worker checks a car, ten accelerometers on each arm, about 98 Hz.

Zappi et al., "Activity Recognition from On-Body Sensors: Accuracy-Power Trade-Off by Dynamic Sensor
Selection", EWSN 2008, doi:10.1007/978-3-540-77690-1_2. ``right_classall_clean.mat`` and
``left_classall_clean.mat`` each hold one matrix of that name with 71 columns: the label (32 = null,
48 to 57), then for every sensor its number, calibrated x, y, z and raw x, y, z. The calibrated values
are read. The two arms have different numbers of rows and no common clock, so they are two datasets;
``skoda`` is the right arm, which most published work uses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from disc_stream.data.readers.base import Check, Contents, Dropped, Progress, Reader, Selection, axes
from disc_stream.data.readers.mat import read_mat
from disc_stream.data.readers.runs import runs
from disc_stream.data.readers.source import Layout, Source
from disc_stream.data.types import UNLABELLED, LabelArray, Recording
from disc_stream.errors import DataError
from disc_stream.types import IntArray

_FS = 98.0
_SENSORS, _PER_SENSOR = 10, 7
_COLUMNS = 1 + _SENSORS * _PER_SENSOR
_CALIBRATED = [2 + _PER_SENSOR * sensor + axis for sensor in range(_SENSORS) for axis in range(3)]
_CHANNELS = tuple(c for sensor in range(1, _SENSORS + 1) for c in axes(f"acc{sensor}", "mg"))
_NULL, _FIRST, _UNNAMED = 32, 48, 58
_LABELS = (
    "write_on_notepad", "open_hood", "close_hood", "check_gaps_front_door", "open_left_front_door",
    "close_left_front_door", "close_both_left_doors", "check_trunk_gaps", "open_and_close_trunk",
    "check_steering_wheel",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Arm:
    side: Literal["left", "right"]
    prefix: str

    @property
    def variable(self) -> str:
        """Name of the matrix, and of the file without its ending."""
        return f"{self.side}_classall_clean"

    def read(self, source: Source, selection: Selection, progress: Progress) -> Contents:
        """Read the arm's recording; see ``base.ReadRecordings``."""
        progress(0, 1)
        file = f"{self.variable}.mat"
        (matrix,) = read_mat(source, file, (self.variable,))
        where = source.where(file)
        if matrix.shape[1] != _COLUMNS:
            raise DataError(
                f"{where}: expected {_COLUMNS} columns (label, then {_SENSORS} sensors × {_PER_SENSOR}), "
                f"got {matrix.shape[1]}"
            )
        labels = _read_labels(matrix[:, 0], where)
        recordings, missing = self._cut(matrix[:, _CALIBRATED], labels, selection)
        if not len(matrix) - missing:
            raise DataError(f"{where}: every row has missing values")
        progress(1, 1)
        checks: tuple[Check, ...] = ()
        if selection.everything:
            checks = (Check("activities", len(np.unique(labels[labels >= 0])), len(_LABELS)),)
        dropped = (Dropped(missing, "a sensor's value is missing"),) if missing else ()
        return Contents(recordings, checks, dropped, files=1)

    def _cut(
        self, samples: npt.NDArray[Any], labels: LabelArray, selection: Selection
    ) -> tuple[tuple[Recording, ...], int]:
        """The stretches without missing values, and the number of rows that have any."""
        whole = np.isfinite(samples).all(axis=1)
        stretches = [(a, b) for a, b in runs(np.diff(whole)) if len(whole) and whole[a]]
        recordings = [
            Recording(
                name=f"{self.prefix}-subject1-part{number:02d}",
                subject=1,
                fs=_FS,
                channels=_CHANNELS,
                samples=np.ascontiguousarray(samples[start:stop], dtype=np.float32),
                labels=labels[start:stop],
                label_names=_LABELS,
            )
            for number, (start, stop) in enumerate(stretches, start=1)
        ]
        wanted = tuple(r for r in recordings if selection.wants(r.name, r.subject))
        return wanted, int((~whole).sum())


def _read_labels(column: npt.NDArray[Any], where: str) -> LabelArray:
    codes: IntArray = np.nan_to_num(column, nan=-1).astype(np.int64)
    known = (codes == _NULL) | ((codes >= _FIRST) & (codes <= _UNNAMED))
    wrong = np.flatnonzero(~known | (codes != column))
    if len(wrong):
        raise DataError(
            f"{where}, row {wrong[0] + 1}: label must be {_NULL} or {_FIRST}..{_UNNAMED}, "
            f"got {column[wrong[0]]}"
        )
    named = (codes >= _FIRST) & (codes < _UNNAMED)
    return np.where(named, codes - _FIRST, UNLABELLED).astype(np.int16)


def _reader(name: str, side: Literal["left", "right"]) -> Reader:
    arm = _Arm(side, name)
    return Reader(
        name=name,
        title=f"Skoda Mini Checkpoint: 10 accelerometers on the {side} arm, 10 assembly gestures",
        citation="Zappi et al., Activity Recognition from On-Body Sensors, EWSN 2008, "
        "doi:10.1007/978-3-540-77690-1_2",
        terms="cite the paper; for research",
        kind="recordings",
        fs=_FS,
        channels=_CHANNELS,
        label_names=_LABELS,
        n_clusters=len(_LABELS),
        window_s=2.0,
        layout=Layout(
            "SkodaMiniCP_2015_08",
            f"{arm.variable}.mat",
            ("skoda.zip", "SkodaMiniCP_2015_08.zip"),
        ),
        read=arm.read,
        notes=(
            "The null class (32) and the undocumented class 58 are unlabelled here.",
            "The layout's description names no unit; calibrated values are taken as mg.",
        ),
    )


SKODA = _reader("skoda", "right")
SKODA_LEFT = _reader("skoda-left", "left")
