"""MotionSense: an iPhone in the front trouser pocket, 50 Hz, six activities.

Malekzadeh et al., "Mobile Sensor Data Anonymization", IoTDI 2019, doi:10.1145/3302505.3310068.
``A_DeviceMotion_data/<activity>_<trial>/sub_<person>.csv``, one activity per file, with attitude,
gravity, rotation rate and user acceleration. The accelerometer's signal is gravity + user acceleration
(g), as Core Motion defines them: a phone lying on its back measures -1 g along z, the opposite sign of
Android and of UCI HAR.
"""

from __future__ import annotations

import re

import numpy as np

from disc_stream.data.readers.base import Check, Contents, Progress, Reader, Selection, axes, require_totals
from disc_stream.data.readers.source import Layout, Source
from disc_stream.data.readers.tables import read_table, read_text
from disc_stream.data.types import Recording
from disc_stream.data.windows import default_test_subjects
from disc_stream.errors import DataError

_FS = 50.0
_CHANNELS = axes("acc", "g") + axes("gyro", "rad/s")
_LABELS = ("downstairs", "upstairs", "sitting", "standing", "walking", "jogging")
_CODES = ("dws", "ups", "sit", "std", "wlk", "jog")
_FILE = re.compile(r"A_DeviceMotion_data/([a-z]+)_(\d+)/sub_(\d+)\.csv")
_HEADER = (
    "", "attitude.roll", "attitude.pitch", "attitude.yaw", "gravity.x", "gravity.y", "gravity.z",
    "rotationRate.x", "rotationRate.y", "rotationRate.z",
    "userAcceleration.x", "userAcceleration.y", "userAcceleration.z",
)  # fmt: skip
_FILES, _ROWS = 360, 1_412_865


def _read(source: Source, selection: Selection, progress: Progress) -> Contents:
    found = [match for name in source.names() if (match := _FILE.fullmatch(name))]
    if not found:
        raise DataError(f"{source.where('A_DeviceMotion_data')} has no files <activity>_<trial>/sub_<n>.csv")
    wanted = [match for match in found if selection.wants(_name(match), int(match[3]))]
    recordings = []
    for done, match in enumerate(wanted):
        progress(done, len(wanted))
        recordings.append(_read_recording(source, match))
    progress(len(wanted), len(wanted))
    checks: tuple[Check, ...] = ()
    if selection.everything:
        checks = (
            Check("files", len(recordings), _FILES),
            Check("people", len({r.subject for r in recordings}), 24),
            Check("rows", sum(len(r.samples) for r in recordings), _ROWS),
        )
        require_totals(checks, len(recordings) == _FILES, source.where("A_DeviceMotion_data"))
    return Contents(tuple(recordings), checks, files=len(recordings))


def _name(match: re.Match[str]) -> str:
    return f"motionsense-{match[1]}{int(match[2]):02d}-sub{int(match[3]):02d}"


def _read_recording(source: Source, match: re.Match[str]) -> Recording:
    file, activity, subject = match[0], match[1], int(match[3])
    if activity not in _CODES:
        raise DataError(
            f"{source.where(file)}: activity must be one of {', '.join(_CODES)}, got {activity!r}"
        )
    header = tuple(read_text(source, file).split("\n", 1)[0].strip().split(","))
    if header != _HEADER:
        raise DataError(
            f"{source.where(file)}, line 1: expected the columns of DeviceMotion "
            f"({_HEADER[1]}, …, {_HEADER[-1]}), got {','.join(header)[:60]!r}"
        )
    table = read_table(source, file, len(_HEADER), delimiter=",", skip=1)
    jump = np.flatnonzero(table[:, 0] != np.arange(len(table)))
    if len(jump):
        raise DataError(
            f"{source.where(file)}, line {jump[0] + 2}: expected row number {jump[0]}, "
            f"got {table[jump[0], 0]:g}; rows are missing"
        )
    gravity, rotation, user = table[:, 4:7], table[:, 7:10], table[:, 10:13]
    label = _CODES.index(activity)
    return Recording(
        name=_name(match),
        subject=subject,
        fs=_FS,
        channels=_CHANNELS,
        samples=np.hstack([gravity + user, rotation]),
        labels=np.full(len(table), label, dtype=np.int16),
        label_names=_LABELS,
    )


MOTIONSENSE = Reader(
    name="motionsense",
    title="MotionSense: iPhone in the trouser pocket, 6 activities",
    citation="Malekzadeh et al., Mobile Sensor Data Anonymization, IoTDI 2019, doi:10.1145/3302505.3310068",
    terms="MIT",
    kind="recordings",
    fs=_FS,
    channels=_CHANNELS,
    label_names=_LABELS,
    n_clusters=6,
    window_s=2.56,
    layout=Layout(
        "MotionSense",
        "A_DeviceMotion_data/dws_1/sub_1.csv",
        ("motionsense.zip", "A_DeviceMotion_data.zip", "motion-sense-master.zip"),
    ),
    read=_read,
    test_subjects=default_test_subjects(range(1, 25)),
    split_note="about 30 % of the people, evenly spread over their numbers",
    notes=("Acceleration has Core Motion's sign: the opposite of Android's and of UCI HAR's.",),
)
