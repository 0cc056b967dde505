"""Which devices were heard of last when: what is known of those that are gone is dropped."""

from __future__ import annotations

import pytest

from disc_stream.wire.topics import Topics
from disc_stream_server.labeller import heard
from disc_stream_server.labeller.heard import Heard
from disc_stream_server.storage.rows import Row

DAY_US = 86_400_000_000


def row(position: int, day: int, device: str = "watch", kind: str = "raw", payload: bytes = b"x") -> Row:
    return Row(position, day * DAY_US, f"ds/v1/{device}/{kind}", "", payload)


def days(one: Heard) -> dict[str, int]:
    return {device: int.from_bytes(state, "little") for device, state in one.capture().items()}


def take(one: Heard, *rows: Row) -> list[str]:
    """Take rows as the lane does; the devices that are gone."""
    gone: list[str] = []
    left = list(rows)
    while left:
        gone += one.gone_by(left[0])
        portion = one.of_one_day(left)
        one.note(portion)
        left = left[len(portion) :]
    return gone


@pytest.fixture
def small_cache(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(heard, "_MAX_TOPICS", 8)
    return 8


def test_the_day_of_the_last_sample_counts() -> None:
    one = Heard(Topics(), keep_days=2)
    take(one, row(1, 100), row(2, 100, "other", "meta"), row(3, 101))
    assert days(one) == {"watch": 101, "other": 100}
    assert take(one, row(4, 102, "third")) == []
    assert take(one, row(5, 103, "third")) == ["other"], "a meta is a word of a device, once"


def test_a_withdrawal_and_a_foreign_topic_are_no_word_of_a_device() -> None:
    one = Heard(Topics(), keep_days=2)
    take(one, row(1, 100, "gone", payload=b""), row(2, 100, "a b"), row(3, 100))
    assert days(one) == {"watch": 100}


def test_topics_are_remembered_within_bounds(small_cache: int) -> None:
    one = Heard(Topics(), keep_days=2)
    for number in range(10 * small_cache):
        take(one, row(number + 1, 100, f"watch-{number}"))
        assert len(one._noted) <= small_cache + 1
    assert len(days(one)) == 10 * small_cache


def test_nothing_of_an_erased_device_is_remembered() -> None:
    one = Heard(Topics(), keep_days=2)
    take(one, row(1, 100), row(2, 100, "other"))
    one.forget("watch")
    held = [name for name in one.__dict__.values() if "watch" in repr(name)]
    assert held == []
    assert days(one) == {"other": 100}
