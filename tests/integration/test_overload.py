"""More than can be done at once: what is stale waits, what is fresh goes first, nothing is lost."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from disc_stream.wire.codecs import CONTENT_TYPES, Encoding, encode_batch
from disc_stream.wire.topics import Kind, Topics
from disc_stream_server.storage.state import StateStore
from tests.integration.conftest import StartServer
from tests.support.device import Sender, make_batch
from tests.support.listener import Listener
from tests.support.motion import walk_values

pytestmark = pytest.mark.broker

DEVICES = 40
BATCHES = 200


def test_a_backlog_is_labelled_late_and_completely(
    start_server: StartServer, sender: Sender, listener: Listener, tmp_path: Path
) -> None:
    first = start_server()
    assert first.stop(), "the broker keeps our queue from here on"
    topics = Topics()
    values = walk_values(8)
    for seq in range(BATCHES):
        for number in range(DEVICES):
            batch = make_batch(f"d{number:02d}", seq, values[(number + seq) % len(values)])
            payload = encode_batch(batch, Encoding.CBOR, describe_channels=True)
            topic = topics.of(batch.device, Kind.RAW)
            sender.link.publish(topic, payload, content_type=CONTENT_TYPES[Encoding.CBOR])
    assert sender.link.flush(60)
    server = start_server(stale_s=0.05)
    listener.wait_for_labels(DEVICES * BATCHES, timeout=120)
    listener.wait(lambda: listener.status["counters"]["deferred"] == 0, 30)
    deferred = [label for label in listener.labels if label.deferred]
    assert deferred, "the labeller cannot have kept up with the receiver"
    counts = Counter((label.device, label.window) for label in listener.labels)
    assert len(counts) == DEVICES * BATCHES
    assert set(counts.values()) == {1}
    assert server.stop()
    store = StateStore(tmp_path / "state")
    stored = store.labels(limit=100_000)
    store.close()
    assert len({(one.device, one.window) for one in stored}) == len(stored) == DEVICES * BATCHES
    assert sum(one.flags & 1 for one in stored) == len(deferred)
