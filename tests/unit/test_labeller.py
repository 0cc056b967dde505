"""The labeller on a real spool: deferral, encoders that fail, problems, dead letters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from disc_stream.artifacts.manifest import ClusterInfo, WindowInfo
from disc_stream.artifacts.model import Model
from disc_stream.artifacts.runtime import Encoded
from disc_stream.clock import ManualClock
from disc_stream.load.trivial import InputSpec, write_mean_bundle
from disc_stream.types import Float32Array, SampleBatch
from disc_stream_server.labeller.deferral import Deferral
from disc_stream_server.labeller.overload import OverloadRules
from disc_stream_server.storage.spool import Arrival
from disc_stream_server.storage.state import Lane
from tests.support.device import LEFT, REST, constant, make_batch
from tests.support.labeller import (
    START_US,
    Bench,
    MemoryOutbox,
    arrival_of,
    facts,
    model_of,
    write_spool,
)
from tests.support.motion import walk_values
from tests.support.tiny_bundle import CENTROIDS, CHANNELS, FS, write_tiny_bundle

STALE = OverloadRules(stale_us=30_000_000, backlog=10)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    path = tmp_path_factory.mktemp("labeller") / "tiny"
    write_tiny_bundle(path)
    return model_of(path)


def walk(n: int, device: str = "watch") -> list[SampleBatch]:
    values = walk_values(8)
    return [make_batch(device, seq, values[seq % len(values)]) for seq in range(n)]


def old_and_new(n_old: int, n_new: int) -> list[Arrival]:
    """Batches that came an hour ago, and others that come now."""
    batches = walk(n_old + n_new)
    hour = 3_600_000_000
    return [
        arrival_of(batch, START_US + seq * 160_000 - (hour if seq < n_old else 0))
        for seq, batch in enumerate(batches)
    ]


# -- deferral -------------------------------------------------------------------------------------------


def run_deferred(
    folder: Path, model: Model, *, crash_every: int | None = None, second: Model | None = None
) -> Bench:
    """Label a backlog whose first part is stale, crashing every few turns."""
    sent: list[object] = []
    clock = ManualClock(START_US + 60 * 160_000)
    while True:
        bench = Bench(folder, model, rows=7, overload=STALE, clock=clock)
        bench.run(crash_every)
        sent += bench.outbox.sent
        done = not bench.labeller.deferral.windows and bench.labeller.position == bench.reader.head
        if crash_every is None or (done and not bench.labeller.lanes()[1:]):
            bench.outbox.sent = sent  # type: ignore[assignment]
            bench.checkpoint()
            return bench
        if bench.labeller.deferral.is_active or bench.labeller.deferral.windows:
            model = second or model
        bench.checkpoint()
        bench.close()


def test_stale_windows_are_labelled_after_fresh_ones_as_if_nothing_had_happened(
    tmp_path: Path, model: Model
) -> None:
    write_spool(tmp_path / "plain", old_and_new(40, 40))
    plain = Bench(tmp_path / "plain", model)
    plain.run()
    expected = {label.window: label for label in plain.outbox.sent}
    write_spool(tmp_path / "late", old_and_new(40, 40))
    bench = run_deferred(tmp_path / "late", model)
    labels = bench.outbox.sent
    late = [label.window for label in labels if label.deferred]
    assert late == list(range(len(late)))
    assert 30 <= len(late) <= 45, "the rows of an hour ago, up to a chunk"
    assert [label.window for label in labels] == [*range(len(late), 80), *late]
    assert bench.store.lanes() == []
    for label in labels:
        want = expected[label.window]
        assert label.best == want.best
        if label.deferred:
            assert label.smoothed.confidence == pytest.approx(want.smoothed.confidence, rel=1e-5)
    stored = bench.store.labels(limit=1000)
    assert sorted(one.window for one in stored) == list(range(80))
    assert sum(one.flags & 1 for one in stored) == len(late)


@pytest.mark.parametrize("crash_every", [1, 2, 3, 5])
def test_deferral_survives_crashes_at_any_turn(tmp_path: Path, model: Model, crash_every: int) -> None:
    write_spool(tmp_path, old_and_new(40, 40))
    bench = run_deferred(tmp_path, model, crash_every=crash_every)
    stored = bench.store.labels(limit=1000)
    assert sorted(one.window for one in stored) == list(range(80))
    assert len(facts(bench.outbox.sent)) == len(set(facts(bench.outbox.sent))) == 80


def test_deferred_windows_are_labelled_by_another_model_with_other_windows(
    tmp_path: Path, model: Model
) -> None:
    """Positions are kept, not samples: a model of another input length cuts its own windows of them."""
    wide = tmp_path / "wide"
    clusters = [ClusterInfo(id=k, name=f"c{k}", size=1) for k in range(3)]
    reads = InputSpec(CHANNELS, FS, WindowInfo(samples=24, hop=12, input_samples=12))
    write_mean_bundle(wide, "wide", reads, CENTROIDS, clusters)
    write_spool(tmp_path, old_and_new(40, 40))
    clock = ManualClock(START_US + 60 * 160_000)
    first = Bench(tmp_path, model, rows=7, overload=STALE, clock=clock)
    first.run(4)
    assert first.labeller.deferral.windows > 0
    first.checkpoint()
    assert first.outbox.sent == []
    first.close()
    second = Bench(tmp_path, model_of(wide), rows=7, overload=STALE, clock=clock)
    second.run()
    assert second.labeller.deferral.windows == 0
    late = [label for label in second.outbox.sent if label.deferred]
    assert [label.t0_us for label in late] == [k * 240_000 for k in range(len(late))]
    assert len(late) >= 40 * 8 // 12
    assert all(label.model == model_of(wide).version for label in second.outbox.sent)
    second.checkpoint()
    assert second.store.lanes() == []


# -- encoders that fail -----------------------------------------------------------------------------------


@dataclass
class Faulty:
    """A real encoder that can be broken and mended."""

    inner: object
    broken: bool = False
    poison: float = np.inf

    def encode(self, x: Float32Array) -> Encoded:
        if self.broken or (x == self.poison).any():
            raise RuntimeError("CUDA error: an illegal memory access")
        return self.inner.encode(x)  # type: ignore[attr-defined,no-any-return]


def test_a_dead_encoder_keeps_the_position_and_recovers_without_a_restart(
    tmp_path: Path, model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    faulty = Faulty(model.encoder, broken=True)
    write_spool(tmp_path, old_and_new(0, 64))
    clock = ManualClock(START_US)
    bench = Bench(tmp_path, replace(model, encoder=faulty), rows=10, clock=clock)
    for _ in range(5):
        bench.run()
        clock.advance(2.0)
    assert bench.outbox.sent == []
    assert "CUDA error" in bench.labeller.encoder_fault
    assert bench.labeller.waiting
    assert not bench.labeller.step(now=True), "no checkpoint is written over windows without labels"
    assert bench.store.position == 0
    assert len([one for one in caplog.records if "CUDA" in one.getMessage()]) == 1
    faulty.broken = False
    clock.advance(2.0)
    bench.run()
    assert [label.window for label in bench.outbox.sent] == list(range(64))
    assert bench.labeller.encoder_fault == ""
    bench.checkpoint()
    assert bench.store.dead_letters() == []


def test_a_device_that_is_erased_while_its_windows_wait_for_the_encoder_has_no_labels(
    tmp_path: Path, model: Model
) -> None:
    faulty = Faulty(model.encoder, broken=True)
    batches = [make_batch(name, seq, constant(LEFT, 8)) for seq in range(3) for name in ("gone", "stays")]
    write_spool(tmp_path, [arrival_of(batch, START_US) for batch in batches])
    clock = ManualClock(START_US)
    bench = Bench(tmp_path, replace(model, encoder=faulty), clock=clock)
    bench.run()
    assert bench.labeller.waiting
    bench.labeller.forget("gone")
    faulty.broken = False
    clock.advance(2.0)
    bench.run()
    assert {label.device for label in bench.outbox.sent} == {"stays"}
    bench.checkpoint()
    assert set(bench.store.states(0, "session")) == {"", "stays"}


def test_a_window_that_the_encoder_cannot_use_is_a_dead_letter_and_told_once(
    tmp_path: Path, model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    batches = [make_batch("watch", seq, constant((float(seq), 0, 0), 8)) for seq in range(12)]
    write_spool(tmp_path, [arrival_of(batch, START_US) for batch in batches])
    bench = Bench(tmp_path, replace(model, encoder=Faulty(model.encoder, poison=5.0)))
    bench.run()
    assert [label.window for label in bench.outbox.sent] == [n for n in range(12) if n != 5]
    bench.checkpoint()
    (letter,) = bench.store.dead_letters()
    assert (letter.reason, letter.device, letter.position) == ("encoder-failed", "watch", 6)
    assert letter.message.startswith("window 5 of boot 1: the encoder failed on this window")
    assert np.frombuffer(letter.payload, "<f4").reshape(8, 3)[0].tolist() == [5, 0, 0]
    assert len([one for one in caplog.records if "refused" in one.getMessage()]) == 1


# -- problems ---------------------------------------------------------------------------------------------


def problems_of(folder: Path, model: Model, arrivals: list[Arrival]) -> MemoryOutbox:
    write_spool(folder, arrivals)
    bench = Bench(folder, model)
    bench.run()
    bench.checkpoint()
    bench.close()
    return bench.outbox


def test_a_device_is_told_what_is_wrong_and_when_it_is_over(tmp_path: Path, model: Model) -> None:
    wrong = [make_batch("watch", seq, constant(REST, 8), fs=5.0) for seq in range(3)]
    outbox = problems_of(tmp_path, model, [arrival_of(batch, START_US + n) for n, batch in enumerate(wrong)])
    problem = outbox.problems["watch"]
    assert problem is not None
    assert (problem.code, problem.since_us, problem.count) == ("rate", START_US, 3)
    right = [make_batch("watch", seq, constant(LEFT, 8)) for seq in range(3, 6)]
    outbox = problems_of(tmp_path, model, [arrival_of(batch, START_US + 9) for batch in right])
    assert outbox.sent
    assert outbox.problems == {"watch": None}, "it is remembered over a restart, and cleared by a label"


# -- turns ------------------------------------------------------------------------------------------------


def test_a_turn_says_whether_there_was_anything_to_do(tmp_path: Path, model: Model) -> None:
    write_spool(tmp_path, [arrival_of(batch, START_US) for batch in walk(5)])
    bench = Bench(tmp_path, model, rows=2)
    turns = [bench.labeller.turn(bench.reader.head) for _ in range(5)]
    assert turns == [True, True, True, False, False]
    assert bench.labeller.position == 5
    assert bench.labeller.waiting == 0
    write_spool(tmp_path, [arrival_of(batch, START_US) for batch in walk(7)[5:]])
    bench.outbox.unconfirmed = 20_001
    assert not bench.labeller.turn(bench.reader.head), "the broker is too far behind"
    assert bench.labeller.position == 5
    bench.outbox.unconfirmed = 0
    assert bench.labeller.turn(bench.reader.head)
    assert [label.window for label in bench.outbox.sent] == list(range(7))
    bench.close()


def test_no_row_is_deferred_before_the_disk_knows_from_where_on(tmp_path: Path, model: Model) -> None:
    write_spool(tmp_path, old_and_new(40, 0))
    bench = Bench(tmp_path, model, rows=7, overload=STALE, clock=ManualClock(START_US))
    bench.outbox.confirms = False
    for _ in range(3):
        assert not bench.labeller.turn(bench.reader.head)
    assert (bench.labeller.position, bench.labeller.deferral.windows) == (0, 0)
    assert bench.store.lanes() == []
    bench.outbox.confirms = True
    assert not bench.labeller.turn(bench.reader.head), "first the disk"
    assert bench.labeller.turn(bench.reader.head)
    assert [(lane.lane, lane.first, lane.last) for lane in bench.store.lanes()] == [(1, 0, None)]
    assert bench.labeller.position > 0
    assert bench.labeller.deferral.windows > 0
    assert bench.outbox.sent == []
    bench.close()


def test_a_model_takes_over_once_the_broker_has_confirmed_what_the_old_one_labelled(
    tmp_path: Path, model: Model
) -> None:
    write_spool(tmp_path, [arrival_of(batch, START_US) for batch in walk(5)])
    bench = Bench(tmp_path, model)
    bench.run()
    other = replace(model)
    bench.outbox.confirms = False
    bench.labeller.offer(other)
    for _ in range(3):
        assert not bench.labeller.turn(bench.reader.head), "it waits for the broker"
    assert bench.labeller.model is model
    bench.outbox.confirms = True
    assert bench.labeller.turn(bench.reader.head)
    assert bench.labeller.model is other
    assert bench.store.position == 5
    bench.close()


class NoLanes:
    """A store of which nothing was deferred yet."""

    def lanes(self) -> list[Lane]:
        return []

    def fact(self, _name: str) -> None:
        return None


def test_windows_that_wait_are_counted_until_their_stretch_is_caught_up() -> None:
    lane = SimpleNamespace(position=0, smoother=SimpleNamespace(stretch=0))
    deferral = Deferral(cast("Any", NoLanes()), lambda _number: cast("Any", lane))
    assert (deferral.is_active, deferral.windows, deferral.newest) == (False, 0, 0)
    deferral.begin(10)
    deferral.count(5)
    deferral.count(2)
    assert (deferral.is_active, deferral.windows, deferral.newest) == (True, 7, 1)
    assert deferral.kept_from(30) == 10
    deferral.end(20)
    assert (deferral.is_active, deferral.windows, deferral.stretch) == (False, 7, 1)
    opened = deferral.next_backfill()
    assert opened is not None
    assert (opened.stretch.first, opened.stretch.last, lane.position) == (10, 20, 10)
    assert deferral.next_backfill() is opened
    lane.position = 15
    deferral.caught_up(4)
    assert (deferral.windows, deferral.kept_from(30)) == (3, 15)
    deferral.caught_up(4)
    assert deferral.windows == 0, "they are counted about, and never below nothing"
    change = deferral.take_change()
    assert (change.opens, change.closes, change.windows, change.facts) == (1, 1, {1: 0}, {"stretch": b"1"})
    assert deferral.has_any_up_to(1)
    assert not deferral.has_any_up_to(0)
    deferral.finish_backfill()
    assert (deferral.take_change().ended, deferral.next_backfill(), deferral.kept_from(30)) == ([1], None, 30)
