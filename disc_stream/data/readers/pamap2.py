"""PAMAP2: inertial units at hand, chest and ankle, 100 Hz, twelve activities of the protocol.

Reiss and Stricker, "Introducing a New Benchmarked Dataset for Activity Monitoring", ISWC 2012,
doi:10.1109/ISWC.2012.13. ``Protocol/subject10<n>.dat`` has 54 columns between spaces: seconds, activity,
heart rate, and for each unit temperature, acceleration of ±16 g (3, m/s²), of ±6 g (3), rate (3, rad/s),
magnetic field (3, µT) and orientation (4, invalid by its authors). The ±16 g accelerometer is read, as the
authors recommend. Lost samples are NaN: short ones are bridged, and recordings are cut at the others.
"""

from __future__ import annotations

import re

import numpy as np

from disc_stream.data.readers.base import Check, Contents, Progress, Reader, Selection, axes
from disc_stream.data.readers.source import Layout, Source
from disc_stream.data.readers.stretches import (
    Kind,
    cut_recordings,
    even_rows,
    may_hold,
    read_holed_table,
    wanted_parts,
)
from disc_stream.data.types import Recording
from disc_stream.data.windows import default_test_subjects
from disc_stream.errors import DataError

_FILE = re.compile(r"Protocol/subject(10\d)\.dat")
_COLUMNS = 54
_ACTIVITIES = {
    1: "lying", 2: "sitting", 3: "standing", 4: "walking", 5: "running", 6: "cycling", 7: "nordic_walking",
    12: "ascending_stairs", 13: "descending_stairs", 16: "vacuum_cleaning", 17: "ironing", 24: "rope_jumping",
}  # fmt: skip
_CHANNELS = tuple(
    channel
    for place in ("hand", "chest", "ankle")
    for channel in axes(f"{place}_acc", "m/s2") + axes(f"{place}_gyro", "rad/s")
)
_KEPT = [3 + 17 * unit + column for unit in range(3) for column in (1, 2, 3, 7, 8, 9)]
_KIND = Kind(100.0, _CHANNELS, tuple(_ACTIVITIES.values()))
_LABEL_OF = {code: place for place, code in enumerate(_ACTIVITIES)}


def _read(source: Source, selection: Selection, progress: Progress) -> Contents:
    found = sorted((int(m[1]), m[0]) for name in source.names() if (m := _FILE.fullmatch(name)))
    wanted = [(n, file) for n, file in found if may_hold(selection, f"pamap2-subject{n}", n)]
    recordings: list[Recording] = []
    for done, (subject, file) in enumerate(wanted):
        progress(done, len(wanted))
        recordings += wanted_parts(selection, _read_person(source, file, subject))
    progress(len(wanted), len(wanted))
    checks = (Check("people", len(found), 9),) if selection.everything else ()
    return Contents(tuple(recordings), checks, files=len(wanted))


def _read_person(source: Source, file: str, subject: int) -> list[Recording]:
    table = read_holed_table(source, file, _COLUMNS)
    codes = table[:, 1]
    if not np.isfinite(codes).all() or (codes < 0).any() or (codes > 24).any():
        raise DataError(f"{source.where(file)}: activities must be 0..24")
    of_code = np.array([_LABEL_OF.get(code, -1) for code in range(25)], dtype=np.int16)
    even = even_rows(table[:, 0] * 1e6, table[:, _KEPT], of_code[codes.astype(int)], source.where(file))
    return cut_recordings(f"pamap2-subject{subject}", subject, even, _KIND)


PAMAP2 = Reader(
    name="pamap2",
    title="PAMAP2: hand, chest and ankle, 12 activities of the protocol",
    citation="Reiss and Stricker, Introducing a New Benchmarked Dataset for Activity Monitoring, ISWC 2012, "
    "doi:10.1109/ISWC.2012.13",
    terms="CC BY 4.0 (UCI Machine Learning Repository); cite the paper",
    kind="recordings",
    fs=_KIND.fs,
    channels=_CHANNELS,
    label_names=_KIND.label_names,
    n_clusters=12,
    window_s=2.56,
    layout=Layout(
        "PAMAP2_Dataset", "Protocol/subject101.dat", ("PAMAP2_Dataset.zip", "pamap2.zip",
                                                      "pamap2+physical+activity+monitoring.zip"),
    ),
    read=_read,
    test_subjects=default_test_subjects(range(101, 110)),
    split_note="about 30 % of the people, evenly spread over their numbers",
    notes=("Optional activities, heart rate, temperature, magnetic field and orientation are left out.",),
)  # fmt: skip
