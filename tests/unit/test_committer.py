"""Messages become durable on a thread of their own, in their order, while others arrive."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from disc_stream.clock import SystemClock
from disc_stream.wire.mqtt import Message, Origin
from disc_stream_server.receiving.committer import Committer
from disc_stream_server.receiving.settings import ReceiverSettings
from disc_stream_server.storage.spool import SpoolReader

ORIGIN = Origin(0, 0)
PATIENCE_S = 20.0


@dataclass
class Told:
    """What the broker and the main process hear."""

    acknowledged: list[int] = field(default_factory=list)
    heads: list[int] = field(default_factory=list)
    news: threading.Condition = field(default_factory=threading.Condition)

    def acknowledge(self, messages: Sequence[Message]) -> None:
        with self.news:
            self.acknowledged += [message.mid for message in messages]
            self.news.notify_all()

    def report(self, event: dict[str, Any] | None) -> None:
        with self.news:
            self.heads += [event["head"]] if event is not None else []
            self.news.notify_all()

    def wait(self, done: Callable[[], bool]) -> None:
        with self.news:
            assert self.news.wait_for(done, PATIENCE_S)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def committer(tmp_path: Path, told: Told) -> Iterator[Committer]:
    settings = ReceiverSettings("mqtt://127.0.0.1:1", "ds/v1", "test", 60, 1_000, str(tmp_path), 2**28, 0.0)
    made = Committer(settings, told.acknowledge, told.report, SystemClock())
    yield made
    made.close()


def message(mid: int, size: int = 10, device: str = "watch", dropped: int = 0) -> Message:
    payload = b"" if dropped else b"%06d" % mid + bytes(size)
    return Message(f"ds/v1/{device}/raw", payload, "", 1, False, mid, ORIGIN, dropped)


def stored(folder: Path) -> list[int]:
    reader = SpoolReader(folder)
    rows = [int(row.payload[:6]) for row in reader.read(0, 9_999) if row.payload]
    reader.close()
    return rows


def test_messages_arrive_while_others_are_on_their_way_to_the_disk_and_order_is_kept(
    tmp_path: Path, committer: Committer, told: Told
) -> None:
    committer.start()
    with committer._spool_lock:  # the disk takes its time
        committer.take(message(1))
        committer.wake()
        for mid in range(2, 200):
            committer.take(message(mid))
            committer.wake()
        assert not told.acknowledged, "nothing before it is durable"
    told.wait(lambda: len(told.acknowledged) == 199)
    assert told.acknowledged == list(range(1, 200)), "in the order of receipt"
    assert stored(tmp_path) == list(range(1, 200))
    assert committer.counts.received == 199


def test_reading_stops_while_much_waits_for_the_disk(committer: Committer, told: Told) -> None:
    committer.start()
    went_on = threading.Event()

    def read() -> None:
        for mid in range(60):
            committer.take(message(mid, 200_000, f"d{mid}"))
            committer.wake()
        went_on.set()

    with committer._spool_lock:
        thread = threading.Thread(target=read)
        thread.start()
        assert not went_on.wait(0.5), "12 MB are more than may wait"
        assert committer._arrived_bytes < 2**22 + 2 * 200_000
    assert went_on.wait(PATIENCE_S)
    thread.join()
    told.wait(lambda: len(told.acknowledged) == 60)


def test_what_came_over_a_lost_connection_and_is_not_durable_comes_again(
    tmp_path: Path, committer: Committer, told: Told
) -> None:
    committer.take(message(1))
    committer.drop()
    committer.commit()
    assert not told.acknowledged
    committer.take(message(2))
    committer.commit()
    assert told.acknowledged == [2]
    assert stored(tmp_path) == [2]


def test_a_payload_that_was_read_over_is_counted_refused_and_acknowledged_in_its_place(
    tmp_path: Path, committer: Committer, told: Told
) -> None:
    for one in (message(1), message(2, device="flood", dropped=100_000), message(3)):
        committer.take(one)
    committer.commit()
    assert told.acknowledged == [1, 2, 3]
    assert stored(tmp_path) == [1, 3]
    assert committer.counts.over_quota == 1
    assert committer.counts.received_bytes == 2 * 16 + 100_000
    assert committer.limiter.limited()["flood"]["refused"] == 1


def test_a_stop_finishes_what_has_arrived_and_leaves_the_rest_to_the_broker(
    tmp_path: Path, committer: Committer, told: Told
) -> None:
    committer.start()
    with committer._spool_lock:
        for mid in range(5):
            committer.take(message(mid))
        committer.stop()
        committer.take(message(5))
    assert committer.ended.wait(PATIENCE_S)
    assert told.acknowledged == [0, 1, 2, 3, 4]
    assert stored(tmp_path) == [0, 1, 2, 3, 4]
