"""HAPT: smartphone at the waist, six activities and six postural transitions, continuous, 50 Hz.

Reyes-Ortiz et al., "Transition-Aware Human Activity Recognition Using Smartphones", Neurocomputing
2015, doi:10.1016/j.neucom.2015.07.085. ``RawData/`` holds one accelerometer and one gyroscope file per
recording, and ``labels.txt`` with rows *experiment, user, activity, first sample, last sample*. The
spans include their last sample: neighbours follow each other as 250–1232, 1233–1392. The description
does not say where counting starts; it is taken to be 1, as no span begins at 0.
"""

from __future__ import annotations

import re
from collections import defaultdict

import numpy as np

from disc_stream.data.readers.base import Check, Contents, Progress, Reader, Selection, axes, require_totals
from disc_stream.data.readers.source import Layout, Source
from disc_stream.data.readers.tables import read_table
from disc_stream.data.types import UNLABELLED, LabelArray, Recording
from disc_stream.errors import DataError
from disc_stream.types import IntArray

_FS = 50.0
_CHANNELS = axes("acc", "g") + axes("gyro", "rad/s")
_LABELS = (
    "walking", "walking_upstairs", "walking_downstairs", "sitting", "standing", "lying",
    "stand_to_sit", "sit_to_stand", "sit_to_lie", "lie_to_sit", "stand_to_lie", "lie_to_stand",
)  # fmt: skip
_LABEL_FILE = "RawData/labels.txt"
_ACC_FILE = re.compile(r"RawData/acc_exp(\d+)_user(\d+)\.txt")
_RECORDINGS, _SAMPLES, _LABEL_ROWS = 61, 1_122_772, 1_214


def _read(source: Source, selection: Selection, progress: Progress) -> Contents:
    names = set(source.names())
    found = [match for name in sorted(names) if (match := _ACC_FILE.fullmatch(name))]
    if not found:
        raise DataError(f"{source.where('RawData')} has no files acc_expNN_userMM.txt")
    recorded = {(int(m[1]), int(m[2])): (m[1], m[2]) for m in found}
    spans = _read_spans(source, recorded)
    wanted = [key for key in recorded if selection.wants(_name(*recorded[key]), key[1])]
    recordings = []
    for done, key in enumerate(wanted):
        progress(done, len(wanted))
        recordings.append(_read_recording(source, names, recorded[key], spans[key]))
    progress(len(wanted), len(wanted))
    checks: tuple[Check, ...] = ()
    if selection.everything:
        checks = _check(recordings, sum(map(len, spans.values())))
        require_totals(checks, len(recordings) == _RECORDINGS, source.where("RawData"))
    return Contents(tuple(recordings), checks, files=2 * len(recordings) + 1)


def _name(experiment: str, user: str) -> str:
    return f"hapt-exp{experiment}-user{user}"


def _read_spans(
    source: Source, recorded: dict[tuple[int, int], tuple[str, str]]
) -> dict[tuple[int, int], list[tuple[int, IntArray]]]:
    """Rows of labels.txt by (experiment, user), each with its line number."""
    spans: dict[tuple[int, int], list[tuple[int, IntArray]]] = defaultdict(list)
    for line, row in enumerate(read_table(source, _LABEL_FILE, 5, dtype=np.int64), start=1):
        experiment, user, activity = (int(v) for v in row[:3])
        at = f"{source.where(_LABEL_FILE)}, line {line}"
        if (experiment, user) not in recorded:
            raise DataError(
                f"{at} names experiment {experiment} of user {user}, but "
                f"RawData/acc_exp{experiment:02d}_user{user:02d}.txt is missing"
            )
        if not 1 <= activity <= len(_LABELS):
            raise DataError(f"{at}: activity must be 1..{len(_LABELS)}, got {activity}")
        spans[experiment, user].append((line, row[2:]))
    return spans


def _read_recording(
    source: Source, names: set[str], key: tuple[str, str], spans: list[tuple[int, IntArray]]
) -> Recording:
    experiment, user = key
    acc_file = f"RawData/acc_exp{experiment}_user{user}.txt"
    gyro_file = f"RawData/gyro_exp{experiment}_user{user}.txt"
    if gyro_file not in names:
        raise DataError(f"{source.where(gyro_file)} is missing, although its accelerometer file is there")
    acc, gyro = read_table(source, acc_file, 3), read_table(source, gyro_file, 3)
    if len(acc) != len(gyro):
        raise DataError(
            f"{source.where(acc_file)} has {len(acc)} rows, but {gyro_file} has {len(gyro)}",
            remedy="Download the dataset again",
        )
    labels = np.full(len(acc), UNLABELLED, dtype=np.int16)
    for line, span in spans:
        _paint(labels, span, f"{source.where(_LABEL_FILE)}, line {line}")
    return Recording(
        name=_name(experiment, user),
        subject=int(user),
        fs=_FS,
        channels=_CHANNELS,
        samples=np.hstack([acc, gyro]),
        labels=labels,
        label_names=_LABELS,
    )


def _paint(labels: LabelArray, span: IntArray, at: str) -> None:
    activity, first, last = (int(v) for v in span)
    if not 1 <= first <= last <= len(labels):
        raise DataError(f"{at}: samples {first}..{last} are not within the recording's 1..{len(labels)}")
    if (labels[first - 1 : last] != UNLABELLED).any():
        raise DataError(f"{at}: samples {first}..{last} overlap another span of the recording")
    labels[first - 1 : last] = activity - 1


def _check(recordings: list[Recording], label_rows: int) -> tuple[Check, ...]:
    return (
        Check("recordings", len(recordings), _RECORDINGS),
        Check("people", len({r.subject for r in recordings}), 30),
        Check("samples", sum(len(r.samples) for r in recordings), _SAMPLES),
        Check("labelled spans", label_rows, _LABEL_ROWS),
    )


HAPT = Reader(
    name="hapt",
    title="HAPT: phone at the waist, 6 activities and 6 transitions, continuous",
    citation="Reyes-Ortiz et al., Transition-Aware Human Activity Recognition Using Smartphones, "
    "Neurocomputing 2015, doi:10.1016/j.neucom.2015.07.085",
    terms="cite the paper; commercial use is prohibited",
    kind="recordings",
    fs=_FS,
    channels=_CHANNELS,
    label_names=_LABELS,
    n_clusters=6,
    window_s=2.56,
    layout=Layout("HAPT Data Set", _LABEL_FILE, ("hapt.zip", "HAPT Data Set.zip")),
    read=_read,
    test_subjects=(2, 4, 9, 10, 12, 13, 18, 20, 24),
    split_note="the test people of UCI HAR",
    scored=tuple(range(6)),
    notes=("Labels 7 to 12 are postural transitions of a few seconds; they are not scored.",),
)
