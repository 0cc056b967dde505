"""What a dataset reader is, and what it hands back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from disc_stream.data.readers.naming import names_recording
from disc_stream.data.readers.source import Layout, Source
from disc_stream.data.types import Recording, WindowSet
from disc_stream.errors import DataError
from disc_stream.types import Channel

Progress = Callable[[int, int], None]
"""Called with (parts done, parts in all) while a dataset is read."""


def no_progress(_done: int, _total: int) -> None:
    """Show nothing."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which recordings to read; by default all of them.

    Args:
        subjects: only these people.
        patterns: only recordings that one of these names, see ``naming``; empty for all.
    """

    subjects: frozenset[int] | None = None
    patterns: tuple[str, ...] = ()

    @property
    def everything(self) -> bool:
        """Whether nothing is left out, so that published totals must be met."""
        return self.subjects is None and not self.patterns

    def wants(self, name: str, subject: int) -> bool:
        """Whether the recording ``name`` of person ``subject`` is to be read."""
        if self.subjects is not None and subject not in self.subjects:
            return False
        return not self.patterns or any(names_recording(p, name, subject) for p in self.patterns)


ALL = Selection()


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison of what was found with what the dataset's authors state."""

    what: str
    found: int
    expected: int

    @property
    def ok(self) -> bool:
        """Whether they agree."""
        return self.found == self.expected

    def __str__(self) -> str:
        if self.ok:
            return f"{self.what}: {self.found:,}"
        return f"{self.what}: {self.found:,}, published {self.expected:,}"


@dataclass(frozen=True, slots=True)
class Dropped:
    """Rows that a reader left out, and why."""

    rows: int
    reason: str


@dataclass(frozen=True, slots=True)
class Contents:
    """What a reader found.

    Args:
        recordings: in the dataset's order.
        checks: comparisons with published figures; empty where only a part was read.
        dropped: rows left out.
        files: number of files read.
    """

    recordings: tuple[Recording, ...]
    checks: tuple[Check, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    files: int = 0


@dataclass(frozen=True, slots=True)
class OfficialWindows:
    """The windows of a dataset that comes pre-cut and pre-split."""

    train: WindowSet
    test: WindowSet
    protocol: str


class ReadRecordings(Protocol):
    """Reads continuous recordings."""

    def __call__(self, source: Source, selection: Selection, progress: Progress) -> Contents:
        """Read what ``selection`` wants.

        Raises:
            DataError: naming the file and the line that is missing or malformed.
        """
        ...


@dataclass(frozen=True, slots=True)
class Reader:
    """One dataset: its facts and how to read it.

    Args:
        name: as the command line names it.
        title: one line.
        citation: what to cite.
        terms: terms of use as its authors state them.
        kind: ``recordings`` (continuous) or ``windows`` (pre-cut by its authors).
        fs: sampling rate in Hz.
        channels: names and units, in column order.
        label_names: activities; label i of a recording is ``label_names[i]``.
        n_clusters: usual number of activities K.
        window_s: window length in seconds, as the DISC paper cuts it where it uses the dataset.
        layout: how to find the files.
        read: reads the recordings.
        read_windows: reads the official windows, where they exist.
        test_subjects: people of the test part; empty if the recordings are split in time.
        split_note: where the choice of test people comes from.
        scored: indices of ``label_names`` that metrics are computed on; empty for all.
        notes: what a user should know of the data.
    """

    name: str
    title: str
    citation: str
    terms: str
    kind: Literal["recordings", "windows"]
    fs: float
    channels: tuple[Channel, ...]
    label_names: tuple[str, ...]
    n_clusters: int
    window_s: float
    layout: Layout
    read: ReadRecordings
    read_windows: Callable[[Source, Progress], OfficialWindows] | None = None
    test_subjects: tuple[int, ...] = ()
    split_note: str = ""
    scored: Sequence[int] = field(default_factory=tuple)
    notes: tuple[str, ...] = ()


def require_totals(checks: tuple[Check, ...], complete: bool, where: str) -> tuple[Check, ...]:
    """Insist on the published totals where all files are there; a part of a dataset may differ.

    Args:
        checks: comparisons with published figures.
        complete: whether every file of the dataset is there.
        where: the dataset, for messages.

    Raises:
        DataError: naming the first total that a complete copy does not meet.
    """
    failed = [check for check in checks if not check.ok]
    if complete and failed:
        raise DataError(f"{where}: all files are there, but {failed[0]}", remedy="Download the dataset again")
    return checks


def axes(prefix: str, unit: str, names: str = "xyz") -> tuple[Channel, ...]:
    """Channels ``prefix_x``, ``prefix_y``, … of one sensor."""
    return tuple(Channel(f"{prefix}_{axis}", unit) for axis in names)
