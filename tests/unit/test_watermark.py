"""The time of the stream, by rows whose arrival times go forward, stand still and go back."""

from __future__ import annotations

from disc_stream.stream.watermark import Watermark

NOW_US = 1_700_000_000_000_000


def test_it_is_the_newest_arrival_while_the_clock_runs_forward() -> None:
    mark = Watermark()
    assert [mark.advance(NOW_US + step) for step in (0, 7, 7, 1_000)] == [
        NOW_US, NOW_US + 7, NOW_US + 7, NOW_US + 1_000,
    ]  # fmt: skip


def test_a_clock_that_is_set_back_stops_it_for_one_row() -> None:
    mark = Watermark()
    mark.advance(NOW_US)
    assert mark.advance(NOW_US - 3_600_000_000) == NOW_US
    assert mark.advance(NOW_US - 3_600_000_000 + 5) == NOW_US + 5


def test_a_state_goes_on_elsewhere() -> None:
    here, there = Watermark(), Watermark()
    here.advance(NOW_US)
    here.advance(NOW_US - 10)
    there.restore(here.state())
    assert there.advance(NOW_US) == here.advance(NOW_US) == NOW_US + 10
