"""Episodes on disk and how they are read: order of arrival, late labels, merges, models, clocks, erasure."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from disc_stream.episodes import EpisodeRules
from disc_stream.errors import ConfigError, InputNotFoundError, StorageError
from disc_stream_server.storage.forget import finish, forget
from disc_stream_server.storage.history import History
from disc_stream_server.storage.late import SPANS, span_of
from disc_stream_server.storage.retention import trim_episodes, trim_labels
from disc_stream_server.storage.state import FILE, StateStore
from tests.support.commits import commit
from tests.support.pasts import (
    HOP_US,
    MODEL,
    at_us,
    catalogue,
    day,
    expected,
    label,
    labels,
    read,
    shown,
    write,
)

A, B, C = "a" * 20, "b" * 20, "c" * 20


def spans(state: Path, device: str = "watch") -> list[object]:
    """As they are kept; what goes on is known behind the newest label."""
    with closing(StateStore(state)) as store:
        found = [span_of(row) for row in store._connection.execute(f"{SPANS} ORDER BY begin_us", (device,))]
        current = store.episodes.state(device).fold.current
    return [*found[:-1], current] if current is not None else found


def test_labels_become_episodes(tmp_path: Path) -> None:
    write(tmp_path, labels(A + B), labels("." * 40 + "b" + "a" + B))
    with closing(StateStore(tmp_path)) as store:
        store.note_catalogue(catalogue())
    assert read(tmp_path) == ["lie 0-20", "stand 20-63+"]
    with closing(History(tmp_path)) as history:
        first, second = history.episodes("watch").items
        assert (first.cluster, first.windows, first.confidence) == (0, 20, 0.9)
        assert (second.windows, second.was, second.goes_on) == (42, (1,), True)
        assert second.confidence == pytest.approx(0.9 * 41 / 42, abs=1e-4)
        assert history.episodes("nobody").items == ()


def test_gaps_and_states(tmp_path: Path) -> None:
    write(tmp_path, labels(A + "." * 10 + A + "." * 100 + "--" + "." * 100 + "?" * 20))
    assert read(tmp_path) == ["cluster 0 0-51", "not worn 150-153", "unknown 252-273+"]


@given(st.data())
def test_any_order_of_arrival_gives_the_same_rows(tmp_path_factory, data: st.DataObject) -> None:  # type: ignore[no-untyped-def]
    state = tmp_path_factory.mktemp("state")
    rows = list(day("watch", data.draw(st.integers(0, 99)), 300))
    kept = len(rows)
    swaps = data.draw(st.lists(st.tuples(st.integers(0, kept - 1), st.integers(0, kept - 1)), max_size=8))
    for one, other in swaps:
        rows[min(one, other) : max(one, other)] = rows[min(one, other) : max(one, other)][::-1]
    size = data.draw(st.sampled_from([7, 50, 500]))
    write(state, *(rows[n : n + size] for n in range(0, kept, size)))
    assert spans(state) == expected(rows)


def test_a_stretch_that_comes_late_goes_where_it_belongs(tmp_path: Path) -> None:
    """Deferred under overload: the live labels went on, what lies between is caught up in two parts."""
    rows = labels(A + B + C + A)
    write(tmp_path, rows[:20], rows[60:])
    assert read(tmp_path) == ["cluster 0 0-81+"], "the gap of 51 s ends nothing"
    write(tmp_path, rows[20:45], rows[45:60])
    assert read(tmp_path) == ["cluster 0 0-20", "cluster 1 20-40", "cluster 2 40-60", "cluster 0 60-81+"]
    with closing(History(tmp_path)) as history:
        kinds = [event.kind for event in history.events_since(0).events]
        last = history.events_since(0).events[-1]
    assert kinds[0] == "begin"
    assert "corrected" in kinds
    assert (last.begin_us, last.cluster) == (at_us(20), None)


def test_late_labels_take_no_more_time_than_they_may(tmp_path: Path) -> None:
    """They are written down, and taken in by the next checkpoints, the longest known first."""
    with closing(StateStore(tmp_path)) as store:
        for device in ("d1", "d2", "d3"):
            store.commit(commit(1, labels=[*labels(A, device), *labels(A, device, first=40)]))
        store.episodes._take_late = lambda now_us: None  # type: ignore[method-assign]
        late = [one for device in ("d1", "d2", "d3") for one in labels(B, device, first=20)]
        store.commit(commit(2, labels=late))
        del store.episodes._take_late
    assert [len(read(tmp_path, device)) for device in ("d1", "d2", "d3")] == [1, 1, 1]
    with closing(StateStore(tmp_path)) as store:
        for _ in range(3):
            store.commit(commit(3))
    assert [len(read(tmp_path, device)) for device in ("d1", "d2", "d3")] == [3, 3, 3]


def test_the_same_labels_again_change_nothing(tmp_path: Path) -> None:
    rows = list(day("watch", 3, 400))
    write(tmp_path, rows)
    before, sequence = spans(tmp_path), _newest(tmp_path)
    write(tmp_path, rows[100:300])
    assert (spans(tmp_path), _newest(tmp_path)) == (before, sequence)
    with closing(History(tmp_path)) as history:
        found = history.labels("watch", limit=1_000).items
    assert len(found) == len({one.begin_us for one in found}) == len(rows)


def _newest(state: Path) -> int:
    with closing(History(state)) as history:
        return history.newest_event


def test_a_checkpoint_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    rows = list(day("watch", 4, 200))
    with closing(StateStore(tmp_path)) as store:
        store.commit(commit(1, labels=rows[:100]))
        connection = store._connection
        connection.execute("CREATE TRIGGER no BEFORE UPDATE ON progress BEGIN SELECT RAISE(ABORT, 'no'); END")
        connection.execute("DROP TRIGGER no")
        connection.execute(
            "CREATE TRIGGER no BEFORE INSERT ON episode_states BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
        with pytest.raises(StorageError):
            store.commit(commit(2, labels=rows[100:]))
        connection.execute("DROP TRIGGER no")
        assert spans(tmp_path) == expected(rows[:100])
        store.commit(commit(2, labels=rows[100:]))
    assert spans(tmp_path) == expected(rows)


def test_pages_are_the_whole_in_both_directions(tmp_path: Path) -> None:
    rows = list(day("watch", 5, 3_000))
    write(tmp_path, rows)
    with closing(History(tmp_path)) as history:
        whole = history.episodes("watch", limit=5_000).items
        assert len(whole) > 20
        for newest_first in (False, True):
            pages, after = [], None
            while True:
                page = history.episodes("watch", limit=7, after=after, newest_first=newest_first)
                pages += page.items
                if (after := page.after) is None:
                    break
            assert pages == list(whole[::-1] if newest_first else whole)
        told, after = [], None
        while True:
            part = history.labels("watch", limit=777, after=after, newest_first=True)
            told += part.items
            if (after := part.after) is None:
                break
        assert [one.begin_us for one in told] == sorted((r.t0_unix_us for r in rows), reverse=True)
        forth = history.labels("watch", limit=10_000).items
        assert list(forth) == told[::-1]
        assert [one.was for one in forth] == [
            r.smoothed for r in sorted(rows, key=lambda r: r.t0_unix_us or 0)
        ]


def test_a_time_between(tmp_path: Path) -> None:
    write(tmp_path, labels(A + B + C))
    with closing(History(tmp_path)) as history:
        middle = history.episodes("watch", at_us(25), at_us(30))
        assert shown(middle.items) == ["cluster 1 20-40"]
        assert shown(history.episodes("watch", at_us(20), at_us(41)).items) == [
            "cluster 1 20-40", "cluster 2 40-61+",
        ]  # fmt: skip
        assert shown(history.episodes("watch", None, at_us(20)).items) == ["cluster 0 0-20"]
        assert shown(history.episodes("watch", at_us(40), None, newest_first=True).items) == [
            "cluster 2 40-61+"
        ]
        inside = history.labels("watch", at_us(5), at_us(9)).items
        assert [one.begin_us for one in inside] == [at_us(n) for n in range(5, 9)]
        shares = history.share("watch", at_us(10), at_us(45))
    assert [(one.cluster, one.seconds, one.episodes) for one in shares] == [
        (1, 20 * HOP_US / 1e6, 1), (0, 10 * HOP_US / 1e6, 1), (2, 5 * HOP_US / 1e6, 1),
    ]  # fmt: skip


def test_what_cannot_be_asked(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match="is not a state folder"):
        History(tmp_path)
    write(tmp_path, labels(A))
    with closing(History(tmp_path)) as history:
        with pytest.raises(ConfigError, match="limit 0"):
            history.episodes("watch", limit=0)
        with pytest.raises(ConfigError, match="after 'x'"):
            history.episodes("watch", after="x")
        with pytest.raises(ConfigError, match="after '1:2'"):
            history.labels("watch", after="1:2")


def test_devices_now(tmp_path: Path) -> None:
    untimed = label(500, 0, "d2")._replace(t0_unix_us=None)
    write(tmp_path, [*labels(A + B, "d1"), *labels(A, "d2"), untimed, *labels("a", "d3")])
    with closing(History(tmp_path)) as history:
        first = history.devices(limit=2)
        rest = history.devices(limit=2, after=first.after)
        assert history.device("d1") == first.items[0]
        assert history.device("d9") is None
    (d1, d2), (d3,) = first.items, rest.items
    assert (d1.cluster, d1.since_us, d1.last_us, d1.model) == (1, at_us(20), at_us(41), MODEL)
    assert (d2.untimed, d2.cluster) == (1, 0)
    assert (d3.cluster, d3.since_us, d3.last_us) == (None, None, at_us(2)), "one label decides nothing"
    assert rest.after is None


def test_a_merge_joins_what_was_apart_and_a_split_takes_it_back(tmp_path: Path) -> None:
    write(tmp_path, labels(A + B + A + C))
    with closing(StateStore(tmp_path)) as store:
        store.note_catalogue(catalogue(names=("lie", "still", "walk")))
        assert read(tmp_path) == ["lie 0-20", "still 20-40", "lie 40-60", "walk 60-81+"]
        store.note_catalogue(catalogue(names=("lie", "lie", "walk"), merged={1: 0}))
        assert read(tmp_path) == ["lie 0-60", "walk 60-81+"]
        with closing(History(tmp_path)) as history:
            (lie, _) = history.episodes("watch", at_us(45), at_us(70)).items
            assert (lie.was, lie.windows) == ((0, 1), 60)
            assert shown(history.episodes("watch", at_us(3), at_us(4)).items) == ["lie 0-60"]
            back = history.episodes("watch", at_us(3), at_us(30), newest_first=True)
            assert shown(back.items) == ["lie 0-60"]
            assert [one.seconds for one in history.share("watch", None, at_us(60))] == [60 * HOP_US / 1e6]
        store.note_catalogue(catalogue(names=("lie", "sit", "walk")))
        assert read(tmp_path) == ["lie 0-20", "sit 20-40", "lie 40-60", "walk 60-81+"]


def test_another_model_goes_on_under_the_same_ids(tmp_path: Path) -> None:
    with closing(StateStore(tmp_path)) as store:
        store.note_catalogue(catalogue("m1", registry="r"))
        store.commit(commit(1, labels=labels(A, model="m1")))
        store.note_catalogue(catalogue("m2", ("lying", "new"), ids=(0, 7), registry="r"))
        store.commit(commit(2, labels=labels(A, first=20, model="m2")))
    assert read(tmp_path) == ["lying 0-41+"]


def test_another_model_of_no_registry_means_other_clusters(tmp_path: Path) -> None:
    with closing(StateStore(tmp_path)) as store:
        store.note_catalogue(catalogue("m1"))
        store.commit(commit(1, labels=labels(A, model="m1")))
        store.note_catalogue(catalogue("m2", ("swim", "dive")))
        store.commit(commit(2, labels=labels(A, first=20, model="m2")))
    assert read(tmp_path) == ["lie 0-20", "swim 20-41+"]


def test_a_clock_that_jumps(tmp_path: Path) -> None:
    """Forward by an hour, then back: what overlaps is one history all the same, in any order."""
    rows = list(day("watch", 6, 300))
    ahead = [
        one._replace(position=one.position + 1_000, t0_unix_us=at_us(2_800 + n))
        for n, one in enumerate(rows[:50])
    ]
    again = [
        one._replace(position=one.position + 2_000, t0_unix_us=(one.t0_unix_us or 0) + 640_000)
        for one in rows[100:150]
    ]
    everything = [*rows[:150], *ahead, *rows[150:], *again]
    write(tmp_path, rows[:150], ahead, rows[150:], again)
    assert spans(tmp_path) == expected(everything)


def test_what_was_made_of_labels_that_are_gone_stands(tmp_path: Path) -> None:
    rows = labels(A + B + C + "." * 200 + A + B)
    write(tmp_path, rows)
    before = read(tmp_path)
    trim_labels(tmp_path, 50)
    assert read(tmp_path) == before
    late = [one._replace(position=5_000 + n) for n, one in enumerate(labels("d" * 20, first=120))]
    wrong = [one._replace(position=6_000 + n) for n, one in enumerate(labels("d" * 20, first=5))]
    write(tmp_path, late, wrong)
    assert read(tmp_path) == [*before[:3], "cluster 3 120-141", *before[3:]], "it fills a hole, and no more"
    write(tmp_path, labels(C, first=300))
    assert read(tmp_path)[-1] == "cluster 2 300-321+"


def test_a_late_label_behind_labels_that_are_gone(tmp_path: Path) -> None:
    """An episode whose first labels are gone goes on from where they end."""
    rows = labels("a" * 400 + B + A)
    write(tmp_path, rows[:399], rows[400:])
    trim_labels(tmp_path, 200)
    before = read(tmp_path)
    write(tmp_path, [rows[399]])
    assert read(tmp_path) == before == ["cluster 0 0-400", "cluster 1 400-420", "cluster 0 420-441+"]


def test_episodes_and_events_have_their_day(tmp_path: Path) -> None:
    write(tmp_path, labels(A), labels(B, first=20), labels(C, first=40))
    trim_episodes(tmp_path, at_us(30), at_us(35))
    assert read(tmp_path) == ["cluster 1 20-40", "cluster 2 40-61+"]
    with closing(History(tmp_path)) as history:
        page = history.events_since(0)
        assert page.complete is False
        assert [event.kind for event in page.events] == ["end", "begin", "end", "begin"]
        assert history.events_since(page.sequence).complete is True
        assert history.events_since(page.sequence).events == ()


def test_events_go_on_where_they_were_left(tmp_path: Path) -> None:
    write(tmp_path, labels(A + B))
    with closing(History(tmp_path)) as history:
        page = history.events_since(0, limit=2)
        assert [(event.kind, event.cluster) for event in page.events] == [("begin", 0), ("end", 0)]
        assert page.more
        write(tmp_path, labels("." * 200 + "cc" + "." * 100 + A))
        rest = history.events_since(page.sequence)
    assert [(event.kind, event.cluster) for event in rest.events] == [
        ("begin", 1), ("end", 1), ("begin", 2), ("end", 2), ("begin", 0),
    ]  # fmt: skip
    sequences = [event.sequence for event in (*page.events, *rest.events)]
    assert sequences == sorted(set(sequences))


def test_a_device_that_is_erased_has_no_past(tmp_path: Path) -> None:
    write(tmp_path, labels(A + B, "gone-for-good"), labels(A + B, "stays"))
    write(tmp_path, labels(C, "gone-for-good", first=10))
    with closing(StateStore(tmp_path)) as store:
        store.episodes.state("gone-for-good")
        erased = forget(tmp_path, "gone-for-good", "ds/v1")
        assert erased.receipt["state.sqlite, episodes"] == 2
        store.commit(commit(900, labels=labels(C, "gone-for-good", first=900)))  # it has not heard of it yet
        assert store.forgotten(0) == [(1, "gone-for-good")]
        store.commit(commit(2_000, labels=labels(C, "gone-for-good", first=2_000)))
    finish(tmp_path, erased, "gone-for-good", "ds/v1")
    assert read(tmp_path, "stays") == ["cluster 0 0-20", "cluster 1 20-41+"]
    assert read(tmp_path, "gone-for-good") == ["cluster 2 2000-2021+"], "from then on it is a new one"
    with closing(History(tmp_path)) as history:
        told = [event.begin_us for event in history.events_since(0).events if event.device == "gone-for-good"]
    assert told == [at_us(2_000)]


def test_an_erased_device_is_gone_to_the_last_byte(tmp_path: Path) -> None:
    write(tmp_path, labels(A + B, "secret-watch"), labels(C, "secret-watch", first=10))
    finish(tmp_path, forget(tmp_path, "secret-watch", "ds/v1"), "secret-watch", "ds/v1")
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert b"secret-watch" not in path.read_bytes(), path


def test_labels_of_an_earlier_version_become_episodes(tmp_path: Path) -> None:
    rows = [one for device in ("d1", "d2") for one in day(device, 7, 500)]
    write(tmp_path, rows)
    before = {device: spans(tmp_path, device) for device in ("d1", "d2")}
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as old:
        for table in ("label_models", "episodes", "episode_states", "episode_late", "episode_frozen",
                      "episode_events", "episode_facts", "label_chunks"):  # fmt: skip
            old.execute(f"DROP TABLE {table}")
        old.execute("PRAGMA user_version = 2")
    with pytest.raises(StorageError, match="earlier version"):
        History(tmp_path)
    assert forget(tmp_path, "d9", "ds/v1").labels == 0, "an older folder can be searched, too"
    StateStore(tmp_path).close()
    assert {device: spans(tmp_path, device) for device in ("d1", "d2")} == before


def test_reading_while_a_server_writes(tmp_path: Path) -> None:
    rows = list(day("watch", 8, 600))
    random.Random(1).shuffle(rows)
    with closing(StateStore(tmp_path)) as store:
        store.commit(commit(1, labels=rows[:10]))
        with closing(History(tmp_path)) as history:
            for n in range(10, 600, 100):
                store.commit(commit(n, labels=rows[n : n + 100]))
                found = history.episodes("watch", limit=1_000).items
                assert all(one.begin_us < one.end_us for one in found)
                assert [one.begin_us for one in found] == sorted(one.begin_us for one in found)


def test_rules_of_a_server_hold(tmp_path: Path) -> None:
    rules = EpisodeRules(dwell_s=0, hysteresis=0.95, join_s=0)
    rows = list(day("watch", 9, 200))
    write(tmp_path, rows, rules=rules)
    with closing(StateStore(tmp_path, rules)) as store:
        found = [span_of(row) for row in store._connection.execute(f"{SPANS} ORDER BY begin_us", ("watch",))]
    assert found[:-1] == expected(rows, rules)[: len(found) - 1]
