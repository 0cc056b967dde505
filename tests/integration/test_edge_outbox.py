"""``edge publish --outbox`` against a real Mosquitto that is not there, goes away and comes back."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from disc_stream.data.synthetic import synthetic_recordings
from disc_stream.wire.broker import Broker
from disc_stream.wire.codecs import decode_batch
from disc_stream.wire.meta import decode_meta
from disc_stream.wire.mqtt import LinkListener, Message, MqttLink
from disc_stream_edge.outbox import Entry, open_outbox
from disc_stream_edge.publisher import Publisher, Sending
from disc_stream_edge.sources import ReplaySource
from tests.support.broker import Mosquitto, free_port
from tests.support.commandline import CommandLine
from tests.support.proxy import Proxy

pytestmark = pytest.mark.broker


class Heard:
    """Batches by device, boot and number; and what came of a device, in order."""

    def __init__(self, url: str) -> None:
        self.messages: list[Message] = []
        self.changed = threading.Condition()
        self.link = MqttLink(Broker.parse(url), "heard", LinkListener(on_message=self._take))
        self.link.subscribe("ds/v1/#")
        self.link.connect()

    def _take(self, message: Message) -> None:
        with self.changed:
            self.messages.append(message)
            self.changed.notify_all()

    def wait(self, n: int) -> list[tuple[int, int, int]]:
        """(boot, seq, samples) of the first n batches, decoded by the description that came before each."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self._raw()) >= n, 60), len(self._raw())
        found, meta = [], None
        for message in list(self.messages):
            if message.topic.endswith("/meta"):
                meta = decode_meta(message.payload)
            elif message.topic.endswith("/raw"):
                kind = message.content_type
                batch = decode_batch(message.payload, device="w", content_type=kind, meta=meta)
                found.append((batch.boot, batch.seq, len(batch.samples)))
        return found

    def _raw(self) -> list[Message]:
        return [message for message in self.messages if message.topic.endswith("/raw")]


def run(*args: str) -> tuple[int, dict[str, object], str]:
    command = [sys.executable, "-m", "disc_stream", "edge", "publish", "--json", *args]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    return done.returncode, json.loads(done.stdout), done.stderr


def test_a_broker_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    """Nothing but an outbox at first; then the broker, and a run without a source."""
    (tmp_path / "broker").mkdir()
    broker = Mosquitto(tmp_path / "broker")
    box = str(tmp_path / "outbox")
    process = subprocess.Popen(
        [sys.executable, "-m", "disc_stream", "edge", "publish", "--json", "--broker", broker.url, "--outbox",
         box, "--synthetic", "--device", "w", "--seconds", "20", "--speed", "20", "--encoding", "packed"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        found = until_kept(Path(box), 1_000)
        process.terminate()
        said = json.loads(process.communicate(timeout=60)[0])
    assert said["waiting"] == said["messages"] == found
    assert (said["confirmed"], said["lost"], said["samples"]) == (0, 0, 1_000)
    assert found < 40, "messages become longer while nothing is confirmed"
    broker.start()
    heard = Heard(broker.url)
    try:
        code, said, _ = run("--broker", broker.url, "--outbox", box)
        assert (code, said["confirmed"], said["waiting"]) == (0, found, 0)
        got = heard.wait(found)
        assert [seq for _, seq, _ in got] == list(range(found))
        assert sum(n for *_, n in got) == 1_000
    finally:
        heard.link.close()
        broker.discard()


def until_kept(folder: Path, samples: int) -> int:
    """Messages in an outbox, once it has so many samples; looked at from outside."""
    import sqlite3

    tick = threading.Event()
    for _ in range(600):
        path = folder / "outbox.sqlite"
        if path.exists():
            try:
                connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
                n, total = connection.execute("SELECT count(*), total(n) FROM message").fetchone()
                connection.close()
            except sqlite3.OperationalError:
                n = total = 0
            if total >= samples:
                return int(n)
        tick.wait(0.05)
    pytest.fail("nothing was kept")


def test_cuts_of_the_connection_lose_nothing(mosquitto: Mosquitto, tmp_path: Path) -> None:
    heard, cable = Heard(mosquitto.url), Proxy(mosquitto.port)
    box = open_outbox(tmp_path / "outbox", 64, "drop-oldest")
    (recording,) = synthetic_recordings(1, 300.0, seed=1)
    sent = 0

    def cut(_message: object) -> None:
        nonlocal sent
        sent += 1
        if sent in {20, 200}:
            cable.cut()

    try:
        sending = Sending(speed=200.0)
        publisher = Publisher(Broker.parse(cable.url), sending=sending, on_publish=cut, outbox=box)
        summary = publisher.run([ReplaySource(recording, device="w", boot=7)])
        assert (summary.lost, summary.waiting, summary.samples) == (0, 0, 15_000)
        assert summary.confirmed == summary.messages
        assert {seq for _, seq, _ in heard.wait(summary.messages)} == set(range(summary.messages))
    finally:
        box.close()
        cable.close()
        heard.link.close()


def test_what_another_device_has_left_is_sent_too(mosquitto: Mosquitto, tmp_path: Path) -> None:
    heard = Heard(mosquitto.url)
    box = open_outbox(tmp_path / "outbox", 64, "drop-oldest")
    (recording,) = synthetic_recordings(1, 2.0, seed=1)
    source = ReplaySource(recording, device="w", boot=3)
    from disc_stream.wire.codecs import Encoding, encode_batch
    from disc_stream.wire.meta import encode_meta

    box.begin_boot("w", 3, encode_meta(source.meta))
    for batch in source.batches(25):
        payload = encode_batch(batch, Encoding.PACKED, describe_channels=False)
        kind = "application/vnd.disc-stream.packed"
        box.put([Entry("w", 3, batch.seq, 25, kind, payload)])
    try:
        other = ReplaySource(recording, device="w2", boot=9)
        summary = Publisher(Broker.parse(mosquitto.url), sending=Sending(speed=0.0), outbox=box).run([other])
        assert (summary.devices, summary.messages, summary.confirmed) == (1, 4, 8)
        assert {(3, seq, 25) for seq in range(4)} <= set(heard.wait(8))
    finally:
        box.close()
        heard.link.close()


def test_mistakes_get_one_line(command_line: CommandLine, tmp_path: Path) -> None:
    box = open_outbox(tmp_path, 1, "drop-oldest")
    nowhere = f"mqtt://127.0.0.1:{free_port()}"
    result = command_line("edge", "publish", "--synthetic", "--outbox", str(tmp_path), "--broker", nowhere)
    assert result.returncode == 1
    assert "is in use by another process. Stop it, or name another folder with --outbox" in result.stderr
    assert "Traceback" not in result.stderr
    box.close()
    empty = command_line("edge", "publish", "--outbox", str(tmp_path), "--broker", nowhere)
    assert empty.returncode == 0
    assert "0 messages" in empty.stdout
