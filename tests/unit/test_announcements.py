"""What the log says of devices that are heard for the first time."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from disc_stream.clock import ManualClock
from disc_stream.types import Channel, Label, SampleBatch, SoftLabel
from disc_stream_server.announcements import MAX_NAMED, SUMMARY_S, Announcements

CHANNELS = (Channel("acc_x", "g"), Channel("acc_y", "g"))


def batch(device: str, seq: int = 0) -> SampleBatch:
    return SampleBatch(device, 1, seq, 0, 50.0, CHANNELS, np.zeros((2, 2), np.float32))


def label(device: str, name: str = "cluster-3") -> Label:
    soft = SoftLabel(3, name, 0.875)
    return Label(device, 1, 0, 0, 1, soft, (soft,), soft, 0.0, None, "v", 0, 0)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def announcements(clock: ManualClock, caplog: pytest.LogCaptureFixture) -> Announcements:
    caplog.set_level(logging.INFO)
    return Announcements(clock)


def test_a_device_is_announced_once_and_so_is_its_first_label(
    announcements: Announcements, caplog: pytest.LogCaptureFixture
) -> None:
    for seq in range(3):
        announcements.on_batch(batch("watch-1", seq))
    announcements.on_label(label("watch-1"))
    announcements.on_label(label("watch-1", "cluster-0"))
    assert caplog.messages == [
        "first samples of watch-1: acc_x, acc_y at 50 Hz",
        "first label of watch-1: cluster-3 (confidence 0.88)",
    ]


def test_of_many_devices_a_few_are_named_and_all_are_counted(
    announcements: Announcements, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(300):
        announcements.on_batch(batch(f"watch-{number}"))
        announcements.on_label(label(f"watch-{number}"))
    assert len(caplog.messages) == 2 * MAX_NAMED + 1
    caplog.clear()
    for _ in range(3):
        announcements.on_status({"counters": {"devices": 300, "labels": 1200}})
    assert caplog.messages == ["300 devices, 1200 labels so far"]
    caplog.clear()
    announcements.on_status({"counters": {"devices": 310, "labels": 1300}})
    assert caplog.messages == [], "the last line is not a minute old"
    clock.advance(SUMMARY_S)
    announcements.on_status({"counters": {"devices": 310, "labels": 1400}})
    assert caplog.messages == ["310 devices, 1400 labels so far"]


def test_few_devices_need_no_summary(announcements: Announcements, caplog: pytest.LogCaptureFixture) -> None:
    announcements.on_batch(batch("watch-1"))
    caplog.clear()
    announcements.on_status({"counters": {"devices": 1, "labels": 0}})
    assert caplog.messages == []


def test_a_server_that_only_collects_says_how_many_messages_it_has(
    announcements: Announcements, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    for received in (0, 3, 8):
        announcements.on_status({"counters": {"received": received, "spooled": received + 1}})
    assert caplog.messages == ["3 messages stored so far"]
    clock.advance(SUMMARY_S)
    announcements.on_status({"counters": {"received": 950, "over_quota": 40, "empty": 10}})
    assert caplog.messages[1:] == ["900 messages stored so far"]
