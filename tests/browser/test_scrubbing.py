"""The benchmarks of the dashboard, small, in a real Chromium: what they tell is within the aims."""

from __future__ import annotations

from typing import Any

import pytest

from disc_stream.load.page import PagePlan
from disc_stream.load.page import run as look_on
from disc_stream.load.plan import WINDOW, Load
from disc_stream.load.scrubbing import ScrubPlan
from disc_stream.load.scrubbing import run as scrub

pytestmark = [pytest.mark.long, pytest.mark.broker]


def test_the_strip_of_a_day_follows_the_pointer() -> None:
    told = scrub(ScrubPlan(days=4, drags=3, seconds=1.0), None, lambda _words: None)
    assert told["frames_per_s"] >= 30
    assert told["pictures_per_s"] >= 30
    assert told["drawing_ms"]["p50"] < 8


def test_viewers_get_updates_and_cost_little() -> None:
    load = Load(40, fs=2 * WINDOW.hop, samples=WINDOW.hop, viewers=0)
    noted: list[dict[str, Any]] = []
    told = look_on(load, PagePlan((0, 1, 4), 1, 5.0), None, lambda _words: None, noted.append)
    none, one, four = told["phases"]
    assert [phase["viewers"] for phase in noted] == [0, 1, 4]
    assert none["labels_per_s"] > 40
    assert one["browser_updates_per_s"] >= 2
    assert four["updates_per_s"]["fewest"] >= 2
    assert four["failures"] == four["dropped"] == 0
    assert none["page_cores"] <= four["page_cores"] < 0.15
