"""From rows to windows: what waits, what is refused, and what a dead letter keeps."""

from __future__ import annotations

import numpy as np

from disc_stream.clock import ManualClock
from disc_stream.types import DeviceMeta
from disc_stream.wire.codecs import Encoding, encode_batch
from disc_stream.wire.meta import encode_meta
from disc_stream.wire.topics import Topics
from disc_stream_server.intake import Intake, Watchers
from disc_stream_server.metas import HOLD_US, MetaBook
from disc_stream_server.observers import Observers
from disc_stream_server.rejections import Rejections
from disc_stream_server.stages import Stages
from disc_stream_server.storage.rows import TIME_TOPIC
from disc_stream_server.storage.spool import Row
from tests.support.device import make_batch
from tests.support.stream import new_sessions
from tests.support.tiny_bundle import CHANNELS, FS

NOW_US = 1_700_000_000_000_000
META = encode_meta(DeviceMeta(FS, CHANNELS))


def new_intake() -> Intake:
    watchers = Watchers(Rejections(ManualClock(NOW_US)), Observers(()), Stages())
    return Intake(Topics(), new_sessions(), MetaBook(10), watchers, 100_000)


def packed(n: int) -> bytes:
    """Four samples, which are one window; they describe no channels."""
    batch = make_batch("watch", n, np.full((4, 3), n, dtype=np.float32))
    return encode_batch(batch, Encoding.PACKED, describe_channels=False)


def row(position: int, kind: str, payload: bytes, after_us: int = 0) -> Row:
    return Row(position, NOW_US + after_us, f"ds/v1/watch/{kind}", "", payload)


def refused(intake: Intake) -> list[tuple[int, str]]:
    return [(one.position, one.reason) for one in intake.take_dead_letters()]


def test_payloads_that_outrun_their_description_are_taken_when_it_comes() -> None:
    intake = new_intake()
    assert intake.take([row(1, "raw", packed(0)), row(2, "raw", packed(1))]) == []
    ready = intake.take([row(3, "meta", META), row(4, "raw", packed(2))])
    assert [(one.window, one.position) for one in ready] == [(0, 1), (1, 2), (2, 4)]
    assert refused(intake) == []
    assert (intake.counts.messages, intake.counts.metas, intake.counts.batches) == (4, 1, 3)


def test_payloads_whose_description_does_not_come_are_refused_by_the_time_of_the_stream() -> None:
    intake = new_intake()
    intake.take([row(1, "raw", packed(0))])
    for after_us, refusals in ((HOLD_US - 1, []), (HOLD_US, [(1, "no-meta")])):
        assert intake.take([Row(2, NOW_US + after_us, TIME_TOPIC, "", b"")]) == []
        assert refused(intake) == refusals
    assert intake.counts.messages == 1, "that time has passed is no message"


def test_at_the_end_nothing_waits_any_longer() -> None:
    intake = new_intake()
    intake.take([row(1, "raw", packed(0))])
    assert refused(intake) == []
    assert intake.finish() == []
    assert refused(intake) == [(1, "no-meta")]


def test_a_dead_letter_keeps_the_beginning_of_a_large_payload_and_its_size() -> None:
    intake = new_intake()
    large = b"\xff" * 70_000
    other = Row(2, NOW_US, TIME_TOPIC, "", b"not empty, so no word of time")
    assert intake.take([row(1, "raw", large), other]) == []
    assert intake.dead_bytes == 65_536 + len(other.payload) + 2 * 1_024
    first, second = intake.take_dead_letters()
    assert (first.reason, first.size, first.payload) == ("encoding", 70_000, large[:65_536])
    assert (second.reason, second.payload) == ("topic", other.payload)
    assert intake.dead_bytes == 0
