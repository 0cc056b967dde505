"""What one device does to the history of the others: nothing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from disc_stream_server.storage import state as module
from disc_stream_server.storage.retention import Retention
from disc_stream_server.storage.rows import Arrival
from disc_stream_server.storage.segments import list_segments
from disc_stream_server.storage.spool import SpoolReader, SpoolWriter
from disc_stream_server.storage.state import DeadLetter, StateStore
from tests.support.commits import commit


def rows_by_device(spool: Path) -> Counter[str]:
    reader = SpoolReader(spool)
    found = Counter(row.topic.split("/")[2] for row in reader.read(0, 1_000_000))
    reader.close()
    return found


def write(spool: Path, device: str, n: int) -> int:
    """Messages of a device behind all others; returns the position of the last one."""
    writer = SpoolWriter(spool, max_file_bytes=400_000)
    for at in range(0, n, 50):
        writer.append([Arrival(at, f"ds/v1/{device}/raw", "", bytes(5_000))] * min(50, n - at))
    head = writer.head
    writer.close()
    return head


def test_a_backlog_that_is_not_labelled_yet_erases_nobodys_history(tmp_path: Path) -> None:
    labelled = write(tmp_path, "good", 300)
    write(tmp_path, "attacker", 3_000)
    rules = Retention(max_age_s=1e9, max_bytes=5_000_000, max_device_bytes=2**40)
    removed = rules.apply(tmp_path, done=labelled, now_us=1)
    assert (removed.files, removed.rows) == (0, 0), "1.5 MB of history are within the limit"
    assert rows_by_device(tmp_path) == {"good": 300, "attacker": 3_000}


def test_a_device_with_much_more_than_its_share_gives_before_a_file_of_all_goes(tmp_path: Path) -> None:
    write(tmp_path, "good", 100)
    write(tmp_path, "also-good", 100)
    head = write(tmp_path, "attacker", 3_000)
    head = write(tmp_path, "good", 100)
    rules = Retention(max_age_s=1e9, max_bytes=5_000_000, max_device_bytes=2**40)
    rules.apply(tmp_path, done=head, now_us=1)
    left = rows_by_device(tmp_path)
    assert (left["good"], left["also-good"]) == (200, 100), "nothing of theirs"
    assert 100 < left["attacker"] < 500, "what is left of the limit"
    assert sum(path.stat().st_size for path in tmp_path.glob("*.sqlite*")) <= 5_000_000
    assert rules.apply(tmp_path, done=head, now_us=1).rows == 0, "and once is enough"


def test_where_all_have_alike_the_oldest_file_goes(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path, max_file_bytes=60_000)
    for at in range(0, 1_000, 5):
        writer.append([Arrival(at, f"ds/v1/d{n}/raw", "", bytes(1_000)) for n in range(5)])
    writer.close()
    before = list_segments(tmp_path)
    removed = Retention(1e9, 600_000, 2**40).apply(tmp_path, done=1_000, now_us=1)
    assert removed.rows == 0, "no file is written anew for it"
    assert list_segments(tmp_path) == before[removed.files :]
    assert removed.files > 0


def letter(position: int, device: str, size: int = 10) -> DeadLetter:
    return DeadLetter(position, position, "t", device, "encoding", "why", "", bytes(size), size)


@pytest.mark.parametrize(
    ("limit", "size"), [("MAX_DEAD_LETTERS", 10), ("MAX_DEAD_BYTES", 5_000)], ids=["count", "bytes"]
)
def test_dead_letters_of_one_device_drive_out_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, size: int
) -> None:
    monkeypatch.setattr(module, limit, 100 if limit == "MAX_DEAD_LETTERS" else 100 * size)
    store = StateStore(tmp_path)
    letters = [letter(n, "good", size) for n in range(1, 21)]
    letters += [letter(n, "attacker", size) for n in range(21, 1_021)]
    for at in range(0, len(letters), 50):
        some = letters[at : at + 50]
        store.commit(commit(some[-1].position, dead_letters=some))
    kept = store.dead_letters(limit=10_000)
    counts = Counter(one.device for one in kept)
    assert counts["good"] == 20
    assert 60 <= counts["attacker"] <= 80
    assert store.dead_letters_dropped == 1_020 - len(kept)
    assert kept[-1].position == 1_020, "the oldest go"
    store.close()
