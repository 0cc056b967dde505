"""The outbox: what is in it survives, what gives way is counted, and nothing is sent out of order."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from disc_stream.clock import ManualClock
from disc_stream.errors import ConfigError, SpoolFullError, StorageError
from disc_stream_edge.batching import AdaptiveBatching
from disc_stream_edge.forwarding import Forwarder
from disc_stream_edge.outbox import OVERHEAD, Entry, Hole, Outbox, Stored, open_outbox
from tests.support.simulatedway import SimulatedWay

SIZE = 100 + OVERHEAD


def entry(seq: int, device: str = "a", boot: int = 1, payload: int = 100) -> Entry:
    return Entry(device, boot, seq, 25, "application/cbor", bytes(payload))


def outbox(folder: Path, n: int = 10, **rule: object) -> Outbox:
    return Outbox(folder / "outbox.sqlite", max_bytes=n * SIZE, **rule)  # type: ignore[arg-type]


def seqs(stored: list[Stored]) -> list[int]:
    return [one.entry.seq for one in stored]


def test_what_is_put_is_there_after_a_new_start(tmp_path: Path) -> None:
    first = outbox(tmp_path)
    first.begin_boot("a", 1, b"meta")
    first.put([entry(seq) for seq in range(5)])
    got = first.after("a", 0, 2)
    assert seqs(got) == [0, 1]
    first.settle(got)
    first.close()
    again = outbox(tmp_path)
    assert seqs(again.after("a", 0, 10)) == [2, 3, 4]
    assert again.meta("a", 1) == b"meta"
    tally = again.tally
    assert (tally.put, tally.confirmed, tally.waiting, tally.dropped) == (5, 2, 3, 0)
    assert (tally.waiting_samples, tally.waiting_bytes) == (75, 3 * SIZE)
    again.close()


def test_the_oldest_give_way(tmp_path: Path) -> None:
    box = outbox(tmp_path)
    dropped = box.put([entry(seq) for seq in range(14)])
    assert dropped == box.tally.dropped == 4
    assert seqs(box.after("a", 0, 99)) == list(range(4, 14))
    assert box.holes() == [Hole("a", 1, 0, 3, 100)]
    box.close()


def test_the_newest_give_way_if_that_is_the_rule(tmp_path: Path) -> None:
    box = outbox(tmp_path, when_full="drop-newest")
    assert box.put([entry(seq) for seq in range(14)]) == 4
    assert seqs(box.after("a", 0, 99)) == list(range(10))
    assert box.holes() == [Hole("a", 1, 10, 13, 100)]
    box.close()


def test_what_is_on_its_way_never_gives_way(tmp_path: Path) -> None:
    box = outbox(tmp_path)
    box.put([entry(seq) for seq in range(10)])
    flying = box.after("a", 0, 3)
    box.put([entry(10), entry(11)])
    assert box.holes() == [Hole("a", 1, 3, 4, 50)]
    box.settle(flying)
    assert seqs(box.after("a", flying[-1].id, 99)) == list(range(5, 12))
    box.after("a", 0, 99)
    box.put([entry(seq) for seq in range(12, 16)])
    assert box.holes()[1:] == [Hole("a", 1, 12, 12, 25)], "the oldest that is not on its way"
    tally = box.tally
    assert tally.put == tally.confirmed + tally.dropped + tally.waiting
    box.close()


def test_a_message_larger_than_the_bound_takes_no_others_with_it(tmp_path: Path) -> None:
    box = outbox(tmp_path)
    box.put([entry(0), entry(1, payload=5_000), entry(2)])
    assert seqs(box.after("a", 0, 9)) == [0, 2]
    assert box.holes() == [Hole("a", 1, 1, 1, 25)]
    box.close()


def test_the_file_keeps_to_its_bound(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "outbox.sqlite", max_bytes=1_000_000)
    for start in range(0, 20_000, 1_000):
        box.put([entry(seq, payload=300) for seq in range(start, start + 1_000)])
    on_disk = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert on_disk < 1.5 * 1_000_000 + 5 * 2**20, "the log has 4 MiB at most"
    assert box.tally.dropped == 20_000 - 1_000_000 // (300 + OVERHEAD)
    box.close()


def test_intervals_are_bounded_and_sums_stay_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("disc_stream_edge.outbox._MOST_HOLES", 3)
    box = outbox(tmp_path, 1, when_full="drop-newest")
    box.put([entry(0)])
    box.put([entry(seq) for seq in range(2, 20, 2)])
    assert [hole.first for hole in box.holes()] == [14, 16, 18]
    assert box.tally.dropped == 9
    box.close()


def test_every_start_is_a_new_boot_also_where_the_clock_says_otherwise(tmp_path: Path) -> None:
    box = outbox(tmp_path)
    for expected in (1_000, 1_001, 1_002):
        boot = box.next_boot("a", 1_000)
        assert boot == expected
        box.begin_boot("a", boot, b"")
    assert box.next_boot("b", 1_000) == 1_000
    assert box.last_boot("a") == 1_002
    with pytest.raises(ConfigError, match="boot 1002 of 'a' was used before"):
        box.begin_boot("a", 1_002, b"")
    box.close()


def test_descriptions_of_boots_that_are_sent_are_forgotten(tmp_path: Path) -> None:
    box = outbox(tmp_path)
    box.begin_boot("a", 1, b"one")
    box.put([entry(0, boot=1)])
    box.begin_boot("a", 2, b"two")
    assert box.meta("a", 1) == b"one"
    box.settle(box.after("a", 0, 1))
    box.begin_boot("a", 3, b"three")
    assert (box.meta("a", 1), box.meta("a", 2), box.meta("a", 3)) == (None, None, b"three")
    box.close()


def test_one_process_at_a_time(tmp_path: Path) -> None:
    box = outbox(tmp_path)
    with pytest.raises(StorageError, match="in use by another process"):
        outbox(tmp_path)
    box.close()
    box.close()
    outbox(tmp_path).close()


def test_a_damaged_file_is_put_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    box = outbox(tmp_path)
    box.put([entry(seq) for seq in range(9)])
    box.close()
    path = tmp_path / "outbox.sqlite"
    path.write_bytes(path.read_bytes()[:64] + b"\xff" * 5_000)
    box = outbox(tmp_path)
    assert box.tally.put == 0
    box.put([entry(0)])
    box.close()
    assert "is damaged" in caplog.text
    assert len(list(tmp_path.glob("outbox.sqlite.damaged-*"))) >= 1


def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    outbox(tmp_path).close()
    with sqlite3.connect(tmp_path / "outbox.sqlite") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StorageError, match="newer version"):
        outbox(tmp_path)


def test_a_full_disk_changes_nothing(tmp_path: Path) -> None:
    box = outbox(tmp_path, 1_000)
    box.put([entry(0)])
    pages = box._connection.execute("PRAGMA page_count").fetchone()[0]
    box._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(SpoolFullError, match="is full"):
        box.put([entry(seq) for seq in range(1, 900)])
    assert (box.tally.put, box.tally.waiting) == (1, 1)
    box._connection.execute("PRAGMA max_page_count = 1000000")
    box.put([entry(1)])
    assert seqs(box.after("a", 0, 9)) == [0, 1]
    box.close()


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be made: Not a directory"):
        open_outbox(tmp_path / "file" / "x", 1, "drop-oldest")


# -- from the outbox to the broker -------------------------------------------------------------------------


def drive(forwarder: Forwarder, way: SimulatedWay, clock: ManualClock, seconds: float) -> None:
    """A tenth of a second at a time."""
    for _ in range(round(seconds * 10)):
        clock.advance(0.1)
        way.advance(way.now_s + 0.1)
        forwarder.step()


def test_each_boot_is_sent_behind_what_its_samples_are(tmp_path: Path) -> None:
    box, way, clock = outbox(tmp_path, 50), SimulatedWay("a"), ManualClock()
    for boot in (1, 2):
        box.begin_boot("a", boot, f"meta of {boot}".encode())
        box.put([entry(seq, boot=boot) for seq in range(3)])
    drive(Forwarder(box, way, clock=clock), way, clock, 5)
    assert way.metas == [b"meta of 1", b"meta of 2"]
    assert [(one.boot, one.seq) for one in way.received] == [(b, s) for b in (1, 2) for s in range(3)]
    assert box.tally.waiting == 0
    box.close()


def test_what_is_refused_for_now_stays_and_is_sent_again_in_order(tmp_path: Path) -> None:
    box, way, clock = outbox(tmp_path, 50), SimulatedWay("a"), ManualClock()
    box.put([entry(seq) for seq in range(4)])
    way.codes = [0, 0x87, 0x87, 0x87, 0x97, 0x97, 0x97]
    forwarder = Forwarder(box, way, clock=clock)
    drive(forwarder, way, clock, 2)
    assert [one.seq for one in way.received] == [0]
    assert box.tally.waiting == 3
    drive(forwarder, way, clock, 30)
    assert [one.seq for one in way.received] == [0, 1, 2, 3]
    assert (box.tally.confirmed, box.tally.refused, box.tally.waiting) == (4, 0, 0)
    box.close()


def test_what_is_refused_for_good_is_counted(tmp_path: Path) -> None:
    box, way, clock = outbox(tmp_path, 50), SimulatedWay("a"), ManualClock()
    box.put([entry(seq) for seq in range(3)])
    way.codes = [0, 0x99, 0]
    drive(Forwarder(box, way, clock=clock), way, clock, 5)
    assert (box.tally.confirmed, box.tally.refused, box.tally.waiting) == (2, 1, 0)
    box.close()


@pytest.mark.parametrize(
    ("waiting", "size"), [(0, 25), (100, 25), (200, 25), (400, 50), (2_000, 250), (10**9, 250)]
)
def test_messages_grow_with_what_waits(waiting: int, size: int) -> None:
    assert AdaptiveBatching(25, 250, lambda: waiting)() == size
