"""What ``disc-stream watch`` makes of messages, and how it shows it."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from msgspec import structs
from rich.console import Console

from disc_stream.clock import ManualClock
from disc_stream.errors import ConfigError
from disc_stream.types import Label, Problem, SoftLabel
from disc_stream.watching.events import (
    DeviceFilter,
    Event,
    LabelSeen,
    LinkChanged,
    ProblemSeen,
    ServerSeen,
    ServerSilent,
    Unreadable,
    read_message,
)
from disc_stream.watching.state import LiveState
from disc_stream.watching.table import StateTable, bar, status_lines
from disc_stream.watching.views import JsonView, LineView
from disc_stream.wire.label import encode_label
from disc_stream.wire.mqtt import Message, Origin
from disc_stream.wire.problem import encode_problem
from disc_stream.wire.status import ServerStatus, State, encode_server_status
from disc_stream.wire.topics import Topics

TOPICS = Topics()
EVERY = DeviceFilter()
PROBLEM = Problem("rate-differs", "it says 50 Hz and sends 100 Hz", 1_700_000_000_000_000, 3, "Set fs to 100")


def label(window: int, *, device: str = "d1", name: str = "cluster-3", novelty: float = 0.5) -> Label:
    best = SoftLabel(3, name, 0.8)
    smoothed = SoftLabel(1, "cluster-1", 0.65)
    return Label(device, 1, window, 0, 0, best, (best,), smoothed, 1.0, novelty, "m1", window, 0)


def message(topic: str, payload: bytes, *, retained: bool = False) -> Message:
    return Message(topic, payload, "", 1, retained, 1, Origin(0, 0))


def heard(
    payload: bytes, *, device: str = "d1", kind: str = "label", wanted: DeviceFilter = EVERY
) -> Event | None:
    return read_message(message(f"ds/v1/{device}/{kind}", payload), TOPICS, wanted)


class TestMessages:
    def test_a_label_is_read(self) -> None:
        assert heard(encode_label(label(4))) == LabelSeen(label(4), retained=False)

    def test_the_servers_status_is_read(self) -> None:
        status = ServerStatus(State.OFFLINE, None, "m1")
        event = read_message(message(TOPICS.server_status, encode_server_status(status)), TOPICS, EVERY)
        assert event == ServerSeen(status)

    @pytest.mark.parametrize(
        "payload",
        [
            b"\xff\x00\x01",
            b"{}",
            b"[" * 100_000,
            b'{"schema": "disc-stream.label/1"}',
            b"x" * 70_000,
            encode_label(label(0)).replace(b"0.8", b"NaN"),
            encode_label(label(0)).replace(b'"window":0', b'"window":1e999'),
            encode_label(label(0, device="somebody-else")),
        ],
        ids=["binary", "empty", "deep", "incomplete", "oversized", "nan", "infinite", "other device"],
    )
    def test_poison_is_an_event_and_not_an_exception(self, payload: bytes) -> None:
        assert isinstance(heard(payload), Unreadable)

    def test_what_a_terminal_would_obey_is_not_shown(self) -> None:
        event = heard(b'{"schema": "\\u001b[2Jgone"}')
        assert isinstance(event, Unreadable)
        assert event.reason.isprintable()
        out = io.StringIO()
        LineView(out, out).show(LabelSeen(label(0, name="\x1b]0;title\x07"), retained=False))
        assert "\x1b" not in out.getvalue()
        assert "\x07" not in out.getvalue()

    def test_a_problem_and_its_end_are_read(self) -> None:
        assert heard(encode_problem(PROBLEM), kind="problem") == ProblemSeen("d1", PROBLEM)
        assert heard(b"", kind="problem") == ProblemSeen("d1", None)
        assert isinstance(heard(b"{}", kind="problem"), Unreadable)

    def test_a_withdrawn_retained_message_says_nothing(self) -> None:
        assert heard(b"") is None

    def test_only_wanted_devices_are_heard(self) -> None:
        wanted = DeviceFilter.parse("left-*, hip")
        assert heard(encode_label(label(0, device="left-7")), device="left-7", wanted=wanted) is not None
        assert heard(encode_label(label(0, device="hip")), device="hip", wanted=wanted) is not None
        assert heard(encode_label(label(0, device="hip-2")), device="hip-2", wanted=wanted) is None

    def test_an_empty_pattern_is_a_usage_error(self) -> None:
        with pytest.raises(ConfigError, match="empty pattern"):
            DeviceFilter.parse("a,,b")


class TestLiveState:
    def test_a_label_that_came_twice_is_news_once(self) -> None:
        state = LiveState(ManualClock())
        assert state.take(LabelSeen(label(0), retained=False))
        assert not state.take(LabelSeen(label(0), retained=False))
        assert state.take(LabelSeen(label(1), retained=False))
        assert state.devices["d1"].windows == 2

    def test_a_retained_label_is_as_old_as_it_says(self) -> None:
        clock = ManualClock(now_us=90_000_000)
        state = LiveState(clock)
        state.take(LabelSeen(label(0), retained=True))  # published at 0
        assert clock.monotonic() - state.devices["d1"].received_at == 90.0
        assert state.devices["d1"].windows == 0
        assert state.labels_per_s() == 0.0

    def test_the_rate_is_of_the_last_ten_seconds(self) -> None:
        clock = ManualClock()
        state = LiveState(clock)
        for window in range(40):
            state.take(LabelSeen(label(window), retained=False))
            clock.advance(0.5)
        assert state.labels_per_s() == pytest.approx(2.0)

    def test_a_status_expires_and_the_silence_is_told_once(self) -> None:
        clock = ManualClock(now_us=1_000_000_000)
        state = LiveState(clock)
        online = ServerStatus(State.ONLINE, 1, "m1", updated_us=1_000_000_000)
        state.take(ServerSeen(online))
        clock.advance(15)
        assert state.notice_silence() is None
        clock.advance(1)
        silence = state.notice_silence()
        assert silence is not None
        assert silence.seconds == 16.0
        assert state.notice_silence() is None
        assert "server: SILENT since " in status_lines(state)[0]
        assert "(16 s)" in status_lines(state)[0]
        assert state.take(ServerSeen(online))  # it is back, which is news
        assert "server: online" in status_lines(state)[0]

    def test_a_retained_status_is_as_old_as_it_says(self) -> None:
        state = LiveState(ManualClock(now_us=90_000_000))
        state.take(ServerSeen(ServerStatus(State.ONLINE, 1, "m1", updated_us=1_000_000), retained=True))
        assert state.server_silent_s() == pytest.approx(89.0)

    def test_a_server_that_seldom_speaks_is_given_its_time(self) -> None:
        clock = ManualClock()
        state = LiveState(clock)
        for _ in range(3):
            clock.advance(10)
            state.take(ServerSeen(ServerStatus(State.ONLINE, 1, "m1")))
        clock.advance(39)
        assert state.server_silent_s() is None
        clock.advance(2)
        assert state.server_silent_s() == 41.0

    def test_an_offline_server_is_not_silent_but_offline(self) -> None:
        clock = ManualClock()
        state = LiveState(clock)
        state.take(ServerSeen(ServerStatus(State.OFFLINE, None)))
        clock.advance(100)
        assert state.server_silent_s() is None

    def test_a_problem_is_news_when_its_kind_changes(self) -> None:
        state = LiveState(ManualClock())
        assert state.take(ProblemSeen("d1", PROBLEM))
        assert not state.take(ProblemSeen("d1", replace(PROBLEM, count=4)))
        assert state.take(ProblemSeen("d1", replace(PROBLEM, code="no-meta")))
        assert state.take(ProblemSeen("d1", None))
        assert state.devices == {}
        assert not state.take(ProblemSeen("d1", None))

    def test_server_and_broker_states_are_said_in_words(self) -> None:
        state = LiveState(ManualClock())
        assert "no status yet" in status_lines(state)[0]
        online = ServerStatus(State.ONLINE, 1, "m1", {"gaps": 2}, {"truncated": 3, "topic": 1})
        assert state.take(ServerSeen(online))
        assert not state.take(ServerSeen(online))
        assert "online, model m1" in status_lines(state)[0]
        assert status_lines(state)[0].endswith("gaps 2, rejected 4 (3 truncated, 1 topic)")
        assert state.take(ServerSeen(ServerStatus(State.OFFLINE, None)))
        assert "OFFLINE" in status_lines(state)[0]
        state.take(LinkChanged(up=False, reason="keep alive timeout"))
        assert "BROKER LOST (keep alive timeout)" in status_lines(state)[1]
        state.take(LinkChanged(up=True))
        assert len(status_lines(state)) == 1


class TestViews:
    def drawn(self, state: LiveState, *, width: int = 120, height: int = 30) -> str:
        out = io.StringIO()
        console = Console(file=out, width=width, height=height, color_system=None)
        console.print(StateTable(state, "Start a server."))
        return out.getvalue()

    def test_without_labels_the_table_says_what_to_do(self) -> None:
        assert "No label yet. Start a server." in self.drawn(LiveState(ManualClock()))

    def test_the_table_tells_everything_without_colour(self) -> None:
        clock = ManualClock()
        state = LiveState(clock)
        state.take(LabelSeen(label(0, novelty=1.5), retained=False))
        clock.advance(12)
        state.take(LabelSeen(label(0, device="d2"), retained=False))
        lines = self.drawn(state).splitlines()
        row = next(line for line in lines if "d1" in line)
        for cell in ("cluster-3", "████████··  80%", "cluster-1  65%", "1.50 unusual", "silent 12 s", "m1"):
            assert cell in row
        assert "silent" not in next(line for line in lines if "d2" in line)

    def test_why_a_device_has_no_labels_is_below_the_table(self) -> None:
        state = LiveState(ManualClock())
        state.take(LabelSeen(label(0, device="good"), retained=False))
        state.take(ProblemSeen("bad", PROBLEM))
        text = self.drawn(state)
        row = next(line for line in text.splitlines() if line.startswith("│bad"))
        assert "no label" in row
        assert "bad has a problem: it says 50 Hz and sends 100 Hz (3 times since " in text
        assert "Set fs to 100." in text
        for i in range(9):
            state.take(ProblemSeen(f"bad-{i}", PROBLEM))
        assert "and 6 more devices with a problem" in self.drawn(state, height=40)

    @pytest.mark.parametrize("width", [60, 80, 200])
    def test_no_line_is_wider_than_the_terminal(self, width: int) -> None:
        state = LiveState(ManualClock())
        state.take(LabelSeen(label(0, device="a" * 64), retained=False))
        state.take(ProblemSeen("b" * 64, replace(PROBLEM, words="no end " * 40)))
        assert all(len(line) <= width for line in self.drawn(state, width=width).splitlines())

    def test_more_devices_than_lines_are_counted(self) -> None:
        state = LiveState(ManualClock())
        for i in range(50):
            state.take(LabelSeen(label(0, device=f"d{i:02d}"), retained=False))
        text = self.drawn(state, height=20)
        assert len(text.splitlines()) <= 20
        assert "and 38 more devices" in text

    def test_devices_that_are_gone_give_their_rows_to_those_that_live(self) -> None:
        clock = ManualClock()
        state = LiveState(clock)
        for i in range(30):
            state.take(LabelSeen(label(0, device=f"a{i:02d}"), retained=False))
        state.take(ProblemSeen("a07", PROBLEM))
        clock.advance(120)
        for i in range(5):
            state.take(LabelSeen(label(0, device=f"z{i}"), retained=False))
        text = self.drawn(state, height=20)
        assert all(f"z{i}" in text for i in range(5))
        assert "a07" in text
        assert "a29" not in text

    def test_labels_of_former_models_are_marked(self) -> None:
        state = LiveState(ManualClock())
        state.take(ServerSeen(ServerStatus(State.ONLINE, 0, "m2")))
        state.take(LabelSeen(label(0), retained=True))
        state.take(LabelSeen(structs.replace(label(0, device="d2"), model="m2"), retained=False))
        lines = self.drawn(state, width=80).splitlines()
        assert "former model" in next(line for line in lines if "d1" in line)
        assert "former" not in next(line for line in lines if "d2" in line)
        out = io.StringIO()
        LineView(out, io.StringIO(), state).show(LabelSeen(label(0), retained=True))
        assert out.getvalue().endswith("(last known) (of the former model m1)\n")

    def test_lines_are_one_per_label_and_the_rest_goes_to_stderr(self) -> None:
        out, err = io.StringIO(), io.StringIO()
        view = LineView(out, err)
        view.show(LabelSeen(label(7), retained=True))
        view.show(LinkChanged(up=False, reason="gone"))
        view.show(Unreadable("ds/v1/x/label", "not JSON"))
        view.show(ProblemSeen("d2", PROBLEM))
        view.show(ProblemSeen("d2", None))
        view.show(ServerSilent(20.0))
        (line,) = out.getvalue().splitlines()
        assert line.startswith("d1 window 7 cluster-3 80% ########..")
        assert line.endswith("(last known)")
        said = err.getvalue().splitlines()
        assert len(said) == 5
        assert said[2].startswith("d2 has a problem: it says 50 Hz and sends 100 Hz (3 times since ")
        assert said[3:] == [
            "d2 has no problem any more",
            "server has been silent for 20 s; what is shown is the last known",
        ]

    def test_json_lines_carry_the_label_message(self) -> None:
        out = io.StringIO()
        view = JsonView(out)
        view.show(LabelSeen(label(7), retained=False))
        view.show(ServerSeen(ServerStatus(State.ONLINE, 1, "m1")))
        view.show(ProblemSeen("d2", PROBLEM))
        view.show(ServerSilent(20.0))
        first, second, third, fourth = map(json.loads, out.getvalue().splitlines())
        assert first.items() >= json.loads(encode_label(label(7))).items()
        assert (first["event"], second["event"]) == ("label", "server")
        assert (third["event"], third["device"], third["problem"]["code"]) == (
            "problem",
            "d2",
            "rate-differs",
        )
        assert (fourth["state"], fourth["silent_s"]) == ("silent", 20.0)

    @pytest.mark.parametrize(("share", "full"), [(0.0, 0), (0.04, 0), (0.5, 5), (1.0, 10), (7.0, 10)])
    def test_bars_have_ten_characters(self, share: float, full: int) -> None:
        assert bar(share, unicode=False) == "#" * full + "." * (10 - full)
        assert len(bar(share)) == 10
