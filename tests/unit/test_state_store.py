"""Checkpoints, labels and dead letters on disk; retention and erasure."""

from __future__ import annotations

import logging
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from disc_stream.errors import InputNotFoundError, StorageError
from disc_stream_server.storage import state as module
from disc_stream_server.storage.forget import finish, forget
from disc_stream_server.storage.lock import FolderLock
from disc_stream_server.storage.retention import Removed, Retention
from disc_stream_server.storage.segments import list_segments
from disc_stream_server.storage.spool import Arrival, SpoolReader, SpoolWriter
from disc_stream_server.storage.sqlite import damaged_copies
from disc_stream_server.storage.state import DeadLetter, Lane, LaneState, StateStore, StoredLabel
from tests.support.commits import commit


def make_label(position: int, device: str = "watch", window: int = 0, model: str = "m1") -> StoredLabel:
    return StoredLabel(
        position=position, device=device, boot=1, window=window, t0_us=window * 1000,
        t1_us=window * 1000 + 2000, t0_unix_us=None, label=2, name="walking", confidence=0.5, smoothed=1,
        smoothed_confidence=0.75, q=b"\0" * 12, distance=1.5, novelty=None, model=model,
        flags=0, labelled_us=7,
    )  # fmt: skip


def make_letter(position: int, reason: str = "malformed", device: str = "watch", size: int = 3) -> DeadLetter:
    return DeadLetter(position, 5, f"ds/v1/{device}/raw", device, reason, "why", "", b"x" * size, size)


def test_a_checkpoint_comes_back_whole(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    assert store.position == 0
    store.commit(
        commit(
            9,
            {"a": b"1", "b": b"2"},
            parts={"meta": {"a": b"{}"}},
            labels=[make_label(3), make_label(4, window=1)],
            dead_letters=[make_letter(5)],
            facts={"held": b"x"},
        )
    )
    store.close()
    store = StateStore(tmp_path)
    assert store.position == 9
    assert store.states(0, "session") == {"a": b"1", "b": b"2"}
    assert (store.state(0, "session", "a"), store.state(0, "session", "c")) == (b"1", None)
    assert store.state(0, "meta", "a") == b"{}"
    assert store.labels(limit=10) == [make_label(3), make_label(4, window=1)]
    assert store.dead_letters() == [make_letter(5)]
    assert store.facts() == {"held": b"x"}
    store.commit(commit(10, {"a": b""}, facts={"held": b""}))
    assert store.states(0, "session") == {"b": b"2"}
    assert store.facts() == {}
    store.close()


def test_a_lane_keeps_what_was_known_where_it_began(tmp_path: Path) -> None:
    """The rows of a stretch are taken again from the state at its beginning, while the live lane goes on."""
    store = StateStore(tmp_path)
    store.commit(commit(10, {"a": b"a10", "b": b"b10"}, opens=1))
    assert store.lanes() == [Lane(1, 10, None, 0, 10)]
    store.commit(commit(15, {"a": b"a15", "new": b"n15"}, windows={1: 7}))
    store.commit(commit(20, {"a": b"a20"}, closes=1))
    store.commit(commit(30, {"b": b"b30", "new": b"n30"}))
    assert store.lanes() == [Lane(1, 10, 20, 7, 10)]
    assert {name: store.state(1, "session", name) for name in ("a", "b", "new")} == {
        "a": b"a10", "b": b"b10", "new": None,
    }  # fmt: skip
    assert store.states(1, "session") == {"a": b"a10", "b": b"b10"}
    assert store.state(0, "session", "a") == b"a20"
    backfill = LaneState(1, 14, {"session": {"a": b"a14"}})
    more = commit(31)
    more.lanes.append(backfill)
    store.commit(more)
    assert (store.lanes()[0].position, store.state(1, "session", "a")) == (14, b"a14")
    store.commit(commit(40, ended=[1]))
    assert store.lanes() == []
    assert store._connection.execute("SELECT count(*) FROM parts WHERE lane = 1").fetchone() == (0,)
    store.close()


def test_a_state_of_version_1_is_taken_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    old = sqlite3.connect(tmp_path / "state.sqlite")
    old.executescript(
        """
        CREATE TABLE checkpoint (id INTEGER PRIMARY KEY CHECK (id = 1), position INTEGER NOT NULL);
        INSERT INTO checkpoint VALUES (1, 50);
        CREATE TABLE sessions (device TEXT PRIMARY KEY, state BLOB NOT NULL);
        INSERT INTO sessions VALUES ('a', x'00');
        CREATE TABLE facts (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
        INSERT INTO facts VALUES ('meta/a', x'7b7d'), ('held', x'80');
        CREATE TABLE deferred (position INTEGER, device TEXT, boot INTEGER, window INTEGER, t0_us INTEGER,
            seq INTEGER, segment INTEGER, blob BLOB);
        INSERT INTO deferred VALUES (31, 'a', 1, 4, 0, 0, 0, x''), (40, 'a', 1, 5, 0, 0, 0, x'');
        PRAGMA user_version = 1;
        """
    )
    old.close()
    store = StateStore(tmp_path)
    assert store.position == 50
    assert store.states(0, "session") == {}
    assert store.states(0, "meta") == {"a": b"{}"}
    assert store.lanes() == [Lane(1, 30, 40, 2, 30)], "the rows whose windows were deferred"
    assert store.facts() == {}
    assert "devices begin new windows" in caplog.text
    store.close()
    store = StateStore(tmp_path)
    assert store.position == 50
    store.close()


def test_labels_that_come_again_after_a_crash_are_the_same_labels(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    store.commit(commit(4, labels=[make_label(3), make_label(4, window=1)]))
    store.commit(commit(6, labels=[make_label(3), make_label(4, window=1), make_label(6, window=2)]))
    keys = [(one.device, one.boot, one.t0_us, one.model) for one in store.labels(limit=10)]
    assert len(keys) == len(set(keys)) == store.label_count() == 3
    store.commit(commit(6, labels=[make_label(3, model="m2")]))
    assert store.label_count() == 4, "another model may see it in another way"
    assert [one.position for one in store.labels(device="watch", after=3, limit=10)] == [4, 6]
    store.close()


def test_many_rows_of_one_checkpoint_are_all_there_once(tmp_path: Path) -> None:
    n = 75  # several statements of many rows, and some rows that are left
    names = [f"d{number}" for number in range(n)]
    labels = [make_label(number + 1, name) for number, name in enumerate(names)]
    letters = [make_letter(number + 1) for number in range(n)]
    store = StateStore(tmp_path)
    before = dict.fromkeys(names[::2], b"1")
    store.commit(commit(40, before, labels=labels[:40], dead_letters=letters[:40]))
    now = {name: str(number).encode() for number, name in enumerate(names)} | {"d3": b""}
    store.commit(commit(n, now, labels=labels, dead_letters=letters))
    assert store.states(0, "session") == {name: state for name, state in now.items() if state}
    assert store.labels(limit=999) == labels
    assert store.dead_letters(limit=999) == letters
    store.close()


def test_a_checkpoint_that_fails_leaves_the_one_before(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    store.commit(commit(1, {"a": b"old"}))
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(StorageError, match="the disk is full"):
        store.commit(commit(2, {"a": b"new", "b": b"x" * 100_000}))
    assert store.position == 1
    assert store.state(0, "session", "a") == b"old"
    store._connection.execute("PRAGMA max_page_count=100000")
    store.commit(commit(2, {"a": b"new"}))
    assert (store.position, store.state(0, "session", "a")) == (2, b"new")
    store.close()


def test_a_damaged_state_is_set_aside_and_begun_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = StateStore(tmp_path)
    store.commit(commit(5, {"a": b"x" * 50_000}))
    store.close()
    path = tmp_path / "state.sqlite"
    path.write_bytes(os.urandom(path.stat().st_size))
    with caplog.at_level(logging.ERROR):
        store = StateStore(tmp_path)
    assert store.position == 0
    store.close()
    assert "labelled again" in caplog.text
    assert (tmp_path / "state.sqlite.damaged").exists()


def test_every_damaged_state_is_kept_under_a_name_of_its_own(tmp_path: Path) -> None:
    for n in range(3):
        StateStore(tmp_path).close()
        (tmp_path / "state.sqlite").write_bytes(b"%d is no database" % n * 1_000)
    StateStore(tmp_path).close()
    copies = {path.name: path.read_bytes()[:1] for path in tmp_path.glob("*.damaged*")}
    assert copies == {
        "state.sqlite.damaged": b"0",
        "state.sqlite.damaged2": b"1",
        "state.sqlite.damaged3": b"2",
    }
    assert damaged_copies(tmp_path) == sorted(tmp_path / name for name in copies)


def test_a_state_is_closed_by_another_thread_than_the_one_that_opened_it(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    store.commit(commit(3, {"a": b"x"}))
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(store.state, 0, "session", "a").result() == b"x"
        pool.submit(store.close).result()


def test_dead_letters_are_bounded_and_the_oldest_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_DEAD_LETTERS", 10)
    store = StateStore(tmp_path)
    for position in range(1, 31):
        store.commit(
            commit(position, dead_letters=[make_letter(position, "range" if position % 2 else "text")])
        )
    assert [one.position for one in store.dead_letters()] == list(range(21, 31))
    assert store.dead_letter_counts() == {"range": 5, "text": 5}
    assert [one.position for one in store.dead_letters(reason="text", after=25)] == [26, 28, 30]
    assert store.dead_letter(30) == make_letter(30, "text")
    assert store.dead_letter(3) is None
    assert store.purge_dead_letters(reason="text") == 5
    assert store.dead_letter_counts() == {"range": 5}
    store.close()


def test_one_server_per_folder(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    with pytest.raises(StorageError, match=f"in use by process {os.getpid()}"):
        FolderLock(tmp_path)
    lock.release()
    FolderLock(tmp_path).release()


def fill(spool: Path, n: int, *, size: int = 2000, devices: int = 2) -> None:
    writer = SpoolWriter(spool, max_file_bytes=2**16)
    for number in range(n):
        name = f"ds/v1/d{number % devices}/raw"
        writer.append(
            [Arrival(number * 1_000_000, name, "", f"secret-d{number % devices}-".encode() * (size // 10))]
        )
    writer.close()


def rows_of(spool: Path) -> list[tuple[int, str]]:
    reader = SpoolReader(spool)
    rows = [(row.position, row.topic) for row in reader.read(0, 100_000)]
    reader.close()
    return rows


def test_of_two_files_the_older_one_goes_and_a_single_one_stays(tmp_path: Path) -> None:
    fill(tmp_path, 40)
    segments = list_segments(tmp_path)
    assert len(segments) == 2
    strict = Retention(max_age_s=0, max_bytes=0, max_device_bytes=0)
    size = sum(path.stat().st_size for path in tmp_path.glob(f"*{segments[0]}.sqlite"))
    assert strict.apply(tmp_path, done=40, now_us=10**12) == Removed(files=1, rows=0, bytes=size)
    assert list_segments(tmp_path) == segments[1:]
    again = strict.apply(tmp_path, done=40, now_us=10**12)
    assert (again.files, again.rows, again.bytes) == (0, 0, 0)


def test_what_is_not_labelled_is_never_removed(tmp_path: Path) -> None:
    fill(tmp_path, 300)
    strict = Retention(max_age_s=0, max_bytes=0, max_device_bytes=0)
    assert strict.apply(tmp_path, done=0, now_us=10**12).files == 0
    assert len(rows_of(tmp_path)) == 300
    segments = list_segments(tmp_path)
    removed = strict.apply(tmp_path, done=segments[2] - 1, now_us=10**12)
    assert removed.files == 2
    assert rows_of(tmp_path)[0][0] == segments[2]
    strict.apply(tmp_path, done=300, now_us=10**12)
    assert len(list_segments(tmp_path)) == 1, "the file that is written to stays"


def test_old_files_go_and_then_the_oldest_until_the_rest_fits(tmp_path: Path) -> None:
    fill(tmp_path, 300)
    segments = list_segments(tmp_path)
    age = Retention(max_age_s=200, max_bytes=2**40, max_device_bytes=2**40)
    age.apply(tmp_path, done=300, now_us=300 * 1_000_000)
    kept = [position for position, _ in rows_of(tmp_path)]
    assert min(kept) <= 101 + (segments[1] - segments[0])
    assert min(kept) > 1
    size = sum(path.stat().st_size for path in tmp_path.glob("*.sqlite"))
    Retention(10**9, size // 2, 2**40).apply(tmp_path, done=300, now_us=300 * 1_000_000)
    assert sum(path.stat().st_size for path in tmp_path.glob("*.sqlite")) <= size // 2


def test_a_device_that_sends_too_much_loses_its_own_oldest_rows_only(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path, max_file_bytes=2**16)
    for number in range(300):
        name = "quiet" if number % 10 == 0 else "loud"
        writer.append([Arrival(number, f"ds/v1/{name}/raw", "", b"x" * 1000)])
    writer.close()
    before = rows_of(tmp_path)
    sealed = [row for row in before if row[0] < list_segments(tmp_path)[-1]]
    Retention(10**9, 2**40, 50_000).apply(tmp_path, done=300, now_us=300)
    left = rows_of(tmp_path)
    assert [row for row in left if "quiet" in row[1]] == [row for row in before if "quiet" in row[1]]
    loud = [position for position, topic in left if "loud" in topic and position <= sealed[-1][0]]
    assert len(loud) == 50
    assert loud == [position for position, topic in sealed if "loud" in topic][-50:]


def test_an_erased_device_is_gone_to_the_last_byte(tmp_path: Path) -> None:
    fill(tmp_path / "spool", 120)
    store = StateStore(tmp_path)
    store.commit(
        commit(
            120,
            {"d0": b"secret-d0-state", "d1": b"secret-d1-state"},
            labels=[make_label(1, "d0"), make_label(2, "d1")],
            dead_letters=[make_letter(3, device="d0")],
            parts={"meta": {"d0": b"secret-d0-meta"}, "held": {"d0": b"secret-d0-held"}},
        )
    )
    reader = SpoolReader(tmp_path / "spool")
    assert len(reader.read(0, 1000)) == 120
    erased = forget(tmp_path, "d0", "ds/v1")  # while others have the files open
    assert (erased.messages, erased.labels, erased.others) == (60, 1, 5)
    assert {row.topic for row in reader.read(0, 1000)} == {"ds/v1/d1/raw"}
    assert store.forgotten(0) == [(1, "d0")]
    reader.close()
    store.close()
    everything = b"".join(path.read_bytes() for path in tmp_path.rglob("*.sqlite*"))
    assert b"secret-d0-" not in everything
    assert b"secret-d1-" in everything


def test_empty_messages_that_the_clearing_of_topics_has_left_go_too(tmp_path: Path) -> None:
    StateStore(tmp_path).close()
    fill(tmp_path / "spool", 5, devices=1)
    erased = forget(tmp_path, "gone", "ds/v1")
    cleared = [("gone/meta", b""), ("gone/raw", b"new"), ("d1/meta", b""), ("gone/status", b"")]
    writer = SpoolWriter(tmp_path / "spool")
    writer.append([Arrival(9, f"ds/v1/{name}", "", payload) for name, payload in cleared])
    writer.close()
    done = finish(tmp_path, erased, "gone", "ds/v1")
    assert [topic for _, topic in rows_of(tmp_path / "spool")[5:]] == ["ds/v1/gone/raw", "ds/v1/d1/meta"]
    before = {place: erased.receipt.get(place, 0) for place in done.receipt}
    assert sum(done.receipt[place] - before[place] for place in done.receipt) == 2
    assert done.server is None, "no server runs"


def test_what_the_server_still_holds_of_an_erased_device_is_not_written(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    assert store.last_forgotten == 0
    store.commit(commit(1, {"d0": b"1"}))
    forget(tmp_path, "d0", "ds/v1")
    store.commit(commit(2, {"d0": b"2", "d1": b"3"}, labels=[make_label(2, "d0"), make_label(2, "d1", 1)]))
    assert store.states(0, "session") == {"d1": b"3"}
    assert [label.device for label in store.labels(limit=9)] == ["d1"]
    assert store.forgotten(0) == [(1, "d0")]
    store.commit(commit(3, {"d0": b"4"}))
    assert store.state(0, "session", "d0") == b"4", "it may come back, and begins anew"
    store.close()


def test_only_a_state_folder_can_forget(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match="is not a state folder"):
        forget(tmp_path, "d0", "ds/v1")
