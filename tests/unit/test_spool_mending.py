"""Damage, crashes in the middle of anything, and files that come and go under a reader."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

import pytest

from disc_stream.errors import StorageError
from disc_stream_server.storage import segments
from disc_stream_server.storage.segments import (
    RowFinder,
    create_segment,
    finish_salvage,
    list_segments,
    salvage,
    segment_path,
)
from disc_stream_server.storage.spool import Arrival, SpoolReader, SpoolWriter
from disc_stream_server.storage.sqlite import damaged_copies

PAGE = 8192


def arrivals(*numbers: int, size: int = 2000) -> list[Arrival]:
    return [Arrival(n, "ds/v1/d/raw", "", n.to_bytes(4) * (size // 4)) for n in numbers]


def fill(folder: Path, n: int, **settings: int) -> None:
    writer = SpoolWriter(folder, **settings)  # type: ignore[arg-type]
    for number in range(1, n + 1):
        writer.append(arrivals(number))
    writer.close()


def spoil(path: Path, *pages: int) -> None:
    """Overwrite pages; negative ones are counted from the end."""
    data = bytearray(path.read_bytes())
    for page in pages:
        start = page % (len(data) // PAGE) * PAGE
        data[start : start + PAGE] = b"\xff" * PAGE
    path.write_bytes(data)


def read_all(folder: Path) -> list[tuple[int, int]]:
    """Position of every row, and what was written there."""
    reader = SpoolReader(folder)
    rows = reader.read(0, 100_000)
    reader.close()
    return [(row.position, int.from_bytes(row.payload[:4])) for row in rows]


@pytest.mark.parametrize("pages", [(5,), (-1,), (3, 4, 20), (1,)], ids=["one", "last", "three", "root"])
def test_rows_outside_the_damage_are_saved_with_their_positions(
    tmp_path: Path, pages: tuple[int, ...]
) -> None:
    fill(tmp_path, 200)
    spoil(segment_path(tmp_path, 1), *pages)
    SpoolWriter(tmp_path).close()
    found = read_all(tmp_path)
    assert all(position == content for position, content in found)
    expected = 0 if pages == (1,) else 200 - 4 * len(pages)  # four rows on a page; without its root no file
    assert len(found) == expected
    with sqlite3.connect(segment_path(tmp_path, 1)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    assert [path.name for path in damaged_copies(tmp_path)] == [f"{segment_path(tmp_path, 1).name}.damaged"]


def test_lost_positions_are_not_given_away_again(tmp_path: Path) -> None:
    fill(tmp_path, 200)
    spoil(segment_path(tmp_path, 1), -1, -2, -3)
    writer = SpoolWriter(tmp_path)
    assert writer.head < 200, "the last rows are lost"
    assert writer.append(arrivals(7)) > 200, "a reader may have seen them"
    writer.close()
    positions = [position for position, _ in read_all(tmp_path)]
    assert positions == sorted(set(positions))


def test_damage_that_shows_while_writing_is_mended_at_once_and_readers_follow(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writer = SpoolWriter(tmp_path)
    writer.append(arrivals(*range(1, 101)))
    reader = SpoolReader(tmp_path)
    assert len(reader.read(0, 1000)) == 100
    assert writer._connection is not None
    writer._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    spoil(segment_path(tmp_path, 1), -1, 4)
    # Nothing in the caches: another process would have a fresh one, and ours would not look at the disk.
    writer._let_go()
    with caplog.at_level(logging.ERROR):
        assert writer.append(arrivals(101)) == 101
    assert "was damaged" in caplog.text
    assert [row.position for row in reader.read(100, 1000)] == [101], "the file was replaced under the reader"
    assert writer.append(arrivals(102)) == 102
    reader.close()  # this must not take the log of the new file with it
    assert read_all(tmp_path)[-2:] == [(101, 101), (102, 102)]
    writer.close()


@pytest.mark.parametrize("moment", ["before", "main set aside", "all set aside"])
def test_a_crash_in_the_middle_of_a_salvage_is_finished_at_the_next_start(
    tmp_path: Path, moment: str
) -> None:
    fill(tmp_path, 50)
    path = segment_path(tmp_path, 1)
    fill(tmp_path / "saved", 40)
    segment_path(tmp_path / "saved", 1).rename(path.with_name(path.name + ".saved"))
    (tmp_path / f"{path.name}-wal").write_bytes(b"belongs to the damaged file")
    if moment != "before":
        path.rename(path.with_name(path.name + ".damaged"))
    if moment == "all set aside":
        log = tmp_path / f"{path.name}-wal"
        log.rename(tmp_path / f"{path.name}.damaged-wal")
    writer = SpoolWriter(tmp_path)
    writer.append(arrivals(41))
    writer.close()
    assert read_all(tmp_path) == [(n, n) for n in range(1, 42)]
    assert not list(tmp_path.glob("*.saved"))
    finish_salvage(tmp_path)
    assert len(read_all(tmp_path)) == 41, "there is nothing left to finish"


def test_a_salvage_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, 50)
    before = read_all(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(segments, "INSERT", "INSERT INTO nowhere VALUES (?, ?, ?, ?, ?)")
        with pytest.raises(sqlite3.OperationalError):
            salvage(segment_path(tmp_path, 1))
    assert not damaged_copies(tmp_path)
    assert not list(tmp_path.glob("*.new*"))
    assert read_all(tmp_path) == before


def test_a_file_that_was_not_finished_is_made_anew(tmp_path: Path) -> None:
    tmp_path.joinpath(f"{segment_path(tmp_path, 1).name}.new").write_bytes(b"half a file")
    assert list_segments(tmp_path) == []
    fill(tmp_path, 3)
    assert read_all(tmp_path) == [(1, 1), (2, 2), (3, 3)]
    assert not list(tmp_path.glob("*.new"))


def test_a_crash_between_a_new_file_and_its_first_row(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    create_segment(tmp_path, 4)
    writer = SpoolWriter(tmp_path)
    assert writer.head == 3
    assert writer.append(arrivals(4)) == 4
    writer.close()
    assert list_segments(tmp_path) == [1, 4]
    assert read_all(tmp_path) == [(n, n) for n in range(1, 5)]


def test_a_new_file_that_cannot_be_made_leaves_the_old_one_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = SpoolWriter(tmp_path, max_file_bytes=1)
    writer.append(arrivals(1))
    reader = SpoolReader(tmp_path)

    def refuse(_folder: Path, _first: int) -> Path:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("disc_stream_server.storage.spool.create_segment", refuse)
        with pytest.raises(StorageError, match="the disk is full"):
            writer.append(arrivals(2))
    assert [row.position for row in reader.read(0, 9)] == [1]
    assert writer.append(arrivals(2)) == 2
    assert [row.position for row in reader.read(0, 9)] == [1, 2]
    assert len(list_segments(tmp_path)) == 2
    reader.close()
    writer.close()


def test_files_may_go_under_a_reader(tmp_path: Path) -> None:
    fill(tmp_path, 60, max_file_bytes=20_000)
    first, second, third = list_segments(tmp_path)[:3]
    reader = SpoolReader(tmp_path)
    assert reader.first == 1
    assert reader.read(0, 1)[0].position == 1
    segment_path(tmp_path, first).unlink()
    segment_path(tmp_path, second).unlink()
    assert reader.first == third
    assert reader.get(1) is None
    assert reader.read(0, 1)[0].position == third
    assert reader.head == 60
    reader.close()


def test_a_spool_of_the_future_is_left_alone(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    with sqlite3.connect(segment_path(tmp_path, 1)) as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(StorageError, match="newer version"):
        SpoolWriter(tmp_path)
    assert not damaged_copies(tmp_path)


def test_positions_without_a_row_are_counted(tmp_path: Path) -> None:
    fill(tmp_path, 50)
    path = segment_path(tmp_path, 1)
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM rows WHERE position BETWEEN 10 AND 12 OR position = 40")
    connection.commit()
    connection.close()
    finder = RowFinder(path, 0, 51)
    assert finder.lost == 0
    positions = [row.position for row in finder]
    finder.close()
    assert positions == [n for n in range(1, 51) if n not in (10, 11, 12, 40)]
    assert finder.lost == 4


def test_the_log_says_which_rows_were_saved_and_which_are_missing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path, 400)
    path = segment_path(tmp_path, 1)
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM rows WHERE position IN (7, 300, 301, 302)")
    connection.commit()
    connection.close()
    salvage(path)
    assert "396 rows are saved, the last at 400; missing are 7, 300 to 302 and whatever" in caplog.text
    assert len(read_all(tmp_path)) == 396
