"""The spool: durable, in order, whole or not at all, and what is left when a file is damaged."""

from __future__ import annotations

import logging
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from disc_stream.clock import ManualClock
from disc_stream.errors import SpoolFullError, StorageError
from disc_stream_server.receiving.arrival import ArrivalClock
from disc_stream_server.storage import segments
from disc_stream_server.storage.forget import forget
from disc_stream_server.storage.segments import list_segments, segment_path
from disc_stream_server.storage.spool import Arrival, Row, SpoolReader, SpoolWriter
from disc_stream_server.storage.state import StateStore
from tests.support.damage import hide_a_row


def arrivals(*numbers: int, size: int = 10) -> list[Arrival]:
    return [
        Arrival(1000 + n, f"ds/v1/d{n % 3}/raw", "application/cbor", bytes([n % 256]) * size) for n in numbers
    ]


def fill(folder: Path, n: int, *, size: int, **settings: Any) -> None:
    writer = SpoolWriter(folder, **settings)
    for number in range(n):
        writer.append(arrivals(number, size=size))
    writer.close()


def read_all(folder: Path, limit: int = 10_000) -> list[Row]:
    reader = SpoolReader(folder)
    rows = reader.read(0, limit)
    reader.close()
    return rows


def positions(folder: Path) -> list[int]:
    return [row.position for row in read_all(folder)]


def test_rows_come_back_as_they_came_with_ascending_positions(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path)
    assert writer.append(arrivals(1, 2)) == 2
    assert writer.append(arrivals(3)) == writer.head == 3
    rows = read_all(tmp_path)
    writer.close()
    assert [Arrival(*row[1:]) for row in rows] == arrivals(1, 2, 3)
    assert [row.position for row in rows] == [1, 2, 3]


def test_it_goes_on_where_it_ended(tmp_path: Path) -> None:
    for expected in (1, 2, 3):
        writer = SpoolWriter(tmp_path)
        assert writer.append(arrivals(expected)) == expected
        writer.close()
    assert positions(tmp_path) == [1, 2, 3]


def test_reading_goes_on_across_files_and_while_rows_are_written(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path, max_file_bytes=16_384)
    reader = SpoolReader(tmp_path)
    seen: list[int] = []
    for n in range(300):
        writer.append(arrivals(n, size=1000))
        if n % 7 == 0:
            seen += [row.position for row in reader.read(seen[-1] if seen else 0, 5)]
    assert len(list_segments(tmp_path)) > 1
    while len(seen) < 300:
        seen += [row.position for row in reader.read(seen[-1], 50)]
    assert seen == list(range(1, 301))
    assert reader.read(300, 5) == []
    assert (reader.first, reader.head) == (1, 300)
    assert reader.get(150).position == 150  # type: ignore[union-attr]
    assert reader.get(301) is None
    reader.close()
    writer.close()


def test_a_new_file_is_begun_with_a_new_day(tmp_path: Path) -> None:
    clock = ManualClock(1000)
    writer = SpoolWriter(tmp_path, max_file_s=10, clock=clock)
    writer.append(arrivals(0))
    clock.advance(11)
    for n in range(1, 70):
        writer.append(arrivals(n))
    writer.close()
    assert len(list_segments(tmp_path)) == 2
    assert positions(tmp_path) == list(range(1, 71))


def test_positions_are_never_given_twice_even_if_the_spool_was_removed(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path, floor=41)
    assert writer.append(arrivals(1)) == 42
    writer.close()
    writer = SpoolWriter(tmp_path, floor=100)
    assert writer.append(arrivals(2)) == 101
    writer.close()
    assert positions(tmp_path) == [42, 101]


def test_two_writers_exclude_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("disc_stream_server.storage.spool._LOCK_WAIT_S", 0.1)
    writer = SpoolWriter(tmp_path)
    with pytest.raises(StorageError, match="another process writes"):
        SpoolWriter(tmp_path)
    writer.close()
    SpoolWriter(tmp_path).close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file/spool"):
        SpoolWriter(tmp_path / "file" / "spool")


def test_a_reader_may_come_before_the_writer(tmp_path: Path) -> None:
    reader = SpoolReader(tmp_path / "spool")
    assert (reader.read(0, 10), reader.first, reader.head) == ([], 0, 0)
    writer = SpoolWriter(tmp_path / "spool")
    assert reader.read(0, 10) == []
    writer.append(arrivals(1))
    assert len(reader.read(0, 10)) == 1
    writer.close()
    reader.close()


def test_when_the_disk_is_full_nothing_of_a_group_is_kept_and_it_can_be_tried_again(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path)
    writer.append(arrivals(1, 2))
    pages = writer._connection.execute("PRAGMA page_count").fetchone()[0]
    writer._connection.execute(f"PRAGMA max_page_count={pages}")  # the file cannot grow any more
    big = arrivals(*range(3, 103), size=1000)
    with pytest.raises(SpoolFullError, match="the disk is full"):
        writer.append(big)
    assert writer.head == 2
    assert positions(tmp_path) == [1, 2]
    writer._connection.execute("PRAGMA max_page_count=1000000")
    assert writer.append(big) == 102
    writer.close()
    assert positions(tmp_path) == list(range(1, 103))


WRITE_FOR_EVER = """
import sys
from pathlib import Path
from disc_stream_server.storage.spool import Arrival, SpoolWriter
writer = SpoolWriter(Path(sys.argv[1]), max_file_bytes=200_000)
while True:
    print(writer.append([Arrival(1, "t", "", b"x" * 700)] * 17), flush=True)
"""


def test_what_was_reported_durable_survives_a_kill_at_any_moment(tmp_path: Path) -> None:
    rng = random.Random(0)
    for _ in range(20):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITE_FOR_EVER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        durable = [int(process.stdout.readline()) for _ in range(rng.randrange(1, 12))]
        process.send_signal(signal.SIGKILL)
        durable += [int(line) for line in process.communicate()[0].splitlines() if line.strip()]
        found = positions(tmp_path)
        assert found == list(range(1, len(found) + 1)), "no hole and no row twice"
        assert len(found) >= durable[-1]
        assert len(found) % 17 == 0, "groups are whole"


@pytest.mark.parametrize("damage", ["garbage", "half a frame", "torn frame"])
def test_a_torn_tail_costs_nothing_that_was_committed(tmp_path: Path, damage: str) -> None:
    writer = SpoolWriter(tmp_path)
    for n in range(10):
        writer.append(arrivals(n, size=300))
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in tmp_path.glob("*.sqlite*"):
        (copy / file.name).write_bytes(file.read_bytes())  # as a power cut would find it
    writer.append(arrivals(10, size=300))
    log = next(tmp_path.glob("*-wal")).read_bytes()
    writer.close()
    wal = next(copy.glob("*-wal"))
    before = wal.read_bytes()
    tail = log[len(before) :]
    rng = random.Random(1)
    wal.write_bytes(
        {
            "garbage": before + rng.randbytes(5000),
            "half a frame": before + tail[: len(tail) // 2],
            "torn frame": before + tail[:-100] + rng.randbytes(100),
        }[damage]
    )
    for file in copy.glob("*-shm"):
        file.unlink()
    assert positions(copy)[:10] == list(range(1, 11))
    again = SpoolWriter(copy)
    first = again.head + 1
    assert again.append(arrivals(99)) == first
    again.close()


def test_a_damaged_file_is_set_aside_and_what_can_be_read_is_saved(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path, 100, size=2000)
    path = segment_path(tmp_path, 1)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2 // 4096 * 4096
    data[middle : middle + 3 * 4096] = random.Random(0).randbytes(3 * 4096)
    data[-2 * 4096 :] = random.Random(1).randbytes(2 * 4096)  # the newest rows
    path.write_bytes(data)
    with caplog.at_level(logging.ERROR):
        writer = SpoolWriter(tmp_path)
    assert "was damaged" in caplog.text
    assert (tmp_path / f"{path.name}.damaged").exists()
    saved = positions(tmp_path)
    assert len(saved) > 30
    assert saved == sorted(set(saved))
    assert writer.append(arrivals(7)) > saved[-1]
    writer.close()


def test_a_reader_passes_over_damage_in_an_old_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fill(tmp_path, 200, size=2000, max_file_bytes=100_000)
    path = segment_path(tmp_path, 1)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2 // 4096 * 4096
    data[middle : middle + 4096] = random.Random(0).randbytes(4096)
    path.write_bytes(data)
    with caplog.at_level(logging.ERROR):
        found = positions(tmp_path)
    assert found[-1] == 200
    assert 150 < len(found) < 200
    assert "cannot be read" in caplog.text


def damage(data: bytearray, kind: str, chance: random.Random) -> None:
    page = chance.randrange(len(data) // 4096) * 4096
    if kind == "half a page":
        data[page : page + 4096] = chance.randbytes(4096)
    elif kind == "bytes":
        for _ in range(chance.randrange(1, 20)):
            data[page + chance.randrange(4096)] = chance.randrange(256)
    elif kind == "cut off":
        del data[chance.randrange(len(data)) :]
    else:  # the schema: text on the first page
        at = data.index(b"CREATE TABLE rows") + chance.randrange(100)
        data[at] ^= chance.choice([0x01, 0x80])


@pytest.mark.parametrize("kind", ["half a page", "bytes", "cut off", "schema"])
def test_damage_of_any_kind_neither_stops_a_reader_or_a_writer_nor_makes_up_rows(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tmp_path / "whole"
    fill(whole, 200, size=500, max_file_bytes=40_000)
    monkeypatch.setattr(segments, "_MOST_TRIED", 1000)  # many more than rows there are
    first, second, *_ = list_segments(whole)
    sound = segment_path(whole, first).read_bytes()
    for seed in range(8):
        data = bytearray(sound)
        damage(data, kind, random.Random(seed))
        segment_path(whole, first).write_bytes(data)
        found = positions(whole)
        assert found == sorted(set(found)), seed
        assert found[0] > 0, seed
        assert [n for n in found if n >= second] == list(range(second, 201)), "the other files are whole"

        alone = tmp_path / f"alone{seed}"
        alone.mkdir()
        segment_path(alone, first).write_bytes(data)
        writer = SpoolWriter(alone)
        position = writer.append(arrivals(1))
        writer.close()
        found = positions(alone)
        assert found == sorted(set(found)), seed
        assert found[-1] == position >= second - 1, seed


def test_a_reader_notices_damage_that_sqlite_leaves_out_in_silence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path, 200, size=500, max_file_bytes=40_000)
    path = segment_path(tmp_path, 1)
    hide_a_row(path)
    with caplog.at_level(logging.ERROR):
        found = positions(tmp_path)
    assert len(found) == 199
    assert found[-1] == 200
    assert f"{path.name} is damaged" in caplog.text


def test_damage_of_a_file_that_has_shrunk_costs_no_other_rows_and_no_position_is_given_twice(
    tmp_path: Path,
) -> None:
    writer = SpoolWriter(tmp_path / "spool")
    writer.append(arrivals(*[0] * 60_000))
    last = writer.append(arrivals(*[1] * 40, size=500))
    writer.close()
    StateStore(tmp_path).close()
    forget(tmp_path, "d0", "ds/v1")
    path = segment_path(tmp_path / "spool", 1)
    assert path.stat().st_size < last, "fewer bytes than positions"
    hide_a_row(path)
    assert len(positions(tmp_path / "spool")) == 39
    writer = SpoolWriter(tmp_path / "spool")
    assert writer.append(arrivals(1)) > last
    writer.close()
    assert len(positions(tmp_path / "spool")) == 40


def test_of_a_file_that_was_cut_off_the_rest_is_read_and_saved(tmp_path: Path) -> None:
    fill(tmp_path, 100, size=500)
    path = segment_path(tmp_path, 1)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    left = positions(tmp_path)
    assert left == sorted(set(left))
    assert 60 < len(left) < 80, "three quarters"
    writer = SpoolWriter(tmp_path)
    position = writer.append(arrivals(100))
    writer.close()
    assert positions(tmp_path) == [*left, position]


def test_a_file_that_is_no_database_is_set_aside(tmp_path: Path) -> None:
    segment_path(tmp_path, 1).write_bytes(b"not a database at all" * 500)
    writer = SpoolWriter(tmp_path)
    position = writer.append(arrivals(1))
    assert position > 500, "what it may have held is not given away again"
    writer.close()
    assert positions(tmp_path) == [position]


def test_every_commit_reaches_the_disk(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path)
    assert writer._connection.execute("PRAGMA synchronous").fetchone() == (2,), "FULL"
    assert writer._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    writer.close()


def test_the_time_of_arrival_never_goes_back_but_by_a_step_that_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = ManualClock(10_000_000)
    arrival = ArrivalClock(clock)
    clock.advance(1)
    first = arrival.unix_us()
    clock.now_us -= 500  # slewed
    assert arrival.unix_us() == first
    clock.now_us -= 3_600_000_000  # stepped
    with caplog.at_level(logging.WARNING):
        assert arrival.unix_us() < first
    assert "stepped by -3600.0 s" in caplog.text
    assert len(caplog.records) == 1
    clock.advance(1)
    arrival.unix_us()
    assert len(caplog.records) == 1
