"""More than can be done at once: what is stale waits, what is fresh goes first, nothing is lost."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from disc_stream.artifacts.bundle import Bundle
from disc_stream.artifacts.runtime import OnnxEncoder
from disc_stream.wire.codecs import CONTENT_TYPES, Encoding, encode_batch
from disc_stream.wire.topics import Kind, Topics
from disc_stream_server.deferral import Deferral
from disc_stream_server.pipeline import Pipeline, open_sessions
from disc_stream_server.shards import InProcessRouter, ReadyInput
from disc_stream_server.storage.state import Commit, StateStore
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
    listener.wait_for_labels(DEVICES * BATCHES, timeout=90)
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


def test_smoothing_of_windows_that_waited_goes_on_as_if_nothing_had_happened(
    tmp_path: Path, tiny_bundle: Path
) -> None:
    opened = Bundle.open(tiny_bundle)
    encoder = OnnxEncoder(opened, "cpu", threads=1)
    values = walk_values(8)
    batches = [make_batch("watch", seq, values[seq % len(values)]) for seq in range(60)]

    def windows(pipeline_sessions: object) -> list[ReadyInput]:
        return [
            one for batch in batches for one in pipeline_sessions.push(batch, batch.seq, batch.seq + 1) or []
        ]  # type: ignore[attr-defined]

    plain = open_sessions(opened.manifest)
    expected = Pipeline(opened.manifest, encoder, router=InProcessRouter(plain)).label(windows(plain))

    sessions = open_sessions(opened.manifest)
    pipeline = Pipeline(opened.manifest, encoder, router=InProcessRouter(sessions))
    store = StateStore(tmp_path)
    deferral = Deferral(sessions, store, stale_us=10, backlog=0)
    labelled = []
    for one in windows(sessions):  # windows 20 to 39 are stale when they come
        now = one.received_us + (100 if 20 <= one.window < 40 else 0)
        labelled += pipeline.label(deferral.split([one], now, backlog=1))
    assert [one.label.window for one in labelled] == [*range(20), *range(40, 60)]
    assert deferral.waiting == 20
    put_off = deferral.put_off
    store.commit(Commit(1, {}, set(), [], [], put_off, [], {}))
    deferral.put_off = []
    deferral.stored(put_off, [])
    late = []
    while found := deferral.catch_up(7):
        late += pipeline.label(found, deferral.smooth, deferred=True)
    done = list(deferral.done)
    store.commit(Commit(2, {}, set(), [], [], [], done, {}))
    deferral.stored([], done)
    assert deferral.waiting == store.deferred_count == 0
    store.close()
    assert [one.label.window for one in late] == list(range(20, 40))
    assert all(one.label.deferred for one in late)
    for one, want in zip(late, expected[20:40], strict=True):
        assert one.label.best == want.label.best
        assert one.label.smoothed.confidence == pytest.approx(want.label.smoothed.confidence, rel=1e-5)
    np.testing.assert_allclose(labelled[20].q, expected[40].q, rtol=1e-5)
