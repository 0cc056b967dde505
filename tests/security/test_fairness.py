"""One device that sends as much as it can: the others have their labels, and it is told, not lost.

Facts are counted, not times: whose windows are labelled before whose, what waits, what was refused.
"""

# ruff: noqa: F811 - fixtures are taken by their names
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from disc_stream.artifacts.model import Model
from disc_stream.clock import ManualClock
from disc_stream.config import ServeConfig
from disc_stream.load.fairness import FairnessPlan, run
from disc_stream.load.plan import Load
from disc_stream.stream.values import ReadyInput
from disc_stream.types import Label
from disc_stream.wire.broker import Broker
from disc_stream.wire.mqtt import LinkListener, Message, MqttLink
from disc_stream.wire.problem import decode_problem
from disc_stream.wire.topics import Topics
from disc_stream_server.budget import bounds
from disc_stream_server.doctor.devices import check_devices
from disc_stream_server.doctor.findings import State
from disc_stream_server.labeller.pace import Pace
from disc_stream_server.labeller.waiting import WaitingWindows
from disc_stream_server.receiving.ratelimiter import Fate, RateLimiter
from disc_stream_server.storage.rows import Arrival
from disc_stream_server.storage.spool import SpoolReader, SpoolWriter
from disc_stream_server.wiring import device_limits
from tests.integration.conftest import (  # noqa: F401 - fixtures
    StartServer,
    listener,
    mosquitto,
    sender,
    start_server,
    tiny_bundle,
)
from tests.support.broker import Mosquitto
from tests.support.device import LEFT, Sender, constant, make_batch
from tests.support.labeller import START_US, Bench, arrival_of, facts, model_of, write_spool
from tests.support.listener import Listener
from tests.support.motion import walk_values
from tests.support.tiny_bundle import write_tiny_bundle

ROWS = 20_000  # samples of one message: 2,500 windows


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    path = tmp_path_factory.mktemp("fairness") / "tiny"
    write_tiny_bundle(path)
    return model_of(path)


def flood(n: int, rows: int = ROWS) -> list[Arrival]:
    """Messages of an attacker, and among them one of another device each."""
    arrivals = []
    for seq in range(n):
        values = np.tile(np.concatenate(walk_values(8)), (rows // 8, 1))[:rows]
        arrivals.append(arrival_of(make_batch("attacker", seq, values), START_US + seq))
        arrivals.append(arrival_of(make_batch("good", seq, constant(LEFT, 8)), START_US + seq))
    return arrivals


class SlowClock(ManualClock):
    """Each look at the time takes ten milliseconds, so a turn of the encoder has time for few windows."""

    def monotonic(self) -> float:
        self.advance(0.01)
        return super().monotonic()


def before(labels: list[Label], device: str, n: int) -> int:
    """Labels of others before the n-th of a device."""
    at = [place for place, label in enumerate(labels) if label.device == device][n - 1]
    return at - (n - 1)


# -- the labeller -----------------------------------------------------------------------------------------


def test_the_windows_of_one_huge_message_do_not_stand_before_those_of_another_device(
    tmp_path: Path, model: Model
) -> None:
    write_spool(tmp_path, flood(3))
    bench = Bench(tmp_path, model, clock=SlowClock(START_US))
    bench.run()
    sent = bench.outbox.sent
    assert len(sent) == 3 * ROWS // 8 + 3, "everything is labelled in the end"
    assert before(sent, "good", 3) < ROWS // 8, "not behind the 7,500 windows that came before"
    bench.close()


def test_what_a_device_may_send_at_once_does_not_fill_the_queue_of_windows(
    tmp_path: Path, model: Model
) -> None:
    """Rows behind a full queue wait, whoever sent them; the labeller can hold the device back only later."""
    settings = ServeConfig(bundle=tmp_path)
    limiter = RateLimiter(device_limits(settings, bounds(settings)), {}, now=lambda: 0.0)
    samples = np.tile(np.concatenate(walk_values(8)), (5_375, 1))[:43_000].astype(np.int16)
    messages = [arrival_of(make_batch("attacker", seq, samples), START_US + seq) for seq in range(20)]
    fates = [limiter.judge("attacker", len(one.payload)) for one in messages]
    let_in = [one for one, fate in zip(messages, fates, strict=True) if fate is Fate.ADMITTED]
    assert 0 < len(let_in) < 20
    write_spool(tmp_path, [*let_in, arrival_of(make_batch("good", 0, constant(LEFT, 8)), START_US + 20)])
    bench = Bench(tmp_path, model, clock=SlowClock(START_US))
    turns = 0
    while not any(label.device == "good" for label in bench.outbox.sent):
        bench.run(1)
        turns += 1
    assert turns <= len(let_in) + 1, "as soon as the rows before it are read"
    assert "attacker" in bench.labeller.crowding(), "and what waits is not let in before that is labelled"
    bench.close()


def test_labels_are_those_of_a_single_turn_wherever_the_labeller_crashes_with_windows_waiting(
    tmp_path: Path, model: Model
) -> None:
    rows = flood(2, rows=2_000)
    (tmp_path / "once").mkdir()
    write_spool(tmp_path / "once", rows)
    once = Bench(tmp_path / "once", model)
    once.run()
    expected = once.outbox.sent
    once.close()

    (tmp_path / "crashing").mkdir()
    write_spool(tmp_path / "crashing", rows)
    found: list[Label] = []
    waited = 0
    while True:
        bench = Bench(tmp_path / "crashing", model, clock=SlowClock(START_US))
        bench.run(2)
        waited += bench.labeller.waiting > 0
        bench.checkpoint()
        found += bench.outbox.sent
        done = not bench.labeller.waiting and bench.labeller.position == bench.reader.head
        bench.run(1)  # labels that no checkpoint knows of
        bench.close()
        if done:
            break
    assert waited > 3, "it has crashed with windows in the queue"
    assert sorted(facts(found)) == sorted(facts(expected)), "each once, smoothed alike"
    assert [one.window for one in found if one.device == "attacker"] == list(range(500)), "in order"


def test_windows_that_wait_under_a_model_that_is_replaced_are_dead_letters_with_the_reason(
    tmp_path: Path, model: Model
) -> None:
    queue = WaitingWindows("old model", (8, 3), 2**20)
    queue.add([ready("watch", 0), ready("watch", 1)])
    other = WaitingWindows("new model", (4, 3), 2**20)
    assert [one.window for one in other.restore(queue.capture())] == [0, 1]
    assert not other
    assert other.capture() == {"watch": b""}, "they are not brought up again"


def ready(device: str, window: int) -> ReadyInput:
    return ReadyInput(device, 1, window, 0, window, 0, np.zeros((8, 3), np.float32))


def test_a_turn_has_one_window_of_each_device_and_shares_what_is_left() -> None:
    queue = WaitingWindows("model", (8, 3), 2**30)
    queue.add(ready("a", n) for n in range(100))
    queue.add(ready("b", n) for n in range(100))
    queue.add([ready("c", 0)])
    chosen = queue.choose(11, 256)
    assert sorted((one.device, one.window) for one in chosen) == sorted(
        [("a", n) for n in range(5)] + [("b", n) for n in range(5)] + [("c", 0)]
    )
    queue.done(chosen)
    many = [f"d{n}" for n in range(10)]
    queue.add(ready(name, 0) for name in many)
    assert {one.device for one in queue.choose(4, 4)} <= {"a", "b", *many}
    seen: set[str] = set()
    while not {"a", "b", *many} <= seen:
        chosen = queue.choose(4, 4)
        assert len(chosen) == 4
        seen |= {one.device for one in chosen}
        queue.done(chosen)
    assert len(queue) == 201 + 10 - 11 - 12, "three turns were enough for everybody"


def test_while_the_broker_is_behind_a_long_queue_waits_and_the_others_do_not(
    tmp_path: Path, model: Model
) -> None:
    write_spool(tmp_path, flood(1))
    bench = Bench(tmp_path, model)
    bench.outbox.unconfirmed = 10_000
    bench.run(3)
    assert [label.device for label in bench.outbox.sent] == ["good"], (
        "no label stands before it at the broker"
    )
    bench.outbox.unconfirmed = 0
    bench.run(1)
    assert 0 < len(bench.outbox.sent) <= 33, "a few at once"
    bench.run()
    windows = [label.window for label in bench.outbox.sent if label.device == "attacker"]
    assert windows == list(range(ROWS // 8)), "all of them, in order"
    bench.close()


def test_in_a_backlog_of_many_devices_rows_are_not_taken_faster_than_they_are_labelled(
    tmp_path: Path, model: Model
) -> None:
    rows = [make_batch(f"d{n}", 0, constant(LEFT, 8)) for n in range(2_500)]
    write_spool(tmp_path, [arrival_of(one, START_US + n) for n, one in enumerate(rows)])
    bench = Bench(tmp_path, model, clock=SlowClock(START_US))
    most = 0
    while len(bench.outbox.sent) < 2_500:
        bench.run(1)
        most = max(most, bench.labeller.waiting)
    assert 0 < most < 256 + 512, "a batch of the encoder, and the rows that are read at once"
    assert [label.device for label in bench.outbox.sent] == [one.device for one in rows]
    bench.close()


def test_who_waits_for_a_first_window_is_known() -> None:
    queue = WaitingWindows("model", (8, 3), 2**30)
    queue.add([ready("a", 0), ready("a", 1), ready("b", 0), ready("c", 0)])
    assert queue.unserved == 3
    queue.done(queue.choose(2, 2))
    assert queue.unserved == 1
    queue.add([ready("a", 2)])
    assert queue.unserved == 1, "of it windows waited already, and it has its turns"
    queue.forget("c")
    assert queue.unserved == 0


def test_a_device_with_a_long_queue_is_held_back_before_it_fills_the_room() -> None:
    queue = WaitingWindows("model", (8, 3), 1_000 * (8 * 3 * 4 + 400))
    queue.add(ready("good", n) for n in range(40))
    assert queue.crowding() == frozenset()
    queue.add(ready("attacker", n) for n in range(80))
    assert queue.crowding() == {"attacker"}, "more than a sixteenth of what is free"
    assert not queue.is_full
    while len(queue) > 80:
        queue.done(queue.choose(10, 10))
    assert queue.crowding() == {"attacker"}, "until it has half of that"
    while len(queue) > 20:
        queue.done(queue.choose(10, 10))
    assert queue.crowding() == frozenset()
    queue.add(ready("attacker", n) for n in range(999 - len(queue)))
    assert not queue.is_full
    queue.add([ready("attacker", 999)])
    assert queue.is_full, "a window takes its samples as float32, and 400 bytes"


def test_the_pace_follows_what_a_window_takes() -> None:
    pace = Pace(256)
    pace.took(32, 32 * 0.003)
    assert pace.windows == 4
    for _ in range(50):
        pace.took(100, 0.001)
    assert pace.windows == 256
    for _ in range(50):
        pace.took(10, 0.001)
    assert pace.windows in (99, 100)
    pace.took(10, 0.002)
    assert pace.windows == 83, "a single turn that is slow counts for a fifth"
    for _ in range(50):
        pace.took(10, 0.001)
    for _ in range(50):
        pace.took(1, 1.0)
    assert pace.windows == 4


def test_rows_are_read_by_bytes_and_never_in_vain(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path)
    writer.append([Arrival(n, "ds/v1/watch/raw", "", bytes(1_000)) for n in range(10)])
    writer.close()
    reader = SpoolReader(tmp_path)
    assert [row.position for row in reader.read(0, 99, 2_500)] == [1, 2, 3]
    assert [row.position for row in reader.read(3, 99, 1)] == [4], "one at least"
    assert len(reader.read(0, 99)) == 10
    reader.close()


def test_huge_batches_that_wait_for_one_before_them_are_few(tmp_path: Path, model: Model) -> None:
    values = np.tile(np.concatenate(walk_values(8)), (84, 1))[:20_000]
    batches = [make_batch("attacker", seq, values) for seq in (0, *range(2, 12))]
    write_spool(tmp_path, [arrival_of(batch, START_US + n) for n, batch in enumerate(batches)])
    bench = Bench(tmp_path, model)
    bench.run()
    (device,) = bench.labeller.live.sessions._states
    assert sum(len(one.batch.samples) for one in device.waiting.values()) <= 100_000
    assert bench.labeller.live.sessions.counts.missing == 1, "and nothing but the missing one is lost"
    assert len(bench.outbox.sent) == 11 * 20_000 // 8
    bench.close()


def test_the_windows_of_two_floods_share_what_the_broker_takes(tmp_path: Path, model: Model) -> None:
    queue = WaitingWindows("model", (8, 3), 2**30)
    queue.add(ready("a", n) for n in range(100))
    queue.add([ready("b", 0)])
    assert [one.device for one in queue.choose(0, 256)] == ["b"], "no room: the long queue is passed over"
    assert {one.device for one in queue.choose(1, 256)} == {"a", "b"}


# -- the whole ----------------------------------------------------------------------------------------------


def problems_of(url: str) -> tuple[MqttLink, Callable[[str], set[str]]]:
    """The codes that each device was ever told."""
    told: dict[str, set[str]] = {}

    def take(message: Message) -> None:
        problem = decode_problem(message.payload)
        codes = told.setdefault(message.topic.split("/")[2], set())
        codes.add("none" if problem is None else problem.code)

    link = MqttLink(Broker.parse(url), "reads-problems", LinkListener(on_message=take))
    link.subscribe("ds/v1/+/problem")
    link.connect()
    return link, lambda device: told.get(device, set())


@pytest.mark.broker
def test_a_device_that_sends_too_fast_waits_is_named_and_loses_nothing(
    mosquitto: Mosquitto,
    start_server: StartServer,
    sender: Sender,
    listener: Listener,
) -> None:
    start_server(device_messages_s=300, device_burst_s=0.1)
    link, told = problems_of(mosquitto.url)
    for seq in range(900):
        sender.send(make_batch("attacker", seq, constant(LEFT, 8)))
        if seq % 100 == 0:
            sender.send(make_batch("good", seq // 100, constant(LEFT, 8)))
    listener.wait(lambda: "attacker" in listener.status.get("limited", {}))
    assert list(listener.status["limited"]) == ["attacker"], "and nobody else"
    found = check_devices(Broker.parse(mosquitto.url), Topics(), "doctor")
    assert found[1].state is State.WARNING
    assert "attacker" in found[1].detail
    listener.wait_for_labels(909)
    windows = [label.window for label in listener.labels if label.device == "attacker"]
    assert windows == list(range(900)), "all of it, in order"
    assert listener.status["counters"]["over_quota"] == 0
    listener.wait(lambda: "none" in told("attacker"))
    assert told("attacker") == {"rate-limited", "none"}
    assert told("good") == set()
    link.close()


@pytest.mark.broker
def test_the_benchmark_in_short(mosquitto: Mosquitto) -> None:
    plan = FairnessPlan(minutes=0.1, settings={"device_waiting_bytes": 2**20, "memory_mb": 320})
    report = run(Load(devices=10), plan, mosquitto.url, lambda _what: None)
    fleet, attacker = report["fleet"], report["attacker"]
    assert fleet["labels"] == fleet["labels_expected"] > 0, "the others have all of theirs"
    assert report["others_limited"] == []
    assert attacker["in_status"]["refused"] > 0
    assert {"rate-limited", "over-quota"} & attacker["told"].keys()
    assert report["memory"]["peak_mib"] < report["memory"]["limit_mib"] == 320
    assert report["counters"]["memory_bytes"] > 50 * 2**20, "what it takes stands in the status beside it"
    assert report["attack"]["latency_ms"]["labels"] > 0
    assert report["exit_code"] == 0


@pytest.mark.broker
def test_what_is_beyond_the_room_is_refused_told_and_no_harm_to_others(
    mosquitto: Mosquitto,
    start_server: StartServer,
    sender: Sender,
    listener: Listener,
) -> None:
    start_server(device_messages_s=1, device_burst_s=2, device_waiting_bytes=2**16)
    link, told = problems_of(mosquitto.url)
    for _ in range(300):
        sender.raw("attacker", bytes(1_000))
    for seq in range(2):
        sender.send(make_batch("good", seq, constant(LEFT, 8)))
    listener.wait_for_labels(2)
    listener.wait_for_count("over_quota", 300 - 2 - 2**16 // 1_000)
    listener.wait(lambda: "over-quota" in told("attacker"))
    facts = listener.status["limited"]["attacker"]
    assert facts["waiting_bytes"] <= 2**16
    assert facts["refused"] + facts["waited"] == 298
    (_, limits) = check_devices(Broker.parse(mosquitto.url), Topics(), "doctor")
    assert "attacker" in limits.detail
    assert "refused" in limits.detail
    link.close()
