"""The live page's state: traces, cards, what clients are sent."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import numpy as np
import pytest

from disc_stream.clock import ManualClock
from disc_stream.types import Channel, Label, SampleBatch, SoftLabel
from disc_stream_server.dashboard import board as board_module
from disc_stream_server.dashboard.board import Board
from disc_stream_server.dashboard.hub import QUEUE, Hub, _Client
from disc_stream_server.dashboard.trace import SECONDS, Trace

FS = 50.0
ACC = tuple(Channel(f"acc_{a}", "g", 0.5) for a in "xyz")
GYRO = tuple(Channel(f"gyro_{a}", "rad/s") for a in "xyz")


def batch(
    seq: int,
    *,
    device: str = "d1",
    n: int = 50,
    boot: int = 1,
    fs: float = FS,
    channels: tuple[Channel, ...] = GYRO + ACC,
) -> SampleBatch:
    """Batch ``seq`` of a stream in which sample i has the value i in every channel."""
    first = seq * n
    samples = np.repeat(np.arange(first, first + n, dtype=np.int32)[:, None], len(channels), axis=1)
    return SampleBatch(device, boot, seq, round(first * 1e6 / fs), fs, channels, samples)


def label(window: int, cluster: int, *, device: str = "d1", boot: int = 1) -> Label:
    soft = SoftLabel(cluster, f"cluster-{cluster}", 0.75)
    return Label(device, boot, window, 0, 0, soft, (soft,), soft, 1.0, 0.5, "m1", window, 0)


class TestTrace:
    def test_draws_the_acceleration_in_physical_units_thinned_evenly_across_batches(self) -> None:
        trace = Trace()
        for seq in range(4):
            trace.add(batch(seq, n=25))  # 25 samples at 50 Hz: an odd number for a step of 2
        assert trace.names == ("acc_x", "acc_y", "acc_z")
        assert trace.rate == 25.0
        # every second sample, times the scale of 0.5
        assert [p[0] for p in trace.points] == [float(i) for i in range(50)]

    def test_holds_ten_seconds(self) -> None:
        trace = Trace()
        for seq in range(30):
            trace.add(batch(seq))
        assert len(trace.points) == SECONDS * trace.rate
        assert trace.points[-1][0] == (30 * 50 - 2) * 0.5

    def test_a_gap_breaks_the_line(self) -> None:
        trace = Trace()
        trace.add(batch(0))
        new = trace.add(batch(2))
        assert new is not None
        assert new[0] == (None, None, None)
        assert new[1][0] == 100 * 0.5

    def test_late_and_repeated_batches_are_not_drawn(self) -> None:
        trace = Trace()
        trace.add(batch(0))
        trace.add(batch(1))
        before = list(trace.points)
        assert trace.add(batch(0)) == []
        assert trace.add(batch(1)) == []
        assert list(trace.points) == before

    @pytest.mark.parametrize("change", [{"boot": 2}, {"fs": 100.0}, {"channels": ACC}])
    def test_a_new_boot_rate_or_layout_starts_anew(self, change: dict[str, Any]) -> None:
        trace = Trace()
        trace.add(batch(5))
        assert trace.add(batch(0, **change)) is None
        assert trace.points[0][0] == 0.0

    def test_values_that_json_does_not_know_are_gaps(self) -> None:
        samples = np.array([[1.0], [np.nan], [np.inf], [2.0]], dtype=np.float32)
        trace = Trace()
        trace.add(SampleBatch("d1", 1, 0, 0, 25.0, (Channel("emg", "mV"),), samples))
        assert [p[0] for p in trace.points] == [1.0, None, None, 2.0]


class TestBoard:
    def test_a_delta_holds_what_changed_since_the_last_one(self) -> None:
        board = Board(clock=ManualClock())
        board.post(batch(0))
        board.post(label(0, 3))
        board.drain()
        (first,) = board.delta()["changed"]
        assert first["trace"]["names"] == ("acc_x", "acc_y", "acc_z")
        assert first["label"]["smoothed"]["name"] == "cluster-3"
        assert board.delta()["changed"] == []

        board.post(batch(1))
        board.post(label(1, 3))
        board.post(label(2, 4))
        board.drain()
        (second,) = board.delta()["changed"]
        assert len(second["points"]) == 25
        assert second["windows"] == [3, 4]
        assert second["label"]["window"] == 2

    def test_snapshot_plus_deltas_equals_the_next_snapshot(self) -> None:
        board = Board(clock=ManualClock())
        board.post(batch(0))
        board.drain()
        board.delta()
        (state,) = board.snapshot()["devices"]
        for seq in range(1, 4):
            board.post(batch(seq))
            board.post(label(seq, seq))
            board.drain()
            (change,) = board.delta()["changed"]
            state["trace"]["points"] += change["points"]
            state["windows"] += change["windows"]
            state["label"] = change["label"]
        assert board.snapshot()["devices"] == [state]

    def test_labels_published_again_after_a_restart_are_shown_once(self) -> None:
        board = Board(clock=ManualClock())
        for window in (0, 1, 2, 1, 2, 3):
            board.post(label(window, window))
        board.drain()
        assert board.snapshot()["devices"][0]["windows"] == [0, 1, 2, 3]
        board.post(label(0, 7, boot=2))
        board.drain()
        assert board.snapshot()["devices"][0]["windows"][-1] == 7

    def test_age_and_labels_per_second_follow_the_clock(self) -> None:
        clock = ManualClock()
        board = Board(clock=clock)
        for second in range(6):
            for i in range(10):
                board.post(label(second * 10 + i, 0))
            board.drain()
            clock.advance(1.0)
        clock.advance(2.0)
        state = board.snapshot()
        assert state["devices"][0]["age_s"] == 3.0
        assert state["server"]["labels_per_s"] == pytest.approx(30 / 5)

    def test_the_device_silent_longest_makes_room(self) -> None:
        clock = ManualClock()
        board = Board(clock=clock, max_devices=2)
        for device in ("a", "b", "a", "c"):
            board.post(batch(0, device=device))
            board.drain()
            clock.advance(1.0)
        assert [d["id"] for d in board.snapshot()["devices"]] == ["a", "c"]
        assert board.delta()["gone"] == ["b"]

    def test_when_the_page_cannot_keep_up_the_oldest_falls_out_and_is_counted(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(board_module, "INBOX", 10)
        board = Board(clock=ManualClock())
        for window in range(25):
            board.post(label(window, window))
        board.drain()
        state = board.snapshot()
        assert state["server"]["skipped"] == 15
        assert state["devices"][0]["windows"] == list(range(15, 25))

    def test_only_so_many_devices_have_a_trace(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(board_module, "TRACED_DEVICES", 1)
        board = Board(clock=ManualClock())
        for device in ("a", "b"):
            board.post(batch(0, device=device))
            board.post(label(0, 1, device=device))
        board.drain()
        a, b = board.snapshot()["devices"]
        assert a["trace"] is not None
        assert b["trace"] is None
        assert b["label"]["smoothed"]["label"] == 1


class TestHub:
    def test_a_client_that_falls_behind_gets_a_snapshot_and_nobody_waits(self) -> None:
        async def run() -> list[str]:
            board = Board(clock=ManualClock())
            board.post(label(0, 1))
            board.drain()
            hub = Hub(board)
            events = hub.events()
            names = [_name(await anext(events))]
            (client,) = hub._clients
            for _ in range(QUEUE + 5):  # the client does not read meanwhile
                client.offer(b"event: update\ndata: {}\n\n")
            assert client.queue.qsize() <= QUEUE
            names.append(_name(await anext(events)))
            client.offer(b"event: update\ndata: {}\n\n")
            names.append(_name(await anext(events)))
            hub.close()
            names += [_name(event) async for event in events]
            return names

        assert asyncio.run(run()) == ["state", "state", "update"]

    def test_closing_ends_a_full_client_too(self) -> None:
        async def run() -> bytes | None:
            client = _Client()
            for _ in range(QUEUE):
                client.offer(b"x")
            client.end()
            return await client.queue.get()

        assert asyncio.run(run()) is None


def _name(event: bytes) -> str:
    first, data = event.decode().split("\n")[:2]
    json.loads(data.removeprefix("data: "))
    return first.removeprefix("event: ")
