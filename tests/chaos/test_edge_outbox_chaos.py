"""The publisher's outbox when its process is killed and its connection is cut: every batch arrives."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from disc_stream.wire.broker import Broker
from disc_stream.wire.codecs import decode_batch
from disc_stream.wire.meta import decode_meta
from disc_stream.wire.mqtt import LinkListener, Message, MqttLink, Session
from disc_stream_edge.outbox import open_outbox
from tests.support.broker import Mosquitto
from tests.support.proxy import Proxy

pytestmark = pytest.mark.broker

SHORT = 3
LONG = int(os.environ.get("DISC_STREAM_CHAOS_ROUNDS", "100"))


class Heard:
    """What has arrived at the broker, by boot and number."""

    def __init__(self, url: str) -> None:
        self.batches: Counter[tuple[int, int]] = Counter()
        self._meta: bytes | None = None
        self._changed = threading.Condition()
        listener = LinkListener(on_message=self._take)
        self.link = MqttLink(Broker.parse(url), "heard", listener, Session(expiry_s=600))
        self.link.subscribe("ds/v1/+/meta")
        self.link.subscribe("ds/v1/+/raw")
        self.link.connect()

    def _take(self, message: Message) -> None:
        if message.topic.endswith("/meta"):
            self._meta = message.payload
            return
        assert self._meta is not None, "what the samples are comes before them"
        batch = decode_batch(
            message.payload, device="w", content_type=message.content_type, meta=decode_meta(self._meta)
        )
        with self._changed:
            self.batches[batch.boot, batch.seq] += 1
            self._changed.notify_all()

    def wait_for(self, more: int) -> None:
        """Until so many more have arrived; not for ever, for the process may be dead or cut off."""
        with self._changed:
            target = len(self.batches) + more
            self._changed.wait_for(lambda: len(self.batches) >= target, 20)


def publish(url: str, outbox: Path, *more: str) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "disc_stream",
        "edge",
        "publish",
        "--broker",
        url,
        "--outbox",
        str(outbox),
    ]
    return subprocess.Popen([*command, "--json", *more], stdout=subprocess.PIPE, text=True)


def rounds(folder: Path, n: int) -> None:
    (folder / "broker").mkdir()
    broker = Mosquitto(folder / "broker")
    broker.start()
    cable = Proxy(broker.port)
    heard, dice, outbox = Heard(broker.url), random.Random(n), folder / "outbox"
    try:
        for number in range(n):
            process = publish(cable.url, outbox, "--synthetic", "--device", "w", "--speed", "40")
            heard.wait_for(dice.randint(1, 40))
            if number % 3 == 1:
                cable.cut()
                heard.wait_for(dice.randint(0, 20))
            process.kill()
            process.communicate()
        last = publish(broker.url, outbox)
        said = json.loads(last.communicate(timeout=60)[0])
    finally:
        cable.close()
        heard.link.close()
        broker.discard()
    assert said["waiting"] == said["lost"] == 0
    box = open_outbox(outbox, 64, "drop-oldest")
    tally = box.tally
    box.close()
    boots = sorted({boot for boot, _ in heard.batches})
    assert n // 2 < len(boots) <= n, "some are killed before their first batch, while what was left is sent"
    for boot in boots:
        numbers = sorted(seq for one, seq in heard.batches if one == boot)
        assert numbers == list(range(len(numbers))), f"boot {boot} has holes"
    assert len(heard.batches) == tally.put == tally.confirmed
    assert tally.dropped == tally.refused == tally.waiting == 0
    print(f"{n} kills: {tally.put} batches, {sum(heard.batches.values()) - tally.put} came twice, 0 lost")


def test_a_killed_publisher_loses_nothing_that_it_kept(tmp_path: Path) -> None:
    rounds(tmp_path, SHORT)


@pytest.mark.chaos_long
@pytest.mark.timeout(3_600)
def test_a_publisher_killed_again_and_again_loses_nothing_that_it_kept(tmp_path: Path) -> None:
    rounds(tmp_path, LONG)
