"""Processor time by stage."""

from __future__ import annotations

import pytest

from disc_stream_server import stages


def test_what_lies_between_two_borders_belongs_to_the_stage_named_at_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = iter([1_000_000, 3_500_000, 3_500_999, 9_000_000, 9_700_000])
    monkeypatch.setattr("disc_stream_server.stages.time.thread_time_ns", lambda: next(now))
    one = stages.Stages()
    one.begin()
    one.end("decode")
    one.end("encode")
    one.begin()  # nobody's time
    one.end("decode")
    assert one.counters() == {"cpu_us_decode": 3_200, "cpu_us_encode": 0}
    assert one.total_us == 3_200
