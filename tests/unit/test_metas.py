"""What stands between the spool and the sessions: device descriptions, refusals."""

from __future__ import annotations

import logging

import pytest

from disc_stream.clock import ManualClock
from disc_stream.types import Channel, DeviceMeta
from disc_stream.wire.meta import encode_meta
from disc_stream_server.metas import (
    HELD_BYTES,
    HELD_BYTES_PER_DEVICE,
    HELD_PER_DEVICE,
    HOLD_US,
    Held,
    MetaBook,
)
from disc_stream_server.rejections import SUMMARY_S, Rejections
from disc_stream_server.storage.spool import Row

META = DeviceMeta(50.0, (Channel("acc_x", "g"),))
PAYLOAD = encode_meta(META)


def row(n: int = 0, received_us: int = 0, payload: bytes = b"") -> Row:
    return Row(n, received_us, "t", "", payload or str(n).encode())


def positions(rows: object) -> list[int]:
    return [one.position for one in rows]  # type: ignore[attr-defined]


def test_payloads_wait_for_their_meta_in_order() -> None:
    book = MetaBook(max_devices=10)
    for n in range(3):
        assert book.held.hold("watch", row(n), 0)
    book.held.hold("other", row(9), 0)
    assert positions(book.learn("watch", PAYLOAD)) == [0, 1, 2]
    assert book.of("watch") == META
    assert book.of("other") is None
    assert not book.learn("watch", PAYLOAD), "they are handed out once"


def test_devices_of_one_kind_share_their_description_in_memory() -> None:
    book = MetaBook(max_devices=10)
    book.learn("left", PAYLOAD)
    book.learn("right", bytes(bytearray(PAYLOAD)))
    assert book.of("left") is book.of("right")
    long = encode_meta(DeviceMeta(50.0, META.channels, firmware="x" * 100))
    book.learn("right", long)
    assert book.of("left") == META
    assert book.of("right") != META


def test_payloads_are_given_up_after_a_while_by_the_watermark() -> None:
    held = Held()
    held.hold("first", row(0), 0)
    held.hold("first", row(1), 0)
    held.hold("second", row(2), HOLD_US // 2)
    assert held.expired(HOLD_US // 2) == []
    assert [(device, one.position) for device, one in held.expired(HOLD_US)] == [("first", 0), ("first", 1)]
    assert not held.release("first")


def test_held_payloads_are_bounded_by_number_and_size() -> None:
    book = MetaBook(max_devices=10)
    assert all(book.held.hold("watch", row(n), 0) for n in range(HELD_PER_DEVICE))
    assert not book.held.hold("watch", row(99), 0)
    big = row(payload=bytes(HELD_BYTES // 4))
    assert [book.held.hold(f"d{n}", big, 0) for n in range(5)] == [True, True, True, False, False]
    book.learn("d0", PAYLOAD)
    assert book.held.hold("d9", big, 0), "there is room again"


def test_of_one_device_a_mebibyte_is_held_or_a_single_payload_that_is_larger() -> None:
    held = Held()
    half = row(payload=bytes(HELD_BYTES_PER_DEVICE // 2))
    assert [held.hold("watch", one, 0) for one in (half, half, row(2))] == [True, True, False]
    assert held.hold("large", row(payload=bytes(HELD_BYTES_PER_DEVICE + 1)), 0)
    assert not held.hold("large", row(3), 0)


def test_descriptions_leave_the_memory_and_come_back_and_may_be_withdrawn() -> None:
    disk: dict[str, bytes] = {}
    book = MetaBook(2, disk.get)
    for name in ("a", "b", "a", "c"):
        book.learn(name, PAYLOAD)
    disk.update(book.capture())
    assert set(disk) == {"a", "b", "c"}
    assert [book.of(name) for name in "abc"] == [META, META, META]
    book.withdraw("a")
    assert book.of("a") is None
    assert book.capture() == {"a": b""}


def test_a_description_on_its_way_to_the_disk_is_not_lost_from_sight() -> None:
    disk: dict[str, bytes] = {}
    book = MetaBook(max_devices=1, archived=disk.get)
    book.learn("watch", PAYLOAD)
    changes = book.capture()
    book.learn("other", PAYLOAD)  # "watch" leaves the memory before its description is on the disk
    assert book.of("watch") == META
    book.withdraw("watch")
    later = book.capture()
    book.committed(changes)
    book.of("other")
    assert book.of("watch") is None, "it was withdrawn since"
    disk.update(changes | later)
    book.committed(later)
    book.of("other")
    assert book.of("watch") is None
    assert book.of("other") == META


def test_payloads_that_wait_survive_a_restart() -> None:
    held = Held()
    for n in range(3):
        held.hold("watch", row(n), 5)
    taken = held.capture()
    assert not held.capture(), "they are saved once"
    again = Held()
    again.restore(taken)
    assert again.expired(HOLD_US + 4) == [], "the wait goes on where it was"
    assert positions(again.release("watch")) == [0, 1, 2]
    assert again.capture() == {"watch": b""}


def test_refusals_are_counted_and_the_first_of_a_kind_is_said(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    rejections = Rejections(clock)
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            rejections.add("watch", "rate", "the stream has 20 samples/s")
        rejections.add("watch", "units", "'g' measures acceleration")
        rejections.add("other", "rate", "the stream has 20 samples/s")
        rejections.summarise()
        assert len(caplog.records) == 3, "one for each device and reason"
        clock.advance(SUMMARY_S)
        rejections.summarise()
        assert caplog.records[-1].getMessage() == "refused further messages: 4 × rate"
        clock.advance(SUMMARY_S)
        rejections.summarise()
        assert len(caplog.records) == 4, "no news, no summary"
    assert rejections.by_reason == {"rate": 6, "units": 1}
