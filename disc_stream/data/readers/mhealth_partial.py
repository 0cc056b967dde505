"""MHEALTH, the part of it that could be recovered: chest acceleration and right-arm angular rate.

An npz with ``stream`` (6, n) float, ``stream_pos`` (n,) row of each sample in the official log,
``stream_subject`` (n,), and windows of ``win_len`` samples: ``win_start`` (position in the log),
``win_subject``, ``win_label`` 1..12. Only labelled stretches are there; where the position jumps,
another recording begins. Citation and activities are those of MHEALTH.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt

from disc_stream.data.archive import NPZ_LIMITS, UNREADABLE
from disc_stream.data.readers.base import Check, Contents, Progress, Reader, Selection, axes
from disc_stream.data.readers.mhealth import CITATION, FS, LABELS, SPLIT_NOTE, TEST_SUBJECTS
from disc_stream.data.readers.runs import runs
from disc_stream.data.readers.source import Layout, Source
from disc_stream.data.types import UNLABELLED, LabelArray, Recording
from disc_stream.errors import DataError
from disc_stream.zipfiles import read_npz

_CHANNELS = axes("chest_acc", "m/s2") + axes("right_arm_gyro", "deg/s")
_FILE = "mhealth_partial.npz"
_DIMENSIONS = {
    "stream": 2, "stream_pos": 1, "stream_subject": 1,
    "win_subject": 1, "win_start": 1, "win_label": 1, "win_len": 0,
}  # fmt: skip

_Arrays = dict[str, npt.NDArray[Any]]


def _read(source: Source, selection: Selection, progress: Progress) -> Contents:
    progress(0, 1)
    arrays = _load(source)
    position, subject = arrays["stream_pos"].astype(np.int64), arrays["stream_subject"].astype(np.int64)
    labels = _paint(arrays, position, subject, source.where(_FILE))
    recordings = []
    number: dict[int, int] = {}
    for start, stop in runs((np.diff(position) != 1) | (np.diff(subject) != 0)):
        person = int(subject[start])
        number[person] = number.get(person, 0) + 1
        name = f"mhealth-partial-subject{person:02d}-part{number[person]:02d}"
        if selection.wants(name, person):
            samples = np.ascontiguousarray(arrays["stream"][:, start:stop].T, dtype=np.float32)
            recordings.append(Recording(name, person, FS, _CHANNELS, samples, labels[start:stop], LABELS))
    progress(1, 1)
    checks: tuple[Check, ...] = ()
    if selection.everything:
        checks = (
            Check("people", len(np.unique(subject)), 10),
            Check("samples", len(position), 344_700),
            Check("labelled windows", len(arrays["win_label"]), 6_768),
        )
    return Contents(tuple(recordings), checks, files=1)


def _load(source: Source) -> _Arrays:
    where = source.where(_FILE)
    try:
        arrays = read_npz(io.BytesIO(source.read(_FILE)), NPZ_LIMITS, frozenset(_DIMENSIONS))
    except (*UNREADABLE, AttributeError, TypeError) as error:
        raise DataError(f"{where} is not a readable npz: {error}", remedy="Copy it again") from error
    for name, dimensions in _DIMENSIONS.items():
        if name not in arrays:
            raise DataError(f"{where} has no array {name!r}")
        if arrays[name].ndim != dimensions or arrays[name].dtype.kind not in "iuf":
            raise DataError(
                f"{where}: {name!r} must be {dimensions}-dimensional numbers, got {arrays[name].shape}"
            )
    n = len(arrays["stream_pos"])
    expected = {"stream": (len(_CHANNELS), n), "stream_subject": (n,)}
    expected |= dict.fromkeys(("win_subject", "win_start"), arrays["win_label"].shape)
    for name, shape in expected.items():
        if arrays[name].shape != shape:
            raise DataError(f"{where}: {name!r} must have shape {shape}, got {arrays[name].shape}")
    if not np.isfinite(arrays["stream"]).all():
        raise DataError(f"{where}: 'stream' has values that are not finite")
    return arrays


def _paint(
    arrays: _Arrays, position: npt.NDArray[np.int64], subject: npt.NDArray[np.int64], where: str
) -> LabelArray:
    """Label of every sample, from the windows that cover it."""
    length = int(arrays["win_len"])
    row_of = {key: row for row, key in enumerate(zip(subject.tolist(), position.tolist(), strict=True))}
    labels = np.full(len(position), UNLABELLED, dtype=np.int16)
    windows = zip(
        arrays["win_subject"].tolist(),
        arrays["win_start"].tolist(),
        arrays["win_label"].tolist(),
        strict=True,
    )
    for number, (person, start, label) in enumerate(windows):
        if not 1 <= label <= len(LABELS):
            raise DataError(f"{where}: win_label[{number}] must be 1..{len(LABELS)}, got {label}")
        row = row_of.get((person, start))
        if row is None or row_of.get((person, start + length - 1)) != row + length - 1:
            raise DataError(f"{where}: window {number} (person {person}, row {start}) is not in 'stream'")
        labels[row : row + length] = label - 1
    return labels


MHEALTH_PARTIAL = Reader(
    name="mhealth-partial",
    title="MHEALTH, partial: chest acceleration and right-arm angular rate of the labelled stretches",
    citation=CITATION,
    terms="cite the paper",
    kind="recordings",
    fs=FS,
    channels=_CHANNELS,
    label_names=LABELS,
    n_clusters=12,
    window_s=2.56,
    layout=Layout("mhealth_partial.npz", _FILE, (_FILE,)),
    read=_read,
    test_subjects=TEST_SUBJECTS,
    split_note=SPLIT_NOTE,
    notes=(
        "Recovered from standardised windows; the chest's offset may be off by a small constant.",
        "6 of the 21 channels of MHEALTH: figures are not comparable with the paper's.",
    ),
)
