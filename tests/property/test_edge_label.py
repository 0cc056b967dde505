"""Labels made on a device are those that a server makes of the same bundle and stream."""

from __future__ import annotations

import gc
import sys
from types import FunctionType, ModuleType

import msgspec
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from disc_stream.artifacts.model import Model
from disc_stream.clock import ManualClock
from disc_stream.stream.pipeline import LabelOptions
from disc_stream.types import Label, SampleBatch
from disc_stream_edge.labelling import EdgeLabeller
from disc_stream_edge.uploading import Upload, Uploader, UploadRule
from tests.support.device import make_batch
from tests.support.labeller import START_US, Bench, arrival_of, model_of, write_spool
from tests.support.memoryfolder import in_memory
from tests.support.tiny_bundle import write_tiny_bundle


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    path = tmp_path_factory.mktemp("edge-label") / "tiny"
    write_tiny_bundle(path)
    return model_of(path)


@st.composite
def streams(draw: st.DrawFn) -> list[SampleBatch]:
    """What a device's source gives: several boots, batches of any size, some left out, still and moving."""
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    found = []
    for boot in range(1, draw(st.integers(1, 3)) + 1):
        start = 0
        for seq in range(draw(st.integers(4, 40))):
            n = draw(st.integers(1, 60))
            centre = rng.choice([[0, 0, 0], [10, 0, 0], [0, 10, 0]])
            spread = draw(st.sampled_from([0.0, 0.1, 3.0, 30.0]))
            samples = (centre + spread * rng.normal(size=(n, 3))).astype(np.float32)
            if draw(st.integers(0, 9)):
                found.append(make_batch("a", seq, samples, boot=boot, start=start))
            start += n
    return found


def exact(label: Label) -> tuple[object, ...]:
    """What does not depend on when it was made, nor on how many windows were encoded together."""
    return (
        label.device, label.boot, label.window, label.t0_us, label.t1_us, label.t0_unix_us, label.seq,
        label.best.label, label.smoothed.label, label.model, label.bridged, label.muted,
    )  # fmt: skip


def numbers(label: Label) -> list[float]:
    return [label.best.confidence, label.smoothed.confidence, label.distance]


@settings(max_examples=20, phases=(Phase.explicit, Phase.generate))
@given(batches=streams())
def test_the_labels_are_the_servers(model: Model, batches: list[SampleBatch]) -> None:
    at = [START_US + batch.boot * 3_600_000_000 + batch.t0_us for batch in batches]
    with in_memory() as folder:
        write_spool(folder, [arrival_of(b, us) for b, us in zip(batches, at, strict=True)])
        bench = Bench(folder, model)
        bench.run()
        servers = list(bench.outbox.sent)
        bench.close()
    clock = ManualClock()
    labeller = EdgeLabeller(model, LabelOptions(top_k=3), clock)
    ours = []
    for batch, us in zip(batches, at, strict=True):
        clock.now_us = us
        ours += [found.label for found in labeller.take(batch)]
    # A server waits for what is missing and for a boot to be believed: it may not have come to the end yet.
    assert [exact(label) for label in servers] == [exact(label) for label in ours[: len(servers)]]
    for theirs, mine in zip(servers, ours, strict=False):
        np.testing.assert_allclose(numbers(theirs), numbers(mine), rtol=1e-5, atol=1e-6)
    one_boot = len({batch.boot for batch in batches}) == 1
    if one_boot and [batch.seq for batch in batches] == list(range(len(batches))):
        assert len(servers) == len(ours)


def test_a_long_stream_leaves_no_trace(model: Model) -> None:
    """What is known of a device does not grow, three times as many windows later."""
    labeller = EdgeLabeller(model, LabelOptions(top_k=1), ManualClock())
    uploader = Uploader(labeller, UploadRule(Upload.UNCERTAIN))
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(1_600, 3)).astype(np.float32)
    sizes = []
    for seq in range(60):
        uploader(make_batch("a", seq, samples))
        if seq in (19, 59):
            gc.collect()
            sizes.append(size_of(labeller) + size_of(uploader))
    assert uploader.tally.windows == 60 * 200
    assert sizes[1] < 1.2 * sizes[0]


def size_of(root: object) -> int:
    """Bytes of an object and all that belongs to it alone."""
    seen: dict[int, object] = {}
    todo = [root]
    while todo:
        one = todo.pop()
        if id(one) in seen or isinstance(one, type | ModuleType | FunctionType):
            continue
        seen[id(one)] = one
        todo += gc.get_referents(one)
        if isinstance(one, msgspec.Struct):
            todo += [getattr(one, name) for name in one.__struct_fields__]
    return sum(sys.getsizeof(one) for one in seen.values())
