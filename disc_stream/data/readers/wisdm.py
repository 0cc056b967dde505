"""WISDM v1.1: a phone in the front trouser pocket, accelerometer only, 20 Hz, six activities.

Kwapisz, Weiss and Moore, "Activity Recognition using Cell Phone Accelerometers", SensorKDD 2010,
doi:10.1145/1964897.1964918. One text file of rows ``user,activity,timestamp,x,y,z;`` (ns, m/s²). The
file is dirty: lines that do not parse, timestamps of 0 with no signal, samples stored twice. Such rows
are left out and counted; what remains is cut into recordings wherever the user or the activity changes
or the clock goes back or stands still for longer than half a second. Within a recording the samples
are taken as evenly spaced: the phones' clocks jitter (40 and 80 ms are common steps) around 50 ms.
"""

from __future__ import annotations

import io
import re

import numpy as np
import numpy.typing as npt

from disc_stream.data.readers.base import Check, Contents, Dropped, Progress, Reader, Selection, axes
from disc_stream.data.readers.runs import runs
from disc_stream.data.readers.source import Layout, Source
from disc_stream.data.readers.tables import read_text
from disc_stream.data.types import Recording
from disc_stream.data.windows import default_test_subjects
from disc_stream.errors import DataError

_FS = 20.0
_CHANNELS = axes("acc", "m/s2")
_LABELS = ("walking", "jogging", "upstairs", "downstairs", "sitting", "standing")
_FILE = "WISDM_ar_v1.1_raw.txt"
_LONGEST_GAP_NS = 500_000_000
_MOST_BAD_ROWS = 0.05  # above this share, it is not a dirty WISDM file but something else
_USERS, _ROWS = 36, 1_098_208

_ROW = np.dtype([("user", "<i4"), ("activity", "<U10"), ("t", "<i8"), ("acc", "<f8", 3)])
_LINE = re.compile(
    r"\s*\d{1,4},(?:" + "|".join(name.capitalize() for name in _LABELS) + r"),\d{1,18}"
    r"(?:,[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?){3},?\s*"
)

_Rows = npt.NDArray[np.void]


def _read(source: Source, selection: Selection, progress: Progress) -> Contents:
    progress(0, 3)
    text = read_text(source, _FILE)
    rows, unparsed = _parse(text, source.where(_FILE))
    progress(1, 3)
    total = len(rows) + unparsed
    clean, dropped = _clean(rows)
    progress(2, 3)
    recordings = _cut(clean, selection)
    progress(3, 3)
    checks: tuple[Check, ...] = ()
    if selection.everything:
        checks = (
            Check("rows before cleaning", total, _ROWS),
            Check("people", len(np.unique(rows["user"])), _USERS),
        )
    unparsed_rows = Dropped(unparsed, "not of the form user,activity,timestamp,x,y,z")
    return Contents(recordings, checks, tuple(d for d in (unparsed_rows, *dropped) if d.rows), files=1)


def _parse(text: str, where: str) -> tuple[_Rows, int]:
    """All rows that parse, and how many do not."""
    text = text.replace(";", "\n")  # some copies have several rows on one line
    try:
        rows = _load(text)
    except ValueError:
        rows, unparsed = _parse_dirty(text, where)
    else:
        unparsed = 0
    known = np.isin(rows["activity"], [name.capitalize() for name in _LABELS])
    finite = np.isfinite(rows["acc"]).all(axis=1)
    unparsed += int((~(known & finite)).sum())
    _require_few(unparsed, len(rows) + unparsed, where)
    return rows[known & finite], unparsed


def _parse_dirty(text: str, where: str) -> tuple[_Rows, int]:
    lines = [line for line in text.splitlines() if line.strip()]
    good = [line.strip().rstrip(",") for line in lines if _LINE.fullmatch(line)]
    _require_few(len(lines) - len(good), len(lines), where)
    return _load("\n".join(good)), len(lines) - len(good)


def _load(text: str) -> _Rows:
    return np.loadtxt(io.StringIO(text), dtype=_ROW, delimiter=",", comments=None, ndmin=1)


def _require_few(bad: int, total: int, where: str) -> None:
    if bad > _MOST_BAD_ROWS * total:
        raise DataError(
            f"{where}: {bad:,} of {total:,} rows are not of the form user,activity,timestamp,x,y,z",
            remedy="Give the raw file of WISDM v1.1",
        )


def _clean(rows: _Rows) -> tuple[_Rows, tuple[Dropped, ...]]:
    dead = rows["t"] == 0
    alive = rows[~dead]
    repeated = np.zeros(len(alive), dtype=np.bool_)
    repeated[1:] = (alive["t"][1:] == alive["t"][:-1]) & (alive["user"][1:] == alive["user"][:-1])
    return alive[~repeated], (
        Dropped(int(dead.sum()), "timestamp 0"),
        Dropped(int(repeated.sum()), "timestamp of the row before"),
    )


def _cut(rows: _Rows, selection: Selection) -> tuple[Recording, ...]:
    if len(rows) == 0:
        return ()
    step = np.diff(rows["t"])
    begins = (
        (rows["user"][1:] != rows["user"][:-1])
        | (rows["activity"][1:] != rows["activity"][:-1])
        | (step < 0)
        | (step > _LONGEST_GAP_NS)
    )
    recordings = []
    number: dict[int, int] = {}
    for start, stop in runs(begins):
        user = int(rows["user"][start])
        number[user] = number.get(user, 0) + 1
        name = f"wisdm-user{user:02d}-part{number[user]:03d}"
        if selection.wants(name, user):
            recordings.append(_recording(rows[start:stop], name, user))
    return tuple(recordings)


def _recording(rows: _Rows, name: str, user: int) -> Recording:
    label = _LABELS.index(str(rows["activity"][0]).lower())
    return Recording(
        name=name,
        subject=user,
        fs=_FS,
        channels=_CHANNELS,
        samples=rows["acc"].astype(np.float32),
        labels=np.full(len(rows), label, dtype=np.int16),
        label_names=_LABELS,
    )


WISDM = Reader(
    name="wisdm",
    title="WISDM v1.1: phone in the trouser pocket, accelerometer only, 6 activities",
    citation="Kwapisz et al., Activity Recognition using Cell Phone Accelerometers, SensorKDD 2010, "
    "doi:10.1145/1964897.1964918",
    terms="cite the paper; pass it on only with its readme.txt",
    kind="recordings",
    fs=_FS,
    channels=_CHANNELS,
    label_names=_LABELS,
    n_clusters=6,
    window_s=2.56,
    layout=Layout("WISDM_ar_v1.1", _FILE, ("wisdm.zip", "WISDM_ar_latest.zip", "WISDM_ar_v1.1.zip")),
    read=_read,
    test_subjects=default_test_subjects(range(1, 37)),
    split_note="about 30 % of the people, evenly spread over their numbers",
    notes=("Samples are taken as evenly spaced at 20 Hz within a recording.",),
)
