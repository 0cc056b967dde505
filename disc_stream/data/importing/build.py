"""From files to recordings and their plan; and recordings of many people brought to one form."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from disc_stream.data.importing.columns import channel_order
from disc_stream.data.importing.even import Even
from disc_stream.data.importing.faults import SensorFaults, mark_faults
from disc_stream.data.importing.files import Entry, Found, find_files
from disc_stream.data.importing.gravity import add_gravity
from disc_stream.data.importing.joining import Part, join_parts, merged_repair
from disc_stream.data.importing.people import AS_YOU_SAY, Named, Owner, find_people, number_people
from disc_stream.data.importing.plan import ImportPlan, PlannedFile, PlannedRecording
from disc_stream.data.importing.repair import make_even
from disc_stream.data.importing.settings import Settings
from disc_stream.data.importing.sheets import Sheet, group_sheets, is_beside, look_at
from disc_stream.data.importing.table import Table, lost_times, read_rows
from disc_stream.data.parquet import is_export
from disc_stream.data.types import Recording
from disc_stream.errors import DataError, InputNotFoundError
from disc_stream.types import Channel

Progress = Callable[[int, int], None]
_OFTEN_NOTES = (".txt", ".log", ".json", ".dat")
_OWN_RATE = 0.2  # share of rows without a value, from which on a sensor has a rate of its own


@dataclass(slots=True)
class Loaded:
    """Recordings as they were made, each at its own rate, and what was done to them.

    Args:
        plan: of the import.
        recordings: the stretches of each planned recording.
    """

    plan: ImportPlan
    recordings: list[list[Recording]]


def load(path: Path, settings: Settings, progress: Progress = lambda _done, _all: None) -> Loaded:
    """Read all recordings at a place.

    Args:
        path: a file, a gz, a zip or a folder.
        settings: what a person has decided.
        progress: called with (recordings read, in all).

    Raises:
        InputNotFoundError: if there is nothing.
        DataError: naming the file, what is unclear or broken, and what to do.
    """
    found = find_files(path)
    sheets, passed = _look_at_all(path, found, settings)
    groups = group_sheets(sheets, path.stem)
    owners = find_people({key: [s.entry.name for s in members] for key, members in groups.items()}, settings)
    plan = ImportPlan(path.name, [], passed_over=passed)
    recordings, file_of = list[list[Recording]](), dict[str, str]()
    for done, (key, members) in enumerate(groups.items()):
        name = _device_name(key)
        if name in file_of:
            raise DataError(
                f"{key!r} and {file_of[name]!r} would both be {name!r}",
                remedy="Rename one of them: names differ in letters, digits and _ . : -",
            )
        file_of[name] = key
        for planned, stretches in _read_recordings(name, members, owners[key], settings):
            if recordings and planned.name in {one.name for one in plan.recordings}:
                raise DataError(
                    f"two recordings would both be {planned.name!r}",
                    remedy="Rename a file, or leave the column of persons out: --map 'COLUMN=-'",
                )
            plan.recordings.append(planned)
            recordings.append(stretches)
        progress(done + 1, len(groups))
    _number_people(plan, recordings)
    return Loaded(plan, recordings)


def _number_people(plan: ImportPlan, recordings: list[list[Recording]]) -> None:
    """Give those a number whom columns name, now that all of them are known."""
    named = [one.named for one in plan.recordings if one.named is not None]
    known = number_people(named, [one.owner for one in plan.recordings if one.named is None])
    for place, planned in enumerate(plan.recordings):
        if planned.named is not None:
            planned.owner = known[planned.named.name]
            person = planned.owner.person
            recordings[place] = [replace(one, subject=person) for one in recordings[place]]


def _device_name(key: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.:-]+", "-", key).strip("_.:-")[:64] or "recording"


def _look_at_all(path: Path, found: Found, settings: Settings) -> tuple[list[Sheet], tuple[str, ...]]:
    sheets: list[Sheet] = []
    passed = list(found.passed_over)
    unclear: list[tuple[Entry, DataError]] = []
    for entry in found.entries:
        if settings.is_left_out(entry.name):
            passed.append(entry.name)
            continue
        try:
            sheet = look_at(entry, settings)
        except DataError as error:
            unclear.append((entry, error))
            continue
        if isinstance(sheet, str):
            passed.append(f"{entry.name} ({sheet})")
        else:
            sheets.append(sheet)
    for entry, problem in unclear:
        nothing = "is empty" in problem.message or "no samples" in problem.message
        if sheets and (nothing or is_beside(entry, sheets) or entry.suffix in _OFTEN_NOTES):
            passed.append(f"{entry.name} ({'empty' if nothing else 'no recording'})")
            continue
        if len(found.entries) > 1 and problem.remedy is not None:
            problem.remedy = f"{problem.remedy}; or leave the file out: --map '{entry.name}=-'"
        raise problem
    if not sheets:
        if path.is_dir() and is_export(path):
            raise InputNotFoundError(
                f"{str(path)!r} has no text files: it is what `data export` wrote",
                remedy=f"Use disc-stream data import parquet --path {path}, or train on the folder as it is",
            )
        raise InputNotFoundError(
            f"{str(path)!r} has no recordings",
            remedy="Give text files with a column t and one for each channel, a zip or a folder of them",
        )
    return sheets, tuple(passed)


# -- one recording ----------------------------------------------------------------------------------------


_Read = tuple[Sheet, Table]
_Made = tuple[PlannedRecording, list[Recording]]


def _read_recordings(
    name: str, members: Sequence[Sheet], owner: Owner, settings: Settings
) -> Iterator[_Made]:
    """What files are read together become: one recording, or one of each person whom a column names."""
    names, notes = list[str](), list[str]()
    read = [(sheet, _read_sheet(sheet, names, notes)) for sheet in members]
    column = next((sheet.person for sheet in members if sheet.person is not None), None)
    persons = list(dict.fromkeys(one for _, table in read for one in table.persons))
    if column is None or not persons or owner.why == AS_YOU_SAY:
        yield _make_recording(name, read, owner, settings, names, notes)
        return
    _note_nobodys(read, notes)
    for person in persons:
        own = [
            (sheet, table if table.people is None else table.of(person))
            for sheet, table in read
            if table.people is None or person in table.persons
        ]
        called = name if len(persons) == 1 else _device_name(f"{name[:40]}-{person}")
        planned, stretches = _make_recording(called, own, owner, settings, names, list(notes))
        planned.named = Named(person, column.title)
        yield planned, stretches


def _note_nobodys(read: Sequence[_Read], notes: list[str]) -> None:
    for sheet, table in read:
        nobodys = 0 if table.people is None else int((table.people < 0).sum())
        if nobodys:
            notes.append(f"{sheet.entry.name}: {nobodys:,} rows that name no person left out")


def _make_recording(
    name: str, read: Sequence[_Read], owner: Owner, settings: Settings, names: list[str], notes: list[str]
) -> _Made:
    parts: list[Part] = []
    files: list[PlannedFile] = []
    sensors = SensorFaults()
    members = [sheet for sheet, _ in read]
    for sheet, table in read:
        found = mark_faults(table.values, table.columns)
        for sensor, size in found.rest_g.items():
            _check_size(sheet, sensor, size)
        _merge(sensors, found)
        made = _even_parts(sheet, table, settings)
        parts += made
        files.append(_planned_file(sheet, table))
    if len(parts) > 1:
        joined = [
            f"{', '.join(c.name for c in part.channels)} ({part.even.rate:.6g} samples/s)" for part in parts
        ]
        channels, even = join_parts(parts)
        repair = merged_repair(parts)
        if not even.stretches:
            raise DataError(
                f"the files of {name!r} never overlap in time, so they cannot be joined",
                remedy=f"Leave one out: --map '{members[-1].entry.name}=-'",
            )
    else:
        channels, even, repair, joined = parts[0].channels, parts[0].even, parts[0].even.repair, []
    apart = any(s.format is not None and s.format.gravity == "apart" for s in members)
    channels, even = add_gravity(channels, even, apart=apart, notes=notes, rest_g=sensors.rest_g)
    planned = PlannedRecording(
        name, owner, files, channels, even.rate, sum(len(s.values) for s in even.stretches),
        len(even.stretches), repair, sensors, joined, notes,
    )  # fmt: skip
    return planned, _recordings(planned, even, tuple(names))


def _read_sheet(sheet: Sheet, names: list[str], notes: list[str]) -> Table:
    channels = sorted(sheet.channels, key=channel_order)
    if sheet.load is not None:
        table = sheet.load()
    else:
        assert sheet.dialect is not None  # noqa: S101 - text has one
        table = read_rows(sheet.entry, sheet.dialect, channels, sheet.time, sheet.label, sheet.person)
    lost = lost_times(table)
    if lost:
        notes.append(f"{sheet.entry.name}: {lost:,} rows without a time left out")
    _drop_rising(sheet, table, notes)
    for known in table.names:
        if known not in names:
            names.append(known)
    if table.names:
        index = np.array([*(names.index(n) for n in table.names), -1], dtype=np.int16)
        table.labels = index[table.labels]
    return table


def _drop_rising(sheet: Sheet, table: Table, notes: list[str]) -> None:
    """A column that only rises is a clock or a counter."""
    if not table.rising:
        return
    keep = [n for n, c in enumerate(table.columns) if c.title not in table.rising]
    if not keep:
        raise DataError(
            f"{sheet.entry.where!r}: all channels only rise ({', '.join(table.rising)}), as no motion does",
            remedy="Say which columns are channels: --map 'COLUMN=acc_x[g]'",
        )
    notes.append(f"{sheet.entry.name}: {', '.join(table.rising)} only rise: clocks or counters, left out")
    table.columns = tuple(table.columns[n] for n in keep)
    table.values = np.ascontiguousarray(table.values[:, keep])


def _check_size(sheet: Sheet, sensor: str, size: float) -> None:
    """Refuse a unit that the values contradict."""
    column = next(c for c in sheet.channels if c.sensor == sensor)
    at_rest = {"g": (7.0, 15.0, "m/s2"), "m/s2": (60.0, 1e9, "mg"), "mg": (0.0, 0.02, "g")}
    low, high, unit = at_rest.get(column.unit, (0.0, 0.0, ""))
    in_g = size
    if column.unit == "g" and size > 300:
        low, high, unit = 300.0, 1e9, "mg"
    if unit and low < in_g <= high and "as you say" not in column.why:
        raise DataError(
            f"{sheet.entry.where!r}: {sensor} measures {size:.3g} g most of the time, so its unit is hardly "
            f"{column.unit}",
            remedy=f"Say it for each axis: --map '{column.title}={column.name}[{unit}]' (or [{column.unit}] "
            "if it is right)",
        )


def _planned_file(sheet: Sheet, table: Table) -> PlannedFile:
    return PlannedFile(
        sheet.entry.name,
        sheet.format.title if sheet.format else "",
        sheet.dialect.words() if sheet.dialect else [],
        sheet.columns,
        len(table.times),
        table.faults,
        list(sheet.format.mind) if sheet.format else [],
    )


def _merge(total: SensorFaults, one: SensorFaults) -> None:
    total.spikes += one.spikes
    total.largest = max(total.largest, one.largest)
    total.zeros += one.zeros
    total.dead += one.dead
    total.rest_g |= one.rest_g


def _even_parts(sheet: Sheet, table: Table, settings: Settings) -> list[Part]:
    """The table's samples at an even rate; sensors with rows of their own each by themselves."""
    parts = []
    for columns, rows in _own_rows(table):
        even = (
            make_even(table.times, table.values, table.labels, settings.bridge_s)
            if rows is None
            else make_even(
                table.times[rows], table.values[rows][:, columns], table.labels[rows], settings.bridge_s
            )
        )
        channels = tuple(Channel(table.columns[n].name, table.columns[n].unit) for n in columns)
        if even is None or not even.stretches:
            raise _no_rate(sheet, table)
        parts.append(Part(channels, even))
    return parts


def _own_rows(table: Table) -> list[tuple[list[int], npt.NDArray[np.bool_] | None]]:
    """Groups of columns with a value in rows of their own; one group with all rows where they share them."""
    everything = list(range(len(table.columns)))
    gone = np.isnan(table.values).any(axis=0)
    if not gone.any():
        return [(everything, None)]
    groups: dict[str, list[int]] = {}
    for n, column in enumerate(table.columns):
        groups.setdefault(column.sensor if column.sensor != column.name else "", []).append(n)
    if len(groups) < 2:
        return [(everything, None)]
    there: dict[str, npt.NDArray[np.bool_]] = {
        key: np.asarray(~np.isnan(table.values[:, n]).any(axis=1)) for key, n in groups.items()
    }
    shares = [float(rows.mean()) for rows in there.values()]
    if min(shares) > 1 - _OWN_RATE or not all(rows.any() for rows in there.values()):
        return [(everything, None)]
    return [(columns, there[key]) for key, columns in groups.items()]


def _no_rate(sheet: Sheet, table: Table) -> DataError:
    where = sheet.entry.where
    if len(table.times) < 2:
        return DataError(f"{where!r} has one sample, too few for a sampling rate")
    if not len(np.flatnonzero(np.diff(table.times))):
        return DataError(
            f"{where!r}: all samples have one time, so their rate is unknown",
            remedy="Leave the column out and give the rate: --map 'COLUMN=-' --source-rate HZ",
        )
    return DataError(
        f"{where!r} has no sample with all its values", remedy="Leave empty columns out with --map"
    )


def _recordings(planned: PlannedRecording, even: Even, names: tuple[str, ...]) -> list[Recording]:
    found = []
    several = len(even.stretches) > 1
    digits = len(str(len(even.stretches)))
    nominal = even.nominal
    clock = 0.0 if nominal == even.rate else even.rate
    for number, stretch in enumerate(even.stretches, start=1):
        found.append(
            Recording(
                name=f"{planned.name[:52]}-part{number:0{digits}d}" if several else planned.name,
                subject=planned.owner.person,
                fs=nominal,
                channels=planned.channels,
                samples=stretch.values,
                labels=stretch.labels,
                label_names=names,
                start_us=stretch.start_us,
                clock_fs=clock,
                part_of=planned.name if several else "",
            )
        )
    return found
