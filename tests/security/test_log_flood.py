"""A device that sends nonsense for hours fills no log."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from disc_stream.clock import ManualClock
from disc_stream.sparselog import AGAIN_S, PER_MINUTE, SparseLog
from disc_stream_server.rejections import Rejections
from tests.support.device import LEFT, constant, make_batch
from tests.support.labeller import START_US, Bench, arrival_of, model_of, write_spool
from tests.support.tiny_bundle import write_tiny_bundle


def test_a_device_has_one_line_an_hour_for_each_reason(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock(0)
    sparse = SparseLog(logging.getLogger("test"), clock.monotonic)
    for _ in range(3):
        for _ in range(1_000):
            sparse.warning("a", "stray", "%s strays", "a")
            sparse.warning("a", "odd", "%s is odd", "a")
            sparse.warning("b", "stray", "%s strays", "b")
        clock.advance(AGAIN_S)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 9
    assert lines[0] == "a strays"
    assert lines[3] == "a strays (and 999 times before)", "what was not said is counted"


def test_many_devices_have_few_lines_in_all(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock(0)
    sparse = SparseLog(logging.getLogger("test"), clock.monotonic)
    for n in range(100_000):
        sparse.warning(f"d{n}", "stray", "it strays")
    assert len(caplog.records) == PER_MINUTE
    assert len(sparse._said) <= 10_000
    clock.advance(60)
    assert sparse.warning("another", "stray", "it strays")


def test_a_refusal_may_not_be_as_long_as_what_it_quotes(caplog: pytest.LogCaptureFixture) -> None:
    rejections = Rejections(ManualClock(0))
    rejections.add("a", "text", "x" * 100_000)
    assert len(caplog.text) < 1_000
    rejections.forget("a")
    rejections.add("a", "text", "again")
    assert "again" in caplog.text, "an erased device is a new one"


def test_batches_that_stray_for_ever_are_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_tiny_bundle(tmp_path / "tiny")
    # Each third one is numbered as if thousands were missing, and the numbering goes on as before.
    rows = []
    for seq in range(600):
        at_us = START_US + seq * 160_000
        rows.append(arrival_of(make_batch("watch", seq, constant(LEFT, 8)), at_us))
        if seq % 3 == 0:
            far = make_batch("watch", seq + 1_000_000, constant(LEFT, 8), start=seq * 8)
            rows.append(arrival_of(far, at_us))
    write_spool(tmp_path, rows)
    bench = Bench(tmp_path, model_of(tmp_path / "tiny"))
    bench.run()
    assert bench.labeller.live.sessions.counts.stray > 50
    assert len([one for one in caplog.records if "far from the others" in one.getMessage()]) == 1
    bench.close()
