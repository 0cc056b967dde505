"""All devices in columns: whole, and what has changed since a mark."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from disc_stream.clock import ManualClock
from disc_stream.types import Channel, Label, Problem, SampleBatch, SoftLabel
from disc_stream_server.api.live.fleet import OVERLAP_US, Answer, FleetList
from disc_stream_server.api.live.table import LiveTable
from disc_stream_server.api.schemas.fleet import FleetOut

SECOND = 1_000_000


class Place:
    """A table, its list, and a clock."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock(0)
        self.clock.advance(1_000)
        self.table = LiveTable(self.clock)
        self.tags: dict[str, tuple[str, ...]] = {}
        self.list = FleetList(self.table, folder, None, lambda: dict(self.tags), "run", self.clock)

    def label(self, device: str, window: int, cluster: int, confidence: float = 0.75) -> None:
        soft = SoftLabel(cluster, f"c{cluster}", confidence)
        now_us = self.clock.unix_us()
        self.table.on_label(
            Label(device, 1, window, 0, 0, soft, (soft,), soft, 1.0, 0.4, f"m{cluster}", 0, now_us)
        )

    def ask(self, since: str | None = None) -> dict[str, Any]:
        answer = self.list.answer(since)
        FleetOut.model_validate_json(answer.plain)
        found: dict[str, Any] = msgspec.json.decode(answer.plain)
        return found


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_the_first_answer_has_all_and_the_next_what_has_changed(place: Place) -> None:
    for n in range(3):
        place.label(f"d{n}", 0, n)
    place.clock.advance(10)
    first = place.ask()
    assert first["whole"]
    assert dict(zip(first["id"], first["cluster"], strict=True)) == {"d0": 0, "d1": 1, "d2": 2}
    assert first["seen_ms"] == [10_000] * 3
    assert first["names"] == {"0": "c0", "1": "c1", "2": "c2"}
    assert [first["models"][one] for one in first["model"]] == ["m0", "m1", "m2"]
    assert place.ask(first["mark"])["id"] == []

    place.clock.advance(1)
    place.label("d1", 1, 2, 0.5)
    then = place.ask(first["mark"])
    assert not then["whole"]
    assert (then["id"], then["cluster"], then["confidence"], then["since_ms"]) == (["d1"], [2], [0.5], [0])
    place.clock.advance(OVERLAP_US / 1e6 + 1)
    again = place.ask(then["mark"])
    assert again["id"] == ["d1"], "told once more, for it was labelled just before the mark"
    assert place.ask(again["mark"])["id"] == []


def test_a_problem_comes_and_goes(place: Place) -> None:
    channels = (Channel("x", "g"),)
    place.table.on_batch(SampleBatch("d", 1, 0, 0, 50.0, channels, np.zeros((1, 1), np.float32)))
    place.clock.advance(10)
    mark = place.ask()["mark"]
    place.table.on_problem("d", Problem("clock-jump", "its clock has jumped", 1, 1, "look at it"))
    changed = place.ask(mark)
    assert changed["id"] == ["d"]
    assert changed["problems"]["d"]["code"] == "clock-jump"
    assert changed["cluster"] == [None]
    place.clock.advance(10)
    place.table.on_problem("d", None)
    assert place.ask(changed["mark"])["problems"] == {}
    assert place.ask(changed["mark"])["id"] == ["d"]


def test_tags_are_sent_when_one_has_changed(place: Place) -> None:
    place.label("d", 0, 1)
    first = place.ask()
    assert first["tags"] == {}
    assert place.ask(first["mark"])["tags"] is None
    place.tags["d"] = ("ward",)
    changed = place.ask(first["mark"])
    assert changed["tags"] == {"d": ["ward"]}
    assert place.ask(changed["mark"])["tags"] is None


def test_a_device_that_was_erased_and_a_mark_of_elsewhere_give_all_anew(place: Place) -> None:
    place.label("d1", 0, 1)
    place.label("d2", 0, 1)
    mark = place.ask()["mark"]
    place.table.on_forget("d1")
    after = place.ask(mark)
    assert after["whole"]
    assert after["id"] == ["d2"]
    for text in ("other-0-0-5", "nonsense", "run-1-0-" + "9" * 40, "run-x-0-1"):
        assert place.ask(text)["whole"]


def test_many_ask_for_all_at_once_and_it_is_made_once(place: Place) -> None:
    for n in range(200):
        place.label(f"device-{n}", 0, 1)
    answer = place.list.answer(None)
    assert place.list.answer(None) is answer
    assert answer.packed is not None
    assert gzip.decompress(answer.packed) == answer.plain
    assert len(answer.packed) < len(answer.plain) / 2
    place.clock.advance(2)
    assert isinstance(place.list.answer(None), Answer)
    assert place.list.answer(None) is not answer
