"""MHEALTH: sensors at chest, left ankle and right lower arm, 50 Hz, twelve activities.

Baños et al., "mHealthDroid: a novel framework for agile development of mobile health applications",
IWAAL 2014, doi:10.1007/978-3-319-13105-4_14. ``mHealth_subject<n>.log`` has 24 columns: chest
acceleration (3), electrocardiogram (2, dropped as the DISC paper does), left ankle and right lower arm
with acceleration, angular rate and magnetic field (9 each), and the label (0 = none of the twelve).
Units are m/s², deg/s, and for the magnetic field "local": without a unit here.
"""

from __future__ import annotations

import re

import numpy as np

from disc_stream.data.readers.base import Check, Contents, Progress, Reader, Selection, axes
from disc_stream.data.readers.source import Layout, Source
from disc_stream.data.readers.tables import read_table
from disc_stream.data.types import Recording
from disc_stream.data.windows import default_test_subjects
from disc_stream.errors import DataError
from disc_stream.types import Channel

FS = 50.0
LABELS = (
    "standing", "sitting", "lying", "walking", "climbing_stairs", "waist_bends", "arm_elevation",
    "knees_bending", "cycling", "jogging", "running", "jump",
)  # fmt: skip
CITATION = (
    "Baños et al., mHealthDroid: a novel framework for agile development of mobile health applications, "
    "IWAAL 2014, doi:10.1007/978-3-319-13105-4_14"
)
TEST_SUBJECTS = default_test_subjects(range(1, 11))
SPLIT_NOTE = "about 30 % of the people, evenly spread over their numbers"

_COLUMNS = 24
_ECG = (3, 4)
_FILE = re.compile(r"mHealth_subject(\d+)\.log")


def _limb(place: str) -> tuple[Channel, ...]:
    return axes(f"{place}_acc", "m/s2") + axes(f"{place}_gyro", "deg/s") + axes(f"{place}_mag", "1")


_CHANNELS = axes("chest_acc", "m/s2") + _limb("left_ankle") + _limb("right_arm")
_KEPT = [column for column in range(_COLUMNS - 1) if column not in _ECG]


def _read(source: Source, selection: Selection, progress: Progress) -> Contents:
    found = sorted((int(m[1]), m[0]) for name in source.names() if (m := _FILE.fullmatch(name)))
    wanted = [(n, file) for n, file in found if selection.wants(_name(n), n)]
    recordings = []
    for done, (subject, file) in enumerate(wanted):
        progress(done, len(wanted))
        recordings.append(_read_recording(source, file, subject))
    progress(len(wanted), len(wanted))
    checks = (Check("people", len(found), 10),) if selection.everything else ()
    return Contents(tuple(recordings), checks, files=len(recordings))


def _name(subject: int) -> str:
    return f"mhealth-subject{subject:02d}"


def _read_recording(source: Source, file: str, subject: int) -> Recording:
    table = read_table(source, file, _COLUMNS, dtype=np.float64)
    labels = table[:, -1]
    wrong = np.flatnonzero((labels != np.rint(labels)) | (labels < 0) | (labels > len(LABELS)))
    if len(wrong):
        raise DataError(
            f"{source.where(file)}, line {wrong[0] + 1}: label must be 0..{len(LABELS)}, "
            f"got {labels[wrong[0]]:g}"
        )
    return Recording(
        name=_name(subject),
        subject=subject,
        fs=FS,
        channels=_CHANNELS,
        samples=np.ascontiguousarray(table[:, _KEPT], dtype=np.float32),
        labels=(labels - 1).astype(np.int16),  # 0, none of the twelve, becomes UNLABELLED
        label_names=LABELS,
    )


MHEALTH = Reader(
    name="mhealth",
    title="MHEALTH: chest, left ankle and right arm, 12 activities",
    citation=CITATION,
    terms="cite the paper",
    kind="recordings",
    fs=FS,
    channels=_CHANNELS,
    label_names=LABELS,
    n_clusters=12,
    window_s=2.56,
    layout=Layout(
        "MHEALTHDATASET",
        "mHealth_subject1.log",
        ("mhealth.zip", "MHEALTHDATASET.zip", "mhealth+dataset.zip"),
    ),
    read=_read,
    test_subjects=TEST_SUBJECTS,
    split_note=SPLIT_NOTE,
    notes=("The electrocardiogram is left out, as in the DISC paper.",),
)
