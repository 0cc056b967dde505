"""The publisher against a real Mosquitto: everything arrives, in order, once, and deaths are noticed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from disc_stream.data.synthetic import synthetic_recordings
from disc_stream.data.types import Recording
from disc_stream.errors import BrokerError, ConfigError
from disc_stream.types import SampleBatch
from disc_stream.wire.broker import Broker
from disc_stream.wire.codecs import CONTENT_TYPES, Encoding, decode_batch
from disc_stream.wire.meta import decode_meta
from disc_stream.wire.mqtt import LinkListener, Message, MqttLink, Session
from disc_stream.wire.status import DeviceStatus, State, decode_device_status
from disc_stream_edge.publisher import Published, Publisher, Sending
from disc_stream_edge.sources import ReplaySource, SampleType, synthetic_fleet
from tests.support.broker import Mosquitto
from tests.support.commandline import CommandLine

pytestmark = pytest.mark.broker

PREFIX = "ds/v1"
# With max_queued_messages 0, Mosquitto 2.0.11 closes the connection of whoever it refuses a message.
LIMITED = "allow_anonymous true\nmax_queued_messages 1000\nacl_file {}/acl"


class Subscriber:
    """Hears everything that devices publish and keeps it per device."""

    def __init__(self, url: str, name: str = "test-subscriber") -> None:
        self.raw: dict[str, list[Message]] = defaultdict(list)
        self.meta: dict[str, Message] = {}
        self.status: dict[str, list[tuple[DeviceStatus, bool]]] = defaultdict(list)
        self._changed = threading.Condition()
        self.link = MqttLink(
            Broker.parse(url), name, LinkListener(on_message=self._take), Session(expiry_s=600)
        )
        self.link.subscribe(f"{PREFIX}/#")
        self.link.connect()

    def _take(self, message: Message) -> None:
        device, kind = message.topic.removeprefix(PREFIX + "/").split("/")
        with self._changed:
            match kind:
                case "raw":
                    self.raw[device].append(message)
                case "meta":
                    self.meta[device] = message
                case "status":
                    self.status[device].append((decode_device_status(message.payload), message.retained))
            self._changed.notify_all()

    def wait(self, what: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(what, 60), f"heard {dict(self.raw)}, {dict(self.status)}"

    def wait_offline(self, device: str) -> DeviceStatus:
        """The last word of a device; its samples come before it."""
        self.wait(lambda: bool(self.status[device]) and self.status[device][-1][0].state is State.OFFLINE)
        return self.status[device][-1][0]

    def batches(self, device: str) -> list[SampleBatch]:
        meta = decode_meta(self.meta[device].payload)
        return [
            decode_batch(m.payload, device=device, content_type=m.content_type, meta=meta)
            for m in self.raw[device]
        ]


@pytest.fixture
def subscriber(mosquitto: Mosquitto) -> Iterator[Subscriber]:
    subscriber = Subscriber(mosquitto.url)
    yield subscriber
    subscriber.link.close()


@pytest.fixture(scope="module")
def recordings() -> list[Recording]:
    return synthetic_recordings(2, 60.5, seed=3)


def publisher(
    mosquitto: Mosquitto, on_publish: Callable[[Published], None] | None = None, **sending: object
) -> Publisher:
    how = Sending(**{"speed": 0.0, **sending})  # type: ignore[arg-type]
    return Publisher(Broker.parse(mosquitto.url), sending=how, on_publish=on_publish)


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_a_replay_arrives_whole_and_in_order(
    mosquitto: Mosquitto,
    subscriber: Subscriber,
    recordings: list[Recording],
    encoding: Encoding,
    dtype: SampleType,
) -> None:
    sources = [ReplaySource(recording, dtype=dtype) for recording in recordings]
    summary = publisher(mosquitto, encoding=encoding).run(sources)
    assert (summary.messages, summary.confirmed, summary.lost) == (242, 242, 0)
    assert summary.samples == sum(len(recording.samples) for recording in recordings)
    for recording, source in zip(recordings, sources, strict=True):
        subscriber.wait_offline(recording.name)
        got = subscriber.batches(recording.name)
        assert {m.content_type for m in subscriber.raw[recording.name]} == {CONTENT_TYPES[encoding]}
        assert [b.seq for b in got] == list(range(121))
        assert [b.t0_us for b in got] == [b.t0_us for b in source.batches(25)]
        samples = np.concatenate([b.physical() for b in got])
        if dtype == "float32":
            assert samples.tobytes() == recording.samples.tobytes()
        else:
            np.testing.assert_allclose(samples, recording.samples, atol=6e-4)


def test_birth_and_peaceful_end(
    mosquitto: Mosquitto, subscriber: Subscriber, recordings: list[Recording]
) -> None:
    publisher(mosquitto).run([ReplaySource(recordings[0], boot=12)])
    name = recordings[0].name
    end = subscriber.wait_offline(name)
    (birth, _), (last, _) = subscriber.status[name]
    assert (birth.state, birth.boot) == (State.ONLINE, 12)
    assert last == end
    assert last.boot == 12
    assert last.since_us is not None, "not the last will"
    assert last.since_us > (birth.since_us or 0)
    late = Subscriber(mosquitto.url, "late")
    late.wait(lambda: name in late.meta and name in late.status)
    assert late.meta[name].retained
    assert late.status[name] == [(last, True)]
    late.link.close()


def test_a_device_that_dies_is_announced_by_its_will(mosquitto: Mosquitto, subscriber: Subscriber) -> None:
    process = command(mosquitto, "--synthetic", "--devices", "2", "--boot", "5")
    with process:
        subscriber.wait(lambda: all(len(subscriber.raw[f"wearable-00{i}"]) >= 2 for i in (1, 2)))
        process.kill()
    for device in ("wearable-001", "wearable-002"):
        assert subscriber.wait_offline(device) == DeviceStatus(State.OFFLINE, 5, None)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_in_peace(
    mosquitto: Mosquitto, subscriber: Subscriber, number: signal.Signals, code: int
) -> None:
    with command(mosquitto, "--synthetic", "--json") as process:
        subscriber.wait(lambda: len(subscriber.raw["wearable-001"]) >= 2)
        process.send_signal(number)
        out, err = process.communicate(timeout=120)
    assert process.returncode == code
    assert err == ""
    summary = json.loads(out)
    assert summary["stopped"]
    assert summary["lost"] == 0
    assert summary["messages"] == summary["confirmed"]
    assert subscriber.wait_offline("wearable-001").since_us is not None
    assert len(subscriber.raw["wearable-001"]) == summary["messages"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_waiting_for_standard_input(mosquitto: Mosquitto, number: signal.Signals) -> None:
    with command(mosquitto, "--stdin", "--fs", "50", "--verbose", stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write("acc_x[g]\n")
        process.stdin.flush()
        listener = Subscriber(mosquitto.url)
        listener.wait(lambda: bool(listener.status["stdin"]))
        process.send_signal(number)
        process.wait(timeout=120)
        assert listener.wait_offline("stdin").since_us is not None
        listener.link.close()
    assert process.returncode == 128 + number


def test_lines_from_standard_input_arrive(mosquitto: Mosquitto, subscriber: Subscriber) -> None:
    lines = "acc_x[g],acc_y[g]\n" + "".join(f"{i},{-i}\n" if i != 60 else "oops\n" for i in range(100))
    with command(mosquitto, "--stdin", "--fs", "100", "--device", "kitchen", "--json",
                 stdin=subprocess.PIPE) as process:  # fmt: skip
        out, err = process.communicate(lines, timeout=120)
    assert process.returncode == 0, err
    assert "line 62" in err
    summary = json.loads(out)
    assert (summary["samples"], summary["malformed_lines"], summary["lost"]) == (99, 1, 0)
    subscriber.wait_offline("kitchen")
    samples = np.concatenate([b.samples for b in subscriber.batches("kitchen")])
    assert samples[:, 0].tolist() == [i for i in range(100) if i != 60]


def test_a_pause_on_standard_input_shows_in_the_clock(mosquitto: Mosquitto, subscriber: Subscriber) -> None:
    with command(mosquitto, "--stdin", "--fs", "1000", stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write("acc_x[g],acc_y[g]\n" + "0,0\n" * 10)
        process.stdin.flush()
        subscriber.wait(lambda: len(subscriber.raw["stdin"]) == 1)  # after a second of silence
        before_us = time.time_ns() // 1000
        process.communicate("1,1\n", timeout=20)
    subscriber.wait_offline("stdin")
    first, second = subscriber.batches("stdin")
    assert (len(first.samples), len(second.samples)) == (10, 1)
    assert before_us <= second.t0_us <= time.time_ns() // 1000
    assert second.t0_us - first.t0_us > 1_000_000, "by counting it would be 10,000"
    assert (first.seq, second.seq) == (0, 1)


def test_a_broker_that_restarts_loses_nothing(
    mosquitto: Mosquitto, subscriber: Subscriber, recordings: list[Recording]
) -> None:
    name = recordings[0].name
    restarter = threading.Thread(target=mosquitto.restart)

    def restart_once(message: Published) -> None:
        if message.seq == 40:
            restarter.start()

    source = ReplaySource(recordings[0])
    summary = publisher(mosquitto, speed=20.0, on_publish=restart_once, max_unconfirmed=8).run([source])
    restarter.join()
    assert summary.lost == 0
    subscriber.wait_offline(name)
    subscriber.wait(lambda: len({b.seq for b in subscriber.batches(name)}) == 121)
    # QoS 1 may repeat a message whose confirmation was lost, but loses none and keeps their order.
    seqs = [b.seq for b in subscriber.batches(name)]
    first = list(dict.fromkeys(seqs))
    assert first == list(range(121))
    assert [s.state for s, _ in subscriber.status[name]].count(State.ONLINE) >= 2, "born again"


def test_a_silent_broker_holds_the_publisher_back(mosquitto: Mosquitto, recordings: list[Recording]) -> None:
    # A stopped process accepts bytes and confirms nothing: the publisher must neither fill the memory nor
    # take the messages for delivered.
    stop = threading.Event()
    sent: list[int] = []
    reached = threading.Event()

    def note(message: Published) -> None:
        sent.append(message.seq)
        if message.seq == 20:
            mosquitto.pause()
            reached.set()

    result: list[object] = []
    runner = threading.Thread(
        target=lambda: result.append(
            publisher(mosquitto, on_publish=note, max_unconfirmed=10).run([ReplaySource(recordings[0])], stop)
        )
    )
    runner.start()
    assert reached.wait(60)
    assert not stop.wait(0.5)  # time in which an unbounded publisher would have sent all
    assert len(sent) <= 21 + 10
    mosquitto.resume()
    runner.join(20)
    assert result[0].lost == 0  # type: ignore[attr-defined]
    assert len(sent) == 121


def test_real_time_is_kept(mosquitto: Mosquitto) -> None:
    times: dict[str, list[float]] = defaultdict(list)
    summary = publisher(mosquitto, speed=10.0, on_publish=lambda m: times[m.device].append(m.monotonic)).run(
        synthetic_fleet(4, start_us=0, boot=1, seconds=10)
    )
    assert summary.messages == 80
    assert 0.95 < summary.seconds < 3.0
    for device_times in times.values():
        assert np.median(np.diff(device_times)) == pytest.approx(0.05, abs=0.02)
    starts = sorted(device_times[0] for device_times in times.values())
    assert starts[-1] - starts[0] > 0.02, "a fleet is not in step"


def test_devices_can_share_a_connection(mosquitto: Mosquitto, subscriber: Subscriber) -> None:
    fleet = synthetic_fleet(30, start_us=0, boot=1, seconds=5)
    summary = publisher(mosquitto, share=True).run(fleet)
    assert (summary.devices, summary.confirmed, summary.lost) == (30, 300, 0)
    for source in fleet:
        subscriber.wait_offline(source.device)
        assert [b.seq for b in subscriber.batches(source.device)] == list(range(10))


def test_two_sources_may_not_be_one_device(mosquitto: Mosquitto, recordings: list[Recording]) -> None:
    with pytest.raises(ConfigError, match="own device id"):
        publisher(mosquitto).run([ReplaySource(recordings[0]), ReplaySource(recordings[0])])


def test_two_publishers_of_one_device_are_suspected(
    mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    stop = threading.Event()
    runners = [
        threading.Thread(
            target=publisher(mosquitto, speed=1.0).run,
            args=(synthetic_fleet(["twin"], start_us=0, boot=boot), stop),
        )
        for boot in (1, 2)
    ]
    for runner in runners:
        runner.start()
    until(lambda: "does another client use the id 'ds-v1-twin' too?" in caplog.text)
    stop.set()
    for runner in runners:
        runner.join(20)
        assert not runner.is_alive()


def until(what: Callable[[], bool]) -> None:
    """Look again and again; for what nobody announces."""
    tick = threading.Event()
    for _ in range(400):
        if what():
            return
        tick.wait(0.05)
    pytest.fail("it did not happen within 20 s")


def test_a_broker_that_refuses_our_messages_is_an_error(tmp_path: Path, recordings: list[Recording]) -> None:
    (tmp_path / "acl").write_text("topic read #\n")
    broker = Mosquitto(tmp_path, LIMITED.format(tmp_path))
    broker.start()
    try:
        with pytest.raises(BrokerError, match="refuses messages of 'wearable-001'"):
            publisher(broker).run([ReplaySource(recordings[0])])
    finally:
        broker.stop()


def test_samples_that_the_broker_refuses_are_lost(tmp_path: Path, recordings: list[Recording]) -> None:
    (tmp_path / "acl").write_text("topic readwrite ds/v1/+/meta\ntopic readwrite ds/v1/+/status\n")
    broker = Mosquitto(tmp_path, LIMITED.format(tmp_path))
    broker.start()
    try:
        summary = publisher(broker).run([ReplaySource(recordings[0])])
    finally:
        broker.stop()
    assert (summary.messages, summary.confirmed, summary.lost) == (121, 0, 121)


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["--broker", "mqtt://127.0.0.1:1", "--synthetic"], 1, "cannot reach the broker at mqtt://127.0.0.1:1"),
        (["--broker", "ftp://x", "--synthetic"], 2, "'ftp://x' is not valid"),
        ([], 2, "Use --replay, --synthetic, --stdin"),
        (["--synthetic", "--stdin"], 2, "choose one source"),
        (["--stdin"], 2, "--fs 50"),
        (["--stdin", "--fs", "50"], 1, "stdin is empty"),
        (["--replay", "nowhere:x"], 2, "nowhere"),
        (["--replay", "no-such-file.csv"], 2, "no-such-file.csv"),
        (["--synthetic", "--devices", "2", "--device", "x"], 2, "--device names one device"),
        (["--synthetic", "--device", "a/b"], 2, "device id 'a/b' is not valid"),
        (["--synthetic", "--prefix", "a/#"], 2, "topic prefix 'a/#' is not valid"),
        (["--synthetic", "--encoding", "xml"], 2, "xml"),
    ],
)  # fmt: skip
def test_mistakes_get_one_line(command_line: CommandLine, args: list[str], code: int, said: str) -> None:
    result = command_line("edge", "publish", *args)
    assert result.returncode == code, result.stderr
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_importing_the_publisher_loads_nothing_heavy() -> None:
    code = (
        "import sys; import disc_stream_edge.publisher, disc_stream_edge.lines; "
        "heavy = {'torch', 'sklearn', 'scipy', 'onnxruntime', 'starlette', 'uvicorn'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def command(
    mosquitto: Mosquitto, *args: str, stdin: int | IO[str] = subprocess.DEVNULL
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "disc_stream", "edge", "publish", "--broker", mosquitto.url, *args],
        stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
