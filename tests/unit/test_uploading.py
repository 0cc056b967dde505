"""What a device that labels by itself publishes: enough to know every label, and the samples that matter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from disc_stream.artifacts.model import Model
from disc_stream.clock import ManualClock
from disc_stream.errors import ConfigError, PayloadError
from disc_stream.stream.pipeline import LabelOptions
from disc_stream.types import DeviceMeta, SampleBatch
from disc_stream.wire.codecs import decode_batch
from disc_stream.wire.embedding import Embeddings, decode_embeddings, encode_embeddings
from disc_stream.wire.label import decode_label
from disc_stream_edge.labelling import EdgeLabeller
from disc_stream_edge.outbox import Entry
from disc_stream_edge.uploading import Upload, Uploader, UploadRule
from tests.support.device import LEFT, REST, RIGHT, constant, make_batch
from tests.support.labeller import model_of
from tests.support.tiny_bundle import CHANNELS, FS, write_tiny_bundle

NOISE = np.random.default_rng(0).normal(scale=0.1, size=(10_000, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    path = tmp_path_factory.mktemp("uploading") / "tiny"
    write_tiny_bundle(path)
    return model_of(path)


def walk(*stretches: tuple[Sequence[float], int], size: int = 8) -> list[SampleBatch]:
    """Batches of a device that does one thing after another, each for so many windows."""
    samples = np.concatenate([constant(where, 8 * windows) for where, windows in stretches])
    samples = samples + NOISE[: len(samples)]
    return [
        make_batch("a", seq, samples[start : start + size], start=start)
        for seq, start in enumerate(range(0, len(samples), size))
    ]


def upload(model: Model, batches: Sequence[SampleBatch], rule: UploadRule) -> tuple[Uploader, list[Entry]]:
    uploader = Uploader(EdgeLabeller(model, LabelOptions(top_k=1), ManualClock()), rule)
    entries = [entry for batch in batches for entry in uploader(batch)]
    return uploader, [*entries, *uploader.finish()]


DAY = walk((REST, 100), (LEFT, 200), (RIGHT, 50), (LEFT, 150))


def test_changes_tell_a_listener_every_label(model: Model) -> None:
    uploader, entries = upload(model, DAY, UploadRule(heartbeat_s=10.0))
    _, all_of_them = upload(model, DAY, UploadRule(every=True))
    told = {(one := decode_label(entry.payload)).window: one for entry in entries}
    last = None
    for entry in all_of_them:
        label = decode_label(entry.payload)
        last = told.get(label.window, last)
        assert last is not None
        assert last.smoothed.label == label.smoothed.label
        assert label.t0_us - last.t0_us <= 10.5e6
    assert len(all_of_them) == uploader.tally.windows == 500
    assert uploader.tally.differ == 0
    assert len(entries) == uploader.tally.labels < 25
    assert uploader.tally.bytes == sum(len(entry.payload) for entry in entries)
    assert {entry.kind for entry in entries} == {"label"}


def test_what_settles_first_costs_labels_that_are_counted(model: Model) -> None:
    flicker = walk(*[(LEFT, 20), (RIGHT, 2)] * 10, (LEFT, 10))
    quick, _ = upload(model, flicker, UploadRule())
    slow, _ = upload(model, flicker, UploadRule(settle=4))
    assert quick.tally.differ == 0
    assert slow.tally.labels < quick.tally.labels
    assert 0 < slow.tally.differ <= 30


def test_samples_of_uncertain_windows_are_sent_once_and_no_others(model: Model) -> None:
    between = (5.0, 0.2, 0.0)
    batches = walk((LEFT, 50), (between, 5), (LEFT, 60), (between, 3), (REST, 40), size=20)
    uploader, entries = upload(model, batches, UploadRule(Upload.UNCERTAIN, confidence=0.6))
    raw = [entry for entry in entries if entry.kind == "raw"]
    seqs = [entry.seq for entry in raw]
    assert seqs == sorted(set(seqs))
    assert uploader.tally.raw_batches == len(raw) < len(batches) // 4
    meta = DeviceMeta(FS, CHANNELS)
    by_seq = {batch.seq: batch for batch in batches}
    for entry in raw:
        got = decode_batch(entry.payload, device="a", content_type=entry.content_type, meta=meta)
        assert (got.boot, got.t0_us) == (1, by_seq[entry.seq].t0_us)
        np.testing.assert_array_equal(got.samples, by_seq[entry.seq].samples)
    _, labels = upload(model, batches, UploadRule(every=True))
    for entry in labels:
        label = decode_label(entry.payload)
        if label.best.confidence < 0.6:
            first, last = label.t0_us // 400_000, (label.t1_us - 1) // 400_000
            assert set(range(first, last + 1)) <= set(seqs), label.window


def test_embeddings_come_in_groups(model: Model) -> None:
    _, entries = upload(model, DAY, UploadRule(Upload.EMBEDDINGS))
    sent = [decode_embeddings(e.payload, e.device) for e in entries if e.kind == "embedding"]
    windows = np.concatenate([one.windows for one in sent])
    assert windows.tolist() == list(range(500))
    assert len(sent) == 32
    values = np.concatenate([one.values for one in sent])
    means = np.concatenate([batch.samples for batch in DAY]).reshape(500, 8, 3).mean(1)
    np.testing.assert_allclose(values, means, atol=0.01)


def test_a_new_boot_begins_anew(model: Model) -> None:
    second = [make_batch("a", b.seq, b.samples, boot=2, start=8 * b.seq) for b in DAY[:20]]
    _, entries = upload(model, [*DAY[:20], *second], UploadRule(Upload.EMBEDDINGS))
    assert [(e.boot, e.seq) for e in entries if e.kind == "label"] == [(1, 0), (2, 0)]
    assert {(e.boot, e.seq) for e in entries if e.kind == "embedding"} == {(1, 0), (1, 16), (2, 0), (2, 16)}


def test_another_model_takes_over_between_two_batches(model: Model, tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "other", ("lying", "sitting", "running"))
    other = model_of(tmp_path / "other")
    labeller = EdgeLabeller(model, LabelOptions(top_k=1), ManualClock())
    uploader = Uploader(labeller, UploadRule(every=True))
    names = []
    for batch in DAY:
        if batch.seq == 60:
            labeller.offer(other)
        names += [decode_label(entry.payload).best.name for entry in uploader(batch)]
    assert set(names[:60]) == {"rest"}
    assert set(names[60:100]) == {"lying"}
    assert len(names) == 500, "no window is lost, and none labelled twice"


def test_batches_that_do_not_fit_are_counted(model: Model) -> None:
    labeller = EdgeLabeller(model, LabelOptions(top_k=1), ManualClock())
    odd = make_batch("a", 0, np.zeros((8, 2), dtype=np.float32), channels=CHANNELS[:2])
    far = make_batch("a", 1, np.zeros((8, 3), dtype=np.float32), fs=9_000.0)
    assert labeller.take(far) == []
    assert labeller.unfit == 1
    assert labeller.take(odd) == []


@pytest.mark.parametrize("rule", [{"settle": 0}, {"heartbeat_s": 0}, {"confidence": 2}])
def test_rules_out_of_range_are_refused(rule: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="settle must be at least 1"):
        UploadRule(**rule)  # type: ignore[arg-type]


def test_embeddings_survive_the_wire() -> None:
    values = np.array([[1.5, -2.0], [0.25, 1e3]], dtype=np.float32)
    one = Embeddings("a", 7, "v1", np.array([3, 4], dtype=np.uint32), values)
    got = decode_embeddings(encode_embeddings(one), "a")
    assert (got.device, got.boot, got.model, got.windows.tolist()) == ("a", 7, "v1", [3, 4])
    np.testing.assert_array_equal(got.values, values)


@pytest.mark.parametrize("payload", [b"", b"\xa0", b"{}", b"\xff" * 40, encode_embeddings(
    Embeddings("a", 7, "v1", np.array([3], dtype=np.uint32), np.full((1, 2), np.inf, dtype=np.float32))
)])  # fmt: skip
def test_other_bytes_are_no_embeddings(payload: bytes) -> None:
    with pytest.raises(PayloadError):
        decode_embeddings(payload, "a")
