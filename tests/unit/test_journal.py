"""The journal of events: one transaction for an event and what it came of, a position for each sink."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from disc_stream.errors import StorageError
from disc_stream.wire.event import EventType, decode_event, encode_event
from disc_stream_server.storage.journal import FILE, Draft, Journal

DAY_US = 86_400_000_000


def drafts(*devices: str, at_us: int = 5) -> list[Draft]:
    return [Draft(EventType.ONLINE, device, at_us) for device in devices]


def test_numbers_grow_and_ids_outlive_a_restart(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert (journal.taken, journal.newest) == (None, 0)
    journal.add(drafts("a", "b"), taken=7, presence={"a": True})
    before = journal.read(0, 10)
    journal.close()
    journal = Journal(tmp_path)
    assert journal.read(0, 10) == before
    assert (journal.taken, journal.presence()) == (7, {"a": True})
    journal.add(drafts("c"))
    assert [one.number for one in journal.read(0, 10)] == [1, 2, 3]
    assert [decode_event(encode_event(one)) for one in before] == before
    journal.close()


def test_a_sink_begins_behind_the_newest_and_keeps_its_place(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.add(drafts("a", "b"))
    assert journal.position("new") == 2
    journal.advance("new", 1)
    assert journal.position("new") == 1
    journal.keep_sinks({"other"})
    assert journal.position("new") == 2
    journal.close()


def test_what_is_too_old_goes_and_it_is_said_what_nobody_had_got(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.position("quick")
    journal.position("slow")
    journal.add(drafts("a", "b", "c"))
    journal.add(drafts("d", at_us=10 * DAY_US))
    journal.advance("quick", 3)
    journal.advance("slow", 1)
    assert journal.trim(5 * DAY_US) == 2
    assert [one.device for one in journal.read(0, 10)] == ["d"]
    journal.close()


def test_a_name_that_nobody_can_print_is_printed(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.add([Draft(EventType.EPISODE_BEGAN, "a", 1, 1, None, 3, "\x1b[2J" + "x" * 10_000)])
    assert decode_event(encode_event(journal.read(0, 1)[0])).name.startswith("\\x1b[2J")
    journal.close()


def test_a_file_that_is_none_is_one_line(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database" * 1_000)
    with pytest.raises(StorageError) as caught:
        Journal(tmp_path)
    assert FILE in str(caught.value)


def test_events_and_what_they_came_of_are_written_together_or_not_at_all(tmp_path: Path) -> None:
    journal = Journal(tmp_path)

    def fails() -> Iterator[Draft]:
        yield from drafts("a")

    with sqlite3.connect(tmp_path / FILE) as other:  # as a disk that takes the first row and not the second
        other.execute(
            "CREATE TRIGGER full BEFORE INSERT ON facts WHEN NEW.name = 'taken' "
            "BEGIN SELECT raise(ABORT, 'disk full'); END"
        )
    other.close()
    with pytest.raises(StorageError, match="disk full"):
        journal.add(fails(), taken=3)
    assert not journal.read(0, 10)
    assert journal.taken is None
    journal.close()
