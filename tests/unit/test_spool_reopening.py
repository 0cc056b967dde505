"""A transaction that cannot even be rolled back: the writer opens its newest file again; nothing is lost."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from disc_stream.clock import ManualClock
from disc_stream.errors import StorageError
from disc_stream_server.storage import spool
from disc_stream_server.storage.segments import list_segments, segment_path
from disc_stream_server.storage.spool import Arrival, SpoolReader, SpoolWriter


def arrivals(*numbers: int) -> list[Arrival]:
    return [Arrival(n, "ds/v1/d/raw", "", n.to_bytes(4) * 500) for n in numbers]


def rows_of(file: Path) -> list[int]:
    connection = sqlite3.connect(file)
    try:
        return [position for (position,) in connection.execute("SELECT position FROM rows ORDER BY position")]
    finally:
        connection.close()


def read_all(folder: Path) -> list[tuple[int, int]]:
    reader = SpoolReader(folder)
    try:
        return [(row.position, row.received_us) for row in reader.read(0, 1000)]
    finally:
        reader.close()


class Broken:
    """Refuses to roll back, and the next few attempts to insert."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(spool, "roll_back", self._roll_back)
        self._monkeypatch = monkeypatch
        self.rolled_back = 0

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        self.rolled_back += 1
        raise sqlite3.OperationalError("disk I/O error")

    def fail_inserts(self) -> None:
        self._monkeypatch.setattr(spool, "INSERT", "INSERT INTO rows SELECT ?1, NULL, ?3, ?4, ?5")

    def mend(self) -> None:
        self._monkeypatch.undo()


def test_the_newest_file_is_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = SpoolWriter(tmp_path, max_file_bytes=65_536)
    n = 0
    while len(list_segments(tmp_path)) < 3:
        n += 1
        writer.append(arrivals(n))
    files = list_segments(tmp_path)
    assert len(rows_of(segment_path(tmp_path, files[0]))) > 5
    broken = Broken(monkeypatch)
    broken.fail_inserts()
    for _ in range(2):  # the second time there is no open file to roll back
        with pytest.raises(StorageError):
            writer.append(arrivals(n + 1))
    assert broken.rolled_back == 2
    broken.mend()

    before = {first: rows_of(segment_path(tmp_path, first)) for first in files[:-1]}
    assert writer.append(arrivals(n + 1, n + 2)) == n + 2
    writer.close()
    assert list_segments(tmp_path) == files
    assert rows_of(segment_path(tmp_path, files[-1])) == list(range(files[-1], n + 3))
    assert {first: rows_of(segment_path(tmp_path, first)) for first in files[:-1]} == before
    assert read_all(tmp_path) == [(k, k) for k in range(1, n + 3)]


def test_the_age_of_the_reopened_file_is_that_of_its_first_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    #  0 s        6 s      8 s      11 s
    #  first row  failure  reopened | older than 10 s: a new file
    clock = ManualClock(1000)
    writer = SpoolWriter(tmp_path, max_file_s=10, clock=clock)

    def row() -> list[Arrival]:
        return [Arrival(clock.unix_us(), "ds/v1/d/raw", "", b"x")]

    writer.append(row())
    clock.advance(6)
    broken = Broken(monkeypatch)
    broken.fail_inserts()
    with pytest.raises(StorageError):
        writer.append(row())
    broken.mend()
    clock.advance(2)
    assert writer.append(row()) == 2
    assert len(list_segments(tmp_path)) == 1
    clock.advance(3)
    assert writer.append(row()) == 3
    writer.close()
    assert list_segments(tmp_path) == [1, 3]
    assert [position for position, _ in read_all(tmp_path)] == [1, 2, 3]


def test_a_reader_opens_a_file_again_that_was_replaced_and_no_other(tmp_path: Path) -> None:
    for name, number in (("spool", 1), ("mended", 2)):
        writer = SpoolWriter(tmp_path / name)
        writer.append(arrivals(number))
        writer.close()
    reader = SpoolReader(tmp_path / "spool")
    assert [row.received_us for row in reader.read(0, 10)] == [1]
    [file] = reader._files.values()
    assert (reader.head, list(reader._files.values())) == (1, [file]), "nothing has changed"
    segment_path(tmp_path / "mended", 1).replace(segment_path(tmp_path / "spool", 1))
    assert reader.head == 1
    assert [row.received_us for row in reader.read(0, 10)] == [2]
    segment_path(tmp_path / "spool", 1).unlink()
    assert (reader.head, reader.read(0, 10)) == (0, [])
    reader.close()
