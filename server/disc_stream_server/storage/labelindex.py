"""Where a device's labels are, by time, without an entry for each of them.

Labels lie in the order of the spool, all devices among each other, so that they are only ever appended. A
*chunk* names the positions of up to 128 labels of one device that follow in time; the newest ones, which no
chunk has yet, are in the *tail*, which is kept with the device's state. An index on (device, time) instead
would have to change a page for each device with every checkpoint.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from disc_stream.episodes import Fields
from disc_stream_server.storage.records import StoredLabel

CHUNK = 128
"""Labels of a chunk, at most."""

SPAN_US = 1_800_000_000
"""Between the starts of its first and its last window, at most."""


class Tail(msgspec.Struct, array_like=True, gc=False):
    """Positions of labels that follow in time.

    Args:
        first_us: start of the first window.
        last_us: of the last.
        count: of labels.
        first_position: of the first label.
        last_position: of the last.
        positions: how each differs from the one before, see ``_packed``; the first is left out.
        lowest: lowest position.
    """

    first_us: int = 0
    last_us: int = 0
    count: int = 0
    first_position: int = 0
    last_position: int = 0
    positions: bytes = b""
    lowest: int = 0

    def add(self, windows: Sequence[Fields]) -> Sequence[Fields]:
        """Put labels behind the others while there is room.

        Args:
            windows: in the order of time; ``ref`` is the position.

        Returns:
            Those for which there is none.
        """
        if not windows:
            return ()
        if not self.count:
            self.first_us, self.first_position = windows[0][0], windows[0][4]
            self.last_position = self.lowest = self.first_position
        until_us, room = self.first_us + SPAN_US, CHUNK - self.count
        if len(windows) > room or windows[-1][0] > until_us:
            fits = sum(one[0] <= until_us for one in windows[:room])
            windows, left = windows[:fits], windows[fits:]
            if not windows:
                return left
        else:
            left = ()
        before, packed = self.last_position, bytearray()
        for _, _, _, _, position in windows:
            step = position - before
            if 0 < step < 64:
                packed.append(step << 1)
            elif 0 < step < 8192:
                packed.append(step << 1 & 0x7F | 0x80)
                packed.append(step >> 6)
            elif step:
                packed += _packed(step)
                self.lowest = min(self.lowest, position)
            before = position
        self.positions += packed
        self.last_us, self.last_position = windows[-1][0], before
        self.count += len(windows)
        return left

    def all_positions(self) -> list[int]:
        """Of all labels."""
        return _unpacked(self.first_position, self.positions) if self.count else []

    def row(self, device: str) -> tuple[str, int, int, int, bytes]:
        """The chunk that it becomes."""
        first = _packed(self.first_position - self.lowest)
        return device, self.first_us, self.last_us, self.lowest, first + self.positions


class Chunk(NamedTuple):
    """Where labels are.

    Args:
        first_us: start of the first window.
        last_us: of the last.
        positions: of the labels.
    """

    first_us: int
    last_us: int
    positions: list[int]


def chunks_of(windows: Sequence[Fields]) -> list[Tail]:
    """Chunks of labels, in the order of time; see ``Tail.add``."""
    chunks: list[Tail] = []
    while windows:
        chunks.append(Tail())
        windows = chunks[-1].add(windows)
    return chunks


def find_chunks(
    connection: sqlite3.Connection, device: str, since_us: int, until_us: int, tail: Tail | None
) -> Iterator[Chunk]:
    """The chunks with windows that start from one time on and before another, by the first of them."""
    rows = connection.execute(
        "SELECT first_us, last_us, first_position, positions FROM label_chunks "
        "WHERE device = ? AND first_us >= ? AND first_us < ? AND last_us >= ? ORDER BY first_us",
        (device, max(since_us - SPAN_US, -(2**62)), until_us, since_us),
    )
    last = None
    if tail is not None and tail.count and tail.first_us < until_us and tail.last_us >= since_us:
        last = Chunk(tail.first_us, tail.last_us, tail.all_positions())
    for first_us, last_us, lowest, packed in rows:
        if last is not None and last.first_us < first_us:
            yield last
            last = None
        yield Chunk(first_us, last_us, _unpacked(lowest, packed))
    if last is not None:
        yield last


def find_labels(
    connection: sqlite3.Connection,
    device: str,
    since_us: int,
    until_us: int,
    tail: Tail | None,
    *,
    newest_first: bool = False,
) -> Iterator[StoredLabel]:
    """Labels of windows that start from one time on and before another, by start, position, window, model.

    Args:
        connection: to the database.
        device: its id.
        since_us: UTC microseconds.
        until_us: likewise.
        tail: of the device.
        newest_first: in the opposite order.
    """
    groups = _groups(find_chunks(connection, device, since_us, until_us, tail))
    for group in reversed(list(groups)) if newest_first else groups:
        positions = sorted({position for chunk in group for position in chunk.positions})
        found = set[StoredLabel]()
        for position in positions:
            rows = connection.execute("SELECT * FROM labels WHERE position = ?", (position,))
            found.update(map(StoredLabel._make, rows))
        # One message may have labels in several groups.
        begin_us, end_us = group[0].first_us, max(chunk.last_us for chunk in group) + 1
        own = [one for one in found if one.device == device and _is_within(one, begin_us, end_us)]
        own = [one for one in own if _is_within(one, since_us, until_us)]
        yield from sorted(own, key=_order, reverse=newest_first)


def _is_within(label: StoredLabel, since_us: int, until_us: int) -> bool:
    return label.t0_unix_us is not None and since_us <= label.t0_unix_us < until_us


def _order(label: StoredLabel) -> tuple[int, int, int, str]:
    return (label.t0_unix_us or 0, label.position, label.window, label.model)


def _groups(chunks: Iterator[Chunk]) -> Iterator[list[Chunk]]:
    """Those whose times overlap, together: a window that came late lies in between those of another chunk."""
    group: list[Chunk] = []
    until_us = 0
    for chunk in chunks:
        if group and chunk.first_us > until_us:
            yield group
            group = []
        until_us = max(until_us, chunk.last_us) if group else chunk.last_us
        group.append(chunk)
    if group:
        yield group


def _packed(number: int) -> bytes:
    """A number that is mostly small: 7 bits a byte, the lowest first, the sign in the lowest bit."""
    left = number << 1 if number >= 0 else (-number << 1) - 1
    out = bytearray()
    while left >= 0x80:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    out.append(left)
    return bytes(out)


def _unpacked(first: int, packed: bytes) -> list[int]:
    """A number, and those that follow from it."""
    numbers, shift, left, number = [first], 0, 0, first
    for byte in packed:
        left |= (byte & 0x7F) << shift
        if byte & 0x80:
            shift += 7
            continue
        number += left >> 1 if not left & 1 else -((left + 1) >> 1)
        numbers.append(number)
        shift = left = 0
    return numbers
