"""OPPORTUNITY: five inertial units on the upper body, 30 Hz, four modes of locomotion.

Roggen et al., "Collecting complex activity datasets in highly rich networked sensor environments", INSS 2010,
doi:10.1109/INSS.2010.5573462. ``dataset/S<person>-<ADL1…ADL5|Drill>.dat`` has 250 columns between spaces:
milliseconds, accelerometers, inertial units from column 38 on (back, right and left upper and lower arm, 13
columns each, the first three acceleration in milli-g), objects, and labels, of which column 244 is locomotion
(1 stand, 2 walk, 4 sit, 5 lie, 0 none). The unit of angular rate is not said in the dataset: it is left out.
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
from disc_stream.errors import DataError

_FILE = re.compile(r"dataset/S([1-4])-(ADL[1-5]|Drill)\.dat")
_COLUMNS, _LOCOMOTION, _FIRST_UNIT, _UNIT = 250, 243, 37, 13
_LOCOMOTIONS = {1: "stand", 2: "walk", 4: "sit", 5: "lie"}
_PLACES = ("back", "right_upper_arm", "right_lower_arm", "left_upper_arm", "left_lower_arm")
_CHANNELS = tuple(channel for place in _PLACES for channel in axes(f"{place}_acc", "mg"))
_KEPT = [_FIRST_UNIT + _UNIT * unit + axis for unit in range(len(_PLACES)) for axis in range(3)]
_KIND = Kind(30.0, _CHANNELS, tuple(_LOCOMOTIONS.values()))
_LABEL_OF = {code: place for place, code in enumerate(_LOCOMOTIONS)}


def _read(source: Source, selection: Selection, progress: Progress) -> Contents:
    found = [match for name in source.names() if (match := _FILE.fullmatch(name))]
    wanted = [match for match in found if may_hold(selection, _name(match), int(match[1]))]
    recordings: list[Recording] = []
    for done, match in enumerate(wanted):
        progress(done, len(wanted))
        recordings += wanted_parts(selection, _read_run(source, match))
    progress(len(wanted), len(wanted))
    checks: tuple[Check, ...] = ()
    if selection.everything:
        people = {match[1] for match in found}
        checks = (Check("people", len(people), 4), Check("files", len(found), 24))
    return Contents(tuple(recordings), checks, files=len(wanted))


def _name(match: re.Match[str]) -> str:
    return f"opportunity-subject{match[1]}-{match[2].lower()}"


def _read_run(source: Source, match: re.Match[str]) -> list[Recording]:
    table = read_holed_table(source, match[0], _COLUMNS)
    codes = table[:, _LOCOMOTION]
    if not np.isfinite(codes).all() or (codes < 0).any() or (codes > 5).any():
        raise DataError(f"{source.where(match[0])}: column 244 (locomotion) must be 0..5")
    of_code = np.array([_LABEL_OF.get(code, -1) for code in range(6)], dtype=np.int16)
    even = even_rows(table[:, 0] * 1e3, table[:, _KEPT], of_code[codes.astype(int)], source.where(match[0]))
    return cut_recordings(_name(match), int(match[1]), even, _KIND)


OPPORTUNITY = Reader(
    name="opportunity",
    title="OPPORTUNITY: five units on the upper body, 4 modes of locomotion",
    citation="Roggen et al., Collecting complex activity datasets in highly rich networked sensor "
    "environments, INSS 2010, doi:10.1109/INSS.2010.5573462",
    terms="CC BY 4.0 (UCI Machine Learning Repository); cite the paper",
    kind="recordings",
    fs=_KIND.fs,
    channels=_CHANNELS,
    label_names=_KIND.label_names,
    n_clusters=4,
    window_s=2.56,
    layout=Layout(
        "OpportunityUCIDataset",
        "dataset/S1-ADL1.dat",
        ("OpportunityUCIDataset.zip", "opportunity.zip", "opportunity+activity+recognition.zip"),
    ),
    read=_read,
    test_subjects=(2, 4),
    split_note="two of the four people",
    notes=("Acceleration of the five units of the jacket; other sensors and labels are left out.",),
)
