"""The live page's state: traces, views, what browsers are sent."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disc_stream.clock import ManualClock
from disc_stream.types import Channel, Label, Problem, SampleBatch
from disc_stream_server.dashboard import devices as devices_module
from disc_stream_server.dashboard import traces as traces_module
from disc_stream_server.dashboard.board import FEW_BATCHES, Board
from disc_stream_server.dashboard.devices import BATCHES, PRETRACED, STRIP, DeviceTable, sort_key
from disc_stream_server.dashboard.hub import Hub
from disc_stream_server.dashboard.trace import SECONDS, Trace
from disc_stream_server.dashboard.view import MAX_SHOWN, Query, View
from tests.support.shown import label

FS = 50.0
ACC = tuple(Channel(f"acc_{a}", "g", 0.5) for a in "xyz")
GYRO = tuple(Channel(f"gyro_{a}", "rad/s") for a in "xyz")
PROBLEM = Problem("rate-differs", "it says 50 Hz and sends 100 Hz", 1_000, 3, "Correct fs")


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


class TestTrace:
    def test_draws_the_acceleration_in_physical_units_thinned_evenly_across_batches(self) -> None:
        trace = Trace()
        for seq in range(4):
            trace.add(batch(seq, n=25))  # 25 samples at 50 Hz: an odd number for a step of 2
        assert trace.names == ("acc_x", "acc_y", "acc_z")
        assert trace.rate == 25.0
        # every second sample, times the scale of 0.5
        assert [p[0] for p in trace.points()] == [float(i) for i in range(50)]

    def test_holds_ten_seconds(self) -> None:
        trace = Trace()
        for seq in range(30):
            trace.add(batch(seq))
        points = trace.points()
        assert len(points) == SECONDS * trace.rate
        assert [p[0] for p in points] == [(30 * 50 - 2 * i) * 0.5 for i in range(len(points), 0, -1)]

    def test_a_batch_longer_than_what_is_kept_leaves_its_end(self) -> None:
        trace = Trace()
        trace.add(batch(0, n=2_000))
        assert [p[0] for p in trace.points()] == [(2_000 - 2 * i) * 0.5 for i in range(250, 0, -1)]

    def test_new_points_are_told_apart_by_their_number(self) -> None:
        trace = Trace()
        trace.add(batch(0))
        told = trace.count
        assert trace.points(told) == []
        trace.add(batch(1))
        assert [p[0] for p in trace.points(told)] == [i * 0.5 for i in range(50, 100, 2)]

    def test_a_gap_breaks_the_line(self) -> None:
        trace = Trace()
        trace.add(batch(0))
        told = trace.count
        trace.add(batch(2))
        new = trace.points(told)
        assert new[0] == [None, None, None]
        assert new[1][0] == 100 * 0.5

    def test_late_and_repeated_batches_are_not_drawn(self) -> None:
        trace = Trace()
        trace.add(batch(0))
        trace.add(batch(1))
        before = trace.points()
        trace.add(batch(0))
        trace.add(batch(1))
        assert trace.points() == before

    @pytest.mark.parametrize("change", [{"boot": 2}, {"fs": 100.0}, {"channels": ACC}])
    def test_a_new_boot_rate_or_layout_begins_anew(self, change: dict[str, Any]) -> None:
        trace = Trace()
        trace.add(batch(5))
        assert trace.restarts == 1
        trace.add(batch(0, **change))
        assert trace.restarts == 2
        assert trace.points()[0][0] == 0.0

    def test_values_that_json_does_not_know_are_gaps(self) -> None:
        samples = np.array([[1.0], [np.nan], [np.inf], [2.0]], dtype=np.float32)
        trace = Trace()
        trace.add(SampleBatch("d1", 1, 0, 0, 25.0, (Channel("emg", "mV"),), samples))
        assert [p[0] for p in trace.points()] == [1.0, None, None, 2.0]

    def test_ten_seconds_take_a_few_kilobytes(self) -> None:
        trace = Trace()
        for seq in range(20):
            trace.add(batch(seq))
        assert trace._ring.nbytes == 250 * 3 * 4


def delta(board: Board, view: View) -> dict[str, Any]:
    """What a tick of the hub sends."""
    board.update()
    view.choose(board.now())
    return view.delta(board.now())


def state(board: Board, query: Query | None = None) -> dict[str, Any]:
    """What a browser that has just come is sent."""
    return Hub(board).state(query or Query())


class TestView:
    def test_a_delta_holds_what_changed_since_the_last_one(self) -> None:
        board = Board(clock=ManualClock())
        view = board.view(Query())
        board.on_batch(batch(0))
        board.on_label(label(0, 3))
        (first,) = delta(board, view)["changed"]
        assert first["trace"]["names"] == ("acc_x", "acc_y", "acc_z")
        assert first["label"]["smoothed"]["name"] == "cluster-3"
        assert delta(board, view)["changed"] == []

        board.on_batch(batch(1))
        board.on_label(label(1, 3))
        board.on_label(label(2, 4))
        (second,) = delta(board, view)["changed"]
        assert len(second["points"]) == 25
        assert second["windows"] == [3, 4]
        assert second["label"]["window"] == 2
        assert "trace" not in second

    @settings(deadline=None, max_examples=60)
    @given(st.lists(st.sampled_from(["batch", "label", "reboot", "problem", "over", "tick"]), max_size=60))
    def test_a_snapshot_and_the_deltas_after_it_give_the_next_snapshot(self, events: list[str]) -> None:
        board = Board(clock=ManualClock())
        view = board.view(Query())
        board.on_batch(batch(0))
        delta(board, view)
        (shown,) = view.state(board.now())["devices"]
        boot, seq, window = 1, 0, 0
        for event in [*events, "tick"]:
            if event == "batch":
                seq += 1
                board.on_batch(batch(seq, boot=boot))
            elif event == "label":
                window += 1
                board.on_label(label(window, window % 5, boot=boot))
            elif event == "reboot":
                boot, seq, window = boot + 1, 0, -1
                board.on_batch(batch(0, boot=boot))
            elif event in {"problem", "over"}:
                board.on_problem("d1", PROBLEM if event == "problem" else None)
            else:
                for change in delta(board, view)["changed"]:
                    points, windows = change.pop("points", []), change.pop("windows", [])
                    shown |= change
                    shown["trace"]["points"] += points
                    del shown["trace"]["points"][: -shown["trace"]["size"]]
                    shown["windows"] = [*shown["windows"], *windows][-(STRIP - 1) :]
        assert [shown] == view.state(board.now())["devices"]

    def test_two_views_of_one_device_are_told_the_same_each(self) -> None:
        board = Board(clock=ManualClock())
        one, other = board.view(Query()), board.view(Query.parse("d1"))
        board.on_batch(batch(0))
        assert delta(board, one)["changed"] == delta(board, other)["changed"]
        board.on_batch(batch(1))
        board.on_label(label(0, 2))
        assert delta(board, one)["changed"] == delta(board, other)["changed"] != []

    def test_labels_published_again_after_a_restart_are_shown_once(self) -> None:
        board = Board(clock=ManualClock())
        for window in (0, 1, 2, 1, 2, 3):
            board.on_label(label(window, window))
        assert state(board)["devices"][0]["windows"] == [0, 1, 2, 3]
        board.on_label(label(0, 7, boot=2))
        assert state(board)["devices"][0]["windows"][-1] == 7

    def test_the_strip_keeps_the_last_windows(self) -> None:
        board = Board(clock=ManualClock())
        for window in range(300):
            board.on_label(label(window, window))
        assert state(board)["devices"][0]["windows"] == list(range(300 - STRIP + 1, 300))

    def test_age_and_labels_per_second_follow_the_clock(self) -> None:
        clock = ManualClock()
        board = Board(clock=clock)
        for second in range(6):
            board.on_batch(batch(second))
            for i in range(10):
                board.on_label(label(second * 10 + i, 0))
            clock.advance(1.0)
            board.update()
        clock.advance(2.0)
        now = state(board)
        assert now["devices"][0]["age_s"] == 3.0
        # Ten labels a second until two seconds ago, seen over the five to seven seconds that are remembered.
        assert 30 / 7 <= now["server"]["labels_per_s"] <= 40 / 5

    def test_a_viewer_is_told_how_many_devices_are_not_shown(self) -> None:
        board = Board(clock=ManualClock())
        for number in range(MAX_SHOWN + 55):
            board.on_label(label(0, number % 3, device=f"d{number}"))
        seen = state(board)
        assert seen["view"] == {"matching": MAX_SHOWN + 55, "shown": MAX_SHOWN}
        assert [device["id"] for device in seen["devices"]] == [f"d{number}" for number in range(MAX_SHOWN)]
        found = state(board, Query.parse("cluster-1 D2"))  # in any case, every word
        assert found["view"]["matching"] == sum(
            number % 3 == 1 for number in range(MAX_SHOWN + 55) if "d2" in f"d{number}"
        )

    def test_devices_without_labels_and_the_reason_can_be_looked_for(self) -> None:
        board = Board(clock=ManualClock())
        for device in ("good", "bad", "worse"):
            board.on_batch(batch(0, device=device))
        board.on_label(label(0, 1, device="good"))
        board.on_problem("bad", PROBLEM)
        assert [d["id"] for d in state(board, Query.parse("", unlabelled=True))["devices"]] == ["bad"]
        assert [d["id"] for d in state(board, Query.parse("says 50"))["devices"]] == ["bad"]
        assert [d["id"] for d in state(board, Query.parse("no label"))["devices"]] == ["bad", "worse"]
        (bad,) = state(board, Query.parse("bad"))["devices"]
        assert bad["problem"] == {
            "code": "rate-differs",
            "words": "it says 50 Hz and sends 100 Hz",
            "since_us": 1_000,
            "count": 3,
            "remedy": "Correct fs",
        }
        assert state(board)["server"]["unlabelled"] == 1
        board.on_problem("bad", None)
        assert state(board, Query.parse("bad"))["devices"][0]["problem"] is None
        assert state(board)["server"]["unlabelled"] == 0

    def test_a_device_that_only_has_a_problem_is_shown(self) -> None:
        board = Board(clock=ManualClock())
        board.on_problem("mute", PROBLEM)
        assert [d["id"] for d in state(board)["devices"]] == ["mute"]

    def test_devices_that_come_and_go_from_a_search_are_told(self) -> None:
        clock = ManualClock()
        board = Board(clock=clock)
        view = board.view(Query.parse("cluster-1"))
        board.on_label(label(0, 1))
        assert [d["id"] for d in delta(board, view)["changed"]] == ["d1"]
        board.on_label(label(1, 2))
        clock.advance(1.0)
        left = delta(board, view)
        assert (left["changed"], left["gone"], left["view"]["matching"]) == ([], ["d1"], 0)
        board.on_label(label(2, 1))
        clock.advance(1.0)
        (again,) = delta(board, view)["changed"]
        assert again["windows"] == [1, 2, 1]

    def test_a_note_that_fails_leaves_the_page_alone(self, caplog: pytest.LogCaptureFixture) -> None:
        def fail(_label: Label) -> str:
            raise RuntimeError("no note")

        board = Board(clock=ManualClock(), annotate=fail)
        board.on_label(label(0, 1))
        board.on_label(label(0, 1, device="d2"))
        assert [d["note"] for d in state(board)["devices"]] == ["", ""]
        assert caplog.text.count("the note beside a label could not be made") == 1


class TestTraces:
    def test_only_what_is_looked_at_and_a_few_more_is_drawn(self) -> None:
        clock = ManualClock()
        board = Board(clock=clock)
        names = [f"d{number:04d}" for number in range(PRETRACED + 100)]

        def send(seq: int) -> None:
            for name in names:
                board.on_batch(batch(seq, device=name))
            board.update()

        send(0)
        last = names[-1]
        kept = {name for name in names if board._traces.get(name) is not None}
        assert kept == set(names[:PRETRACED])
        view = board.view(Query.parse(last))
        view.choose(board.now())
        send(1)
        (shown,) = delta(board, view)["changed"]
        assert shown["id"] == last
        assert len(shown["trace"]["points"]) == 25
        clock.advance(11.0)
        send(2)
        assert len([name for name in names if board._traces.get(name) is not None]) == PRETRACED
        assert board._traces.get(last) is not None  # looked at last, so it is kept

    def test_traces_are_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(traces_module, "MAX_TRACED", 3)
        monkeypatch.setattr(devices_module, "PRETRACED", 1)
        board = Board(clock=ManualClock())
        view = board.view(Query())
        for seq in range(2):
            for number in range(10):
                board.on_batch(batch(seq, device=f"d{number}"))
            delta(board, view)
        assert sum(board._traces.get(f"d{number}") is not None for number in range(10)) == 3

    def test_a_server_with_a_backlog_draws_the_newest_only(self) -> None:
        board = Board(clock=ManualClock())
        board.on_status({"backlog": 5_000})
        for seq in range(FEW_BATCHES + 15):
            board.on_batch(batch(seq, n=2))
        assert state(board)["server"]["skipped"] == 15
        trace = board._traces.get("d1")
        assert trace is not None
        assert trace.points()[-1][0] == (FEW_BATCHES + 14) * 2 * 0.5

    def test_what_the_page_cannot_draw_is_left_out_and_counted(self) -> None:
        board = Board(clock=ManualClock())
        for seq in range(BATCHES + 15):
            board.on_batch(batch(seq, n=2))
        board.update()
        assert state(board)["server"]["skipped"] == 15


class TestDeviceTable:
    def test_names_are_ordered_as_people_count(self) -> None:
        table = DeviceTable(ManualClock())
        for device in ("hip-10", "Wrist", "hip-2", "9x", "ankle", "10x"):
            table.batch(batch(0, device=device))
        assert table.names() == ["9x", "10x", "ankle", "hip-2", "hip-10", "Wrist"]
        table.batch(batch(0, device="hip-3"))
        assert table.first(5) == ["9x", "10x", "ankle", "hip-2", "hip-3"]

    @given(st.lists(st.text("ab1290-_:.", min_size=1, max_size=6)))
    def test_any_ids_can_be_ordered(self, names: list[str]) -> None:
        assert len(sorted(names, key=sort_key)) == len(names)

    def test_the_devices_silent_longest_make_room_but_no_live_ones(self) -> None:
        clock = ManualClock()
        table = DeviceTable(clock, max_devices=20)
        for number in range(20):
            table.batch(batch(0, device=f"d{number}"))
        table.problem("d0", PROBLEM)
        table.batch(batch(0, device="late"))
        table.make_room()
        assert table.get("late") is None  # all others are live
        clock.advance(61.0)
        for number in range(5, 20):
            table.batch(batch(1, device=f"d{number}"))
        table.make_room()
        assert len(table) == 18  # a tenth at once
        assert table.get("d0") is None
        assert table.problems == {}
        assert "d0" not in table.names()
        table.batch(batch(0, device="late"))
        assert table.get("late") is not None

    def test_the_work_for_a_message_does_not_grow_with_the_number_of_devices(self) -> None:
        """Counted in calls of functions, not in seconds, so that a busy machine does not matter."""

        def calls(devices: int) -> int:
            board = Board(clock=ManualClock())
            names = [f"d{number}" for number in range(devices)]
            for name in names:
                board.on_batch(batch(0, device=name))
                board.on_label(label(0, 1, device=name))
            board.update()
            later = [(batch(1, device=name), label(1, 1, device=name)) for name in names[:: devices // 50]]
            count = 0

            def count_call(_frame: object, event: str, _arg: object) -> None:
                nonlocal count
                count += event in {"call", "c_call"}

            sys.setprofile(count_call)
            try:
                for one, other in later:
                    board.on_batch(one)
                    board.on_label(other)
            finally:
                sys.setprofile(None)
            return count

        # Small fleets are drawn from the start, which is one call more for a batch.
        assert calls(5_000) <= calls(50) <= 6 * 2 * 51

    def test_a_row_is_small(self) -> None:
        row = devices_module.Row("d1", 0.0, traced=False)
        assert sys.getsizeof(row) + sys.getsizeof(row.strip) < 1_300
