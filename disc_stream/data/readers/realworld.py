"""RealWorld (HAR) 2016: a phone at each of seven places, 50 Hz, eight activities, fifteen people.

Sztyler and Stuckenschmidt, "On-body localization of wearable devices: an investigation of position-aware
activity recognition", PerCom 2016, doi:10.1109/PERCOM.2016.7456521.
``proband<n>/data/{acc,gyr}_<activity>[_<k>]_csv.zip`` each hold a CSV for every place, with
``id,attr_time,attr_x,attr_y,attr_z``: milliseconds since 1970, and m/s² or rad/s. A recording is one activity
at one place; its two sensors have times of their own and are joined as the stream joins them.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable

import numpy as np

from disc_stream.data.importing.even import Even
from disc_stream.data.importing.joining import Part, join_parts
from disc_stream.data.readers.base import Check, Contents, Progress, Reader, Selection, axes
from disc_stream.data.readers.source import Layout, Source
from disc_stream.data.readers.stretches import Floats, Kind, cut_recordings, even_rows, may_hold
from disc_stream.data.types import Recording
from disc_stream.data.windows import default_test_subjects
from disc_stream.errors import DataError
from disc_stream.zipfiles import BROKEN, ZipLimits, ZipRefusedError, open_zip, read_member

_ZIP = re.compile(r"proband(\d{1,2})/data/acc_([a-z]+)(_\d)?_csv\.zip")
_MEMBER = re.compile(r"(?:.*/)?[A-Za-z]+_[a-z]+(?:_\d)?_([a-z]+)\.csv")
_LIMITS = ZipLimits(members=100, total_bytes=1 << 30)
_LABELS = (
    "climbingdown", "climbingup", "jumping", "lying", "running", "sitting", "standing", "walking",
)  # fmt: skip
_PLACES = ("chest", "forearm", "head", "shin", "thigh", "upperarm", "waist")
_ACC, _GYRO = axes("acc", "m/s2"), axes("gyro", "rad/s")
_KIND = Kind(50.0, _ACC + _GYRO, _LABELS)


def _read(source: Source, selection: Selection, progress: Progress) -> Contents:
    names = source.names()
    found = [match for name in names if (match := _ZIP.fullmatch(name)) and match[2] in _LABELS]
    wanted = [m for m in found if any(may_hold(selection, _name(m, place), int(m[1])) for place in _PLACES)]
    recordings: list[Recording] = []
    for done, match in enumerate(wanted):
        progress(done, len(wanted))
        recordings += _read_activity(source, match, names, selection)
    progress(len(wanted), len(wanted))
    checks: tuple[Check, ...] = ()
    if selection.everything:
        checks = (Check("people", len({m[1] for m in found}), 15),)
    return Contents(tuple(recordings), checks, files=2 * len(wanted))


def _name(match: re.Match[str], place: str) -> str:
    number = match[3].replace("_", "") if match[3] else ""
    return f"realworld-user{int(match[1]):02d}-{match[2]}{number}-{place}"


def _read_activity(
    source: Source, match: re.Match[str], names: Iterable[str], selection: Selection
) -> list[Recording]:
    other = match[0].replace("/acc_", "/gyr_")
    if other not in set(names):
        raise DataError(f"{source.where(other)} is missing")
    acc, gyro = _tables(source, match[0]), _tables(source, other)
    person, label = int(match[1]), _LABELS.index(match[2])
    found: list[Recording] = []
    for place in _PLACES:
        name = _name(match, place)
        if place in acc and place in gyro and may_hold(selection, name, person):
            where = f"{source.where(match[0])}, {place}"
            parts = [
                Part(_ACC, _even(acc[place], label, where)),
                Part(_GYRO, _even(gyro[place], label, where)),
            ]
            found += cut_recordings(name, person, join_parts(parts)[1], _KIND)
    return found


def _even(table: Floats, label: int, where: str) -> Even:
    labels = np.full(len(table), label, dtype=np.int16)
    return even_rows(table[:, 1] * 1e3, table[:, 2:5], labels, where)


def _tables(source: Source, name: str) -> dict[str, Floats]:
    """The CSVs of a zip by place, (n, 5) each."""
    where = source.where(name)
    found: dict[str, Floats] = {}
    try:
        with open_zip(io.BytesIO(source.read(name)), _LIMITS) as archive:
            for info in archive.infolist():
                match = _MEMBER.fullmatch(info.filename)
                if match:
                    text = read_member(archive, info).decode("utf-8-sig")
                    table = np.loadtxt(io.StringIO(text), np.float64, None, ",", skiprows=1, ndmin=2)
                    if table.shape[1] != 5:
                        raise DataError(f"{where}:{info.filename} does not have five columns")
                    found[match[1]] = table
    except (*BROKEN, ZipRefusedError, ValueError) as error:
        raise DataError(f"{where} cannot be read: {error}") from error
    return found


REALWORLD = Reader(
    name="realworld",
    title="RealWorld 2016: a phone at each of seven places, 8 activities",
    citation="Sztyler and Stuckenschmidt, On-body localization of wearable devices, PerCom 2016, "
    "doi:10.1109/PERCOM.2016.7456521",
    terms="for research; cite the paper",
    kind="recordings",
    fs=_KIND.fs,
    channels=_KIND.channels,
    label_names=_LABELS,
    n_clusters=len(_LABELS),
    window_s=2.56,
    layout=Layout(
        "realworld2016_dataset",
        "proband1/data/acc_walking_csv.zip",
        ("realworld2016_dataset.zip", "realworld.zip"),
    ),
    read=_read,
    test_subjects=default_test_subjects(range(1, 16)),
    split_note="about 30 % of the people, evenly spread over their numbers",
    notes=("Each place is a recording of its own; 'realworld:*-waist' reads those of one place.",),
)
