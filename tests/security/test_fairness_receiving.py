"""What a device may send: the rate limiter and the overflow queue, counted, not timed."""

from __future__ import annotations

from pathlib import Path

import pytest

from disc_stream.wire.mqtt import Message, Origin
from disc_stream_server.receiving.ratelimiter import DeviceLimits, Fate, RateLimiter
from disc_stream_server.receiving.receiver import Receiver
from disc_stream_server.receiving.settings import ReceiverSettings
from disc_stream_server.storage.overflow import ROW_BYTES, OverflowQueue, Tally
from disc_stream_server.storage.rows import Arrival
from disc_stream_server.storage.spool import SpoolReader


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_exceeds_a_rate_waits_and_what_exceeds_the_room_is_refused() -> None:
    time, waiting = Time(), dict[str, Tally]()
    limiter = RateLimiter(DeviceLimits(10, 1_000, burst_s=2, waiting_bytes=1_000), waiting, time)
    assert [limiter.judge("a", 1) for _ in range(21)] == [Fate.ADMITTED] * 20 + [Fate.WAITS]
    assert limiter.judge("b", 1) is Fate.ADMITTED, "each has its own"
    assert [limiter.judge("big", 100_000), limiter.judge("big", 1)] == [Fate.ADMITTED, Fate.WAITS], (
        "paid for later"
    )
    assert [limiter.judge("a", 300) for _ in range(3)] == [Fate.WAITS, Fate.REFUSED, Fate.REFUSED]
    assert limiter.limited()["a"] == {"waiting": 0, "waiting_bytes": 0, "waited": 2, "refused": 2, "held": 0}
    waiting["a"] = Tally(2, 301 + 2 * ROW_BYTES)
    limiter.begin()
    time.now = 1.0
    assert limiter.judge("a", 1) is Fate.WAITS, "in the order in which they came"
    assert limiter.may_enter("a") == (10, 2_000)
    limiter.held = frozenset({"a"})
    assert limiter.may_enter("a") == (0, 0)
    time.now = 60.0
    assert list(limiter.limited()) == ["a"], "it still has messages that wait; the others are forgiven"


def test_a_message_that_will_be_refused_is_told_before_it_is_read() -> None:
    time, waiting = Time(), dict[str, Tally]()
    limiter = RateLimiter(DeviceLimits(1, 1_000, burst_s=1, waiting_bytes=100_000), waiting, time)
    assert not limiter.refuses("a", 90_000), "nobody knows it yet"
    assert [limiter.judge("a", 90_000), limiter.judge("a", 90_000)] == [Fate.ADMITTED, Fate.WAITS]
    waiting["a"] = Tally(1, 90_000 + ROW_BYTES)
    limiter.begin()
    assert limiter.refuses("a", 20_000)
    assert not limiter.refuses("a", 5_000)
    assert not limiter.refuses("b", 90_000)
    assert limiter.limited()["a"]["refused"] == 0, "asking decides nothing"
    limiter.refuse("a")
    assert limiter.limited()["a"]["refused"] == 1
    assert limiter.judge("a", 5_000) is Fate.REFUSED, "nine tenths, once it was full"


def test_the_overflow_queue_is_read_by_bytes_and_left_in_one_go(tmp_path: Path) -> None:
    overflow = OverflowQueue(tmp_path)
    for device in ("a", "b"):
        overflow.put([(device, Arrival(n, f"ds/v1/{device}/raw", "", bytes(1_000))) for n in range(10)])
    assert len(overflow.next_of("a", 99, 2_500)) == 3
    assert len(overflow.next_of("a", 99, 1)) == 1, "one at least"
    assert len(overflow.next_of("a", 2)) == 2
    overflow.remove({"a": overflow.next_of("a", 3), "b": overflow.next_of("b", 99)})
    assert list(overflow.devices) == ["a"]
    assert [arrival.received_us for _, arrival in overflow.next_of("a", 99)] == list(range(3, 10))
    overflow.close()
    again = OverflowQueue(tmp_path)
    assert again.devices["a"].messages == 7, "it is so on the disk"
    again.close()


def test_the_feeder_reads_little_at_once_and_serves_everybody_in_turn(tmp_path: Path) -> None:
    receiver = receiver_of(tmp_path, DeviceLimits(1e-3, 1e9, burst_s=1e3))  # one message each, then none
    names = [f"d{n}" for n in range(6)]
    for name in names:
        messages(receiver, name, 4, size=300_000)
    let_go(receiver)
    receiver = receiver_of(tmp_path, DeviceLimits(1e6, 1e9))
    entered: list[int] = []
    for _ in range(20):
        head = receiver.committer.spool.head
        more = receiver.committer.feeder.feed()
        entered.append(receiver.committer.spool.head - head)
        if not more:
            break
    assert sum(entered) == 6 * 3
    assert max(entered) <= 4, "a MiB, and a message more"
    let_go(receiver)
    reader = SpoolReader(tmp_path)
    rows = [row.payload[:7].decode() for row in reader.read(0, 99)]
    reader.close()
    assert all(
        [row for row in rows if row.startswith(f"{name}-")] == [f"{name}-{n:04d}" for n in range(4)]
        for name in names
    )


def messages(receiver: Receiver, device: str, n: int, size: int = 20) -> None:
    for number in range(n):
        payload = b"%s-%04d" % (device.encode(), number)
        receiver._arrive(
            Message(f"ds/v1/{device}/raw", payload.ljust(size, b"."), "", 1, False, 1, Origin(0, 0))
        )
    receiver.committer.commit()


def receiver_of(folder: Path, limits: DeviceLimits) -> Receiver:
    settings = ReceiverSettings(
        "mqtt://127.0.0.1:1", "ds/v1", "test", 60, 100, str(folder), 2**20, 0.0, limits=limits
    )
    return Receiver(settings, lambda _event: None)


def let_go(receiver: Receiver) -> None:
    receiver._link.close()
    receiver.committer.close()


def test_what_waits_is_durable_and_enters_the_spool_in_its_order_also_after_a_crash(tmp_path: Path) -> None:
    limits = DeviceLimits(1e-3, 1e9, burst_s=5e3)  # five messages, and none for a quarter of an hour
    receiver = receiver_of(tmp_path, limits)
    messages(receiver, "attacker", 9)
    messages(receiver, "good", 5)
    assert receiver.committer.overflow.devices["attacker"].messages == 4
    let_go(receiver)

    receiver = receiver_of(tmp_path, DeviceLimits())
    messages(receiver, "attacker", 1)
    assert receiver.committer.overflow.devices["attacker"].messages == 5, "nobody overtakes"
    receiver.committer.feeder.feed()
    assert not receiver.committer.overflow.devices
    let_go(receiver)
    reader = SpoolReader(tmp_path)
    rows = [row.payload.rstrip(b".") for row in reader.read(0, 99)]
    reader.close()
    assert [row for row in rows if row.startswith(b"good")] == [b"good-%04d" % n for n in range(5)]
    assert [row for row in rows if row.startswith(b"attacker")] == [
        b"attacker-%04d" % n for n in [*range(9), 0]
    ]


def test_a_damaged_waiting_room_is_set_aside_and_receiving_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    overflow = OverflowQueue(tmp_path)
    overflow.put([("watch", Arrival(1, "ds/v1/watch/raw", "", b"x" * 9_000))])
    overflow.close()
    (tmp_path / "waiting.sqlite").write_bytes(b"no database at all" * 1_000)
    overflow = OverflowQueue(tmp_path)
    assert not overflow.devices
    assert "waiting.sqlite is damaged" in caplog.text
    overflow.put([("watch", Arrival(1, "ds/v1/watch/raw", "", b"y"))])
    assert [arrival.payload for _, arrival in overflow.next_of("watch", 9)] == [b"y"]
    overflow.close()
