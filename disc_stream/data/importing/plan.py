"""The plan of an import: what becomes of each file, and why. It is shown before anything is written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from disc_stream.data.importing.columns import Column
from disc_stream.data.importing.even import Repair
from disc_stream.data.importing.faults import SensorFaults
from disc_stream.data.importing.people import Named, Owner
from disc_stream.data.importing.rows import Faults
from disc_stream.types import Channel

_TOLD_GAPS = 4


@dataclass(slots=True)
class PlannedFile:
    """One file of a recording.

    Args:
        name: relative to what was given.
        format: title of its format; "" where it is read by its header alone.
        dialect: how it is written, where that is unusual.
        columns: what each column is.
        rows: of samples.
        faults: lines that could not be used.
        mind: what its format tells.
    """

    name: str
    format: str
    dialect: list[str]
    columns: tuple[Column, ...]
    rows: int
    faults: Faults
    mind: list[str]


@dataclass(slots=True)
class PlannedRecording:
    """What becomes of one recording.

    Args:
        name: of the result.
        owner: whose it is.
        files: it is made of.
        channels: that it has.
        rate: samples a second by its clock.
        samples: in all.
        stretches: uninterrupted ones.
        repair: what is done to rows and times.
        sensors: what is done to values.
        joined: sensors that have times of their own and are joined, with their rates.
        notes: what else is done, and why.
        becomes: how it is brought to the rate of the result; "" where it stays.
        named: whom a column names as its owner, if one does.
    """

    name: str
    owner: Owner
    files: list[PlannedFile]
    channels: tuple[Channel, ...]
    rate: float
    samples: int
    stretches: int
    repair: Repair
    sensors: SensorFaults
    joined: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    becomes: str = ""
    named: Named | None = None

    @property
    def seconds(self) -> float:
        """Of samples, without gaps."""
        return self.samples / self.rate

    @property
    def dead(self) -> frozenset[str]:
        """Channels of sensors that were off: none of their axes ever changes, while others do."""
        said = set(self.sensors.dead)
        sensors: dict[str, list[str]] = {}
        for channel in self.channels:
            sensors.setdefault(re.sub(r"_[xyz]$", "", channel.name), []).append(channel.name)
        gone = {name for names in sensors.values() if said.issuperset(names) for name in names}
        return frozenset(gone) if len(gone) < len(self.channels) else frozenset()

    def words(self) -> list[str]:
        """What is done to it, a line each."""
        every = [*_row_words(self), *_time_words(self.repair, self.rate), *_value_words(self), *self.notes]
        return list(dict.fromkeys(every))  # files of one format say the same


@dataclass(slots=True)
class ImportPlan:
    """Everything that an import does.

    Args:
        source: what was given.
        recordings: what becomes of each.
        channels: of the result.
        rate: of the result in Hz.
        why_rate: why this one.
        passed_over: files that are no recordings.
        dropped: channels that are left out, with the reason.
        notes: what concerns all of them.
    """

    source: str
    recordings: list[PlannedRecording]
    channels: tuple[Channel, ...] = ()
    rate: float = 0.0
    why_rate: str = ""
    passed_over: tuple[str, ...] = ()
    dropped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """For a terminal."""
        people = len({r.owner.person for r in self.recordings})
        out = [f"plan for {self.source}: {len(self.recordings)} recordings of {people} people"]
        for one in self.recordings:
            units = ", ".join(f"{c.name} [{c.unit}]" for c in one.channels)
            out.append(f"  {one.name}: person {one.owner.person} ({one.owner.why})")
            for file in one.files:
                how = "; ".join([file.format or "read by its header", *file.dialect])
                out.append(f"    {file.name}: {file.rows:,} rows; {how}")
                out += [f"      {words}" for words in _column_words(file.columns)]
            rate = f"{one.rate:.6g} samples/s by its clock"
            out.append(f"    {units}; {rate}; {one.seconds:.1f} s in {_count(one.stretches, 'stretch')}")
            out += [f"    {line}" for line in one.words()]
            if one.becomes:
                out.append(f"    {one.becomes}")
        units = ", ".join(f"{c.name} [{c.unit}]" for c in self.channels)
        out.append(f"  result: {units}; {self.rate:g} Hz ({self.why_rate})")
        out += [f"  left out: {line}" for line in self.dropped]
        out += [f"  {line}" for line in self.notes]
        if self.passed_over:
            shown = ", ".join(self.passed_over[:5]) + (" …" if len(self.passed_over) > 5 else "")
            out.append(f"  passed over: {shown}")
        return out

    def to_json(self) -> dict[str, object]:
        """For programs."""
        return {
            "source": self.source,
            "fs": self.rate,
            "why_fs": self.why_rate,
            "channels": [{"name": c.name, "unit": c.unit} for c in self.channels],
            "dropped": self.dropped,
            "notes": self.notes,
            "passed_over": list(self.passed_over),
            "recordings": [_recording_json(one) for one in self.recordings],
        }


def _recording_json(one: PlannedRecording) -> dict[str, object]:
    repair = one.repair
    return {
        "name": one.name,
        "person": one.owner.person,
        "why_person": one.owner.why,
        "fs": one.rate,
        "samples": one.samples,
        "seconds": round(one.seconds, 3),
        "stretches": one.stretches,
        "gaps": [{"row": row, "seconds": round(s, 6)} for row, s in repair.gaps],
        "lost": repair.lost,
        "missing": repair.missing,
        "cut": repair.cut,
        "sorted": repair.sorted,
        "steps_back": repair.steps_back,
        "doubled": repair.doubled,
        "per_stamp": round(repair.per_stamp, 3),
        "jitter_ms": round(repair.jitter_ms, 3),
        "uneven": repair.uneven,
        "spikes": one.sensors.spikes,
        "zeros": one.sensors.zeros,
        "dead": one.sensors.dead,
        "rest_g": {k: round(v, 4) for k, v in one.sensors.rest_g.items()},
        "joined": one.joined,
        "becomes": one.becomes,
        "words": one.words(),
        "files": [
            {
                "name": file.name,
                "format": file.format,
                "dialect": file.dialect,
                "rows": file.rows,
                "bad_rows": file.faults.rows,
                "bad_cells": file.faults.cells,
                "cut_line": file.faults.cut,
                "columns": [
                    {"title": c.title, "role": c.role, "name": c.name, "unit": c.unit, "why": c.why}
                    for c in file.columns
                ],
            }
            for file in one.files
        ],
    }


def _count(n: int, word: str) -> str:
    return f"{n:,} {word}" if n == 1 else f"{n:,} {word}{'es' if word.endswith('ch') else 's'}"


def _column_words(columns: Sequence[Column]) -> list[str]:
    """Columns whose name changes, the time, and what is left out with its reason."""
    lines = []
    time = next((c for c in columns if c.role == "time"), None)
    if time is not None:
        lines.append(f"time: {time.title}{f' in {time.unit}' if time.unit else ''}")
    lines += [f"person: {c.title}" for c in columns if c.role == "person"]
    renamed = [f"{c.title} → {c.name}" for c in columns if c.role == "channel" and _bare(c.title) != c.name]
    if renamed:
        lines.append("channels: " + ", ".join(renamed))
    lines += [
        f"left out: {c.title} ({c.why or 'no channel'})" for c in columns if c.role == "ignored" and c.title
    ]
    return lines


def _bare(title: str) -> str:
    return title.partition("[")[0].partition("(")[0].strip()


def _row_words(one: PlannedRecording) -> list[str]:
    lines = []
    for file in one.files:
        faults = file.faults
        if faults.cut:
            lines.append(f"{file.name}: the last line is cut and left out")
        if faults.empty:
            lines.append(f"{file.name}: {_count(faults.empty, 'line')} of zero bytes left out")
        if faults.rows:
            lines.append(
                f"{file.name}: {_count(faults.rows, 'line')} with too few or too many fields left out, the "
                f"first is line {faults.first}"
            )
        if faults.cells:
            lines.append(
                f"{file.name}: {_count(faults.cells, 'cell')} that are no numbers taken as missing: "
                f"{', '.join(faults.examples)}"
            )
        lines += [f"mind: {text}" for text in file.mind]
    return lines


def _time_words(repair: Repair, rate: float) -> list[str]:
    said = [
        (repair.sorted, f"{_count(repair.sorted, 'row')} out of order: sorted by time"),
        (repair.steps_back, f"its clock was put back {_count(repair.steps_back, 'time')}: cut there"),
        (repair.doubled, f"{_count(repair.doubled, 'row')} that came twice left out"),
        (repair.lost, f"{_count(repair.lost, 'lost sample')} bridged by straight lines"),
        (repair.missing, f"{_count(repair.missing, 'row')} without a value bridged by straight lines"),
        (repair.cut, f"{_count(repair.cut, 'row')} without a value, for too long to bridge: cut there"),
        (repair.short_s, f"{repair.short_s:.2g} s in stretches of less than half a second left out"),
        (repair.uneven, "its rate wanders: samples are put on even times by their own times"),
    ]
    lines = [words for n, words in said if n]
    if repair.per_stamp > 1.05:
        lines.insert(0, f"{repair.per_stamp:.3g} samples share a time: they are spread evenly")
    if repair.gaps:
        shown = ", ".join(f"{s:.3g} s before row {row + 1:,}" for row, s in repair.gaps[:_TOLD_GAPS])
        more = f" and {len(repair.gaps) - _TOLD_GAPS} more" if len(repair.gaps) > _TOLD_GAPS else ""
        lines.append(f"{_count(len(repair.gaps), 'gap')}: {shown}{more}; no window spans one")
    if not repair.uneven and repair.jitter_ms > 0.1e3 / rate:
        lines.append(f"times jitter by {repair.jitter_ms:.3g} ms: samples stay as they are, on even times")
    return lines


def _value_words(one: PlannedRecording) -> list[str]:
    lines = [f"joined by time: {text}" for text in one.joined]
    sensors = one.sensors
    if sensors.spikes:
        worst, name = sensors.largest
        lines.append(
            f"{_count(sensors.spikes, 'value')} beyond any sensor's range ({name}: {worst:.3g}) taken as "
            "missing"
        )
    if sensors.zeros:
        lines.append(f"{_count(sensors.zeros, 'row')} of zeros, a sensor that is off, taken as missing")
    if sensors.dead:
        all_of_it = len(sensors.dead) == len(one.channels)
        lines.append(
            "mind: no channel ever changes" if all_of_it else f"never change: {', '.join(sensors.dead)}"
        )
    return lines
