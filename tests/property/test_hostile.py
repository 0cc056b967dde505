"""Two thousand hostile payloads: none brings anything down, stalls the stream, or makes memory grow."""

from __future__ import annotations

import contextlib
import gc
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import cbor2
import pytest

from disc_stream.artifacts.bundle import Bundle
from disc_stream.artifacts.model import Model
from disc_stream.artifacts.runtime import OnnxEncoder
from disc_stream.clock import ManualClock
from disc_stream.errors import PayloadError
from disc_stream.stream.pipeline import Pipeline, stream_spec
from disc_stream.stream.rules import Rules
from disc_stream.stream.sessions import Sessions
from disc_stream.types import DeviceMeta, Label, SampleBatch
from disc_stream.wire.codecs import CONTENT_TYPES, MAX_BYTES, REASONS, Encoding, decode_batch, encode_batch
from disc_stream.wire.embedding import decode_embeddings, encode_embeddings
from disc_stream.wire.label import decode_label, encode_label
from disc_stream.wire.limits import MAX_CHANNELS, MAX_SAMPLES, MAX_T0_US, MAX_UINT32
from disc_stream.wire.meta import decode_meta
from disc_stream.wire.problem import decode_problem
from disc_stream.wire.status import decode_device_status, decode_server_status
from disc_stream.wire.topics import Topics
from disc_stream_server.intake import Intake, Watchers
from disc_stream_server.labeller.pending import PendingLabels
from disc_stream_server.metas import MetaBook
from disc_stream_server.observers import Observers
from disc_stream_server.rejections import Rejections
from disc_stream_server.stages import Stages
from disc_stream_server.storage.spool import Row
from disc_stream_server.storage.state import StateStore
from tests.support.commits import commit
from tests.support.hostile import (
    HOSTILE_TOPICS,
    META,
    Payload,
    colliding_keys,
    good_batch,
    hostile_embeddings,
    hostile_labels,
    hostile_metas,
    hostile_payloads,
)
from tests.support.tiny_bundle import write_tiny_bundle


def _decode(payload: Payload) -> SampleBatch:
    content_type, data = payload
    return decode_batch(data, device="watch", content_type=content_type, meta=META)


def _meta(payload: Payload) -> DeviceMeta:
    return decode_meta(payload[1])


def _label(payload: Payload) -> Label:
    return decode_label(payload[1])


def _labels() -> list[Payload]:
    return [("", payload) for payload in hostile_labels()]


def _metas() -> list[Payload]:
    return [("", payload) for payload in hostile_metas()]


def outcome(payload: Payload) -> str:
    """What the decoder makes of a payload: a reason, or "taken" for a batch that is within the limits."""
    content_type, data = payload
    try:
        batch = decode_batch(data, device="watch", content_type=content_type, meta=META)
    except PayloadError as error:
        refusal = error
    else:
        return checked(batch, data)
    assert refusal.reason in REASONS
    assert len(refusal.message) < 2_000
    return refusal.reason


def checked(batch: SampleBatch, data: bytes) -> str:
    """A batch that was taken is within the limits, and comes back as it is."""
    assert len(data) <= MAX_BYTES
    assert 0 <= batch.boot <= MAX_UINT32
    assert 0 <= batch.seq <= MAX_UINT32
    assert 0 <= batch.t0_us <= MAX_T0_US
    assert 1 <= len(batch.samples) <= MAX_SAMPLES
    assert 1 <= len(batch.channels) <= MAX_CHANNELS
    again = decode_batch(encode_batch(batch, Encoding.CBOR, describe_channels=True), device="watch")
    assert again.samples.tobytes() == batch.samples.tobytes()
    assert (again.boot, again.seq, again.t0_us, again.fs) == (batch.boot, batch.seq, batch.t0_us, batch.fs)
    return "taken"


def test_every_hostile_payload_is_refused_for_a_reason_or_is_a_batch_within_the_limits() -> None:
    outcomes = Counter(outcome(payload) for payload in hostile_payloads())
    assert sum(outcomes.values()) >= 2_000
    assert set(REASONS) - {"no-meta"} <= set(outcomes), "every reason is met, or the corpus is too tame"
    assert outcomes["taken"] < sum(outcomes.values()) / 2


def test_another_seed_makes_others_and_they_fare_no_better() -> None:
    assert hostile_payloads(1) != hostile_payloads(0)
    assert hostile_payloads(1) == hostile_payloads(1)
    for payload in hostile_payloads(1):
        outcome(payload)


def test_hostile_descriptions_labels_and_statuses_are_refused_for_a_reason() -> None:
    readers = {
        "meta": decode_meta,
        "device": decode_device_status,
        "server": decode_server_status,
        "label": decode_label,
        "problem": decode_problem,
        "embedding": lambda payload: decode_embeddings(payload, "watch"),
    }
    refused: Counter[str] = Counter()
    reasons: set[str] = set()
    for payload in [*hostile_metas(), *(payload for _, payload in hostile_payloads()[::3])]:
        for name, read in readers.items():
            try:
                read(payload)
            except PayloadError as error:
                refused[name] += 1
                reasons.add(error.reason)
    assert reasons <= {*REASONS, "label"}
    assert min(refused.values()) > 900


def test_hostile_embeddings_are_refused_for_a_reason_or_come_back() -> None:
    outcomes: Counter[str] = Counter()
    for payload in hostile_embeddings():
        try:
            found = decode_embeddings(payload, "watch")
        except PayloadError as error:
            outcomes[error.reason] += 1
        else:
            outcomes["taken"] += 1
            again = decode_embeddings(encode_embeddings(found), "watch")
            assert again.values.tobytes() == found.values.tobytes()
    assert set(outcomes) - {"taken", "empty"} >= {
        "malformed", "missing", "version", "type", "range", "shape", "non-finite",
    }  # fmt: skip
    assert outcomes["taken"] >= 10


def test_hostile_labels_are_refused_or_come_back() -> None:
    labels = hostile_labels()
    refusals: list[PayloadError] = []
    for payload in labels:
        try:
            label = decode_label(payload)
        except PayloadError as error:
            refusals.append(error)
        else:
            assert decode_label(encode_label(label)) == label
    assert {error.reason for error in refusals} == {"label"}
    assert max(len(error.message) for error in refusals) < 300
    assert len(labels) * 2 / 3 < len(refusals) < len(labels)


@pytest.mark.parametrize(
    ("decode", "corpus"),
    [(_decode, hostile_payloads), (_meta, _metas), (_label, _labels)],
    ids=["batch", "meta", "label"],
)
def test_no_payload_costs_more_memory_than_a_multiple_of_its_size(
    decode: Callable[[Payload], object], corpus: Callable[[], list[Payload]]
) -> None:
    """Empty lists and objects in JSON cost most: two or three bytes become some sixty."""
    payloads = corpus()
    tracemalloc.start()
    try:
        for payload in payloads:
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            with contextlib.suppress(PayloadError):
                decode(payload)
            peak = tracemalloc.get_traced_memory()[1] - before
            assert peak < 40_000 + 40 * len(payload[1]), payload[1][:100]
    finally:
        tracemalloc.stop()


def test_no_payload_costs_more_steps_than_a_multiple_of_its_size() -> None:
    """Lines of Python, not seconds. What C does in one line is linear too: no key of a stranger's choice is
    hashed but text, and no number has more digits than Python itself allows."""
    steps = 0

    def count(_frame: FrameType, event: str, _arg: object) -> Any:
        nonlocal steps
        steps += event == "line"
        return count

    for payload in [("", colliding_keys(5_000)), *hostile_payloads()[::3]]:
        steps, before = 0, sys.gettrace()
        sys.settrace(count)
        try:
            with contextlib.suppress(PayloadError):
                _decode(payload)
        finally:
            sys.settrace(before)
        assert steps < 500 + 20 * len(payload[1]), payload[1][:100]


def test_of_keys_chosen_to_collide_nothing_is_built() -> None:
    keys = cbor2.loads(colliding_keys(50))
    assert len(keys) == 50
    assert len({hash(key) for key in keys}) == 1, "they do not collide: this Python hashes tuples otherwise"
    many = colliding_keys(5_000)
    assert built_while_refusing(many) == ("malformed", True)
    assert built_while_refusing(b"\xa1\x63x-a" + many) == ("missing", True), "passed over"


def built_while_refusing(payload: bytes) -> tuple[str, bool]:
    """The reason, and whether next to nothing was built on the way."""
    tracemalloc.start()
    try:
        reason = outcome(("application/cbor", payload))
        return reason, tracemalloc.get_traced_memory()[1] < 20_000 < len(payload)
    finally:
        tracemalloc.stop()


def kept() -> int:
    """Bytes in use: errors and their tracebacks refer to one another until they are collected."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def test_memory_stays_flat() -> None:
    payloads = hostile_payloads()

    def all_of_them() -> None:
        for content_type, data in payloads:
            try:
                decode_batch(data, device="watch", content_type=content_type, meta=META)
            except PayloadError:
                continue

    tracemalloc.start()
    try:
        for _ in range(3):
            all_of_them()
        before = kept()
        tracemalloc.reset_peak()
        for _ in range(3):
            all_of_them()
        peak = tracemalloc.get_traced_memory()[1]
        after = kept()
    finally:
        tracemalloc.stop()
    # Ten thousand decoded payloads: what stays is free lists and caches that fill.
    assert after - before < 50_000
    # A quarter of a megabyte of JSON digits is some ten megabytes of Python numbers, and no more.
    assert peak - before < 64 * 2**20


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path = tmp_path_factory.mktemp("hostile") / "tiny"
    write_tiny_bundle(path)
    return Bundle.open(path)


def test_the_stream_goes_on_between_them_and_each_has_a_dead_letter_or_was_taken(
    bundle: Bundle, tmp_path: Path
) -> None:
    """From rows to checkpoints on disk, with a good device's batches in between."""
    clock, topics = ManualClock(1_700_000_000_000_000), Topics()
    model = Model(bundle.manifest, OnnxEncoder(bundle, "cpu"), bundle.catalogue)
    sessions = Sessions(stream_spec(model), rules=Rules(reorder=32))
    rejections = Rejections(clock)
    watchers = Watchers(rejections, Observers(()), Stages())
    intake = Intake(topics, sessions, MetaBook(100), watchers, MAX_BYTES)
    pipeline = Pipeline(model, sessions=sessions, clock=clock)
    rows: list[Row] = []

    def add(topic: str, content_type: str, payload: bytes) -> None:
        rows.append(Row(len(rows) + 1, clock.unix_us() + len(rows) * 1000, topic, content_type, payload))

    goods, metas = 0, hostile_metas()
    for number, (content_type, payload) in enumerate(hostile_payloads()):
        add(f"ds/v1/bad{number % 5}/raw", content_type, payload)
        if number % 10 == 0:
            batch = good_batch(goods, device="good")
            add(
                "ds/v1/good/raw",
                CONTENT_TYPES[Encoding.CBOR],
                encode_batch(batch, Encoding.CBOR, describe_channels=True),
            )
            goods += 1
        if number % 100 == 0:
            add(f"ds/v1/bad{number % 5}/meta", "", metas[number // 100])
    for topic in HOSTILE_TOPICS:
        add(topic, "", b"x")
    store = StateStore(tmp_path)
    labels: list[Label] = []
    for start in [*range(0, len(rows), 100), len(rows)]:
        ready = intake.take(rows[start : start + 100])
        if start == len(rows):  # whoever waits for something has waited long enough
            ready += intake.finish()
        labelled = pipeline.label(ready)
        labels += [one.label for one in labelled]
        letters, intake.dead_letters = intake.dead_letters, []
        stored = PendingLabels()
        stored.add(labelled)
        store.commit(commit(start + 1, sessions.capture(), labels=stored, dead_letters=letters))
    assert [label.window for label in labels if label.device == "good"] == list(range(goods))
    refused = sum(rejections.by_reason.values())
    assert sum(store.dead_letter_counts().values()) == refused
    assert store.dead_letter_counts() == dict(rejections.by_reason)
    assert "internal" not in rejections.by_reason, store.dead_letters(reason="internal")
    assert rejections.by_reason["topic"] == len(HOSTILE_TOPICS)
    assert intake.counts.messages == len(rows)
    counts = sessions.counts
    dropped = counts.duplicates + counts.late + counts.stray
    assert refused + intake.counts.batches + intake.counts.metas + dropped >= len(rows)
    store.close()
