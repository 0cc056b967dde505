"""UCI HAR: windows of 2.56 s that its authors filtered, cut and split.

Anguita et al., "A Public Domain Dataset for Human Activity Recognition Using Smartphones", ESANN 2013.
``train/`` and ``test/`` hold nine files under ``Inertial Signals/`` (one row of 128 samples per window),
``y_*.txt`` (activity 1..6) and ``subject_*.txt``. The windows follow each other with 64 samples of
overlap; where the overlap is broken, another recording begins. That gives every window its place in
time, and lets the continuous stretches be put together again for replay.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from disc_stream.data.readers.base import (
    Check,
    Contents,
    OfficialWindows,
    Progress,
    Reader,
    Selection,
    axes,
    require_totals,
)
from disc_stream.data.readers.runs import runs
from disc_stream.data.readers.source import Layout, Source
from disc_stream.data.readers.tables import read_table
from disc_stream.data.types import LabelArray, Recording, SubjectArray, WindowSet
from disc_stream.errors import DataError
from disc_stream.types import Float32Array

_FS = 50.0
_LENGTH, _HOP = 128, 64
_CHANNELS = axes("body_acc", "g") + axes("body_gyro", "rad/s") + axes("total_acc", "g")
_LABELS = ("walking", "walking_upstairs", "walking_downstairs", "sitting", "standing", "lying")
_PARTS = ("train", "test")
_PEOPLE = {"train": 21, "test": 9}
_CLASS_COUNTS = {
    "train": (1226, 1073, 986, 1286, 1374, 1407),
    "test": (496, 471, 420, 491, 532, 537),
}


@dataclass(frozen=True, slots=True)
class _Part:
    x: Float32Array  # (n_windows, 128, 9)
    y: LabelArray
    subject: SubjectArray
    bounds: list[tuple[int, int]]  # windows (first, last + 1) of each continuous stretch


def _read_part(source: Source, part: str, progress: Progress) -> _Part:
    y = _read_column(source, f"{part}/y_{part}.txt", len(_LABELS), "activity")
    subject = _read_column(source, f"{part}/subject_{part}.txt", 30, "subject")
    files = [f"{part}/Inertial Signals/{channel.name}_{part}.txt" for channel in _CHANNELS]
    x = np.empty((len(y), _LENGTH, len(files)), dtype=np.float32)
    _require_rows(source, f"{part}/subject_{part}.txt", len(subject), f"y_{part}.txt", len(y))
    offset = _PARTS.index(part) * len(files)
    for column, file in enumerate(files):
        progress(offset + column, 2 * len(files))
        signal = read_table(source, file, _LENGTH)
        _require_rows(source, file, len(signal), f"y_{part}.txt", len(y))
        x[:, :, column] = signal
    progress(offset + len(files), 2 * len(files))
    broken = (x[:-1, _HOP:] != x[1:, :-_HOP]).any(axis=(1, 2)) | (np.diff(subject) != 0)
    return _Part(x, y - 1, subject.astype(np.int64), list(runs(broken)))


def _read_column(source: Source, file: str, largest: int, what: str) -> LabelArray:
    values = read_table(source, file, 1, dtype=np.int64)[:, 0]
    wrong = np.flatnonzero((values < 1) | (values > largest))
    if len(wrong):
        raise DataError(
            f"{source.where(file)}, line {wrong[0] + 1}: {what} must be 1..{largest}, got {values[wrong[0]]}"
        )
    return values.astype(np.int16)


def _require_rows(source: Source, file: str, rows: int, other: str, expected: int) -> None:
    if rows != expected:
        raise DataError(
            f"{source.where(file)} has {rows} rows, but {other} has {expected}",
            remedy="Download the dataset again",
        )


def _check(source: Source, parts: dict[str, _Part]) -> tuple[Check, ...]:
    checks = []
    for name, part in parts.items():
        checks.append(Check(f"{name} people", len(np.unique(part.subject)), _PEOPLE[name]))
        counts = np.bincount(part.y, minlength=len(_LABELS))
        for label, found, expected in zip(_LABELS, counts.tolist(), _CLASS_COUNTS[name], strict=True):
            checks.append(Check(f"{name} windows of {label}", found, expected))
    complete = all(check.ok for check in checks if check.what.endswith("people"))
    return require_totals(tuple(checks), complete, source.where(""))


def _read_windows(source: Source, progress: Progress) -> OfficialWindows:
    parts = {name: _read_part(source, name, progress) for name in _PARTS}
    _check(source, parts)
    first_test_group = len(parts["train"].bounds)
    return OfficialWindows(
        _window_set(parts["train"], 0),
        _window_set(parts["test"], first_test_group),
        "the official split: 21 people to learn from, 9 others to test on",
    )


def _window_set(part: _Part, first_group: int) -> WindowSet:
    sizes = [stop - start for start, stop in part.bounds]
    return WindowSet(
        x=part.x,
        y=part.y,
        subject=part.subject,
        group=np.repeat(np.arange(first_group, first_group + len(sizes), dtype=np.int32), sizes),
        start=np.concatenate([np.arange(size, dtype=np.int64) * _HOP for size in sizes]),
        fs=_FS,
        channels=_CHANNELS,
        label_names=_LABELS,
    )


def _read(source: Source, selection: Selection, progress: Progress) -> Contents:
    parts = {name: _read_part(source, name, progress) for name in _PARTS}
    checks = _check(source, parts) if selection.everything else ()
    recordings: list[Recording] = []
    for part in parts.values():
        number: dict[int, int] = {}
        for start, stop in part.bounds:
            subject = int(part.subject[start])
            number[subject] = number.get(subject, 0) + 1
            name = f"uci-har-user{subject:02d}-part{number[subject]:02d}"
            if selection.wants(name, subject):
                recordings.append(_stitch(part, start, stop, name, subject))
    return Contents(tuple(recordings), checks, files=2 * (len(_CHANNELS) + 2))


def _stitch(part: _Part, start: int, stop: int, name: str, subject: int) -> Recording:
    """Put overlapping windows together again: the first whole, then the second half of each."""
    x, y = part.x[start:stop], part.y[start:stop]
    tail = x[1:, _HOP:].reshape(-1, x.shape[2])
    labels = np.concatenate([np.repeat(y[:1], _LENGTH), np.repeat(y[1:], _HOP)])
    return Recording(name, subject, _FS, _CHANNELS, np.concatenate([x[0], tail]), labels, _LABELS)


UCI_HAR = Reader(
    name="uci-har",
    title="UCI HAR: phone at the waist, 6 activities, pre-cut windows of 2.56 s",
    citation="Anguita et al., A Public Domain Dataset for Human Activity Recognition Using Smartphones, "
    "ESANN 2013",
    terms="cite the paper; commercial use is prohibited",
    kind="windows",
    fs=_FS,
    channels=_CHANNELS,
    label_names=_LABELS,
    n_clusters=6,
    window_s=2.56,
    layout=Layout("UCI HAR Dataset", "train/y_train.txt", ("uci-har.zip", "UCI HAR Dataset.zip")),
    read=_read,
    read_windows=_read_windows,
    notes=(
        "Median and Butterworth filtered by its authors; cut from HAPT's recordings.",
        "Recordings are stretches of windows put together again by their overlap.",
    ),
)
