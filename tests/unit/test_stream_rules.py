"""Which rules and which model the rows of a spool were cut by."""

from __future__ import annotations

from pathlib import Path

from disc_stream.stream.rules import Rules
from disc_stream_server.storage.state import StateStore
from disc_stream_server.stream_rules import note_rules, read_rules
from tests.support.commits import commit

ONE, OTHER = Rules(reorder=8), Rules(reorder=0)


def history(store: StateStore) -> list[tuple[int, Rules, str]]:
    return [(one.after, one.rules, one.model) for one in read_rules(store)]


def test_only_changes_are_written_down(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    assert [one.after for one in read_rules(store)] == [0], "nothing was labelled yet"
    note_rules(store, ONE, "a")
    store.commit(commit(5))
    note_rules(store, ONE, "a")
    assert history(store) == [(0, ONE, "a")]
    note_rules(store, ONE, "b")
    store.commit(commit(9))
    note_rules(store, ONE, "b")
    assert history(store) == [(0, ONE, "a"), (5, ONE, "b")]
    note_rules(store, OTHER, "b")
    store.commit(commit(12))
    note_rules(store, ONE, "a")
    assert history(store) == [(0, ONE, "a"), (5, ONE, "b"), (9, OTHER, "b"), (12, ONE, "a")]
    store.close()


def test_of_several_starts_without_a_row_between_them_the_last_counts(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    store.commit(commit(5))
    for rules, model in ((ONE, "a"), (OTHER, "a"), (ONE, "b")):
        note_rules(store, rules, model)
    assert history(store) == [(5, ONE, "b")]
    store.close()
