"""Another model takes over a running labeller: every window has one label, of one model, whatever crashes."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from disc_stream.artifacts.bundle import Bundle
from disc_stream.artifacts.catalogue import Catalogue
from disc_stream.artifacts.manifest import ClusterInfo, WindowInfo
from disc_stream.artifacts.model import Model
from disc_stream.artifacts.runtime import Encoded
from disc_stream.clock import ManualClock
from disc_stream.load.trivial import InputSpec, write_mean_bundle
from disc_stream.types import Float32Array, Label, SampleBatch
from disc_stream_server.labeller.overload import OverloadRules
from disc_stream_server.labeller.swap import serving_version
from disc_stream_server.storage.queries import StateQueries
from disc_stream_server.storage.state import StateStore
from disc_stream_server.stream_rules import read_rules
from tests.support.device import LEFT, constant, make_batch
from tests.support.labeller import START_US, Bench, arrival_of, model_of, write_spool
from tests.support.motion import walk_values
from tests.support.tiny_bundle import CENTROIDS, CHANNELS, FS, NAMES, WINDOW, write_tiny_bundle

REGISTRY = "a fleet"
N = 60  # batches of a device, each of which completes a window


def with_ids(model: Model, *ids: int) -> Model:
    """The model with the public ids that a registry gave its rows."""
    pairs = zip(model.catalogue.clusters, ids, strict=True)
    clusters = [c.model_copy(update={"id": new}) for c, new in pairs]
    return model.with_catalogue(
        Catalogue.of(model.version, clusters).model_copy(update={"registry": REGISTRY})
    )


def write_other(path: Path, centroids: Float32Array, window: WindowInfo = WINDOW) -> Model:
    clusters = [ClusterInfo(id=k, name=f"c{k}", size=1) for k in range(len(centroids))]
    write_mean_bundle(path, "other", InputSpec(CHANNELS, FS, window), centroids, clusters)
    return model_of(path)


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Model:
    path = tmp_path_factory.mktemp("swap") / "tiny"
    write_tiny_bundle(path)
    return with_ids(model_of(path), 0, 1, 2)


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The same three places in another order, and a fourth."""
    far = np.vstack([CENTROIDS[[2, 0, 1]], [[0, 0, 40]]]).astype(np.float32)
    return with_ids(write_other(tmp_path_factory.mktemp("swap") / "other", far), 2, 0, 1, 3)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Windows twice as long."""
    window = WindowInfo(samples=32, hop=16, input_samples=16)
    return with_ids(write_other(tmp_path_factory.mktemp("swap") / "wide", CENTROIDS, window), 0, 1, 2)


def batches(devices: str = "ab", n: int = N) -> list[SampleBatch]:
    values = walk_values(8)
    return [
        make_batch(device, seq, values[(seq + ord(device)) % len(values)])
        for seq in range(n)
        for device in devices
    ]


def fill(folder: Path, some: list[SampleBatch], age_us: int = 0) -> None:
    write_spool(folder, [arrival_of(batch, START_US - age_us + batch.seq * 160_000) for batch in some])


def models_of(labels: list[Label], device: str) -> list[str]:
    return [label.model for label in sorted(labels, key=lambda one: one.window) if label.device == device]


def assert_each_window_once(store: StateQueries, windows: int) -> None:
    stored = store.labels(limit=10_000)
    assert Counter((one.device, one.window) for one in stored) == Counter(
        {(device, window): 1 for device in "ab" for window in range(windows)}
    )


# ── Between two batches ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("turns", [0, 1, 4, 9])
def test_rows_before_the_swap_belong_to_the_old_model_and_those_after_it_to_the_new(
    tmp_path: Path, old: Model, new: Model, turns: int
) -> None:
    bench = Bench(tmp_path, old, rows=7)
    fill(tmp_path, batches())
    bench.run(turns)
    taken = bench.labeller.position
    bench.labeller.offer(new)
    bench.run()
    bench.checkpoint()
    assert bench.labeller.model is new
    assert serving_version(bench.store) == new.version
    assert_each_window_once(bench.store, N)
    for one in bench.store.labels(limit=10_000):
        assert one.model == (old.version if one.position <= taken else new.version)
    for device in "ab":
        versions = models_of(bench.outbox.sent, device)
        assert versions == sorted(versions, key=[old.version, new.version].index)


def test_labels_keep_their_ids_and_smoothing_goes_on(tmp_path: Path, old: Model, new: Model) -> None:
    plain, swapped = Bench(tmp_path / "plain", old), Bench(tmp_path / "swapped", old, rows=7)
    fill(tmp_path / "plain", batches())
    fill(tmp_path / "swapped", batches())
    plain.run()
    swapped.run(5)
    swapped.labeller.offer(new)
    swapped.run()
    want = {(one.device, one.window): one for one in plain.outbox.sent}
    assert len(swapped.outbox.sent) == len(want)
    for label in swapped.outbox.sent:
        before = want[label.device, label.window]
        assert (label.best.label, label.smoothed.label) == (before.best.label, before.smoothed.label)
        assert label.smoothed.confidence == pytest.approx(before.smoothed.confidence, abs=0.02)


def test_the_last_of_several_offers_counts_and_a_swap_on_its_way_is_finished_first(
    tmp_path: Path, old: Model, new: Model, wide: Model
) -> None:
    bench = Bench(tmp_path, old, rows=7)
    fill(tmp_path, batches())
    bench.run(3)
    bench.labeller.offer(wide)
    bench.labeller.offer(new)
    bench.outbox.confirms = False  # the broker takes its time: no checkpoint can be written
    bench.run(20)
    assert bench.labeller.model is old
    bench.labeller.offer(wide)
    bench.outbox.confirms = True
    bench.run()
    assert bench.labeller.model is wide
    used = {one.model for one in bench.outbox.sent}
    assert used == {old.version, wide.version}, "the model in between labelled nothing: no row came"


def test_windows_that_wait_for_their_turn_are_still_the_old_models(
    tmp_path: Path, old: Model, new: Model
) -> None:
    bench = Bench(tmp_path, old)
    fill(tmp_path, batches("a", 100))
    bench.run(1)
    assert bench.labeller.waiting > 50
    bench.labeller.offer(new)
    bench.run()
    bench.checkpoint()
    assert bench.labeller.model is new
    stored = bench.store.labels(limit=1_000)
    assert [one.window for one in stored] == list(range(100))
    assert {one.model for one in stored} == {old.version}


def test_a_checkpoint_from_before_the_offer_is_not_taken_for_that_of_the_swap(
    tmp_path: Path, old: Model, new: Model
) -> None:
    bench = Bench(tmp_path, old, rows=7)
    fill(tmp_path, batches())
    bench.run(3)
    bench.outbox.confirms = False
    assert not bench.labeller.step(now=True)
    bench.run(3)
    bench.labeller.offer(new)
    bench.run(3)
    assert bench.labeller.model is old
    bench.outbox.confirms = True
    while bench.labeller.model is old:
        bench.labeller.turn(bench.reader.head)
    assert bench.store.position == bench.labeller.position > 21, "all that the old one labelled is on disk"
    assert {one.model for one in bench.store.labels(limit=1_000)} == {old.version}


def test_a_name_given_appears_on_the_next_label_and_nothing_is_loaded_again(
    tmp_path: Path, old: Model
) -> None:
    bench = Bench(tmp_path, old)
    fill(tmp_path, batches("a", 8))
    bench.run()
    named = old.with_catalogue(old.catalogue.renamed({0: "resting", 1: "lying left", 2: "lying right"}))
    bench.labeller.offer(named)
    bench.run()
    write_spool(tmp_path, [arrival_of(one, START_US + one.seq * 160_000) for one in batches("a", 12)[8:]])
    bench.run()
    names = [label.best.name for label in bench.outbox.sent]
    assert set(names[:8]) <= set(NAMES)
    assert set(names[8:]) <= {"resting", "lying left", "lying right"}
    assert {label.model for label in bench.outbox.sent} == {old.version}
    assert bench.labeller.model.encoder is old.encoder


# ── Crashes ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", range(16))
def test_no_crash_gives_a_window_two_models(tmp_path: Path, old: Model, new: Model, seed: int) -> None:
    """A window may be published again after a crash, but by the same model, and with the same label."""
    rng = np.random.default_rng(seed)
    fill(tmp_path, batches(n=30))
    late = batches()[60:]
    known = {model.version: model for model in (old, new)}
    sent: list[Label] = []
    done = False
    while not done:
        with closing(StateStore(tmp_path)) as store:
            model = known.get(serving_version(store), old)
        bench = Bench(tmp_path, model, rows=5)
        bench.labeller.offer(new)  # as the server does: what is current is offered at once
        for _turn in range(int(rng.integers(1, 9))):
            bench.run(1)
            if rng.random() < 0.3:
                bench.labeller.step(now=True)
            if len(late) > 30 * (bench.labeller.model is not new) and rng.random() < 0.5:
                some, late = late[:7], late[7:]
                write_spool(tmp_path, [arrival_of(one, START_US + one.seq * 160_000) for one in some])
        done = not late and bench.labeller.position == bench.reader.head and bench.labeller.model is new
        if done:
            bench.run()
            bench.checkpoint()
            assert_each_window_once(bench.store, N)
        sent += bench.outbox.sent
        bench.close()
    labels: dict[tuple[str, int], set[tuple[object, ...]]] = {}
    for label in sent:
        fact = (label.model, label.best.label, label.smoothed.label, round(label.smoothed.confidence, 5))
        labels.setdefault((label.device, label.window), set()).add(fact)
    assert len(labels) == 2 * N
    assert [window for window, different in labels.items() if len(different) > 1] == []
    assert {label.model for label in sent} == {old.version, new.version}


# ── Other windows ─────────────────────────────────────────────────────────────────────────────────────


def test_a_model_with_other_windows_cuts_the_stream_anew_and_counts_go_on(
    tmp_path: Path, old: Model, wide: Model
) -> None:
    bench = Bench(tmp_path, old, rows=7)
    fill(tmp_path, batches())
    bench.run(4)
    batches_before = bench.labeller.live.intake.counts.batches
    at = bench.labeller.position
    bench.labeller.offer(wide)
    bench.run()
    bench.checkpoint()
    labels = bench.outbox.sent
    before = [one for one in labels if one.model == old.version]
    after = [one for one in labels if one.model == wide.version]
    assert batches_before > 0
    assert bench.labeller.live.intake.counts.batches == 2 * N
    assert bench.labeller.counts.failed == 0
    assert {one.t1_us - one.t0_us for one in before} == {320_000}
    assert {one.t1_us - one.t0_us for one in after} == {640_000}
    assert len(after) == pytest.approx((2 * N - at) / 2, abs=3), "half as many windows, each twice as long"
    assert [one.after for one in read_rules(bench.store)] == [0, at]


def test_a_swap_while_windows_are_deferred_and_while_they_are_caught_up(
    tmp_path: Path, old: Model, new: Model
) -> None:
    n = 400  # more than are caught up in one turn
    clock = ManualClock(START_US + (n + N) * 160_000)
    stale = OverloadRules(stale_us=30_000_000, backlog=10)
    bench = Bench(tmp_path, old, rows=60, overload=stale, clock=clock)
    fill(tmp_path, batches(n=n), age_us=3_600_000_000)
    fill(tmp_path, batches(n=n + N)[2 * n :])
    bench.run(3)
    assert bench.labeller.deferral.is_active
    bench.labeller.offer(new)
    bench.run(2)
    assert bench.labeller.model is new
    assert bench.labeller.deferral.is_active
    for _turn in range(100):
        bench.run(1)
        if bench.labeller.lanes()[1:]:
            break
    bench.labeller.offer(old)
    bench.run()
    bench.checkpoint()
    assert bench.labeller.model is old
    assert_each_window_once(bench.store, n + N)
    late = [one.model for one in bench.outbox.sent if one.deferred]
    assert set(late) == {old.version, new.version}
    assert late == sorted(late, key=[new.version, old.version].index), "one model after the other"


# ── Encoders that fail ────────────────────────────────────────────────────────────────────────────────


class Broken:
    """An encoder whose device is gone."""

    def encode(self, x: Float32Array) -> Encoded:
        raise RuntimeError("no device")


def test_a_model_that_works_takes_over_from_one_that_does_not(tmp_path: Path, old: Model, new: Model) -> None:
    bench = Bench(tmp_path, Model(old.manifest, Broken(), old.catalogue), rows=7)
    fill(tmp_path, batches())
    bench.run(4)
    assert bench.labeller.encoder_fault
    assert not bench.outbox.sent
    bench.labeller.offer(new)
    bench.run()
    bench.checkpoint()
    assert not bench.labeller.encoder_fault
    assert {one.model for one in bench.outbox.sent} == {new.version}
    assert_each_window_once(bench.store, N)


def test_the_old_encoder_is_freed(tmp_path: Path, new: Model) -> None:
    import weakref

    path = tmp_path / "tiny"
    write_tiny_bundle(path)
    model = with_ids(model_of(path), 0, 1, 2)
    gone = weakref.ref(model.encoder)
    bench = Bench(tmp_path, model, rows=7)
    fill(tmp_path, [make_batch("a", seq, constant(LEFT, 8)) for seq in range(20)])
    bench.run(1)
    del model
    bench.labeller.offer(new)
    bench.run()
    assert gone() is None
    assert Bundle.open(path).version != new.version
