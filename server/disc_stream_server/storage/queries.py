"""What is read of the labeller's database: by the labeller itself, and by people beside it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from disc_stream.errors import InputNotFoundError, StateDamagedError, StorageError
from disc_stream_server.storage.records import DeadLetter, Lane, StoredLabel
from disc_stream_server.storage.schema import VERSION
from disc_stream_server.storage.sqlite import check_version, connect_to_read, is_damaged, translate

FILE = "state.sqlite"
SUSPECT = ".suspect"
"""Ends the name of the mark of a file in which damage was found."""


class StateQueries:
    """Questions to an open database.

    Args:
        connection: to it.
        path: its file, for errors.

    Raises:
        StateDamagedError: from any of them, if the file is damaged.
        StorageError: if it cannot be read otherwise.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection, self._path = connection, path
        self.position = int(self._value("SELECT coalesce(min(position), 0) FROM progress WHERE lane = 0"))
        """Last row of the spool that the newest checkpoint covers."""

    # -- what the labeller reads ----------------------------------------------------------------------

    def state(self, lane: int, part: str, device: str) -> bytes | None:
        """What a part knows of a device; a lane without a state of its own for it shares the live one's."""
        query = "SELECT state FROM parts WHERE lane = ? AND part = ? AND device = ?"
        row = next(self._rows(query, lane, part, device), None)
        if row is None and lane:
            row = next(self._rows(query, 0, part, device), None)
        return bytes(row[0]) if row is not None and row[0] else None

    def states(self, lane: int, part: str) -> dict[str, bytes]:
        """What a part knows of all devices; for parts that are small."""
        found = dict(self._rows("SELECT device, state FROM parts WHERE lane = 0 AND part = ?", part))
        if lane:
            query = "SELECT device, state FROM parts WHERE lane = ? AND part = ?"
            found |= dict(self._rows(query, lane, part))
        return {device: state for device, state in found.items() if state}

    def devices(self) -> list[str]:
        """All devices of which a part knows anything."""
        return [str(device) for (device,) in self._rows("SELECT DISTINCT device FROM parts ORDER BY device")]

    def knows(self, device: str) -> bool:
        """Whether a part knows anything of a device."""
        return next(self._rows("SELECT 1 FROM parts WHERE device = ? LIMIT 1", device), None) is not None

    def lanes(self) -> list[Lane]:
        """Stretches whose windows wait, oldest first."""
        rows = self._rows(
            "SELECT lane, first, last, windows, (SELECT min(position) FROM progress WHERE lane = lanes.lane) "
            "FROM lanes WHERE lane > 0 ORDER BY lane"
        )
        return [Lane(*row) for row in rows]

    def fact(self, name: str) -> bytes | None:
        """A small named value."""
        return self._find("SELECT value FROM facts WHERE name = ?", name)

    def facts_of(self, prefix: str) -> list[str]:
        """Names of the small named values that begin so."""
        found = self._rows("SELECT name FROM facts WHERE substr(name, 1, ?) = ?", len(prefix), prefix)
        return [str(name) for (name,) in found]

    def facts(self) -> dict[str, bytes]:
        """All small named values."""
        return dict(self._rows("SELECT name, value FROM facts"))

    # -- what the retraining beside it counts ---------------------------------------------------------

    def position_labelled_at(self, unix_us: int) -> int:
        """Position of about the last row whose windows were labelled by then; 0 if there is none.

        A bisection of the positions; windows that were deferred, and labelled later, mislead it a little.
        """
        query = "SELECT position, labelled_us FROM labels WHERE position > ? ORDER BY position LIMIT 1"
        low, high = 0, self.last_labelled
        while low < high:
            middle = (low + high) // 2
            position, labelled_us = next(self._rows(query, middle))
            low, high = (position, high) if labelled_us <= unix_us else (low, middle)
        return low

    @property
    def last_labelled(self) -> int:
        """Position of the last row that has completed a window; 0 if none has."""
        return int(self._value("SELECT coalesce(max(position), 0) FROM labels"))

    def labels_by_device(self, after: int, upto: int) -> dict[str, int]:
        """How many labels each device has from positions after one up to another."""
        query = "SELECT device, count(*) FROM labels WHERE position > ? AND position <= ? GROUP BY device"
        return dict(self._rows(query, after, upto))

    def novelties(self, model: str, after: int, upto: int) -> list[tuple[str, int, float, int]]:
        """Device, public id, novelty and time of the labels of a model after a position and up to another.

        The time is that of labelling, in Unix microseconds; labels without a novelty are left out.
        """
        query = (
            "SELECT device, label, novelty, labelled_us FROM labels WHERE position > ? AND position <= ? "
            "AND model = ? AND novelty IS NOT NULL ORDER BY position, window"
        )
        return list(self._rows(query, after, upto, model))

    # -- what people read -----------------------------------------------------------------------------

    def labels(self, *, device: str | None = None, after: int = 0, limit: int) -> list[StoredLabel]:
        """Labels whose position is above ``after``, ascending.

        Those of one position are never parted, so there may be a few more than ``limit``.
        """
        where, values = matching(position=after, device=device)
        query = f"SELECT * FROM labels WHERE {where} ORDER BY position, window, model"  # noqa: S608 - see matching
        found: list[StoredLabel] = []
        with contextlib.closing(self._rows(query, *values)) as rows:
            for row in rows:
                if len(found) >= limit and row[0] != found[-1].position:
                    break
                found.append(StoredLabel._make(row))
        return found

    def first_windows(self, position: int) -> dict[tuple[str, int], int]:
        """Start of the first window labelled from a position on, by (device, boot), in device time."""
        rows = self._rows(
            "SELECT device, boot, min(t0_us) FROM labels WHERE position >= ? GROUP BY device, boot", position
        )
        return {(device, boot): t0_us for device, boot, t0_us in rows}

    def labels_at(self, device: str, unix_us: int) -> list[StoredLabel]:
        """Labels of the windows of a device that a moment lies in, by start and time of labelling.

        Windows overlap, and one may have been labelled by several models. Goes through all labels.

        Args:
            device: its id.
            unix_us: the moment, in Unix microseconds; windows of devices without a clock are in none.
        """
        rows = self._rows(
            "SELECT * FROM labels WHERE device = ? AND t0_unix_us <= ? AND t0_unix_us + t1_us - t0_us > ? "
            "ORDER BY t0_unix_us, labelled_us",
            device, unix_us, unix_us,
        )  # fmt: skip
        return [StoredLabel._make(row) for row in rows]

    def labelled_between(self, device: str) -> tuple[int, int] | None:
        """Start of the first and the last labelled window of a device, in Unix microseconds; None if none."""
        query = "SELECT min(t0_unix_us), max(t0_unix_us) FROM labels WHERE device = ?"
        first, last = next(self._rows(query, device))
        return None if first is None else (int(first), int(last))

    def models(self) -> set[str]:
        """Versions of the models that the labels which are kept are of. Goes through all labels."""
        return {str(model) for (model,) in self._rows("SELECT DISTINCT model FROM labels")}

    def label_count(self) -> int:
        """How many labels there are."""
        return int(self._value("SELECT count(*) FROM labels"))

    def dead_letters(
        self, *, reason: str | None = None, device: str | None = None, after: int = 0, limit: int = 100
    ) -> list[DeadLetter]:
        """Dead letters whose position is above ``after``, ascending."""
        where, values = matching(position=after, reason=reason, device=device)
        query = f"SELECT * FROM dead_letters WHERE {where} ORDER BY position LIMIT ?"  # noqa: S608 - see matching
        return [DeadLetter(*row) for row in self._rows(query, *values, limit)]

    def dead_letter(self, position: int) -> DeadLetter | None:
        """One dead letter."""
        row = next(self._rows("SELECT * FROM dead_letters WHERE position = ?", position), None)
        return None if row is None else DeadLetter(*row)

    def dead_letter_counts(self) -> dict[str, int]:
        """How many there are, by reason."""
        return dict(self._rows("SELECT reason, count(*) FROM dead_letters GROUP BY reason"))

    @property
    def dead_letters_dropped(self) -> int:
        """How many had to go because there were too many."""
        return int(self._value("SELECT dropped FROM dead_tally"))

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    def _find(self, query: str, key: str) -> bytes | None:
        row = next(self._rows(query, key), None)
        return None if row is None else bytes(row[0])

    def _value(self, query: str) -> Any:
        return next(self._rows(query))[0]

    def _rows(self, query: str, *values: Any) -> Generator[Any]:
        try:
            with contextlib.closing(self._connection.execute(query, values)) as rows:
                yield from rows
        except sqlite3.Error as error:
            raise explain(error, self._path) from error


class StateReader(StateQueries):
    """Reads a database that a server may be writing; never changes it, damaged or not.

    Args:
        folder: the state folder.

    Raises:
        InputNotFoundError: if there is none.
        StateDamagedError: if the database is damaged.
        StorageError: if it cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / FILE
        if not path.exists():
            raise InputNotFoundError(
                f"{str(folder)!r} is not a state folder", remedy="Give the server's --state"
            )
        try:
            connection, _follows = connect_to_read(path)
        except sqlite3.Error as error:
            raise explain(error, path) from error
        try:
            check_version(connection, path, VERSION)
            super().__init__(connection, path)
        except BaseException:
            connection.close()
            raise


def explain(error: sqlite3.Error, path: Path) -> StorageError:
    """The error for a person; a damaged file is marked, so that the next server looks at all of it."""
    if not is_damaged(error):
        return translate(error, path)
    with contextlib.suppress(OSError):
        path.with_name(path.name + SUSPECT).touch()
    return StateDamagedError(
        f"{str(path)!r} is damaged ({error})",
        remedy="Start the server again: it sets the file aside and labels anew what the spool still has",
    )


def matching(*, position: int, **equal: str | None) -> tuple[str, tuple[Any, ...]]:
    """A condition with its values; the names of columns are those of this file's calls."""
    given = {name: value for name, value in equal.items() if value is not None}
    conditions: Sequence[str] = ["position > ?", *(f"{name} = ?" for name in given)]
    return " AND ".join(conditions), (position, *given.values())
