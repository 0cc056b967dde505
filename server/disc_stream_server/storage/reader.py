"""Reads the spool, also while another process writes it."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from disc_stream_server.storage.rows import Row
from disc_stream_server.storage.segments import SELECT, RowFinder, bound_of, list_segments, segment_path
from disc_stream_server.storage.sqlite import check, connect_to_read, is_damaged, translate

log = logging.getLogger(__name__)

_OPEN_FILES = 2  # the one that is read, and one for rows that are asked for


@dataclass(slots=True)
class _File:
    """An open segment; ``connection`` is None where it cannot be opened for damage."""

    connection: sqlite3.Connection | None
    inode: int
    lives: bool = True  # whether the connection sees later changes
    whole: bool = True  # whether the file was found sound when it was first opened
    passed: int = 0  # position up to which nothing more can be read, for damage

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()


class _Portion:
    """Rows that are read at once, up to a number and a size."""

    def __init__(self, limit: int, max_bytes: int = 2**62) -> None:
        self.rows: list[Row] = []
        self._limit, self._max_bytes = limit, max_bytes
        self._bytes = 0

    @property
    def left(self) -> int:
        """Rows that may still come."""
        return min(self._limit - len(self.rows), 2**62)

    @property
    def is_full(self) -> bool:
        return len(self.rows) >= self._limit or self._bytes >= self._max_bytes

    def fill(self, found: Iterable[Row]) -> bool:
        """Take rows until there is no more room; whether they ended before."""
        for row in found:
            self.rows.append(row)
            self._bytes += len(row.payload)
            if self.is_full:
                return False
        return True

    def cut(self, n: int) -> None:
        """Keep the first n rows: those after them may be made up."""
        del self.rows[n:]
        self._bytes = sum(len(row.payload) for row in self.rows)


class SpoolReader:
    """Reads a spool; many may at once, and none of them disturbs the writer.

    A file is looked through once, when it is first opened: SQLite tells of damage only where it stumbles,
    and leaves out rows, or makes them up, where it does not. Rows of a damaged file that cannot be read are
    skipped, which is logged.

    Args:
        folder: of the spool; need not be there yet.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: OrderedDict[int, _File] = OrderedDict()
        self._segments: list[int] = []
        self._whole: dict[int, tuple[int, bool]] = {}  # file -> its inode, and whether it is sound

    def read(self, after: int, limit: int, max_bytes: int = 2**62) -> list[Row]:
        """Rows after a position, ascending.

        Args:
            after: the position.
            limit: rows at most.
            max_bytes: no row more is read once their payloads have so many bytes.

        Raises:
            StorageError: if they cannot be read.
        """
        portion = _Portion(limit, max_bytes)
        self._read(after, portion)
        if not portion.is_full and self._look():
            self._read(portion.rows[-1].position if portion.rows else after, portion)
        return portion.rows

    def get(self, position: int) -> Row | None:
        """One row; None if it has been removed.

        Raises:
            StorageError: if it cannot be read.
        """
        rows = self.read(position - 1, 1)
        return rows[0] if rows and rows[0].position == position else None

    @property
    def first(self) -> int:
        """Position of the oldest row, 0 if there is none."""
        self._look()
        portion = _Portion(1)
        self._read(0, portion)
        return portion.rows[0].position if portion.rows else 0

    @property
    def head(self) -> int:
        """Position of the newest row, 0 if there is none."""
        self._look()
        for first in reversed(self._segments):
            file = self._open(first)
            if file is None or file.connection is None:
                continue
            found = self._newest(file, first, file.connection)
            if found is not None:
                return found
        return 0

    def _newest(self, file: _File, first: int, connection: sqlite3.Connection) -> int | None:
        if file.whole:
            try:
                found: int | None = connection.execute("SELECT max(position) FROM rows").fetchone()[0]
            except sqlite3.Error as error:
                if not is_damaged(error):
                    raise translate(error, segment_path(self._folder, first)) from error
            else:
                return found
        portion = _Portion(2**62)
        self._around_damage(file, first, first - 1, portion)
        return portion.rows[-1].position if portion.rows else None

    def close(self) -> None:
        """Close all files."""
        while self._files:
            self._files.popitem()[1].close()

    def _look(self) -> bool:
        """See which files there are; whether any came, went, or was replaced since the last look."""
        segments = list_segments(self._folder)
        changed = segments != self._segments
        if changed:
            self._whole = {first: self._whole[first] for first in segments if first in self._whole}
        self._segments = segments
        for first, file in list(self._files.items()):
            # Removed; or salvaged, and no longer the file of that name; or as it was at another time.
            if self._inode(first) != file.inode or not file.lives:
                self._files.pop(first).close()
                changed = True
        return changed

    def _read(self, after: int, portion: _Portion) -> None:
        for first in self._segments[max(0, bisect_right(self._segments, after + 1) - 1) :]:
            self._select(first, after, portion)
            if portion.is_full:
                return

    def _inode(self, first: int) -> int | None:
        try:
            return segment_path(self._folder, first).stat().st_ino
        except FileNotFoundError:
            return None

    def _is_whole(self, first: int, inode: int, connection: sqlite3.Connection) -> bool:
        known = self._whole.get(first)
        if known is None or known[0] != inode:
            sound = True
            try:
                check(connection)
            except sqlite3.Error as error:
                if not is_damaged(error):
                    raise
                name = segment_path(self._folder, first).name
                log.error("%s is damaged (%s): rows that cannot be read are skipped", name, error)  # noqa: TRY400
                sound = False
            known = self._whole[first] = (inode, sound)
        return known[1]

    def _open(self, first: int) -> _File | None:
        """The open file; None if it has been removed."""
        file = self._files.get(first)
        if file is not None:
            self._files.move_to_end(first)
            return file
        inode = self._inode(first)
        if inode is None:
            return None
        path = segment_path(self._folder, first)
        try:
            connection, lives = connect_to_read(path, cut_off=True)
            try:
                file = _File(connection, inode, lives, self._is_whole(first, inode, connection))
            except sqlite3.Error:
                connection.close()
                raise
        except sqlite3.Error as error:
            if not path.exists():
                return None
            if not is_damaged(error):
                raise translate(error, path) from error
            log.error("%s is damaged and skipped: %s", path.name, error)  # noqa: TRY400 - the file's fault
            file = _File(None, inode)
        self._files[first] = file
        if len(self._files) > _OPEN_FILES:
            self._files.popitem(last=False)[1].close()
        return file

    def _select(self, first: int, after: int, portion: _Portion) -> None:
        file = self._open(first)
        if file is None or file.connection is None or (file.passed and after >= file.passed):
            return
        if file.whole:
            had = len(portion.rows)
            try:
                with contextlib.closing(file.connection.execute(SELECT, (after, portion.left))) as found:
                    portion.fill(map(Row._make, found))
            except sqlite3.Error as error:
                if not is_damaged(error):
                    raise translate(error, segment_path(self._folder, first)) from error
                portion.cut(had)
            else:
                return
        self._around_damage(file, first, after, portion)

    def _around_damage(self, file: _File, first: int, after: int, portion: _Portion) -> None:
        path = segment_path(self._folder, first)
        try:
            finder = RowFinder(path, after, bound_of(path))
        except sqlite3.Error as error:
            raise translate(error, path) from error
        had = len(portion.rows)
        try:
            if portion.fill(finder):
                rows = portion.rows[had:]
                file.passed = rows[-1].position if rows else max(after, 1)
        except sqlite3.Error as error:
            raise translate(error, path) from error
        finally:
            finder.close()
        if finder.lost:
            log.error("%s is damaged: up to %d rows after %d cannot be read", path.name, finder.lost, after)
