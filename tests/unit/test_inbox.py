"""What stands between the network and the worker: queue, device descriptions, refusals."""

from __future__ import annotations

import logging
import threading

import pytest

from disc_stream.clock import ManualClock
from disc_stream.types import Channel, DeviceMeta
from disc_stream.wire.mqtt import Message
from disc_stream_server.inbox import Inbox
from disc_stream_server.metas import HELD_BYTES, HELD_PER_DEVICE, HOLD_S, MetaBook
from disc_stream_server.rejections import SUMMARY_S, Rejections

META = DeviceMeta(50.0, (Channel("acc_x", "g"),))


def make_message(n: int = 0, *, qos: int = 1, payload: bytes = b"") -> Message:
    return Message("t", payload or str(n).encode(), "", qos, retained=False, mid=n, epoch=1)


def mids(messages: object) -> list[int]:
    return [message.mid for message in messages]  # type: ignore[attr-defined]


def test_messages_come_out_in_the_order_they_went_in() -> None:
    inbox = Inbox(10)
    for n in range(3):
        assert inbox.put(make_message(n))
    assert mids([inbox.get(0), inbox.get(0), inbox.get(0)]) == [0, 1, 2]
    assert inbox.get(0) is None


def test_a_waiting_worker_is_woken_by_a_message_a_call_and_the_end() -> None:
    inbox = Inbox(10)
    for act, expected in [(lambda: inbox.put(make_message(5)), 5), (inbox.wake, None), (inbox.close, None)]:
        waker = threading.Timer(0.05, act)
        waker.start()
        message = inbox.get(30)
        waker.join()
        assert (message.mid if message else None) == expected


def test_what_may_be_lost_is_turned_away_when_full_and_what_may_not_never_is() -> None:
    inbox = Inbox(2)
    taken = [inbox.put(make_message(n, qos=qos)) for n, qos in enumerate([0, 0, 0, 1, 1])]
    assert taken == [True, True, False, True, True]
    assert [inbox.take_turned_away(), inbox.take_turned_away()] == [1, 0]
    assert len(inbox) == 4


def test_after_the_end_nothing_is_taken_but_what_is_inside_comes_out() -> None:
    inbox = Inbox(10)
    inbox.put(make_message(1))
    inbox.close()
    assert not inbox.put(make_message(2))
    assert mids([inbox.get(0)]) == [1]
    assert inbox.get(30) is None, "it does not wait for what cannot come"


def test_payloads_wait_for_their_meta_in_order() -> None:
    book = MetaBook(ManualClock(), max_devices=10)
    for n in range(3):
        assert book.hold("watch", make_message(n))
    book.hold("other", make_message(9))
    assert mids(book.learn("watch", META)) == [0, 1, 2]
    assert book.of("watch") == META
    assert book.of("other") is None
    assert not book.learn("watch", META), "they are handed out once"


def test_payloads_are_given_up_after_a_while() -> None:
    clock = ManualClock()
    book = MetaBook(clock, max_devices=10)
    book.hold("first", make_message(0))
    book.hold("first", make_message(1))
    clock.advance(HOLD_S / 2)
    book.hold("second", make_message(2))
    assert book.expired() == []
    clock.advance(HOLD_S / 2)
    assert book.expired() == [("first", 2)]
    assert book.expired(everything=True) == [("second", 1)]
    assert not book.learn("first", META)


def test_held_payloads_are_bounded_by_number_and_size() -> None:
    book = MetaBook(ManualClock(), max_devices=10)
    assert all(book.hold("watch", make_message(n)) for n in range(HELD_PER_DEVICE))
    assert not book.hold("watch", make_message(99))
    big = make_message(payload=bytes(HELD_BYTES // 4))
    assert [book.hold(f"d{n}", big) for n in range(5)] == [True, True, True, False, False]
    book.learn("d0", META)
    assert book.hold("d9", big), "there is room again"


def test_descriptions_are_bounded_and_may_be_withdrawn() -> None:
    book = MetaBook(ManualClock(), max_devices=2)
    for name in ("a", "b", "a", "c"):
        book.learn(name, META)
    assert [book.of(name) is not None for name in "abc"] == [True, False, True]
    book.forget("a")
    assert book.of("a") is None


def test_the_description_of_a_device_that_sends_outlives_those_of_silent_ones() -> None:
    book = MetaBook(ManualClock(), 2)
    book.learn("sends", META)
    book.learn("silent", META)
    assert book.of("sends") == META
    book.learn("new", META)
    assert book.of("sends") == META
    assert book.of("silent") is None


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
