"""A state that is damaged, shared, too large or too new; and what retention and erasure leave behind."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from disc_stream.errors import InputNotFoundError, StateDamagedError, StorageError
from disc_stream_server.storage import forget as forgetting
from disc_stream_server.storage import state as module
from disc_stream_server.storage.forget import forget
from disc_stream_server.storage.lock import FolderLock, holder
from disc_stream_server.storage.queries import FILE, StateReader
from disc_stream_server.storage.retention import Retention, trim_labels
from disc_stream_server.storage.segments import list_segments, segment_path
from disc_stream_server.storage.spool import Arrival, SpoolReader, SpoolWriter
from disc_stream_server.storage.sqlite import damaged_copies
from disc_stream_server.storage.state import DeadLetter, StateStore, StoredLabel
from tests.support.commits import commit
from tests.support.damage import hide_a_row


def label(position: int, device: str = "d0", window: int | None = None, model: str = "m") -> StoredLabel:
    n = position if window is None else window
    return StoredLabel(
        position, device, 1, n, n * 1000, n * 1000 + 9, None, 0, "c", 0.5, 0, 0.5, b"", 1.0, None, model, 0, 1
    )


def letter(position: int, device: str = "d0", payload: bytes = b"x") -> DeadLetter:
    return DeadLetter(position, 1, "t", device, "range", "why", "", payload, len(payload))


def fill(spool: Path, n: int, *, devices: int = 2, max_file_bytes: int = 60_000) -> None:
    writer = SpoolWriter(spool, max_file_bytes=max_file_bytes)
    for k in range(n):
        payload = f"of-d{k % devices}-".encode() * 200
        writer.append([Arrival(k * 1_000_000, f"ds/v1/d{k % devices}/raw", "", payload)])
    writer.close()


def topics_of(spool: Path) -> list[str]:
    reader = SpoolReader(spool)
    topics = [row.topic for row in reader.read(0, 100_000)]
    reader.close()
    return topics


def spoil_middle(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[8192:] = b"\xff" * (len(data) - 8192)
    path.write_bytes(data)


def test_any_repetition_of_checkpoints_leaves_one_label_for_each_window(tmp_path: Path) -> None:
    labels = [label(p, f"d{p % 3}", window=p // 3) for p in range(1, 91)]
    labels += [label(p, f"d{p % 3}", window=100 + p) for p in range(1, 91, 7)]  # some rows complete two
    for crash_at in (10, 25, 25, 60, 90):
        store = StateStore(tmp_path)
        begin = 0  # a restored copy of the folder may begin anywhere before
        store.commit(commit(crash_at, labels=[one for one in labels if begin < one.position <= crash_at]))
        store.close()
    store = StateStore(tmp_path)
    found = store.labels(limit=1000)
    keys = [(one.device, one.boot, one.t0_us, one.model) for one in found]
    assert len(set(keys)) == len(keys) == len(labels)
    store.close()


def test_labels_of_one_row_are_never_parted(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    store.commit(commit(3, labels=[label(1, window=n) for n in range(5)] + [label(2, window=9)]))
    assert [one.window for one in store.labels(limit=2)] == [0, 1, 2, 3, 4]
    assert [one.window for one in store.labels(after=1, limit=2)] == [9]
    store.close()


def test_damage_that_shows_in_use_is_said_and_the_next_start_begins_anew(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    store.commit(commit(5, sessions={f"d{n}": bytes(3000) for n in range(50)}))
    store.close()
    store = StateStore(tmp_path)
    spoil_middle(tmp_path / module.FILE)
    with pytest.raises(StateDamagedError, match=r"state\.sqlite' is damaged"):
        store.commit(commit(6, sessions={f"d{n}": b"new" for n in range(50)}))
    store.close()
    store = StateStore(tmp_path)
    assert (store.position, store.states(0, "session")) == (0, {})
    store.commit(commit(1))
    store.close()
    assert len(damaged_copies(tmp_path)) == 1
    StateStore(tmp_path).close()
    assert len(damaged_copies(tmp_path)) == 1, "the new one is healthy"


def test_who_only_reads_leaves_a_damaged_file_to_the_server(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    store.commit(commit(400, dead_letters=[letter(n, payload=b"x" * 500) for n in range(1, 401)]))
    store.close()
    spoil_middle(tmp_path / FILE)
    spoiled = (tmp_path / FILE).read_bytes()
    with pytest.raises(StateDamagedError, match="Start the server again"):
        StateReader(tmp_path)
    assert (tmp_path / FILE).read_bytes() == spoiled
    assert not damaged_copies(tmp_path)
    StateStore(tmp_path).close()
    assert len(damaged_copies(tmp_path)) == 1


def test_who_reads_sees_what_a_server_writes_meanwhile(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    store.commit(commit(1, dead_letters=[letter(1)]))
    reader = StateReader(tmp_path)
    assert reader.position == 1
    store.commit(commit(2, dead_letters=[letter(2)]))
    assert [one.position for one in reader.dead_letters()] == [1, 2]
    reader.close()
    assert [one.position for one in store.dead_letters()] == [1, 2]
    store.close()


def test_what_is_no_state_folder_is_not_made_one(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match="not a state folder"):
        StateReader(tmp_path)
    (tmp_path / FILE).write_bytes(b"something else " * 1000)
    with pytest.raises(StateDamagedError, match="is damaged"):
        StateReader(tmp_path)


def test_a_suspicion_that_was_wrong_costs_nothing(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    store.commit(commit(5))
    store.close()
    (tmp_path / "state.sqlite.suspect").touch()
    store = StateStore(tmp_path)
    assert store.position == 5
    store.close()
    assert not (tmp_path / "state.sqlite.suspect").exists()


HOLD = """
import sys
from pathlib import Path
from disc_stream_server.storage.lock import FolderLock
lock = FolderLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_only_the_server_of_a_folder_may_begin_a_damaged_state_anew(tmp_path: Path) -> None:
    StateStore(tmp_path).close()
    (tmp_path / module.FILE).write_bytes(b"no database" * 1000)
    assert holder(tmp_path) is None
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as server:
        assert server.stdout is not None
        assert server.stdin is not None
        assert server.stdout.readline() == b"held\n"
        assert holder(tmp_path) == server.pid
        with pytest.raises(StorageError, match="is damaged"):
            StateStore(tmp_path)
        with pytest.raises(StorageError, match=f"in use by process {server.pid}"):
            FolderLock(tmp_path)
        assert not damaged_copies(tmp_path)
        server.send_signal(signal.SIGKILL)
    lock = FolderLock(tmp_path)  # the lock went with the process
    assert holder(tmp_path) == os.getpid()
    StateStore(tmp_path).close()
    assert len(damaged_copies(tmp_path)) == 1
    lock.release()


def test_a_state_of_the_future_is_left_alone(tmp_path: Path) -> None:
    StateStore(tmp_path).close()
    with sqlite3.connect(tmp_path / module.FILE) as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(StorageError, match="newer version"):
        StateStore(tmp_path)
    assert not damaged_copies(tmp_path)


def test_dead_letters_are_bounded_in_bytes_and_what_went_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_DEAD_BYTES", 1_000_000)
    store = StateStore(tmp_path)
    for position in range(1, 41):
        store.commit(commit(position, dead_letters=[letter(position, payload=bytes(100_000))]))
    kept = store.dead_letters(limit=1000)
    assert all(len(one.payload) == 65_536 and one.size == 100_000 for one in kept)
    assert 900_000 < sum(len(one.payload) for one in kept) <= 1_000_000
    assert kept[-1].position == 40
    assert store.dead_letters_dropped == 40 - len(kept)
    store.commit(commit(41, dead_letters=[letter(40)]))  # again, after a crash
    assert len(store.dead_letters(limit=1000)) == len(kept)
    assert store.purge_dead_letters() == len(kept)
    for position in range(50, 60):
        store.commit(commit(position, dead_letters=[letter(position, payload=bytes(60_000))]))
    assert len(store.dead_letters()) == 10, "what was purged does not count"
    store.close()


def test_what_comes_of_rows_before_the_erasure_is_never_written_again(tmp_path: Path) -> None:
    fill(tmp_path / "spool", 20)
    store = StateStore(tmp_path)
    forget(tmp_path, "d0", "ds/v1")
    assert store.forgotten(0) == [(1, "d0")]  # the server has heard of it, and some of it is on its way still
    old, new = 18, 25
    store.commit(
        commit(
            19,
            labels=[label(old), label(old + 1, "d1")],
            dead_letters=[letter(old)],
        )
    )
    assert [one.device for one in store.labels(limit=9)] == ["d1"]
    assert store.dead_letters() == []
    store.commit(commit(30, labels=[label(new)], sessions={"d0": b"new"}))
    assert [one.position for one in store.labels(device="d0", limit=9)] == [new]
    assert store.state(0, "session", "d0") == b"new"
    assert store.forgotten(0) == [], "not even its name is kept"
    forget(tmp_path, "d1", "ds/v1")
    assert store.forgotten(1) == [(2, "d1")], "numbers are not given twice"
    store.close()


def test_erasing_removes_copies_of_damaged_files_too(tmp_path: Path) -> None:
    fill(tmp_path / "spool", 100)
    spoil_middle(segment_path(tmp_path / "spool", list_segments(tmp_path / "spool")[-1]))
    SpoolWriter(tmp_path / "spool").close()
    StateStore(tmp_path).close()
    assert len(damaged_copies(tmp_path / "spool")) == 1
    assert forget(tmp_path, "d0", "ds/v1").damaged_files == 1
    left = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"of-d0-" not in left
    assert b"of-d1-" in left


def test_erasing_does_not_trust_an_old_file_that_is_damaged(tmp_path: Path) -> None:
    fill(tmp_path / "spool", 100)
    StateStore(tmp_path).close()
    hide_a_row(segment_path(tmp_path / "spool", 1))
    assert forget(tmp_path, "d0", "ds/v1").damaged_files == 1
    assert forget(tmp_path, "d1", "ds/v1").damaged_files == 0
    left = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"of-d0-" not in left
    assert b"of-d1-" not in left


def test_erasing_says_that_it_cannot_search_the_newest_file_or_the_state(tmp_path: Path) -> None:
    fill(tmp_path / "spool", 100)
    StateStore(tmp_path).close()
    hide_a_row(segment_path(tmp_path / "spool", list_segments(tmp_path / "spool")[-1]))
    with pytest.raises(StorageError, match="is damaged, so the device's messages cannot") as told:
        forget(tmp_path, "d0", "ds/v1")
    assert "Start the server again" in str(told.value)
    SpoolWriter(tmp_path / "spool").close()  # as a server does
    state = bytearray((tmp_path / FILE).read_bytes())
    state[8192:16384] = random.Random(0).randbytes(8192)
    (tmp_path / FILE).write_bytes(state)
    with pytest.raises(StateDamagedError, match="is damaged"):
        forget(tmp_path, "d0", "ds/v1")
    StateStore(tmp_path).close()
    assert forget(tmp_path, "d0", "ds/v1").damaged_files == 2
    left = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"of-d0-" not in left


APPEND = """
import sys
from pathlib import Path
from disc_stream_server.storage.spool import Arrival, SpoolWriter
writer = SpoolWriter(Path(sys.argv[1]), max_file_bytes=300_000)
k = 0
while True:
    writer.append([Arrival(1, f"ds/v1/d{(k + n) % 2}/raw", "", b"%08d" % (k + n) * 50) for n in range(10)])
    k += 10
    print(k, flush=True)
"""


def test_erasing_beside_a_writer_touches_nothing_of_the_others(tmp_path: Path) -> None:
    StateStore(tmp_path).close()
    with subprocess.Popen(
        [sys.executable, "-c", APPEND, tmp_path / "spool"], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        for _ in range(50):
            before = int(writer.stdout.readline())
        erased = forget(tmp_path, "d0", "ds/v1")
        reader = SpoolReader(tmp_path / "spool")
        erased_upto = reader.head
        reader.close()
        last = 0
        while last < erased_upto + 200:  # the pipe still holds older lines
            last = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        last = [last, *map(int, writer.stdout.read().split())][-1]
    assert erased.messages >= before // 2
    reader = SpoolReader(tmp_path / "spool")
    rows = reader.read(0, 1_000_000)
    reader.close()
    others = [int(row.payload[:8]) for row in rows if row.topic == "ds/v1/d1/raw"]
    assert others[: last // 2] == list(range(1, last, 2))
    left = [row for row in rows if row.topic == "ds/v1/d0/raw"]
    assert min(int(row.payload[:8]) for row in left) >= before
    with closing(sqlite3.connect(tmp_path / FILE)) as connection:
        ((upto,),) = connection.execute("SELECT upto FROM forgotten")
    assert min(row.position for row in left) > upto, "what is never labelled is not kept either"


def test_what_came_into_a_file_after_it_was_searched_and_before_the_next_one_is_erased(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer goes on in the file that was just searched, and only then begins another."""
    StateStore(tmp_path).close()
    writer = SpoolWriter(tmp_path / "spool", max_file_bytes=200_000)
    rows = [Arrival(1, f"ds/v1/d{n % 2}/raw", "", b"%08d" % n * 50) for n in range(20)]
    writer.append(rows)
    search, searched = forgetting._forget_messages, []

    def and_then_more_comes(path: Path, topics: str, upto: int = 2**62, **how: bool) -> int:
        found = search(path, topics, upto, **how)
        if not searched:
            before = list_segments(tmp_path / "spool")
            while list_segments(tmp_path / "spool") == before:
                writer.append(rows)
        searched.append(path)
        return found

    monkeypatch.setattr(forgetting, "_forget_messages", and_then_more_comes)
    forget(tmp_path, "d0", "ds/v1")
    writer.close()
    assert len(set(searched)) == 2
    reader = SpoolReader(tmp_path / "spool")
    left = reader.read(0, 100_000)
    reader.close()
    assert {row.topic for row in left} == {"ds/v1/d1/raw"}


def test_retention_goes_on_past_a_damaged_file_and_removes_it_in_its_turn(tmp_path: Path) -> None:
    fill(tmp_path, 200)
    first, second, third = list_segments(tmp_path)[:3]
    segment_path(tmp_path, second).write_bytes(b"damaged" * 10_000)
    os.utime(segment_path(tmp_path, second), (0, 0))
    rules = Retention(max_age_s=150, max_bytes=2**40, max_device_bytes=20_000)
    removed = rules.apply(tmp_path, done=200, now_us=200 * 1_000_000)
    assert removed.files >= 2
    assert first not in list_segments(tmp_path)
    assert second not in list_segments(tmp_path)
    assert removed.rows > 0
    with pytest.raises(StopIteration):
        next(path for path in tmp_path.glob(f"{second:020}*"))
    assert third <= list_segments(tmp_path)[-1]


def test_capping_counts_each_file_once_and_again_after_an_erasure(tmp_path: Path) -> None:
    fill(tmp_path / "spool", 300, devices=3)
    StateStore(tmp_path).close()
    spool = tmp_path / "spool"
    loose = Retention(10**9, 2**40, 2**40)
    assert loose.apply(spool, done=300, now_us=0).rows == 0
    forget(tmp_path, "d0", "ds/v1")
    sealed = list_segments(spool)[-1]
    tight = Retention(10**9, 2**40, 30_000)
    tight.apply(spool, done=300, now_us=0)
    again = tight.apply(spool, done=300, now_us=0)
    assert again.rows == 0, "the shares are kept already"
    reader = SpoolReader(spool)
    rows = [row for row in reader.read(0, 1000) if row.position < sealed]
    reader.close()
    for device in ("d1", "d2"):
        size = sum(len(row.payload) for row in rows if f"/{device}/" in row.topic)
        assert 30_000 - 2000 < size <= 30_000
    assert not [row for row in rows if "/d0/" in row.topic]


def test_capping_gives_the_space_back(tmp_path: Path) -> None:
    fill(tmp_path, 500, devices=1, max_file_bytes=400_000)
    path = segment_path(tmp_path, 1)
    before = path.stat().st_size
    Retention(10**9, 2**40, 10_000).apply(tmp_path, done=500, now_us=0)
    assert path.stat().st_size < before / 4


def test_labels_go_with_their_messages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("disc_stream_server.storage.retention._LABELS_AT_ONCE", 7)
    store = StateStore(tmp_path)
    store.commit(commit(100, labels=[label(p) for p in range(1, 101)]))
    assert trim_labels(tmp_path, 0) == 0
    assert trim_labels(tmp_path, 61) == 60
    assert [one.position for one in store.labels(limit=1000)] == list(range(61, 101))
    store.close()
