"""Observers of the server are called in order, and the failure of one affects nobody else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from disc_stream.types import Channel, Label, Problem, SampleBatch, SoftLabel
from disc_stream_server.observers import Observers

BATCH = SampleBatch("d1", 1, 0, 0, 50.0, (Channel("acc_x", "g"),), np.zeros((4, 1), dtype=np.int16))
SOFT = SoftLabel(1, "walking", 0.9)
LABEL = Label("d1", 1, 0, 0, 0, SOFT, (SOFT,), SOFT, 1.0, None, "m1", 0, 0)
PROBLEM = Problem(
    "rate-differs", "it says 50 Hz and sends 100 Hz", 1_000, 3, "Correct fs in its meta message"
)


class Recorder:
    """Notes every call."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def on_batch(self, batch: SampleBatch) -> None:
        self.calls.append(("batch", batch))

    def on_label(self, label: Label) -> None:
        self.calls.append(("label", label))

    def on_status(self, status: dict[str, Any]) -> None:
        self.calls.append(("status", status))

    def on_problem(self, device: str, problem: Problem | None) -> None:
        self.calls.append(("problem", device, problem))


class Failing(Recorder):
    """Notes every call, then fails."""

    def on_problem(self, device: str, problem: Problem | None) -> None:
        super().on_problem(device, problem)
        raise RuntimeError("failing on purpose")


def test_everything_is_passed_on_and_a_failing_observer_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    first, last = Failing(), Recorder()
    observers = Observers([first, last])
    observers.on_batch(BATCH)
    observers.on_label(LABEL)
    observers.on_status({"state": "online"})
    observers.on_problem("d1", PROBLEM)
    observers.on_problem("d1", None)
    assert last.calls == [
        ("batch", BATCH),
        ("label", LABEL),
        ("status", {"state": "online"}),
        ("problem", "d1", PROBLEM),
        ("problem", "d1", None),
    ]
    assert first.calls == last.calls
    assert [record.getMessage() for record in caplog.records] == [
        "observer Failing.on_problem failed; the server goes on"
    ]
