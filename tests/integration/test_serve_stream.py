"""Labels on a real broker: once per window, in order, whatever else comes over the wire."""

from __future__ import annotations

import queue
import threading

import numpy as np
import pytest

from disc_stream.artifacts.runtime import Encoded, OnnxEncoder
from disc_stream.stream.pipeline import Pipeline
from disc_stream.types import Channel, Float32Array, Label, Problem
from disc_stream.wire.codecs import Encoding, encode_batch
from disc_stream.wire.mqtt import LinkListener, MqttLink
from disc_stream.wire.problem import decode_problem
from tests.integration.conftest import StartServer
from tests.support.device import LEFT, REST, RIGHT, Sender, constant, make_batch
from tests.support.labeller import model_of
from tests.support.listener import Listener

pytestmark = pytest.mark.broker


def key(label: Label) -> tuple[str, int, int]:
    return label.device, label.window, label.t0_us


def test_every_window_has_one_label_and_it_is_the_offline_one(
    start_server: StartServer, sender: Sender, listener: Listener, tiny_bundle
) -> None:
    rng = np.random.default_rng(7)
    devices = [f"watch-{i}" for i in range(5)]
    batches = [
        make_batch(device, seq, rng.normal(5, 5, (5, 3)).astype(np.float32))
        for seq in range(40)
        for device in devices
    ]
    start_server()
    for batch in batches:
        sender.send(batch)
    listener.wait_for_labels(125)  # 200 samples a device, 8 a window
    listener.wait_for_count("messages", 200)

    pipeline = Pipeline(model_of(tiny_bundle))
    offline: dict[tuple[str, int, int], Label] = {}
    for batch in batches:
        pipeline.accept(batch)
        offline |= {key(label): label for label in pipeline.run()}
    assert len(listener.labels) == len(offline) == 125
    for label in listener.labels:
        expected = offline[key(label)]
        assert label.best.label == expected.best.label
        assert label.smoothed.label == expected.smoothed.label
        assert [s.confidence for s in label.soft] == pytest.approx(
            [s.confidence for s in expected.soft], abs=1e-5
        )
    for device in devices:
        windows = [label.window for label in listener.labels if label.device == device]
        assert windows == list(range(25)), "labels of one device come in order"


def test_label_names_follow_the_movement(
    start_server: StartServer, sender: Sender, listener: Listener
) -> None:
    start_server()
    for seq, mean in enumerate([REST, REST, LEFT, LEFT, RIGHT]):
        sender.send(make_batch("watch", seq, constant(mean, 8)))
    listener.wait_for_labels(5)
    assert [label.best.name for label in listener.labels] == ["rest", "rest", "left", "left", "right"]
    assert [label.t0_us for label in listener.labels] == [0, 160_000, 320_000, 480_000, 640_000]
    assert listener.labels[0].t1_us == 320_000, "a label speaks for its whole window of 16 samples"


@pytest.mark.parametrize("encoding", list(Encoding))
def test_every_encoding_in_other_units_and_order(
    start_server: StartServer, sender: Sender, listener: Listener, encoding: Encoding
) -> None:
    channels = (Channel("acc_z", "mg"), Channel("acc_y", "mg"), Channel("acc_x", "mg", scale=2.0))
    start_server()
    sender.meta("watch", channels)
    left = np.tile(np.array([0, 0, 510], dtype=np.int16), (8, 1))  # 510 counts of 2 mg are 10.003 m/s²
    sender.send(make_batch("watch", 0, left, channels=channels), encoding, describe=False)
    listener.wait_for_labels(1)
    assert listener.labels[0].best.name == "left"


def test_packed_samples_wait_for_their_meta(
    start_server: StartServer, sender: Sender, listener: Listener
) -> None:
    start_server()
    for seq in range(3):
        sender.send(make_batch("watch", seq, constant(LEFT, 8)), Encoding.PACKED)
    listener.wait_for_count("messages", 3)
    assert not listener.labels
    sender.meta("watch")
    listener.wait_for_labels(3)
    assert [label.window for label in listener.labels] == [0, 1, 2]


def test_gaps_repetitions_and_reboots_are_counted(
    start_server: StartServer, sender: Sender, listener: Listener
) -> None:
    start_server()
    for boot, seq in [(1, 0), (1, 1), (1, 1), (1, 5), (2, 0), (2, 1), (1, 4)]:
        sender.send(make_batch("watch", seq, constant(REST, 8), boot=boot))
    listener.wait_for_labels(5)
    listener.wait_for_count("messages", 7)
    counters = listener.status["counters"]
    assert [counters[name] for name in ("batches", "gaps", "missing", "duplicates", "late", "boots")] == [
        6, 1, 3, 1, 1, 2,
    ]  # fmt: skip
    assert [(label.boot, label.window) for label in listener.labels] == [
        (1, 0), (1, 1), (1, 2), (2, 0), (2, 1),
    ]  # fmt: skip


def test_poison_is_counted_and_the_stream_goes_on(
    start_server: StartServer, sender: Sender, listener: Listener
) -> None:
    start_server(max_payload_bytes=4096)
    sender.raw("bad", b"")
    sender.raw("bad", b"\xffnonsense")
    sender.raw("bad", b"x" * 5000)
    sender.raw("bad", b'{"boot": 1')
    sender.send(make_batch("slow", 0, constant(REST, 8), fs=10.0))
    sender.send(make_batch("heart", 0, constant((1.0,), 8), channels=(Channel("ecg", "mV"),)), Encoding.JSON)
    sender.link.publish("ds/v1/-bad-/raw", b"x")
    sender.send(make_batch("good", 0, constant(RIGHT, 8)))
    listener.wait_for_labels(1)
    listener.wait_for_rejected("channels", 1)
    listener.wait_for_count("messages", 7)
    listener.wait_for_rejected("empty", 1)
    assert listener.status["rejected"] == {
        "empty": 1, "encoding": 1, "oversized": 1, "malformed": 1, "rate": 1, "channels": 1, "topic": 1,
    }  # fmt: skip
    assert [label.device for label in listener.labels] == ["good"]


def test_samples_that_the_broker_has_kept_from_before_are_passed_over(
    start_server: StartServer, sender: Sender, listener: Listener
) -> None:
    """A device that retains its samples would seem to start anew whenever the server connects."""
    old = encode_batch(
        make_batch("watch", 7, constant(LEFT, 8), boot=9), Encoding.CBOR, describe_channels=True
    )
    sender.link.publish("ds/v1/watch/raw", old, retain=True)
    sender.flush()
    start_server()
    listener.wait_for_count("retained", 1)
    for seq in range(3):
        sender.send(make_batch("watch", seq, constant(REST, 8)))
    listener.wait_for_labels(3)
    assert [(label.boot, label.window) for label in listener.labels] == [(1, 0), (1, 1), (1, 2)]


def test_a_device_can_read_why_it_has_no_labels_and_that_it_has_them_again(
    start_server: StartServer, sender: Sender, listener: Listener
) -> None:
    problems: queue.Queue[tuple[str, Problem | None]] = queue.Queue()
    link = MqttLink(
        sender.link.broker,
        "watch",
        LinkListener(on_message=lambda m: problems.put((m.topic, decode_problem(m.payload)))),
    )
    link.subscribe("ds/v1/watch/problem")
    link.connect()
    start_server(checkpoint_s=0.1)
    sender.send(make_batch("watch", 0, constant(REST, 8), fs=5.0))
    topic, problem = problems.get(timeout=20)
    assert problem is not None
    assert (topic, problem.code, problem.count) == ("ds/v1/watch/problem", "rate", 1)
    assert "the model needs 50" in problem.words
    sender.send(make_batch("watch", 1, constant(REST, 8)))
    assert problems.get(timeout=20) == ("ds/v1/watch/problem", None)
    link.close()


def test_an_encoder_that_fails_on_everything_loses_nothing_and_may_heal(
    start_server: StartServer, sender: Sender, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_server(checkpoint_s=0.1)
    works = OnnxEncoder.encode
    broken = threading.Event()

    def encode(encoder: OnnxEncoder, x: Float32Array) -> Encoded:
        if broken.is_set():
            raise RuntimeError("CUDA error: an illegal memory access")
        return works(encoder, x)

    monkeypatch.setattr(OnnxEncoder, "encode", encode)
    broken.set()
    for seq in range(64):
        sender.send(make_batch("watch", seq, constant(LEFT, 8)))
    listener.wait(lambda: "the encoder does not work: CUDA error" in str(server.waits_for()))
    listener.wait_for_count("spooled", 64)
    assert listener.labels == []
    assert listener.status["counters"]["checkpoint"] == 0, "nothing counts as labelled"
    broken.clear()
    listener.wait_for_labels(64)
    assert [label.window for label in listener.labels] == list(range(64))
    listener.wait(lambda: server.waits_for() is None)


def test_the_server_says_which_model_serves(start_server: StartServer, listener: Listener) -> None:
    server = start_server()
    listener.wait(lambda: bool(listener.model) and listener.status.get("state") == "online")
    served = server.model
    assert served is not None
    assert listener.model["version"] == listener.status["model"] == served.version
    assert [cluster["name"] for cluster in listener.model["clusters"]] == ["rest", "left", "right"]
    assert listener.status["provider"] == "cpu"


def test_an_observer_that_fails_does_not_stop_the_labels(
    start_server: StartServer, sender: Sender, listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def on_batch(self, batch: object) -> None:
            raise RuntimeError("broken on purpose")

        on_label = on_status = on_problem = on_batch

    start_server(observers=[Broken()])
    sender.send(make_batch("watch", 0, constant(REST, 16)))
    listener.wait_for_labels(2)
    assert "broken on purpose" in caplog.text
