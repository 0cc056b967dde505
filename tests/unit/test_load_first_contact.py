"""What the first contact with a device costs, as ``disc-stream benchmark ingest`` tells it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from disc_stream.load.ingest import _first_contact
from disc_stream.load.server import Progress


def _server(early: int, early_us: int, later: int, later_us: int) -> Any:
    return SimpleNamespace(
        first={"cpu_us_read": 500},
        warm={"cpu_us_read": 500 + early_us},
        counters={"cpu_us_read": 500 + early_us + later_us},
        progress=Progress(count=early + later, first_count=early),
    )


def _load(devices: int) -> Any:
    return SimpleNamespace(devices=devices)


def test_what_the_first_two_messages_cost_beyond_later_ones() -> None:
    found = _first_contact(_server(2000, 2000 * 50 + 1000 * 40, 10_000, 10_000 * 50), _load(1000))
    assert found == {"us_per_device": pytest.approx(40.0), "then_us_per_message": pytest.approx(50.0)}


def test_few_devices_are_lost_among_their_many_messages() -> None:
    found = _first_contact(_server(6000, 6000 * 52, 54_000, 54_000 * 50), _load(300))
    assert found == {"us_per_device": None, "then_us_per_message": pytest.approx(50.0)}


def test_a_run_that_ends_with_the_first_messages_tells_nothing() -> None:
    assert _first_contact(_server(20, 1000, 0, 0), _load(10))["then_us_per_message"] is None
